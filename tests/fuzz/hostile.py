"""A node among peers that cannot be trusted: what must hold, whatever arrives.

A script's datagrams arrive at the receiving end of a real transport, and go on from there to what
the node knows (`Receiver`: cheap, so that the decoding sees many), or to its whole engine
(`Victim`). What does not hold is an AssertionError, or whatever was raised.
"""

import pickle
from collections import Counter
from functools import cache

import msgspec
from msgspec.structs import replace

from hamgr.adapters.udp import UdpTransport
from hamgr.core import effects as fx
from hamgr.core import events as ev
from hamgr.core.heartbeat import Echo
from hamgr.core.knowledge import Knowledge
from hamgr.core.seat import HOLDING, Standing
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec, ServiceSpec
from hamgr.core.types import MILLISECOND, NEVER, Instant, Outcome
from hamgr.engine import Engine
from hamgr.wire import PARTS_MAX
from tests.core.cluster import Cluster, settled
from tests.fuzz.script import FIRST, NODES, WIRE, Peers, Script, saying

SPEC = ClusterSpec(
    name="t", nodes=tuple(NodeSpec(name=node) for node in NODES),
    groups=(GroupSpec(name="crm", nodes=NODES, services=(ServiceSpec(name="db"),)),
            GroupSpec(name="erp", nodes=("n2", "n3"), stop_within=100 * MILLISECOND),
            GroupSpec(name="fenced", nodes=NODES, fencing_required=True)))
GROUPS = frozenset(group.name for group in SPEC.groups)
ADDRESSES = {"n1": ("10.0.0.1",), "n2": ("10.0.0.2",), "n3": ("10.0.0.3",)}
STEPS_MAX = 64
WRITES_LOST = 4
"""One of so many answers of ZooKeeper is lost."""


class Receiver:
    """Takes heartbeats in as the engine does, and decides nothing.

    Nothing raises; what is kept of a heartbeat is in range, and nothing is kept of nodes and
    groups that do not exist (rule 1).
    """

    def __init__(self, script: Script) -> None:
        self.knowledge = Knowledge(SPEC, "n1", 1, 0, "c1", 1)
        self.now: Instant = 0
        self._begin(script)

    def _begin(self, script: Script) -> None:
        known = self.knowledge
        self.transport = UdpTransport(known.node, ADDRESSES, 7410, WIRE, self.post)
        heard = {name: peer.heartbeat for name, peer in known.liveness.peers.items()}
        self.peers = Peers(script, known.node, self.now, heard)

    def step(self) -> None:
        """Let time pass, and one datagram arrive."""
        self.now += self.peers.wait()
        self.peers.now = self.now
        peer, ring, datagram = self.peers.next()
        before = self.transport._counters["received"]
        self.transport._take(datagram, ring, peer)
        if self.transport._counters["received"] > before:
            self.peers.was_heard(peer)

    def post(self, event: ev.Event) -> None:
        assert isinstance(event, ev.HeartbeatReceived)
        self.knowledge.hear(event.heartbeat, event.ring, self.now)
        self.knowledge.liveness.accuse_silent(self.now)

    def check(self) -> None:
        """Look at what is left when the script is over."""
        known = self.knowledge
        assert known.epochs.keys() <= GROUPS and known.liveness.peers.keys() <= {*NODES}
        said = [(node, group) for group, words in known.words.items() for node in words]
        for node, group in (*said, *known.dones):
            assert node in NODES and group in GROUPS
        for peer in known.liveness.peers.values():
            hearing = peer.hearing
            assert all(number < hearing._key[2] <= PARTS_MAX for number in hearing._pieces)
            assert peer.accused <= peer.known


def seeds() -> tuple[bytes, ...]:
    """Return inputs to begin with: what the nodes of a cluster say after a crash, with few groups
    and with many; a credit from the future; a name that is no text."""
    many = tuple(GroupSpec(name=f"group-{number:02}", nodes=NODES) for number in range(24))
    found = []
    for spec in (SPEC, replace(SPEC, groups=many)):
        cluster = settled(Cluster(spec))
        cluster.crash("n1")
        cluster.advance(400 * MILLISECOND)
        for node in ("n2", "n3"):
            sent = cluster.engines[node].voice.heartbeats(["n1"], cluster.now)
            bodies = [msgspec.msgpack.encode(one.heartbeat) for one in sent]
            # A Victim's script begins with the choice of its engine.
            found += [b"".join(map(saying, bodies)), bytes(1) + b"".join(map(saying, bodies))]
    future = replace(FIRST, sender="n2", sequence=2**31, echo=Echo(1, 1, NEVER - 1, True))
    found += [bytes((one,)) + saying(msgspec.msgpack.encode(future)) for one in range(3)]
    no_text = msgspec.msgpack.encode(replace(FIRST, sender="zz")).replace(b"zz", b"\xff\xfe")
    return (*found, saying(no_text), bytes(1) + saying(no_text))


