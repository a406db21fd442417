"""When heartbeats are due: once an interval, with the holder's, and at once as an answer."""

from hamgr.core.heartbeat import Heartbeat
from hamgr.core.records import Plan
from hamgr.core.types import Duration, Instant, NodeName

ON_A_CLAIM = ("claimed", "settling")


class Beat:
    """The rhythm of one node.

    Theory. A voter answers a holder's heartbeat at once. If it beats at that very moment, its own
    heartbeat is the answer: one datagram and one wake-up less at either end. So it falls in with
    the holder, and waits a little longer for the next one than the holder does, to hear that first.
    Its heartbeats are half an interval apart at least: a holder between them is answered.
    """

    def __init__(self, now: Instant) -> None:
        self.next: Instant = now
        self._last: Instant = now
        self._patience: Duration = 0

    def follow(self, now: Instant, interval: Duration) -> bool:
        """Take in that a holder beats; tell whether our own is due with it, or drawn nearer."""
        since = now - self._last
        follows = since >= interval // 2
        if follows:
            self.next, self._patience = now, interval // 16
        elif since >= interval // 8:
            self.next = min(self.next, now + interval // 2)
        else:
            self.next = now + interval + interval // 16
        return follows

    def pass_by(self, now: Instant, interval: Duration) -> None:
        """Take in that the next one is sent now."""
        late = now - self.next
        self.next += interval * (1 + late // interval) + self._patience
        self._last, self._patience = now, 0


def wants_answer(heartbeat: Heartbeat, plan: Plan | None, own: NodeName) -> bool:
    """Tell whether a sender is answered at once: who has a right, or is about to need credits.

    So short a lease rests on fresh credits (PROTOCOL: Times). An heir needs none of its holder's
    (`own`; none while heartbeats are lost): it has to go on without them, when that is silent.
    """
    pairs = ((one.holder and one.holder.node, one.heir and one.heir.node)
             for one in (plan.groups.values() if plan is not None else ()))
    return heartbeat.seat in ON_A_CLAIM or any(
        holder == heartbeat.sender or (heir == heartbeat.sender and holder != own)
        for holder, heir in pairs)


def sets_beat(node: NodeName, plan: Plan | None) -> bool:
    """Tell whether we beat with a node: the first by name of those that hold a group."""
    holders = [group.holder.node for group in plan.groups.values() if group.holder] if plan else []
    return node == min(holders, default="")
