"""All durations of the protocol, and the inequalities between them that safety rests on."""

import msgspec

from hamgr.core.types import MILLISECOND, SECOND, Duration


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The four times of the protocol, in nanoseconds (PROTOCOL: Words, Times)."""

    interval: Duration = 100 * MILLISECOND
    """Between two heartbeats to the same peer."""
    lease: Duration = 280 * MILLISECOND
    """How old the credits may be on which a node runs anything exclusive."""
    detection: Duration = 350 * MILLISECOND
    """Silence after which a voter accuses. 3.5 intervals: never near a multiple of the interval,
    or ordinary loss would accuse on jitter."""
    claim: Duration = 2 * SECOND
    """How long a claim in ZooKeeper may stand unrenewed before it is taken for abandoned."""

    @property
    def claim_good(self) -> Duration:
        """Its owner trusts a claim this long after sending its last answered renewal (rule 6)."""
        return self.claim * 9 // 10

    @property
    def claim_abandoned(self) -> Duration:
        """A leader must have seen one seat version for this long to overrule a claim (rule 17)."""
        return self.claim * 11 // 10

    @property
    def claim_renewal(self) -> Duration:
        """Between two renewals of a claim (rule 6)."""
        return self.claim // 4

    @property
    def voter_warmup(self) -> Duration:
        """A voter that restarted has forgotten whom it accused: it credits nobody yet (rule 2)."""
        return self.detection * 22 // 10

    @property
    def comfortable(self) -> Duration:
        """Lease that must be left through ten intervals before a claim is given up (rule 7)."""
        return self.lease * 3 // 10


def times_for(interval: Duration) -> Timing:
    """Return the times that follow from a heartbeat interval: lease 2.8, detection 3.5 of it.

    Below 100 ms, detection grows to keep its 10 ms of room for the dead-man's switch.
    """
    lease = interval * 28 // 10
    detection = max(interval * 35 // 10, detection_for(lease))
    return Timing(interval=interval, lease=lease, detection=detection)


def detection_for(lease: Duration) -> Duration:
    """Return the shortest detection that is safe against a lease of this length (rule 24)."""
    return lease * 12 // 10 + 10 * MILLISECOND


def timing_faults(timing: Timing) -> list[tuple[str, str]]:
    """Return each broken inequality as (name of the time, sentence with the remedy)."""
    faults: list[tuple[str, str]] = []
    shortest = detection_for(timing.lease)
    if timing.interval < 5 * MILLISECOND:
        faults.append(("interval", "interval must be at least 5ms: below it the scheduling of an "
                       "ordinary kernel alone would lose leases"))
    if timing.lease < 2 * timing.interval:
        faults.append(("lease", f"lease ({_ms(timing.lease)}) must be at least two intervals "
                       f"({_ms(2 * timing.interval)}), or one lost heartbeat stops everything; "
                       f"raise lease or lower interval"))
    if timing.detection < shortest:
        faults.append(("detection", f"detection ({_ms(timing.detection)}) must be at least 1.2 x "
                       f"lease + 10ms ({_ms(shortest)}), because an heir acts when detection has "
                       f"passed and the old owner must have lost its lease by then, also with a "
                       f"clock that is slewed; raise detection or lower lease"))
    if timing.claim < 5 * timing.detection:
        faults.append(("claim", f"claim ({_ms(timing.claim)}) must be at least five times "
                       f"detection ({_ms(5 * timing.detection)}), because it is renewed through "
                       f"ZooKeeper, which may need an election meanwhile; raise claim"))
    return faults


def _ms(duration: Duration) -> str:
    return f"{duration / MILLISECOND:g}ms"
