"""A second, plain computation of each node's lease, from what the world saw (rules 4 and 6).

It credits the engine with everything that could extend its lease, so its deadline is an upper
bound: a node at work beyond it has no leave to be, whatever the node itself believes.
"""

from hamgr.core.effects import Write
from hamgr.core.events import Event, HeartbeatReceived, WriteAnswered
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.records import Seat, seat_path
from hamgr.core.timing import Timing
from hamgr.core.types import NO_LIFE, Duration, Instant, NodeName, Outcome, SeatState


class LeaseTwin:
    """One node's lease on its own clock."""

    def __init__(self, node: NodeName, timing: Timing) -> None:
        self._node = node
        self._timing = timing
        self._life = NO_LIFE
        self._leases: list[tuple[Instant, Duration]] = [(0, timing.lease)]
        """(since, length): what a heartbeat named is good for its credit (rule 24)."""
        self._credits: dict[NodeName, Instant] = {}
        """Until when each is good."""
        self._renewals: dict[int, tuple[Instant, bool]] = {}
        """Writes of the own seat under way: (sent, to `claimed`)."""
        self._claim_until: Instant = 0

    @property
    def lease(self) -> Duration:
        """The lease length that its heartbeats name."""
        return self._leases[-1][1]

    def reborn(self) -> None:
        """A new life begins with nothing."""
        self._life = NO_LIFE
        self._leases = [(0, self.lease)]
        self._credits.clear()
        self._renewals.clear()
        self._claim_until = 0

    def sent(self, heartbeat: Heartbeat) -> None:
        """The node sent a heartbeat: it says for which round it wants credits."""
        if heartbeat.life != self._life:
            self._life = heartbeat.life
            self._credits.clear()
        if heartbeat.lease != self.lease:
            self._leases.append((heartbeat.sent, heartbeat.lease))

    def write_sent(self, write: Write, now: Instant) -> None:
        """The node sent a transaction; one that turns its seat to `member` ends its claim."""
        for op in write.ops:
            if op.path == seat_path(self._node) and isinstance(op.record, Seat):
                claims = op.record.state is SeatState.CLAIMED
                self._renewals[write.write] = (now, claims)
                if not claims:
                    self._claim_until = 0

    def seen(self, event: Event) -> None:
        """The node was handed an event."""
        if isinstance(event, HeartbeatReceived):
            echo = event.heartbeat.echo
            if echo is not None and echo.credited and echo[:2] == self._life:
                sender = event.heartbeat.sender
                since, length = self._leases[-1]
                if echo.sent < since:
                    length = next(length for since, length in reversed(self._leases)
                                  if since <= echo.sent)
                self._credits[sender] = max(self._credits.get(sender, 0), echo.sent + length)
        elif isinstance(event, WriteAnswered):
            sent, claims = self._renewals.pop(event.write, (0, False))
            if claims and event.outcome is Outcome.DONE:
                self._claim_until = max(self._claim_until, sent + self._timing.claim_good)

    def deadline(self, voters: tuple[NodeName, ...]) -> Instant:
        """Return until when the lease is good at best, with these voters."""
        majority = len(voters) // 2 + 1
        needed = majority - 1 if self._node in voters else majority
        good = sorted((self._credits[name] for name in voters
                       if name in self._credits and name != self._node), reverse=True)
        if needed == 0:
            return 2**61
        credit_until = good[needed - 1] if len(good) >= needed else 0
        return max(credit_until, self._claim_until)

    def on_claim(self, now: Instant) -> bool:
        """Whether a claim is good at this time."""
        return self._claim_until > now
