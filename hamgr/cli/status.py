"""`hamgr status`: the whole cluster on one screen, and what is wrong with it."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from hamgr.agent.facts import Process
from hamgr.cli import from_agent, from_records, render, screen
from hamgr.cli.client import (
    RUN_DIR,
    AgentDown,
    AgentOutOfReach,
    AgentRefused,
    ask,
    first,
    status_in,
)
from hamgr.cli.options import config_option, run_dir_option
from hamgr.cli.probing import wire_truth
from hamgr.cli.survey import EXIT, Survey
from hamgr.config.schema import Document
from hamgr.core.types import SECOND, GroupName

if TYPE_CHECKING:
    from hamgr.cli import direct


@click.command()
@click.option("--watch", is_flag=True, help="Show it again each second, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one line each.")
@config_option()
@run_dir_option
def status(watch: bool, as_json: bool, config: Path, run_dir: Path) -> None:
    """Show nodes, groups and addresses: what the plan says, what the kernel has, what the wire
    answers.

    Asks the agent on this node; when it is down, ZooKeeper; and says which.

    Exit status: 0 healthy, 1 degraded, 2 a group has no owner or the truths disagree, 3 it cannot
    be told; 0 with --watch, which ends when it is interrupted.

    Environment, beside the options': HAMGR_NODE, which node this is where no agent says it; TERM,
    without which (or with dumb) lines are not folded, nor drawn over by --watch;
    CREDENTIALS_DIRECTORY, as systemd sets it, where no agent answers.
    """
    if not watch:
        survey = take(run_dir, config)
        click.echo(shown(survey, as_json), nl=False)
        sys.exit(EXIT[survey.verdict])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        if screen.drawable() and not as_json:
            _draw(_watched(run_dir, config))
        else:
            for seen in _watched(run_dir, config):
                if isinstance(seen, Survey):
                    click.echo(shown(seen, as_json), nl=False)


def take(run_dir: Path, config: Path) -> Survey:
    """Return the survey from whoever can be asked."""
    try:
        return _surveyed(first(run_dir, {"do": "status"}))
    except (AgentDown, AgentRefused) as error:
        return _instead(error, run_dir, config)


def shown(survey: Survey, as_json: bool) -> str:
    """Return the survey as text or as one line of JSON."""
    if as_json:
        return msgspec.json.encode(survey).decode() + "\n"
    return render.text(survey, screen.width())


def _draw(watched: Iterable[Survey | str]) -> None:
    """Keep the terminal up to date, and say since when it is not."""
    at = text = ""
    with screen.Screen() as terminal:
        for seen in watched:
            if isinstance(seen, Survey):
                at, text = time.strftime("%H:%M:%S"), shown(seen, as_json=False)
                terminal.show(f"hamgr status at {at}; Ctrl-C ends", text)
            elif at:
                terminal.show(f"NO NEWS SINCE {at}, asking ZooKeeper: {seen}", text)


def _surveyed(answer: dict[str, object]) -> Survey:
    status = status_in(answer)
    survey = from_agent.survey(status, wire_truth(status))
    return msgspec.structs.replace(survey, notes=(*survey.notes, *file_notes(status.process)))


def file_notes(agent: Process) -> Iterator[str]:
    """Say whether this node's file is another than what its agent goes by."""
    from hamgr.config.document import digest, read

    if not agent.config:
        return
    document = read(agent.config).document
    if document is None:
        yield (f"{agent.config} cannot be used (hamgr config check says why); what is applied goes "
               "on")
    elif digest(document) != agent.config_digest:
        yield f"{agent.config} differs from what is applied: hamgr config diff shows how"


def _watched(run_dir: Path, config: Path) -> Iterator[Survey | str]:
    """Yield a survey each second, also over restarts of the agent.

    When it stops to answer, that is yielded in words first, as ZooKeeper may take its time.
    """
    served = False
    while True:
        try:
            # The first answer of its own, since a connection that is closed without one is no news.
            yield _surveyed(first(run_dir, {"do": "status"}))
            served = True
            yield from map(_surveyed, ask(run_dir, {"do": "watch"}))
            time.sleep(0.1)  # it ended; maybe another begins
        except (AgentDown, AgentRefused) as error:
            if served:
                served = False
                yield str(error)
            yield _instead(error, run_dir, config)
            time.sleep(1)


def _instead(error: AgentDown | AgentRefused, run_dir: Path, config: Path) -> Survey:
    """Return what is known without the agent; if it is down, its last words too.

    They are looked for only if it is the machine's agent that is asked for: the journal is the
    machine's, and another agent, say of a lab, writes elsewhere.
    """
    known = isinstance(error, AgentDown) and not isinstance(error, AgentOutOfReach)
    survey = _without_agent(str(error), config, deserted=known)
    if isinstance(error, AgentRefused) or run_dir != RUN_DIR:
        return survey
    from hamgr.cli.last_words import last_words

    return msgspec.structs.replace(survey, last_words=last_words())


def _without_agent(why: str, config: Path, *, deserted: bool) -> Survey:
    from hamgr.config.document import cluster_spec, load, parse
    from hamgr.config.faults import ConfigError

    try:
        document = load(config)
    except ConfigError as error:
        return from_records.nothing("", [why, f"ZooKeeper cannot be asked: {error}"])
    from hamgr.cli import alone, direct

    try:
        records = direct.records(document)
    except direct.ZooKeeperDown as error:
        return from_records.nothing(document.cluster.name, [why, str(error)], _vips(document),
                                    alone.look(document, deserted=deserted))
    applied = parse(records.config.document).document if records.config is not None else None
    document = applied or document
    here = alone.look(document, deserted=deserted)
    return from_records.survey(
        cluster_spec(document), _vips(document), root=records.root, leader=records.leader,
        plan=records.plan, seats=records.seats, requests=records.requests,
        sessions=tuple(records.sessions), why=why,
        unreadable=records.unreadable, tests=_tests(document, records),
        here=here.told(direct.owners(records.sessions)))


def _tests(document: Document, records: "direct.Records") -> from_records.Tests:
    """A record that there is and that cannot be read says nothing; none says never."""
    found = records.fence_tests
    return from_records.Tests(
        last={name: found.get(name) for name in document.node
              if name not in found or found[name] is not None},
        every_s=int(document.fencing.test_every) / SECOND,
        now=datetime.now(UTC).isoformat(timespec="seconds"))


def _vips(document: Document) -> dict[GroupName, tuple[str, ...]]:
    return {name: tuple(str(vip.address) for vip in group.vips)
            for name, group in document.group.items()}
