"""`hamgr doctor`: looks around this node and says what is wrong, or will be, and what to do."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from hamgr.agent.facts import AgentStatus
from hamgr.cli import client, screen
from hamgr.cli.client import AgentDown, AgentRefused
from hamgr.cli.layout import fold, printable
from hamgr.cli.options import config_option, run_dir_option
from hamgr.doctor.facts import Facts, Missing
from hamgr.doctor.finding import Finding, Severity

SCHEMA = 1
EXIT = {Severity.OK: 0, Severity.NOTE: 0, Severity.WARNING: 1, Severity.FAULT: 2,
        Severity.UNKNOWN: 3}
"""Exit status of `hamgr doctor` by verdict."""
WORDS = {Severity.UNKNOWN: "not checked", Severity.OK: "ok"}
"""Those that are not counted by their own name."""


@click.command()
@click.option("--all", "everything", is_flag=True, help="Show what is ok, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one object.")
@config_option()
@run_dir_option
def doctor(everything: bool, as_json: bool, config: Path, run_dir: Path) -> None:
    """Look for what is wrong around this node, or will be: keys, rings, loss, ZooKeeper, kernel
    settings, clock, units, fence devices; each finding with its remedy. Changes nothing.

    Environment, beside the options': HAMGR_NODE, which node this is where no agent says it;
    CREDENTIALS_DIRECTORY, as systemd sets it; TERM, as for `hamgr status`.

    Exit status: 0 nothing but notes; 1 warnings; 2 faults; 3 no fault was found, but not
    everything could be checked.
    """
    from hamgr.doctor.look.around import around
    from hamgr.doctor.registry import examine

    agent = _ask(run_dir)
    if not isinstance(agent, Missing):
        config = Path(agent.process.config)
    facts = around(config, agent)
    findings = examine(facts)
    click.echo(_json(facts, findings) if as_json else text(facts, findings, everything))
    sys.exit(EXIT[_verdict(findings)])


def text(facts: Facts, findings: Sequence[Finding], everything: bool,
         width: int | None = None) -> str:
    """Return findings as people read them: the worst first, each with its remedy."""
    width = width or screen.width()
    order = list(Severity)
    shown = [one for one in findings if everything or one.severity is not Severity.OK]
    shown.sort(key=lambda one: -order.index(one.severity))
    lines = [_head(facts), ""]
    for one, checks in _merged(shown).items():
        lines.append(fold(f"{one.severity.upper()}  {checks}: {one.where}: {one.what}", width,
                          "    "))
        if one.remedy:
            lines.append(fold(f"    remedy: {one.remedy}", width, "    "))
    counted = Counter(one.severity for one in findings)
    told = ", ".join(_count(severity, counted[severity]) for severity in reversed(order)
                     if counted[severity])
    return printable(
        "\n".join([*lines, *([""] if shown else []), f"{_verdict(findings)}: {told}"]))


def _count(severity: Severity, number: int) -> str:
    return f"{number} {WORDS.get(severity) or severity + 's' * (number != 1)}"


def _merged(findings: Sequence[Finding]) -> dict[Finding, str]:
    """Return each finding once, with the names of all checks that say the same."""
    merged: dict[Finding, str] = {}
    for one in findings:
        same = msgspec.structs.replace(one, check="")
        merged[same] = f"{merged[same]}, {one.check}" if same in merged else one.check
    return merged


def _head(facts: Facts) -> str:
    if isinstance(facts.agent, Missing):
        node = "this machine" if isinstance(facts.here, Missing) else facts.here.node
        return f"doctor on {node}, without an agent: {facts.agent.why}"
    me = facts.agent
    return f"doctor on {me.node}, cluster {me.spec.name}, by the agent (process {me.process.pid})"


def _json(facts: Facts, findings: Sequence[Finding]) -> str:
    agent, here = facts.agent, facts.here
    node = here.node if not isinstance(here, Missing) else ""
    cluster = here.document.cluster.name if not isinstance(here, Missing) else ""
    return msgspec.json.encode({
        "schema": SCHEMA, "node": node, "cluster": cluster,
        "agent": not isinstance(agent, Missing), "findings": findings,
        "verdict": _verdict(findings)}).decode()


def _verdict(findings: Sequence[Finding]) -> Severity:
    from hamgr.doctor.registry import verdict

    return verdict(list(findings))


def _ask(run_dir: Path) -> AgentStatus | Missing:
    try:
        return client.status(run_dir)
    except (AgentDown, AgentRefused) as error:
        return Missing(str(error))
