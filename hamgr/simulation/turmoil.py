"""The faults of one run: who is struck, what is undone when, and how peace is made.

A target may be a part that somebody plays; who plays it is found when the fault strikes, so that
a schedule keeps its meaning while it is made smaller.
"""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from hamgr.core.effects import Op
from hamgr.core.records import LEADER, PLAN, REQUESTS, Leader, Plan, Request, Seat, seat_path
from hamgr.core.types import MILLISECOND, SECOND, GroupName, Maintenance, NodeName, Outcome
from hamgr.simulation.faults import KINDS, RESTART, Undo
from hamgr.simulation.scenario import Fault
from hamgr.simulation.service_conduct import may_block
from hamgr.simulation.wellness import Wellness
from hamgr.simulation.zookeeper import Commit

if TYPE_CHECKING:
    from hamgr.simulation.world import World

ELECTION_OVER = 5 * SECOND


class Turmoil:
    """The faults of one run: strikes them, undoes them in time, and ends them all for peace."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.cast: dict[str, NodeName] = {}
        self._rng = world.rng("faults")
        self.wellness = Wellness(world)
        self._undo: dict[int, Undo] = {}
        self._waiting: list[Fault] = []
        self._requests = 0
        self._dead: list[NodeName] = []

    def schedule(self) -> None:
        """Plan every fault of the scenario."""
        self.world.scheduler.after(self.world.scenario.settle, self.wellness.watch)
        for fault in self.world.scenario.faults:
            if fault.at < self.world.scenario.peace_at:
                self.world.scheduler.at(fault.at, self._begin, fault)

    def end(self) -> None:
        """Make peace: mend everything, start everything but what is to stay dead."""
        world = self.world
        self._waiting.clear()
        stay_dead = self._who_stays_dead()
        for name in stay_dead:
            world.hosts[name].dead_for_good = True
        for number in list(self._undo):
            self._mend(number)
        world.network.heal()
        world.zookeeper_cuts.clear()
        self._requests_for_peace()
        for host in world.hosts.values():
            host.wake()
            host.thaw()
            host.boot()
            world.scheduler.after(RESTART, host.start_agent)
        world.note("", f"PEACE, dead: {', '.join(stay_dead) or 'nobody'}")
        world.ensemble.reconsider()

    def find(self, part: str, group: GroupName = "g1") -> NodeName:
        """Return who plays a part now; empty if nobody does."""
        names = list(self.world.hosts)
        if part in names:
            return part
        if part.startswith("@"):
            return self.cast.get(part[1:], "")
        plan = self.plan()
        planned = plan.groups.get(group) if plan is not None else None
        holder = planned.holder.node if planned and planned.holder else ""
        active = [name for name in names if self.world.hosts[name].active(group)]
        if active and holder not in active:
            holder = active[0]
        heir = planned.heir.node if planned and planned.heir else ""
        if part == "holder":
            return holder
        if part == "heir":
            return heir
        if part == "leader":
            leader = self.world.ensemble.tree.get(LEADER)
            return leader.record.node if leader and isinstance(leader.record, Leader) else ""
        if part == "voter":
            names = [name for name in names if name not in (holder, heir)]
        return self._rng.choice(names) if names else ""

    def plan(self) -> Plan | None:
        """Return the plan as committed."""
        stored = self.world.ensemble.tree.get(PLAN)
        return stored.record if stored and isinstance(stored.record, Plan) else None

    def crashed(self, node: NodeName) -> None:
        """Remember the order in which machines died."""
        self._dead.append(node)

    def ask(self, request: Request) -> bool:
        """An operator asks for something; tell whether ZooKeeper took it."""
        self._requests += 1
        name = f"r{self._requests}"
        record = replace(request, id=name, by="operator")
        what = " ".join(word for word in (record.kind, record.group, record.node,
                                          ",".join(record.voters)) if word)
        return self.write(Op(kind="create", path=f"{REQUESTS}/{name}", record=record),
                          f"asks {what}")

    def is_asked_for(self, kind: str, node: NodeName) -> bool:
        """Tell whether an operator has asked for this, lately enough that it is still known."""
        return any(isinstance(stored.record, Request) and stored.record.kind == kind
                   and stored.record.node == node for stored in self.world.ensemble.tree.values())

    def write(self, op: Op, what: str) -> bool:
        """An operator's client writes; tell whether ZooKeeper took it."""
        world = self.world
        server = world.ensemble.leader
        outcome = Outcome.REFUSED
        if server is not None:
            outcome, _ = world.ensemble.transact(server, "operator", (op,))
        world.note("", f"operator {what}: {outcome.value}")
        return outcome is Outcome.DONE

    def committed(self, commit: Commit) -> None:
        """A transaction was written: faults that wait for such a one strike."""
        for fault in [fault for fault in self._waiting if self._awaited(fault, commit)]:
            self._waiting.remove(fault)
            self.world.scheduler.after(0, self._strike, fault)

    def _awaited(self, fault: Fault, commit: Commit) -> bool:
        state, _, part = fault.when.partition(" ")
        seat = seat_path(self.find(part)) if part else ""
        return any(path == fault.when
                   or (isinstance(stored.record, Seat) and stored.record.state.value == state
                       and seat in ("", path))
                   for path, stored in commit.changed)

    def _begin(self, fault: Fault) -> None:
        if fault.when:
            self._waiting.append(fault)
        else:
            self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        target = self.find(fault.target) if fault.target else ""
        if fault.target and not target:
            return
        peer = self.find(fault.peer) if fault.peer else ""
        if fault.peer and not peer:
            return
        self.world.reached[f"fault {fault.kind}"] += 1
        self.world.note("", _told(fault, target, peer))
        number = self.wellness.begins(fault, target, peer)
        undo = KINDS[fault.kind](self, fault, target, peer)
        if undo is None:
            self.wellness.ends(number)
            return
        self._undo[number] = undo
        if fault.duration:
            self.world.scheduler.after(fault.duration, self._mend, number)

    def _mend(self, number: int) -> None:
        undo = self._undo.pop(number, None)
        if undo is not None:
            undo()
            self.wellness.ends(number)

    def _who_stays_dead(self) -> list[NodeName]:
        world = self.world
        dead = [name for name in dict.fromkeys(reversed(self._dead))
                if not world.hosts[name].powered]
        plan = self.plan()
        voters = plan.voters.names if plan is not None else world.spec.voters
        spare = (len(voters) - 1) // 2
        runners = [node.name for node in world.spec.nodes if not node.witness]
        chosen: list[NodeName] = []
        for name in dead[:min(world.scenario.stay_dead, spare)]:
            if any(other not in (*chosen, name) for other in runners):
                chosen.append(name)
        return chosen

    def _requests_for_peace(self) -> None:
        # An election may be going on: operators ask again until ZooKeeper takes it.
        for node in self.world.hosts:
            self.world.scheduler.after(ELECTION_OVER, self._resume, node)
        for name, host in self.world.hosts.items():
            if host.dead_for_good:
                self.world.scheduler.after(ELECTION_OVER, self._vouch, name)
        for group in self.world.spec.groups:
            self.world.scheduler.after(ELECTION_OVER, self._end_maintenance, group.name)
            if may_block(group):
                self.world.scheduler.after(ELECTION_OVER, self._clear, group.name)

    def _resume(self, node: NodeName) -> None:
        plan = self.plan()
        if plan is not None and node in plan.standby and not self.ask(
                Request(id="", kind="resume", node=node)):
            self.world.scheduler.after(ELECTION_OVER, self._resume, node)

    def _vouch(self, node: NodeName) -> None:
        if not self.ask(Request(id="", kind="down", node=node)):
            self.world.scheduler.after(ELECTION_OVER, self._vouch, node)

    def _clear(self, group: GroupName) -> None:
        if not self.ask(Request(id="", kind="clear", group=group)):
            self.world.scheduler.after(ELECTION_OVER, self._clear, group)

    def _end_maintenance(self, group: GroupName) -> None:
        plan = self.plan()
        planned = plan.groups.get(group) if plan is not None else None
        if planned is not None and planned.maintenance is not Maintenance.OFF and not (
                self.ask(Request(id="", kind="maintenance-off", group=group, confirmed=True))):
            self.world.scheduler.after(ELECTION_OVER, self._end_maintenance, group)


def _told(fault: Fault, target: NodeName, peer: NodeName) -> str:
    words = [fault.kind, target, f"to {peer}" if peer else "",
             f"for {fault.duration / MILLISECOND:.0f} ms" if fault.duration else "",
             f"({fault.amount:g})" if fault.amount else ""]
    return "FAULT " + " ".join(word for word in words if word)
