"""Real engines in virtual time, for stories: a perfect network, ZooKeeper in memory, no chance."""

import heapq
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from hamgr.core import effects as fx
from hamgr.core.events import (
    AddressesClaimed,
    AddressesWithdrawn,
    ConditionChanged,
    ConfigurationApplied,
    DeadlineSet,
    DeviceAnswered,
    Event,
    HeartbeatReceived,
    LoopWasLate,
    MaintenanceKept,
    RecordRead,
    ServiceAnswered,
    StopAsked,
    Tick,
    WriteAnswered,
    ZooKeeperChanged,
)
from hamgr.core.reasons import Reason
from hamgr.core.records import LEADER, PLAN, REQUESTS, ROOT, Record, Request, seat_path
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec
from hamgr.core.types import (
    MICROSECOND,
    MILLISECOND,
    NEVER,
    SECOND,
    Duration,
    Found,
    Instant,
    Outcome,
    Power,
    Role,
)
from hamgr.engine import Engine
from hamgr.rebuild import refusal, transaction
from hamgr.snapshot import snapshot
from hamgr.wire import Wire

HEARTBEAT_TAKES = 200 * MICROSECOND
WRITE_TAKES = 2 * MILLISECOND
ANSWER_TAKES = 1 * MILLISECOND
ADDRESS_TAKES = 300 * MICROSECOND
ACTION_TAKES = 5 * MILLISECOND
C = TypeVar("C", bound="Cluster")

WIRE = Wire("t", [b"k" * 32])
QUIET = (Reason.HEARD, Reason.ACCUSED_BY, Reason.ZOOKEEPER_UP, Reason.CONFIGURED)
"""Reports that would drown a story."""


FOUND = {Role.STOPPED: Found.STOPPED, Role.STARTED: Found.STARTED, Role.PROMOTED: Found.PROMOTED}
REACHES = {"start": Role.STARTED, "promote": Role.PROMOTED, "demote": Role.STARTED,
           "stop": Role.STOPPED}

NODES = ("n1", "n2", "n3")
SPEC = ClusterSpec(name="t", nodes=tuple(NodeSpec(name=node) for node in NODES),
                   groups=(GroupSpec(name="crm", nodes=NODES),))
"""Three voters and a group, preferred on n1."""


