"""A plan in the making, with all that its transaction must check and write (rules 16, 17)."""

from msgspec.structs import replace

from hamgr.core.heartbeat import Heartbeat
from hamgr.core.knowledge import Knowledge
from hamgr.core.records import GroupPlan, Plan, Request, Right, Seat
from hamgr.core.types import NEVER, GroupName, Instant, Maintenance, NodeName, SeatState
from hamgr.leader.situation import Places

LIVING = (SeatState.CLAIMED, SeatState.MEMBER)


class Draft:
    """A plan in the making, with the seats that its transaction checks and writes."""

    def __init__(self, knowledge: Knowledge, own: Heartbeat, led_since: Instant,
                 now: Instant) -> None:
        assert knowledge.plan is not None
        self.knowledge = knowledge
        self.own = own
        self.led_since = led_since
        self.acked_at: Instant = now
        """When every living node was first heard to have read the present plan."""
        self.now = now
        self.plan: Plan = replace(knowledge.plan, groups=dict(knowledge.plan.groups))
        """Its groups are this draft's own until it is written."""
        self.checks: dict[NodeName, int] = {}
        """Seats that must still be at this version."""
        self.seats: dict[NodeName, tuple[Seat, int]] = {}
        """Seats that are written, with the version that must be there."""
        self._living: set[NodeName] = set()  # who cannot be declared dead, by what is known now
        self.requests: dict[str, Request] = {}
        """Requests that are answered or made definite."""
        self.vouched: dict[NodeName, None] = {}
        """Nodes that are down by an operator's word: nobody waits for their rights."""
        self.lines: list[str] = []
        self.places = Places(knowledge, lambda: self.plan, self.says, now)
        self.wake: Instant = NEVER
        """When the same question may have another answer, without any event."""

    def says(self, node: NodeName) -> Heartbeat | None:
        """Return a node's newest word on itself, if it is heard."""
        mine = node == self.knowledge.node
        return self.own if mine else self.knowledge.liveness.says(node, self.now)

    def has_read(self, node: NodeName) -> bool:
        """Tell whether a node is heard to have read the plan as it stands in ZooKeeper."""
        heartbeat = self.says(node)
        return heartbeat is not None and heartbeat.revision >= self.knowledge.revision

    def wake_at(self, at: Instant) -> None:
        """Ask to be asked again at this instant."""
        self.wake = min(self.wake, at)

    def set_group(self, name: GroupName, group: GroupPlan, line: str) -> GroupPlan:
        """Put a changed group into the plan, with the line that says why."""
        self.lines.append(f"{name}: {line}")
        self.plan.groups[name] = changed = replace(group, why=line)
        return changed

    def answer(self, request: Request, state: str, why: str) -> None:
        """Answer an operator's request."""
        self.requests[request.id] = replace(request, state=state, why=why)

    def check_seat(self, node: NodeName) -> bool:
        """Make the transaction depend on a seat as it was read; False if it never was."""
        seen = self.knowledge.seats.get(node)
        if seen is None:
            return False
        self.checks[node] = seen.version
        return True

    def is_out(self, right: Right, group: GroupName, maintenance: Maintenance) -> bool:
        """Tell whether a right can certainly not be used any more (rule 17)."""
        knowledge = self.knowledge
        if maintenance is Maintenance.ON:
            return False
        if maintenance is Maintenance.ENDING:
            # Only its node's own word counts, whichever incarnation speaks it (rule 22).
            if right.node == self.own.sender:
                return self._own_done(right, group)
            incarnation, done = knowledge.dones.get((right.node, group), (0, 0))
            return incarnation >= right.incarnation and done >= right.epoch
        return (self.is_done(right, group) or knowledge.ended_by_seat(right)
                or self.declare_dead(right.node))

    def is_done(self, right: Right, group: GroupName) -> bool:
        """Tell whether a right's owner said `done` for it; we may be that owner."""
        if right.node == self.own.sender:
            return right.incarnation == self.own.incarnation and self._own_done(right, group)
        return self.knowledge.said_done(right, group)

    def _own_done(self, right: Right, group: GroupName) -> bool:
        word = self.own.word(group)
        return word is not None and word.done >= right.epoch

    def declare_dead(self, node: NodeName) -> bool:
        """Write a node's seat `dead` if its round is blocked; False if it cannot be relied on."""
        if node in self.seats:
            return self.seats[node][0].state is SeatState.DEAD
        if node not in self._living and self._declare(node):
            return True
        self._living.add(node)
        return False

    def _declare(self, node: NodeName) -> bool:
        knowledge, seen = self.knowledge, self.knowledge.seats.get(node)
        if node == knowledge.node or seen is None or seen.seat.state not in LIVING:
            return False
        # Only those count whose seats the transaction can check.
        accusers = [one for one in knowledge.blocked_for_plan(node, seen.seat.life, self.now)
                    if one in knowledge.seats]
        if not knowledge.electorate.blocks(node, accusers):
            return False
        if seen.seat.state is SeatState.CLAIMED:
            abandoned = seen.since + knowledge.timing.claim_abandoned
            if self.now < abandoned:
                self.wake_at(abandoned)
                return False
        for voter in accusers:
            self.check_seat(voter)
        why = f"blocked, accused by {', '.join(accusers)}"
        dead = replace(seen.seat, state=SeatState.DEAD, by=knowledge.node, why=why)
        self.seats[node] = (dead, seen.version)
        self.lines.append(f"{node}: {why}")
        return True
