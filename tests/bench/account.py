"""From everything that was seen of one fault to the figures of the run."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hamgr.core.types import MILLISECOND, Instant
from hamgr.lab.probe import Gap, Record
from hamgr.lab.spec import VIP
from hamgr.lab.timeline import Passage, arrival, lines, passage
from hamgr.lab.watch import Tenure
from tests.bench.figures import (
    Course,
    Run,
    down_ms,
    outage_ms,
    silences,
    still_ms,
    takeovers,
    two_owners_ms,
)
from tests.bench.pulse import Standstill
from tests.bench.settings import Setting

Recorders = dict[str, list[dict[str, Any]]]
"""The newest entries of each node's flight recorder, taken when the client was served anew."""


class Observed(NamedTuple):
    """What client, kernels, recorders and switch saw."""

    course: Course
    dead: Mapping[str, Instant]
    """Nodes without power, and since when."""
    served: bool
    """Whether the client was served when the fault was mended."""
    seen: Record
    tenures: Mapping[str, list[Tenure]]
    """By address."""
    recorders: Recorders
    heartbeats_per_s: float | None
    busy_percent: float
    still: Sequence[Standstill] = ()
    """When the machine itself stood still."""


def account(setting: Setting, scenario: str, number: int, observed: Observed) -> Run:
    """Return the figures of a run."""
    course, seen = observed.course, observed.seen
    found = silences(seen.in_time, course.fault, course.end, observed.still)
    gap = _passing(seen, course)
    passed = gap and passage(gap, observed.tenures[VIP], observed.recorders,
                             (course.fault, "fault"))
    return Run(
        system=setting.system, interval_ms=setting.interval_ms, scenario=scenario, run=number,
        outage_ms=outage_ms(found, course), down_ms=down_ms(found),
        healed_down_ms=down_ms(found, course.mended), served=observed.served,
        two_owners_ms=two_owners_ms(observed.tenures, observed.dead, course.end),
        takeovers=takeovers(observed.tenures[VIP], course.fault),
        phases=_phases(gap, passed, observed.tenures[VIP]) if gap and passed else {},
        timeline=tuple(lines(passed)) if passed and observed.recorders else (),
        heartbeats_per_s=observed.heartbeats_per_s, busy_percent=observed.busy_percent,
        still_ms=still_ms(found))


def _passing(seen: Record, course: Course) -> Gap | None:
    """Return the longest silence before the fault was mended after which another node served.

    The longest of all may be another one: a machine that stood still for some milliseconds keeps a
    client waiting longer than a switchover does.
    """
    return max((gap for gap in seen.gaps(course.fault, longer_than=0)
                if gap.start < course.mended and gap.before != gap.after),
               key=lambda gap: gap.ms, default=None)


def _phases(gap: Gap, passed: Passage, tenures: list[Tenure]) -> dict[str, float]:
    """Take an outage apart: as the recorders tell, or into the two phases that the kernels tell of.

    The latter also where what led to the outage began before the client noticed: then the phases
    of the recorders do not add up to it.
    """
    if passed.phases and min(passed.phases.values()) >= 0:
        return passed.phases
    address = arrival(gap, tenures, gap.start)
    if address is None or address.at <= gap.start:
        return {}
    return {"until the address": round((address.at - gap.start) / MILLISECOND, 2),
            "first reply": round((gap.end - address.at) / MILLISECOND, 2)}
