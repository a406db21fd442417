"""What `hamgr simulate` says, as text and as JSON: pure functions."""

from collections.abc import Iterator
from typing import Any

import msgspec

from hamgr.cli.layout import fold, printable, span, table
from hamgr.core.records import GroupPlan
from hamgr.core.types import MILLISECOND, SECOND, Maintenance
from hamgr.simulation.foresight import Fate, Foresight, Happening, Round
from hamgr.simulation.present import Present

SCHEMA = 1
EXIT = {"stays": 0, "moves": 1, "down": 2, "unknown": 3}
"""Exit status by verdict."""


def shown(present: Present, foresight: Foresight, width: int | None) -> str:
    """Return the whole answer, ending with a newline."""
    parts = [_beginning(present, foresight, width)]
    parts += [_round(number, one, width) for number, one in enumerate(foresight.rounds)
              if one.happenings]
    if foresight.fates:
        parts.append(table(("GROUP", "BEFORE", "AFTER", "DARK", "HEIR"),
                           [_row(fate) for fate in foresight.fates]))
    if foresight.assumptions:
        parts.append("\n".join(["assumed:", *(
            fold(f"  {one}", width, "    ") for one in foresight.assumptions)]))
    parts.append("\n".join([f"{foresight.verdict}:", *(
        fold(f"  {line}", width, "    ") for line in _verdict(foresight))]))
    return printable("\n\n".join(parts) + "\n")


def _beginning(present: Present, foresight: Foresight, width: int | None) -> str:
    nodes = [node.name for node in present.spec.nodes]
    down = [name for name in nodes if name not in present.up]
    lines = [f"cluster {present.cluster} at {present.at}, by {present.asked}"]
    words = [f"up: {', '.join(present.up) or 'nobody'}"]
    words += [f"down: {', '.join(down)}"] if down else []
    words += [f"in standby: {', '.join(present.plan.standby)}"] if present.plan.standby else []
    words.append(f"ZooKeeper {'serves' if present.zookeeper else 'does not serve'}")
    lines.append(fold("; ".join(words), width))
    lines += [fold(f"{group.name}: {_now(present, group.name)}", width)
              for group in present.spec.groups]
    lines += [fold(f"{one.node} cannot run {one.group}: {one.why or 'unfit'}", width)
              for one in present.unfit]
    if foresight.differences:
        lines.append("this state could not be reproduced, so what follows may not come so:")
        lines += [fold(f"  {one}", width, "    ") for one in foresight.differences]
    return "\n".join(lines)


def _now(present: Present, name: str) -> str:
    planned = present.plan.groups.get(name) or GroupPlan()
    active = " and ".join(present.active.get(name, ()))
    words = [f"active on {active}" if active else "active nowhere",
             f"heir {planned.heir.node}" if planned.heir is not None else "no heir"]
    if planned.maintenance is not Maintenance.OFF:
        words.append("in maintenance")
    return ", ".join(words)


def _round(number: int, one: Round, width: int | None) -> str:
    head = f"{'then, ' if number else ''}if {_what(one.happenings)}:"
    rows = [(f"  {step.at / SECOND:8.3f} s", ", ".join(step.nodes) or "-", _said(step.group,
             step.kind, step.text)) for step in one.steps]
    return "\n".join([fold(head, width), *table(("", "", ""), rows, width).splitlines()[1:]])


def _said(group: str, kind: str, text: str) -> str:
    return f"{group}: {text}" if group and kind not in ("dark", "served") else text


def _what(happenings: tuple[Happening, ...]) -> str:
    return ", and ".join(one.text for one in happenings)


def _row(fate: Fate) -> tuple[str, ...]:
    dark = "never" if not fate.dark and fate.before and fate.after else (
        span(fate.dark / SECOND) if fate.after else "stays dark")
    return (fate.name, fate.before or "nowhere", fate.after or "nowhere", dark, fate.heir or "-")


def _verdict(foresight: Foresight) -> Iterator[str]:
    if foresight.broken:
        yield f"the simulation broke off, which is a bug of hamgr: {foresight.broken}"
    if foresight.differences:
        yield "the live state could not be reproduced"
    for fate in foresight.fates:
        yield _sentence(fate)


def _sentence(fate: Fate) -> str:
    if not fate.after:
        return f"{fate.name} stays down: {fate.why}"
    heir = "" if fate.heir else ", and has no heir then"
    if fate.stays:
        return f"{fate.name} stays on {fate.after}{heir}"
    dark = f", dark for {span(fate.dark / SECOND)}"
    if fate.before == fate.after:
        return f"{fate.name} comes back on {fate.after}{dark}{heir}"
    if not fate.before:
        return f"{fate.name} comes up on {fate.after}{heir}"
    return f"{fate.name} moves from {fate.before} to {fate.after}{dark if fate.dark else ''}{heir}"


def as_json(present: Present, foresight: Foresight) -> str:
    """Return the answer as one JSON object."""
    return msgspec.json.encode({
        "schema": SCHEMA, "cluster": present.cluster, "asked": present.asked, "at": present.at,
        "verdict": foresight.verdict, "differences": foresight.differences,
        "rounds": [_round_as_json(one) for one in foresight.rounds],
        "groups": [_fate_as_json(fate) for fate in foresight.fates],
        "assumptions": foresight.assumptions, "broken": foresight.broken}).decode()


def _round_as_json(one: Round) -> dict[str, Any]:
    return {"happenings": [{"kind": what.kind, "node": what.node} for what in one.happenings],
            "steps": [{"ms": round(step.at / MILLISECOND, 1), "nodes": step.nodes,
                       "group": step.group, "kind": step.kind, "text": step.text}
                      for step in one.steps]}


def _fate_as_json(fate: Fate) -> dict[str, Any]:
    return {"name": fate.name, "before": fate.before, "after": fate.after, "heir": fate.heir,
            "dark_ms": round(fate.dark / MILLISECOND, 1), "why": fate.why}
