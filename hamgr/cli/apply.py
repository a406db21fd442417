"""`hamgr config diff` and `hamgr config apply`."""

import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from hamgr.cli.applied import Applied, CannotTell, Say, Through
from hamgr.cli.client import AgentRefused
from hamgr.cli.config import file_argument
from hamgr.cli.difference import (
    UNKNOWN,
    UNUSABLE,
    Finding,
    as_json,
    behind,
    compare,
    is_applied,
    shown,
)
from hamgr.cli.layout import printable
from hamgr.cli.operate import NOBODY_TO_ASK, new_id, operator
from hamgr.cli.options import config_option, run_dir_option
from hamgr.config.against_plan import voters
from hamgr.config.document import digest, read
from hamgr.config.schema import Document
from hamgr.core.records import Config, Request

DONE, REFUSED = 0, 1
POLL_S = 0.1
REFUSED_S = 2.0
"""For so long an agent may still tell why it refused what was applied before."""
LEADER_S = 2.0
"""By then a leader goes by a new document, where nobody can be asked whether it does."""

_as_json = click.option("--json", "in_json", is_flag=True, help="Print JSON (schema 1), one line.")


class Refused(Exception):
    """It is not done; the message says why, and what was done before."""


@click.command("diff")
@file_argument
@run_dir_option
@config_option("Names ZooKeeper's servers; used when no agent answers.")
@_as_json
def diff(file: Path, run_dir: Path, config: Path, in_json: bool) -> None:
    """Show how FILE differs from what is applied.

    And what would happen if it were.

    Exit status: 0 no difference; 1 it differs; 2 it cannot be applied, with the reasons; 3 it
    cannot be told what is applied.
    """
    finding, _ = _compared(file, Through(run_dir, config), in_json)
    click.echo(as_json(finding) if in_json else shown(finding))
    sys.exit(finding.status)


@click.command("apply")
@file_argument
@run_dir_option
@config_option("Names ZooKeeper's servers; used when no agent answers.")
@click.option("--timeout", type=click.FloatRange(1, 3600), default=60, show_default=True,
              help="Seconds to wait for each step.")
@_as_json
@click.option("--yes", is_flag=True, help="Do not ask.")
def apply(file: Path, run_dir: Path, config: Path, timeout: float, in_json: bool,
          yes: bool) -> None:
    """Apply FILE to the running cluster.

    Shows what would happen, asks, does it, and waits for the end. What stays the same is not
    touched. If it is interrupted, it goes on where it was when it is run again.

    Exit status: 0 done, or no difference; 1 refused, by the cluster (the reason is printed) or at
    the question; 2 FILE cannot be applied, with the reasons; 3 it cannot be told: no answer in
    time, or nobody to ask.
    """
    started = time.monotonic()
    through = Through(run_dir, config)
    finding, applied = _compared(file, through, in_json)
    if not in_json:
        click.echo(shown(finding))
    document = finding.document
    if finding.verdict == "unusable" or document is None:
        _finish(finding, "unusable", "", UNUSABLE, started, in_json)
    if finding.verdict == "same":
        _finish(finding, "done", "", DONE, started, in_json)
    if not yes and (why := _not_confirmed(in_json)):
        _finish(finding, "refused", why, REFUSED, started, in_json)
    say = _silent if in_json else _say
    try:
        why = _Steps(through, finding, document, timeout, say).take(applied)
    except (Refused, AgentRefused) as error:
        _finish(finding, "refused", str(error), REFUSED, started, in_json)
    except CannotTell as error:
        _finish(finding, "unknown", str(error), UNKNOWN, started, in_json)
    _finish(finding, "done", why, DONE, started, in_json)