@cache
def engines() -> tuple[tuple[bytes, Instant], ...]:
    """Pickled engines: of holder and leader, heir, third node; of one that lost ZooKeeper, and one
    that has just started."""
    cluster = settled(Cluster(SPEC))
    found = [pickle.dumps(cluster.engines[node]) for node in NODES]
    cluster.disconnect("n2")
    found += [pickle.dumps(cluster.engines["n2"]), pickle.dumps(Engine(SPEC, "n1", 1, cluster.now))]
    return tuple((one, cluster.now) for one in found)


class Victim(Receiver):
    """A whole engine, for which ZooKeeper, services and addresses do what it wants.

    Nothing raises; the engine wakes in time; what it says fits, and arrives as it was said; nothing
    starts before the switch is armed (rule 14); and no lease is longer than credits or a claim
    allow (rules 4, 6).
    """

    def __init__(self, script: Script) -> None:
        pickled, self.now = script.pick(engines())
        self.engine: Engine = pickle.loads(pickled)
        self.knowledge = self.engine.knowledge
        self._begin(script)
        self._version = 1000
        self._armed = {name for name, rights in self.engine.activity.groups.items()
                       if rights.local.armed}

    def step(self) -> None:
        self.peers.life = self.engine.seat.life
        super().step()
        if self.engine.deadline() <= self.now:
            self.post(ev.Tick())

    def post(self, event: ev.Event) -> None:
        waiting = [event]
        while waiting:
            for effect in self.engine.handle(waiting.pop(), self.now):
                waiting += self._carry_out(effect)
        self._check_lease()

    def check(self) -> None:
        super().check()
        self.post(ev.Tick())
        assert self.engine.deadline() > self.now

    def _carry_out(self, effect: fx.Effect) -> list[ev.Event]:
        match effect:
            case fx.SendHeartbeat(to=to, heartbeat=said):
                assert WIRE.decode(WIRE.encode(said, to), to) == said
            case fx.ArmSwitch(group=group):
                self._armed.add(group)
            case fx.DisarmSwitch(group=group):
                self._armed.discard(group)
            case fx.ClaimAddresses(group=group, epoch=epoch):
                assert group in self._armed
                return [ev.AddressesClaimed(group=group, epoch=epoch, ok=True)]
            case fx.WithdrawAddresses(group=group, epoch=epoch):
                return [ev.AddressesWithdrawn(group=group, epoch=epoch, ok=True)]
            case fx.RunService(run=run, group=group, service=service, action=action):
                assert group in self._armed or action != "promote"
                return [ev.ServiceAnswered(run=run, group=group, service=service, action=action,
                                           ok=True)]
            case fx.SetDeadline(serial=serial, confirm=True):
                return [ev.DeadlineSet(serial=serial)]
            case fx.Write():
                return [self._written(effect)]
        return []

    def _written(self, write: fx.Write) -> ev.Event:
        self._version += 1
        if self._version % WRITES_LOST == 0:
            return ev.WriteAnswered(write=write.write, outcome=Outcome.UNKNOWN)
        return ev.WriteAnswered(write=write.write, outcome=Outcome.DONE,
                                versions=tuple(self._version for _ in write.ops))

    def _check_lease(self) -> None:
        seat, timing = self.engine.seat, self.knowledge.timing
        if seat.standing in HOLDING:
            most = timing.lease if seat.standing is not Standing.CLAIMED else timing.claim_good
            assert seat.deadline <= self.now + most


TARGETS = {"wire": Receiver, "engine": Victim}


def play(target: type[Receiver], data: bytes) -> Counter[str]:
    """Carry out one input; return how many datagrams were received, and dropped for each reason."""
    script = Script(data)
    node = target(script)
    for _ in range(STEPS_MAX):
        if script.is_over:
            break
        node.step()
    node.check()
    return node.transport._counters


def seen(counters: Counter[str]) -> Counter[str]:
    """Return what became of datagrams: received, or why they were dropped."""
    return Counter({name: count for name, count in counters.items()
                    if name == "received" or name.startswith("dropped.")})


def datagrams(total: Counter[str]) -> int:
    """Return how many there were."""
    return seen(total).total()