class Cluster:
    """Nodes by name, each with an engine or without power."""

    def __init__(self, spec: ClusterSpec) -> None:
        self.spec = spec
        self.now: Instant = 0
        self.tree: dict[str, tuple[Record, int]] = {}
        self.engines: dict[str, Engine] = {}
        self.lives: dict[str, int] = {}
        self.kept: dict[str, dict[str, int]] = {node.name: {} for node in spec.nodes}
        self.facts: dict[str, tuple[str, int]] = {}
        self.cuts: set[tuple[str, str]] = set()
        self.offline: set[str] = set()
        """Nodes that cannot reach ZooKeeper."""
        self.stalled: dict[str, Instant] = {}
        self.failing: dict[tuple[str, str], int] = {}
        """(node, action): how many more runs of it fail."""
        self.roles: dict[tuple[str, str, str], Role] = {}
        """In which role each service is: by node, group and service."""
        self.fence_fails: set[tuple[str, str]] = set()  # device; action, "lies" or all ("")
        self.armed: dict[str, set[str]] = {node.name: set() for node in spec.nodes}
        self.lines: list[str] = []
        self.writes = 0
        self.write_takes = WRITE_TAKES
        self.action_takes = ACTION_TAKES
        self._queue: list[tuple[Instant, str, int, Callable[[], None]]] = []
        self._count = 0

    # -- time ---------------------------------------------------------------------------------

    def advance(self, duration: Duration) -> None:
        """Let virtual time pass."""
        until = self.now + duration
        while self._queue and self._queue[0][0] <= until:
            at, _, _, action = heapq.heappop(self._queue)
            self.now = max(self.now, at)
            action()
        self.now = until

    def _after(self, delay: Duration, action: Callable[[], None], of: str = "") -> None:
        """Have something happen later; what is of the same instant comes by the names of nodes."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, of, self._count, action))

    def say(self, node: str, text: str) -> None:
        """Add a line to the story."""
        self.lines.append(f"{self.now / MILLISECOND:9.1f}  {node:<3} {text}")

    # -- nodes --------------------------------------------------------------------------------

    def boot(self, node: str) -> None:
        """Give a node its power, or its agent another life."""
        self.lives[node] = self.lives.get(node, 0) + 1
        self._sweep(node)
        cluster_id, revision = self.facts.get(node, ("", 0))
        self.engines[node] = Engine(
            self.spec, node, self.lives[node], self.now, known_cluster=cluster_id,
            known_revision=revision, in_place=dict(self.kept[node]), fresh_cluster_id="c1")
        self.hand(node, Tick())
        if node not in self.offline:
            self.connect(node)

    def _sweep(self, node: str) -> None:
        """Take down what a new life has no right to (rule 21)."""
        for group in self.spec.groups:
            for service in () if group.everywhere or group.name in self.kept[node] else (
                    group.services):
                key = (node, group.name, service.name)
                most = Role.STARTED if service.promotable else Role.STOPPED
                self.roles[key] = min(self.roles.get(key, Role.STOPPED), most)

    def configure(self, spec: ClusterSpec, nodes: Iterable[str]) -> None:
        """Have every agent begin with this file from now on, and these nodes go by it at once."""
        self.spec = spec
        for one in spec.nodes:
            self.kept.setdefault(one.name, {})
            self.armed.setdefault(one.name, set())
        for node in nodes:
            self.hand(node, ConfigurationApplied(spec=spec, digest="new"))

    def crash(self, node: str) -> None:
        """Take a node's power, and with it its addresses."""
        self.engines.pop(node, None)
        self.armed[node].clear()
        self.roles = {key: role for key, role in self.roles.items() if key[0] != node}

    def connect(self, node: str) -> None:
        """Let a node reach ZooKeeper and read everything."""
        self.offline.discard(node)
        self.hand(node, ZooKeeperChanged(connected=True))
        for path in self._paths():
            self.hand(node, self._read(path))

    def disconnect(self, node: str) -> None:
        """Cut a node off from ZooKeeper."""
        self.offline.add(node)
        self.hand(node, ZooKeeperChanged(connected=False))

    def _paths(self) -> tuple[str, ...]:
        seats = [seat_path(one.name) for one in self.spec.nodes]
        requests = [path for path in self.tree if path.startswith(REQUESTS)]
        return (ROOT, LEADER, *seats, PLAN, *requests)

    def _read(self, path: str) -> RecordRead:
        record, version = self.tree.get(path, (None, -1))
        return RecordRead(path=path, record=record, version=version)

    def hand(self, node: str, event: Event) -> None:
        """Hand an event to a node's engine, now or when it wakes, and carry out what it wants."""
        engine = self.engines.get(node)
        if engine is None:
            return
        if node in self.stalled:
            self._after(self.stalled[node] - self.now, lambda: self._hand_to(engine, node, event))
            return
        for effect in engine.handle(event, self.now):
            self._carry_out(node, engine, effect)
        self._arm_timer(node, engine)

    def _hand_to(self, engine: Engine, node: str, event: Event) -> None:
        if self.engines.get(node) is engine:
            self.hand(node, event)

    def _arm_timer(self, node: str, engine: Engine) -> None:
        due = engine.deadline()
        assert due > self.now, f"{node} wants a tick in the past (F1)"
        if due < NEVER:
            self._after(due - self.now, lambda: self._tick(node, engine, due), node)

    def _tick(self, node: str, engine: Engine, due: Instant) -> None:
        if self.engines.get(node) is engine and engine.deadline() <= due:
            self.hand(node, Tick())

    def stall(self, node: str, duration: Duration) -> None:
        """Have a node do nothing for a while; what arrives waits."""
        self.stalled[node] = self.now + duration
        self._after(duration, lambda: self._wake(node, duration))

    def _wake(self, node: str, duration: Duration) -> None:
        del self.stalled[node]
        self.hand(node, LoopWasLate(lateness=duration))

    # -- effects ------------------------------------------------------------------------------

    def _carry_out(self, node: str, engine: Engine, effect: fx.Effect) -> None:
        def later(delay: Duration, event: Event) -> None:
            self._after(delay, lambda: self._hand_to(engine, node, event), node)

        match effect:
            case fx.SendHeartbeat(to=to, heartbeat=heartbeat):
                if (node, to) not in self.cuts:
                    heard = WIRE.decode(WIRE.encode(heartbeat, to), to)
                    assert heard == heartbeat, f"{node} says {heartbeat}, {to} hears {heard}"
                    event = HeartbeatReceived(heartbeat=heartbeat)
                    self._after(HEARTBEAT_TAKES, lambda: self.hand(to, event), node)
            case fx.Write():
                assert all(op.version >= 0 for op in effect.ops if op.kind != "create"), effect
                self._after(self.write_takes, lambda: self._write(node, engine, effect), node)
            case fx.Read(paths=paths):
                for path in paths or self._paths():
                    later(ANSWER_TAKES, self._read(path))
            case fx.SetDeadline(serial=serial, confirm=True):
                later(100 * MICROSECOND, DeadlineSet(serial=serial))
            case fx.Report(reason=reason, group=group, facts=facts):
                if reason not in QUIET:
                    self.say(node, f"{group}: {reason.sentence(facts)}" if group
                             else reason.sentence(facts))
            case fx.BeginNewLife(incarnation_above=above):
                self.lives[node] = max(self.lives[node], above)
                self.boot(node)
            case fx.Exit():
                self.crash(node)
            case _:
                self._act(node, effect, later)

    def _act(self, node: str, effect: fx.Effect,
             later: Callable[[Duration, Event], None]) -> None:
        """Do to addresses, services and the switch what an effect says."""
        match effect:
            case fx.KeepFacts(cluster_id=cluster_id, revision=revision):
                self.facts[node] = (cluster_id, revision)
            case fx.ArmSwitch(group=group):
                self.armed[node].add(group)
            case fx.DisarmSwitch(group=group):
                self.armed[node].discard(group)
            case fx.ClaimAddresses(group=group, epoch=epoch, probe=probe):
                assert group in self.armed[node], "the switch guards what is claimed (rule 14)"
                self.say(node, f"CLAIM {group} epoch {epoch}, probe {probe}")
                later(ADDRESS_TAKES, self._claimed(node, group, epoch))
            case fx.WithdrawAddresses(group=group, epoch=epoch):
                self.say(node, f"WITHDRAW {group} epoch {epoch}")
                later(ADDRESS_TAKES, AddressesWithdrawn(
                    group=group, epoch=epoch, ok=not self._fails(node, "withdraw")))
            case fx.TightenAddresses(group=group, epoch=epoch):
                later(ADDRESS_TAKES, AddressesClaimed(group=group, epoch=epoch, ok=True))
            case fx.KeepMaintenance(group=group, epoch=epoch, on=on):
                self.kept[node].pop(group, None)
                if on:
                    self.kept[node][group] = epoch
                later(100 * MICROSECOND, MaintenanceKept(group=group, on=on))
            case fx.RunService():
                self._run(node, effect, later)
            case fx.TellReplicas(group=group, node=other, action=action, epoch=epoch):
                self.say(node, f"TELL {group} that {other} {action}d, epoch {epoch}")
            case fx.RunDevice(run=run, device=device, node=victim, action=action):
                self._device(node, run, device, victim, action)

    def _device(self, node: str, run: int, device: str, victim: str, action: str) -> None:
        """Have a fence device act. What is cut off stays off until a story boots it again."""
        self.say(node, f"DEVICE {device}: {action} {victim}")
        fails = (device, action) in self.fence_fails or (device, "") in self.fence_fails

        def act() -> None:
            if action == "off" and not fails and (device, "lies") not in self.fence_fails:
                self.crash(victim)
            power = Power.OFF if victim not in self.engines else Power.ON
            self.hand(node, DeviceAnswered(run=run, ok=not fails, why="timed out" if fails else "",
                                           power=power if action == "status" else Power.UNKNOWN))
        self._after(ACTION_TAKES, act, node)

    def _claimed(self, node: str, group: str, epoch: int) -> AddressesClaimed:
        ok = not self._fails(node, "claim")
        return AddressesClaimed(group=group, epoch=epoch, ok=ok,
                                why="" if ok else "02:00:00:00:00:99 answers")

    def _run(self, node: str, effect: fx.RunService,
             later: Callable[[Duration, Event], None]) -> None:
        if effect.action != "monitor":
            epoch = f" epoch {effect.epoch}" if effect.epoch else ""
            self.say(node, f"RUN {effect.action} {effect.service}{epoch}")
        ok, found = not self._fails(node, effect.action), Found.UNKNOWN
        key = (node, effect.group, effect.service)
        role = self.roles.get(key, Role.STOPPED)
        if effect.action in ("probe", "monitor"):
            found = FOUND[role]
            ok &= effect.action == "probe" or role is not Role.STOPPED
        elif ok:
            self.roles[key] = REACHES[effect.action]
        later(self.action_takes, ServiceAnswered(
            run=effect.run, group=effect.group, service=effect.service, action=effect.action,
            ok=ok, found=found, why="" if ok else "exit status 1"))

    def _fails(self, node: str, action: str) -> bool:
        left = self.failing.get((node, action), 0)
        self.failing[node, action] = max(0, left - 1)
        return left > 0

    # -- ZooKeeper ----------------------------------------------------------------------------

    def _write(self, node: str, engine: Engine, effect: fx.Write) -> None:
        if node in self.offline:
            self._answer(node, engine, effect, Outcome.REFUSED)
            return
        if not all(self._holds(op) for op in effect.ops):
            self._answer(node, engine, effect, Outcome.CONFLICT)
            for op in effect.ops:
                event = self._read(op.path)
                self._after(ANSWER_TAKES, partial(self._hand_to, engine, node, event), node)
            return
        self.writes += 1
        versions = tuple(self._apply(op) for op in effect.ops)
        self._answer(node, engine, effect, Outcome.DONE, versions)

    def _answer(self, node: str, engine: Engine, effect: fx.Write, outcome: Outcome,
                versions: tuple[int, ...] = ()) -> None:
        event = WriteAnswered(write=effect.write, outcome=outcome, versions=versions)
        self._after(ANSWER_TAKES, lambda: self._hand_to(engine, node, event), node)

    def _holds(self, op: fx.Op) -> bool:
        there = self.tree.get(op.path)
        if op.kind == "create":
            return there is None
        return there is not None and op.version in (-1, there[1])

    def _apply(self, op: fx.Op) -> int:
        if op.kind == "check":
            return -1
        if op.kind == "delete":
            del self.tree[op.path]
        else:
            assert op.record is not None
            version = self.tree[op.path][1] + 1 if op.kind == "set" else 0
            self.tree[op.path] = (op.record, version)
        self.publish(op.path)
        return self.tree[op.path][1] if op.path in self.tree else -1

    def publish(self, path: str) -> None:
        """Have every connected node read a record that changed."""
        event = self._read(path)
        for node in list(self.engines):
            if node not in self.offline:
                self._after(ANSWER_TAKES, partial(self.hand, node, event), node)

    # -- operators ----------------------------------------------------------------------------

    def ask(self, request: Request) -> None:
        """Put an operator's request before the leader."""
        path = f"{REQUESTS}/{request.id}"
        self.tree[path] = (request, 0)
        self.publish(path)

    def stop(self, node: str) -> None:
        """Stop a node's agent in order."""
        self.hand(node, StopAsked(why="asked to"))

    def condition(self, node: str, group: str, why: str) -> None:
        """A node's own condition for a group fails, or holds again."""
        self.hand(node, ConditionChanged(group=group, ok=not why, why=why))

    def rebuild(self, node: str, down: tuple[str, ...]) -> None:
        """An operator has ZooKeeper's data written anew from this node (rule 25)."""
        engine = self.engines[node]
        if why := refusal(engine.knowledge, down, self.now):
            self.say(node, f"rebuild refused: {why}")
            return
        ops, said = transaction(engine.knowledge, "c2", down)
        self._carry_out(node, engine, fx.Write(write=-1, ops=ops))
        self.say(node, f"rebuild: {said}")


def settled(cluster: C) -> C:
    """Boot every node of a cluster, and wait until it has a holder and an heir."""
    for node in cluster.spec.nodes:
        cluster.boot(node.name)
    cluster.advance(3 * SECOND)
    return cluster


def active(cluster: Cluster) -> list[str]:
    """Return the nodes on which the first group is, wholly or on its way."""
    return [node for node, engine in cluster.engines.items()
            if snapshot(engine, cluster.now).groups[0].phase != "inactive"]
