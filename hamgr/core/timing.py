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
    def comfortable(self) -> Duration:
        """Lease that must be left through ten intervals before a claim is given up (rule 7)."""
        return self.lease * 3 // 10


def detection_for(lease: Duration) -> Duration:
    """Return the shortest detection that is safe against a lease of this length (rule 24)."""
    return lease * 12 // 10 + 10 * MILLISECOND


def lease_within(detection: Duration) -> Duration:
    """Return the longest lease that is safe with a detection of this length (rule 24)."""
    return (detection - 10 * MILLISECOND) * 10 // 12


def timing_faults(timing: Timing) -> list[tuple[str, str]]:
    """Return each broken inequality as (name of the time, what it must be)."""
    lease, detection, claim = _ms(timing.lease), _ms(timing.detection), _ms(timing.claim)
    shortest, five = detection_for(timing.lease), 5 * timing.detection
    inequalities = (
        ("interval", timing.interval >= 5 * MILLISECOND, "interval must be at least 5ms"),
        ("lease", timing.lease >= 2 * timing.interval,
         f"lease ({lease}) must be at least two intervals ({_ms(2 * timing.interval)})"),
        ("detection", timing.detection >= shortest,
         f"detection ({detection}) must be at least 1.2 x lease + 10ms ({_ms(shortest)})"),
        ("claim", timing.claim >= five,
         f"claim ({claim}) must be at least five times detection ({_ms(five)})"))
    return [(name, what) for name, holds, what in inequalities if not holds]


def _ms(duration: Duration) -> str:
    return f"{duration / MILLISECOND:g}ms"
