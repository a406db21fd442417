"""`hamgr fence --test`: whether the fence devices of a node work, as asked by the agent here."""

import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
from click.core import ParameterSource

from hamgr.agent.facts import FenceTested
from hamgr.cli import operate
from hamgr.cli.client import AgentDown, AgentRefused, ask, told
from hamgr.cli.layout import printable, span, table
from hamgr.core.records import Request

SCHEMA = 1
EXIT = {"passed": 0, "failed": 1, "refused": 1, "unknown": 3}
CYCLE_S = 600.0
"""Seconds for a real cycle, if nothing else is said: machines take minutes to boot."""


class _Answer(msgspec.Struct):
    answer: FenceTested


def run(node: str, cycle: bool, *, yes: bool, as_json: bool, timeout: float, run_dir: Path,
        config: Path) -> NoReturn:
    """Test the devices of a node; print what they said and exit accordingly.

    Without an agent there is nobody to ask: `config`, by which others would ask ZooKeeper, is not
    looked at.
    """
    began = time.monotonic()
    request = None
    if cycle:
        timeout = CYCLE_S if _is_default("timeout") else timeout
        warning = (f"{node} is really switched off, without stopping anything first, and on again "
                   f"if its device does that: what runs there is dark until it is active "
                   f"elsewhere. {timeout:g} s are given to {node} to be back.")
        if not yes and (why := operate.not_confirmed(warning, as_json, node)):
            _finish(FenceTested(node=node, by="", state="refused", why=why, devices=()), began,
                    as_json)
        request = Request(id=operate.new_id(), kind="fence", node=node, by=operate.operator())
    order = {"do": "fence-test", "node": node, "cycle": msgspec.to_builtins(request),
             "within_s": timeout}
    try:
        result = _ask(run_dir, order, timeout + 5, quiet=as_json)
    except (AgentDown, AgentRefused) as error:
        result = FenceTested(node=node, by="", state="unknown", why=str(error), devices=())
    _finish(result, began, as_json)


def _ask(run_dir: Path, order: dict[str, Any], answer_s: float, *, quiet: bool) -> FenceTested:
    for answer in ask(run_dir, order, answer_s):
        if "answer" in answer:
            return told(answer, _Answer).answer
        if not quiet:
            click.echo(printable(f"  {answer['progress']}"))
    raise AgentDown("the agent here went away before the end")


def _is_default(option: str) -> bool:
    return (click.get_current_context().get_parameter_source(option)
            in (None, ParameterSource.DEFAULT))


def _finish(result: FenceTested, began: float, as_json: bool) -> NoReturn:
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        click.echo(msgspec.json.encode({
            "schema": SCHEMA, **msgspec.to_builtins(result), "seconds": seconds}).decode())
    else:
        click.echo(printable(_text(result, seconds)))
    sys.exit(EXIT[result.state])


def _text(result: FenceTested, seconds: float) -> str:
    by = f", asked by {result.by}" if result.by else ""
    state = "cannot tell" if result.state == "unknown" else result.state
    what = "fence --test --cycle" if result.cycle is not None else "fence --test"
    why = f": {result.why}" if result.why else ""
    late = ("" if result.recorded or result.state != "passed" else
            "; ZooKeeper does not have the record yet: see `hamgr status`")
    verdict = f"{what} {result.node}: {state}{why}{by}{late} ({seconds:.1f} s)"
    return f"{_measured(result)}\n{verdict}" if result.cycle is not None else verdict


def _measured(result: FenceTested) -> str:
    cycle = result.cycle
    assert cycle is not None, "asked for a cycle that there was"
    groups = [(f"{back.group} active on {back.node}" if back.node else f"{back.group} active",
               span(back.after_s)) for back in cycle.groups]
    return table(("AFTER THE ORDER", "TIME"), [
        (f"{result.node} confirmed off", span(cycle.off_s)), *groups,
        (f"{result.node} a member again", span(cycle.back_s))])