class _Steps:
    """What is done, one step after the other; each looks first whether it is still to be done."""

    def __init__(self, through: Through, finding: Finding, document: Document, within_s: float,
                 say: Say) -> None:
        self._through, self._finding, self._document = through, finding, document
        self._within_s, self._say = within_s, say

    def take(self, applied: Applied) -> str:
        """Do everything; return what is still to be said. Raises Refused and CannotTell."""
        staying = tuple(name for name in applied.plan.voters.names if name in self._document.node)
        if staying != applied.plan.voters.names:
            self._ask("voters", voters=staying)
        if applied.refused or not is_applied(self._document, applied):
            self._put()
            if applied.source == "zookeeper":
                time.sleep(LEADER_S)
        applied = self._until_taken_over()
        if {*voters(self._document)} != {*applied.plan.voters.names}:
            self._ask("voters", voters=voters(self._document))
        if applied.plan.times != self._document.timing:
            self._ask("times", times=self._document.timing)
        if applied.source == "zookeeper":
            return ("written to ZooKeeper, which does not tell which agents go by it: see hamgr "
                    "status on a node whose agent runs")
        silent = [name for name in self._document.node if name not in applied.digests]
        return f"{', '.join(silent)} will when its agent runs" if silent else ""

    def _put(self) -> None:
        wanted = Config(revision=self._finding.revision + 1, document=self._finding.text,
                        digest=digest(self._document), applied_by=operator())
        why = self._through.apply(wanted, self._say)
        if why:
            raise Refused(why)

    def _until_taken_over(self) -> Applied:
        began = time.monotonic()
        deadline = began + self._within_s
        while True:
            applied = self._through.look()
            late = behind(self._document, applied)
            told_of_this = time.monotonic() - began > REFUSED_S
            if applied.refused and told_of_this and is_applied(self._document, applied):
                raise Refused(f"it is applied, but this node cannot use it: {applied.refused}")
            if not late:
                return applied
            if time.monotonic() > deadline:
                raise CannotTell(f"it is applied, but after {self._within_s:g} s "
                                 f"{', '.join(late)} still went by another document: hamgr status "
                                 "there says why")
            time.sleep(POLL_S)

    def _ask(self, kind: str, **what: Any) -> None:
        request = Request(id=new_id(), kind=kind, by=operator(), **what)
        self._say(f"the {kind} change")
        answer = self._through.request(request, self._say, self._within_s)
        if answer is None:
            raise CannotTell(f"the {kind} have not changed within {self._within_s:g} s; they may "
                             "yet: see hamgr config diff")
        if answer.state != "done":
            raise Refused(f"the {kind} cannot change: {answer.why}; once that is mended, apply "
                          "again")


def _say(text: str) -> None:
    click.echo(printable(f"  {text}"))


def _silent(text: str) -> None:
    """Progress has no place in JSON."""


def _compared(file: Path, through: Through, in_json: bool) -> tuple[Finding, Applied]:
    reading = read(file)
    try:
        applied = through.look()
        return compare(file, reading, applied), applied
    except (CannotTell, AgentRefused) as error:
        faults = "\n".join(fault.located(str(file)) for fault in reading.faults)
        if in_json:
            import json
            click.echo(json.dumps({"schema": 1, "file": str(file), "verdict": "unknown",
                                   "why": str(error), "refusals": faults.splitlines()}))
        else:
            click.echo("\n".join(filter(None, (
                faults, f"it cannot be told what is applied: {error}"))), err=True)
        sys.exit(UNUSABLE if faults else UNKNOWN)


def _not_confirmed(in_json: bool) -> str:
    if not sys.stdin.isatty():
        return NOBODY_TO_ASK
    return "" if click.confirm("Apply this?", err=in_json) else "said no"


def _finish(finding: Finding, state: str, why: str, status: int, started: float,
            in_json: bool) -> NoReturn:
    seconds = round(time.monotonic() - started, 3)
    if in_json:
        click.echo(as_json(finding, state=state, why=why, seconds=seconds))
    elif finding.verdict == "differs":
        word = "cannot tell" if state == "unknown" else state
        click.echo(printable(
            f"apply {finding.file}: {word}{f': {why}' if why else ''} ({seconds:.1f} s)"))
    sys.exit(status)
