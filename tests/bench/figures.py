"""What a run comes to, from what the client and the kernels saw: the shape of build/bench.json.

Nothing here is asked of the system under test. Instants are nanoseconds of CLOCK_MONOTONIC.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from hamgr.core.types import MILLISECOND, Duration, Instant
from hamgr.lab.probe import SHORTEST_GAP, Acknowledged
from hamgr.lab.watch import Tenure, shared
from tests.bench.pulse import Standstill, still_between


class Run(Struct, frozen=True, kw_only=True):
    """One fault in one system, and what came of it. All times in milliseconds."""

    system: str
    interval_ms: float
    scenario: str
    run: int
    outage_ms: float
    """The longest time without a reply among those that began before the fault was mended."""
    down_ms: float
    """All times without a reply that were longer than 10 ms, from the fault until the system was
    ready again and had been looked at for a while."""
    two_owners_ms: float
    takeovers: int
    """How often the address came to another node than the one that had it last."""
    healed_down_ms: float
    """The part of down_ms that lies after the fault was mended."""
    served: bool
    """Whether the client was served when the fault was mended."""
    phases: dict[str, float] = {}
    """What the longest silence after which another node served was made of, where that can be told:
    the outage, unless the machine stood still for longer."""
    heartbeats_per_s: float | None = None
    """Heartbeats that a node sent in a second of the fault, on average; where they are counted."""
    still_ms: float = 0.0
    """How long the machine itself stood still in silences of more than 10 ms: not counted above."""
    busy_percent: float
    """Of all processors, by whatever ran on this machine from the fault to the end."""
    timeline: tuple[str, ...] = ()
    """What the nodes recorded of that silence."""


class System(Struct, frozen=True, kw_only=True):
    """What a system costs while nothing happens. Per node; the owner's, unless it says others."""

    system: str
    interval_ms: float
    cpu_percent: float
    """Of one core."""
    pss_mib: float
    """What the nodes of this one machine share, as libraries, is divided among them."""
    packets_per_s: float
    """Heartbeats sent."""
    packets_per_s_mean: float
    """The mean of all nodes."""
    cpu_percent_others: float
    """The mean of the nodes without the address."""
    rss_mib: float
    """The same with what is shared counted whole for each process: the most that it can come to on
    a machine of its own."""
    locked_mib: float
    """Memory that cannot be paged out (VmLck)."""
    all_packets_per_s: float
    """Everything that the owner's node sent: for hamgr with ZooKeeper's server and client."""
    seconds: float
    """How long it was looked at."""
    busy_percent: float
    """Of all processors, by whatever ran on this machine meanwhile."""
    zookeeper_writes: int | None = None
    """Transactions of the ensemble meanwhile; None: the system needs none."""


class Failure(Struct, frozen=True, kw_only=True):
    """A run that came to nothing."""

    system: str
    interval_ms: float
    scenario: str
    why: str


class Results(Struct, kw_only=True):
    """Everything that a benchmark measured."""

    schema: int = 1
    runs: list[Run] = []
    systems: list[System] = []
    failures: list[Failure] = []

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")
        fresh.replace(path)


class Silence(NamedTuple):
    """The client had no reply between two instants.

    The time in which the machine stood still is not counted: nobody could have replied.
    """

    start: Instant
    end: Instant
    still: Sequence[Standstill] = ()

    @property
    def length(self) -> Duration:
        """Its length."""
        return self.after(self.start)

    def after(self, instant: Instant) -> Duration:
        """Return the length of the part that lies after an instant."""
        start = max(self.start, instant)
        return max(0, self.end - start - still_between(self.still, start, self.end))


class Course(NamedTuple):
    """The instants of one run, in their order."""

    fault: Instant
    mended: Instant
    end: Instant


def silences(replies: Sequence[Acknowledged], since: Instant, end: Instant,
             still: Sequence[Standstill] = ()) -> list[Silence]:
    """Return what lay between replies and ended after an instant; the last one may go on to end."""
    times = [reply.at for reply in replies] + [end]
    return [Silence(one, two, [span for span in still if span.end > one and span.start < two])
            for one, two in pairwise(times) if two > since]


def still_ms(found: Collection[Silence]) -> float:
    """Return what was not counted of all silences that a client would have noticed."""
    return _ms(sum(one.end - one.start - one.length for one in found
                   if one.end - one.start > SHORTEST_GAP))


def outage_ms(found: Collection[Silence], course: Course) -> float:
    """Return the longest silence that began before the fault was mended."""
    return _ms(max((one.length for one in found if one.start < course.mended), default=0))


def down_ms(found: Collection[Silence], since: Instant = 0) -> float:
    """Return the sum of all silences that are longer than a client notices, or of what is after.

    A silence that a fault brings about begins before the instant of the fault, which is that by
    which everything had been done.
    """
    return _ms(sum(one.after(since) for one in found if one.length > SHORTEST_GAP))


def takeovers(tenures: Collection[Tenure], since: Instant) -> int:
    """Return how often, after an instant, the address came to another node than the last one."""
    ordered = sorted(tenures, key=lambda one: one.begin)
    return sum(two.begin > since and one.node != two.node for one, two in pairwise(ordered))


def two_owners_ms(tenures: Mapping[str, Sequence[Tenure]], dead: Mapping[str, Instant],
                  end: Instant) -> float:
    """Return for how long an address (the worst of them) was on two nodes.

    A node without power has no address from that instant on, whenever the lab gets round to taking
    its interfaces away.
    """
    return _ms(max(shared(list(_living(found, dead)), end) for found in tenures.values()))


def _living(tenures: Sequence[Tenure], dead: Mapping[str, Instant]) -> Iterator[Tenure]:
    for tenure in tenures:
        at = dead.get(tenure.node)
        died = at is not None and tenure.begin < at < tenure.end
        yield tenure._replace(end=at) if at is not None and died else tenure


def _ms(duration: Duration) -> float:
    return round(duration / MILLISECOND, 2)
