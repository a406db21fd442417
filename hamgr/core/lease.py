"""The lease: credits and a claim make one deadline (rules 4, 6, 24)."""

from hamgr.core.electorate import Electorate
from hamgr.core.types import NEVER, Duration, Instant, NodeName


class Lease:
    """How long a node may run anything exclusive in its present round."""

    def __init__(self, length: Duration) -> None:
        self.length = length
        """What our heartbeats name."""
        self._named: list[tuple[Instant, Duration]] = [(0, length)]  # since when, and how long
        self._credits: dict[NodeName, Instant] = {}
        self.claim_deadline: Instant = 0
        """Until when the claim is good; 0 without one: then we live on credits alone (rule 7)."""
        self._computed: tuple[Electorate, Instant] | None = None
        """The credits' deadline, until a credit or the electorate changes it."""

    def set_length(self, length: Duration, now: Instant) -> None:
        """Use another lease length for heartbeats sent from now on (rule 24)."""
        self.length = length
        self._named.append((now, length))

    def begin_round(self) -> None:
        """Forget all credits and the claim: they die with their round."""
        self._credits.clear()
        self.claim_deadline = 0
        self._computed = None

    def credit(self, voter: NodeName, sent: Instant) -> None:
        """Take in a credit, named by the send time of our heartbeat on our own clock.

        It lasts for the lease that the heartbeat named, no longer (rule 24).
        """
        expiry = sent + next(length for since, length in reversed(self._named) if sent >= since)
        if expiry > self._credits.get(voter, 0):
            self._credits[voter] = expiry
            self._computed = None

    def claim_until(self, until: Instant) -> None:
        """Trust the claim until then; answers may come out of order, so it only grows."""
        self.claim_deadline = max(self.claim_deadline, until)

    def credit_deadline(self, electorate: Electorate, node: NodeName) -> Instant:
        """Until when credits make a majority of voters with ourselves."""
        if self._computed is None or self._computed[0] is not electorate:
            self._computed = (electorate, self._compute(electorate, node))
        return self._computed[1]

    def _compute(self, electorate: Electorate, node: NodeName) -> Instant:
        needed = electorate.credits_needed(node)
        if needed <= 0:
            return NEVER
        expiries = sorted((self._credits.get(voter, 0) for voter in electorate.names
                           if voter != node), reverse=True)
        return expiries[needed - 1] if len(expiries) >= needed else 0

    def deadline(self, electorate: Electorate, node: NodeName) -> Instant:
        """Until when the lease is valid, by credits or by claim."""
        return max(self.claim_deadline, self.credit_deadline(electorate, node))

    def creditors(self, now: Instant) -> tuple[NodeName, ...]:
        """Return the voters whose credits have not run out."""
        return tuple(voter for voter, expiry in self._credits.items() if expiry > now)
