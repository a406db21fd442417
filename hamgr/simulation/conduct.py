"""What a single node may say and do, judged by what the world knows beside it.

Whoever says that a group is down here must be right (rules 4, 11); nobody is accused of whom a
heartbeat lies unread (rule 8); maintenance moves nothing (rule 22); the lead is taken from those
only who lost it (rule 15); nobody is fenced under a right that holds (rule 13); and no group is put
where operators do not want it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hamgr.core import effects as fx
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.records import LEADER, UNPLANNED, Leader, Plan, Right, Seat, seat_path
from hamgr.core.types import (
    NO_LIFE,
    SECOND,
    Duration,
    GroupName,
    Instant,
    Life,
    Maintenance,
    NodeName,
    SeatState,
)
from hamgr.simulation.service_conduct import ServiceConduct
from hamgr.simulation.services import LOOKS
from hamgr.simulation.tie_conduct import TieConduct
from hamgr.simulation.zookeeper import MISSING, Commit

if TYPE_CHECKING:
    from hamgr.simulation.host import Host
    from hamgr.simulation.world import World

KNOWN_AFTER: Duration = 3 * SECOND
"""What a node says of itself may be acted upon for so long after: a write may be on its way."""

Violate = Callable[[str, str], None]


class Conduct:
    """Watches every node by itself."""

    def __init__(self, world: "World", violate: Violate) -> None:
        self._world = world
        self._violate = violate
        self._plan: Plan | None = None
        self._leader: Leader | None = None
        self._accused_by: dict[NodeName, dict[NodeName, Life]] = {}
        """Whom each node has accused, and up to which life."""
        self._lives: dict[NodeName, tuple[Life, Life, Instant]] = {}
        """Of each seat: its life, the one before, and when that ended."""
        self._unsound_at: dict[NodeName, Instant] = {}
        self._loose: dict[tuple[NodeName, GroupName], bool] = {}
        """Where a node has disarmed for maintenance."""
        self._rebooted: dict[NodeName, None] = {}
        self.services = ServiceConduct(world, violate)
        self._ties = TieConduct(world, violate)
        self._taken_fairly: dict[tuple[NodeName, int], None] = {}
        """Who asked for the lead, in which term, when its leader had lost it."""

    def reborn(self, host: "Host") -> None:
        """A new engine begins on a host: what was left in place for maintenance must still be."""
        for group in self._world.watch.groups():
            if self._loose.get((host.name, group)) and self._is_maintained(group) and (
                    host.name not in self._rebooted and group not in host.disk.maintenance):
                self._violate("maintenance", f"{host.name} was restarted and cleaned {group} away, "
                                             "which is in maintenance")
        self._rebooted.pop(host.name, None)
        self._accused_by[host.name] = {}
        for group in self._world.watch.groups():
            self._loose[host.name, group] = group in host.disk.maintenance

    def lost(self, host: "Host") -> None:
        """What was in place on a host is gone."""
        self._rebooted[host.name] = None

    def sent(self, host: "Host", heartbeat: Heartbeat) -> None:
        """An engine sent a heartbeat."""
        if not heartbeat.sound:
            self._unsound_at[host.name] = self._world.now
        for word in heartbeat.groups:
            if word.done and not word.epoch and host.active(word.group):
                self._violate("done", f"{host.name} says done for {word.group} while it runs there")
        if heartbeat.lapsed and heartbeat.parts == 1:
            spoken = [word.group for word in heartbeat.groups if word.epoch]
            for group in self._world.watch.groups():
                if group not in spoken and host.active(group):
                    self._violate("done", f"{host.name} lapsed and is silent on {group}, "
                                          "which runs there")
        self._ties.sent(heartbeat)
        accused = self._accused_by.setdefault(host.name, {})
        if heartbeat.accusations:
            assert host.agent is not None
            for one in heartbeat.accusations:
                if one.life > accused.get(one.node, NO_LIFE):
                    accused[one.node] = one.life
                    # A machine that was paused cannot know that time has passed without it.
                    if host.woken_at != self._world.now and (
                            (one.node, one.incarnation) in host.agent.unread()):
                        self._violate("hasty", f"{host.name} accuses {one.node}, "
                                               "of which a heartbeat lies unread")

    def write_sent(self, host: "Host", write: fx.Write) -> None:
        """An engine sent a transaction, which may be long on its way.

        It is looked at when the engine has said all that it has to say in this instant.
        """
        for op in write.ops:
            if isinstance(op.record, Leader):
                self._world.scheduler.after(0, self._take_sent, host.name, op.record.term)

    def _take_sent(self, node: NodeName, term: int) -> None:
        if self._leader is not None and self._lost_it(self._leader):
            self._taken_fairly[node, term] = None

    def does(self, host: "Host", effect: fx.Effect) -> None:
        """An engine wants something done."""
        if isinstance(effect, fx.RunService):
            self.services.does(host, effect)
        if isinstance(effect, fx.ClaimAddresses | fx.RunService):
            self._ties.does(host, effect)
        if isinstance(effect, fx.LoosenAddresses):
            self._loose[host.name, effect.group] = True
        elif isinstance(effect, fx.TightenAddresses) or (
                isinstance(effect, fx.KeepMaintenance) and not effect.on):
            self._loose[host.name, effect.group] = False
        elif (isinstance(effect, fx.ClaimAddresses | fx.WithdrawAddresses | fx.RunService)
              and getattr(effect, "action", "") not in LOOKS
              and self._loose.get((host.name, effect.group)) and self._is_maintained(effect.group)):
            self._violate("maintenance", f"{host.name} touches {effect.group}, "
                                         "which is in maintenance")

    def fencing(self, host: "Host", fence: fx.RunDevice, lease_left: bool) -> None:
        """A node is to be cut off: `lease_left` if it has one, by the world's count."""
        self._check_race(host, fence.node)
        target = self._world.hosts[fence.node]
        if not lease_left or _asks_for_it(target) or self._world.turmoil.is_asked_for(
                "fence", fence.node):
            return
        for name, planned in self._plan.groups.items() if self._plan is not None else ():
            if planned.holder is not None and planned.holder.node == fence.node and (
                    _speaks_for(target, planned.holder)):
                self._violate("fence", f"{host.name} fences {fence.node}, whose right for "
                                       f"{name} holds")

    def _check_race(self, host: "Host", node: NodeName) -> None:
        """Nobody begins to cut a node off of which it hears that another is at it."""
        assert host.agent is not None
        engine = host.agent.engine
        job = engine.activity.fencing.jobs.get(node)
        if job is None or job.failures:
            return
        for said in engine.knowledge.liveness.heard(host.clock.now()):
            if not said.lapsed and any(word.node == node and not word.confirmed
                                       for word in said.fences):
                self._violate("fence race", f"{host.name} begins to fence {node}, and hears that "
                                            f"{said.sender} is at it")

    def committed(self, commit: Commit) -> None:
        """A transaction was written."""
        for path, stored in commit.changed:
            if isinstance(stored.record, Plan):
                self._take_plan(stored.record)
            elif path == LEADER and isinstance(stored.record, Leader):
                self._take_leader(stored.record)
            elif isinstance(stored.record, Seat):
                node, life = path.partition("/")[2], stored.record.life
                before = self._lives.get(node, (NO_LIFE, NO_LIFE, 0))[0]
                if life != before:
                    self._lives[node] = life, before, self._world.now

    def _take_plan(self, plan: Plan) -> None:
        before, self._plan = self._plan, plan
        self.services.planned(plan)
        witnesses = [node.name for node in self._world.spec.nodes if node.witness]
        for name, group in plan.groups.items():
            former = before.groups.get(name, UNPLANNED) if before is not None else UNPLANNED
            for right in group.rights:
                if right.epoch > former.top_epoch and (
                        right.node in plan.standby or right.node in witnesses):
                    self._violate("misplaced", f"{name} is given to {right.node}, which is in "
                                               "standby, or a witness")

    def _take_leader(self, leader: Leader) -> None:
        before, self._leader = self._leader, leader
        if before is not None and before.node and leader.node not in ("", before.node) and (
                (leader.node, leader.term) not in self._taken_fairly
                and not self._lost_it(before)):
            self._violate("usurped", f"{leader.node} takes the lead from {before.node}, "
                                     "which has not lost it")

    def _lost_it(self, leader: Leader) -> bool:
        """Tell whether there is any reason to take the lead from a node (rule 15)."""
        tree = self._world.ensemble.tree
        seat = tree.get(seat_path(leader.node), MISSING).record
        if not isinstance(seat, Seat) or seat.incarnation != leader.incarnation or (
                seat.state in (SeatState.DEAD, SeatState.LEFT)):
            return True
        if self._world.now - self._unsound_at.get(leader.node, -KNOWN_AFTER) < KNOWN_AFTER:
            return True
        voters = self._plan.voters.names if self._plan is not None else self._world.spec.voters
        against = [name for name in voters if name != leader.node
                   and (self._accuses(name, leader.node, seat.life) or self._is_gone(name))]
        return len(against) >= len(voters) - len(voters) // 2

    def _accuses(self, voter: NodeName, node: NodeName, life: Life) -> bool:
        """Tell whether a voter accuses a life, or one that ended as a write was on its way."""
        _, before, ended_at = self._lives.get(node, (life, life, 0))
        lately = before if self._world.now - ended_at < KNOWN_AFTER else life
        return self._accused_by.get(voter, {}).get(node, NO_LIFE) >= min(lately, life)

    def _is_gone(self, node: NodeName) -> bool:
        """Tell whether a voter counts as an accuser without a word, or may have forgotten one.

        That its seat says something else by now may not have been read yet.
        """
        seat = self._world.ensemble.tree.get(seat_path(node), MISSING).record
        agent = self._world.hosts[node].agent
        life, before, ended_at = self._lives.get(node, (NO_LIFE, NO_LIFE, 0))
        again = ended_at if life.incarnation != before.incarnation else 0
        young = agent is None or self._world.now - max(agent.born, again) < 2 * KNOWN_AFTER
        return young or not isinstance(seat, Seat) or seat.state in (
            SeatState.DEAD, SeatState.LEFT)

    def _is_maintained(self, group: GroupName) -> bool:
        planned = self._plan.groups.get(group) if self._plan is not None else None
        return planned is not None and planned.maintenance is Maintenance.ON


def _asks_for_it(host: "Host") -> bool:
    """Tell whether a node says that it cannot get rid of a group."""
    engine = host.agent.engine if host.agent is not None else None
    return engine is not None and any(
        rights.local.stuck for rights in engine.activity.groups.values())


def _speaks_for(host: "Host", right: Right) -> bool:
    engine = host.agent.engine if host.agent is not None else None
    return (engine is not None and host.powered and not host.paused
            and (engine.incarnation, engine.seat.round) == (right.incarnation, right.round)
            and host.woken_at < host.world.now - SECOND)
