"""`hamgr status`: the whole cluster on one screen, and what is wrong with it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from hamgr.agent.facts import AgentStatus
from hamgr.cli import from_agent, from_records, render
from hamgr.cli.client import RUN_DIR, AgentDown, AgentRefused, ask, first
from hamgr.cli.probing import wire_truth
from hamgr.cli.survey import EXIT, Survey

CONFIG = Path("/etc/hamgr/hamgr.toml")
CLEAR = "\x1b[H\x1b[2J"


@click.command()
@click.option("--watch", is_flag=True, help="Show it again each second, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one line each.")
@click.option("--config", "config", type=click.Path(path_type=Path), default=CONFIG,
              envvar="HAMGR_CONFIG", show_default=True, help="Used when no agent answers.")
@click.option("--run-dir", type=click.Path(path_type=Path), default=RUN_DIR,
              envvar="HAMGR_RUN_DIR", show_default=True)
def status(watch: bool, as_json: bool, config: Path, run_dir: Path) -> None:
    """Show nodes, groups and addresses: what the plan says, what the kernel has, what the wire
    answers.

    Asks the agent on this node; when it is down, ZooKeeper; and says which.

    Exit status: 0 healthy, 1 degraded, 2 a group has no owner or the truths disagree, 3 it cannot
    be told.
    """
    if not watch:
        survey = take(run_dir, config)
        click.echo(shown(survey, as_json), nl=False)
        sys.exit(EXIT[survey.verdict])
    try:
        for survey in _watched(run_dir, config):
            clear = CLEAR if sys.stdout.isatty() and not as_json else ""
            click.echo(clear + shown(survey, as_json), nl=False)
    except KeyboardInterrupt:
        sys.exit(0)


def take(run_dir: Path, config: Path) -> Survey:
    """Return the survey from whoever can be asked."""
    try:
        return _surveyed(first(run_dir, {"do": "status"}))
    except (AgentDown, AgentRefused) as error:
        return _without_agent(str(error), config)


def shown(survey: Survey, as_json: bool) -> str:
    """Return the survey as text or as one line of JSON."""
    return msgspec.json.encode(survey).decode() + "\n" if as_json else render.text(survey)


def _surveyed(answer: dict[str, object]) -> Survey:
    status = msgspec.convert(answer["status"], type=AgentStatus)
    return from_agent.survey(status, wire_truth(status))


def _watched(run_dir: Path, config: Path) -> Iterator[Survey]:
    """Yield a survey each second, also over restarts of the agent."""
    import time

    while True:
        try:
            for answer in ask(run_dir, {"do": "watch"}):
                yield _surveyed(answer)
        except (AgentDown, AgentRefused) as error:
            yield _without_agent(str(error), config)
        time.sleep(1)


def _without_agent(why: str, config: Path) -> Survey:
    from hamgr.config.document import cluster_spec, load
    from hamgr.config.faults import ConfigError

    try:
        document = load(config)
    except ConfigError as error:
        return from_records.nothing("", [why, f"ZooKeeper cannot be asked: {error}"])
    from hamgr.cli import direct

    try:
        records = direct.records(document)
    except direct.ZooKeeperDown as error:
        return from_records.nothing(document.cluster.name, [why, str(error)])
    vips = {name: tuple(str(vip.address) for vip in group.vips)
            for name, group in document.group.items()}
    return from_records.survey(
        cluster_spec(document), vips, root=records.root, leader=records.leader, plan=records.plan,
        seats=records.seats, requests=records.requests, sessions=records.sessions, why=why)
