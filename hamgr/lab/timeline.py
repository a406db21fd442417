"""How one failover or switchover went, put together from client, kernels and flight recorders.

All three stamp with CLOCK_MONOTONIC, which the namespaces of one machine share. The phases of a
failover follow each other without a gap, so they add up to the outage:

    detection     last reply to the old owner's first accusation by anybody
    evidence      … until the heir knows as many accusations as it acts on
    decision      … until the heir starts
    address       … until its kernel has the address
    first reply   … until the client is served

Those of a switchover likewise:

    stop          last reply until the old owner has stopped, verified
    word          … until the heir has heard `done` and starts
    address       … until its kernel has the address
    first reply   … until the client is served

The watcher of the kernels may be late. Then the address was there by the client's reply at the
latest, and by how much earlier it may have come is said.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from hamgr.core.reasons import Reason
from hamgr.core.types import MILLISECOND, Duration, Instant
from hamgr.lab.probe import Gap
from hamgr.lab.watch import Tenure

Entries = list[dict[str, Any]]
"""The newest entries of one agent's flight recorder, as its control socket gives them."""
_ACCUSATIONS = (Reason.ACCUSED, Reason.ACCUSED_BY)
_TOLD = (*_ACCUSATIONS, Reason.LAPSED, Reason.RELEASED, Reason.STOPPING, Reason.STOPPED,
         Reason.STARTING, Reason.ACTIVE, Reason.LEADING, Reason.PLANNED, Reason.ZOOKEEPER_DOWN,
         Reason.ZOOKEEPER_UP, Reason.WAITS_FOR_FENCE, Reason.FENCES, Reason.FENCED,
         Reason.FENCE_FAILED, Reason.NOT_SWITCHED_ON)
_WORTH_A_LINE_MS = 2.0
"""The watcher looks each millisecond, so as much as this tells of a machine too busy to let it."""


class Moment(Struct, frozen=True, kw_only=True):
    """Something that happened, counted from the last reply of the old owner."""

    ms: float
    node: str
    what: str


class Passage(Struct, frozen=True, kw_only=True):
    """The way of the VIP from one node to another."""

    outage_ms: float
    origin: str
    target: str
    phases: dict[str, float]
    """In milliseconds; empty where the recorders do not tell them."""
    timeline: tuple[Moment, ...]
    address_late_ms: float
    """The address came at most so much earlier than the timeline and the phases say."""


class Arrival(NamedTuple):
    """The address was on the node of the first reply by `at`, and not yet at `after`."""

    address: str
    at: Instant
    after: Instant

    @property
    def late(self) -> Duration:
        """How much earlier than `at` it may have come."""
        return self.at - self.after


class Told(Struct, frozen=True):
    """One line of an agent."""

    at: Instant
    node: str
    group: str
    reason: Reason
    facts: dict[str, Any]


def passage(gap: Gap, tenures: Iterable[Tenure], recorders: Mapping[str, Entries],
            cause: tuple[Instant, str]) -> Passage:
    """Put together how the VIP passed in this gap; `cause` is what was done, and when."""
    told = [one for one in reports(recorders) if min(gap.start, cause[0]) <= one.at <= gap.end]
    starts = [one.at for one in told if one.node == gap.after and one.reason is Reason.STARTING]
    address = arrival(gap, tenures, starts[-1] if starts else gap.start)
    moments = [(gap.start, gap.before, "last reply"), (cause[0], "", cause[1]),
               *((one.at, one.node, one.reason.sentence(one.facts)) for one in told),
               *([(address.at, gap.after, f"{address.address} is on")] if address else []),
               (gap.end, gap.after, "first reply")]
    return Passage(
        outage_ms=round(gap.ms, 2), origin=gap.before, target=gap.after,
        phases=_phases(gap, address, told, starts),
        timeline=tuple(Moment(ms=_ms(gap.start, at), node=node, what=what)
                       for at, node, what in sorted(moments, key=lambda moment: moment[0])),
        address_late_ms=round(address.late / MILLISECOND, 2) if address else 0.0)


def arrival(gap: Gap, tenures: Iterable[Tenure], start: Instant) -> Arrival | None:
    """Return when the address came that was replied from; not before its node began to take it."""
    one = next((one for one in tenures
                if one.node == gap.after and one.earliest <= gap.end < one.end), None)
    if one is None:
        return None
    at = min(one.begin, gap.end)
    return Arrival(one.address, at, min(at, max(one.earliest, start)))


def _phases(gap: Gap, address: Arrival | None, told: list[Told],
            starts: list[Instant]) -> dict[str, float]:
    if not starts or address is None:
        return {}
    before = _until_start(gap, told, starts[-1])
    after = {"address": address.at, "first reply": gap.end}
    ends = {**before, **after} if before else {}
    return {name: _ms(one, two)
            for (name, two), one in zip(ends.items(), [gap.start, *ends.values()], strict=False)}


def _until_start(gap: Gap, told: list[Told], start: Instant) -> dict[str, Instant]:
    """Return when each phase before the heir's start ended: after accusations, or a stop."""
    accused = [one for one in told if one.reason in _ACCUSATIONS
               and gap.before in (one.facts.get("peer"), one.facts.get("accused"))]
    if accused:
        known = [one.at for one in accused if one.node == gap.after and one.at <= start]
        return {"detection": accused[0].at, "evidence": max(known, default=accused[0].at),
                "decision": start}
    stopped = [one.at for one in told
               if one.node == gap.before and one.reason is Reason.STOPPED and one.at <= start]
    return {"stop": stopped[-1], "word": start} if stopped else {}


def reports(recorders: Mapping[str, Entries]) -> list[Told]:
    """Return the reports of all agents that tell of a failover, in the order of their times."""
    wanted = {reason.value: reason for reason in _TOLD}
    return sorted((Told(entry["at"], node, fields["group"], wanted[fields["reason"]],
                        fields["facts"])
                   for node, entries in recorders.items() for entry in entries
                   for name, fields in entry["effects"]
                   if name == "Report" and fields["reason"] in wanted),
                  key=lambda one: one.at)


def lines(passed: Passage) -> list[str]:
    """Return the timeline as a table, and the phases in one line."""
    shown = [f"{moment.ms:9.1f} ms  {moment.node:<4}{moment.what}" for moment in passed.timeline]
    if passed.phases:
        shown.append("  = " + "  ".join(f"{name} {ms:.1f}" for name, ms in passed.phases.items()))
    if passed.address_late_ms > _WORTH_A_LINE_MS:
        shown.append(f"  the address came up to {passed.address_late_ms:.1f} ms earlier than that: "
                     "the machine was too busy to see it at once")
    return shown


def _ms(start: Instant, at: Instant) -> float:
    return round((at - start) / MILLISECOND, 2)
