"""Whatever a peer, ZooKeeper or an operator does, the engine goes on: it raises nothing, and wakes.

Types are right (wire and records see to that), values are not: nodes and groups that nobody knows,
versions out of order, plans that name strangers, huge numbers, answers that nobody waits for.
"""

from copy import deepcopy
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hamgr.core.effects import (
    ArmSwitch,
    ClaimAddresses,
    DisarmSwitch,
    Effect,
    RunService,
    SendHeartbeat,
    Write,
)
from hamgr.core.events import (
    AddressesClaimed,
    AddressesDisturbed,
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
from hamgr.core.heartbeat import Accusation, Echo, GroupWord, Heartbeat, Relay
from hamgr.core.records import (
    LEADER,
    PLAN,
    ROOT,
    Config,
    GroupPlan,
    Leader,
    Plan,
    Request,
    Right,
    Root,
    Seat,
    Voters,
    seat_path,
)
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec, ServiceSpec
from hamgr.core.timing import Timing
from hamgr.core.types import (
    MILLISECOND,
    NEVER,
    SECOND,
    Instant,
    Maintenance,
    Outcome,
    Power,
    SeatState,
)
from hamgr.engine import Engine
from hamgr.rebuild import refusal, transaction
from hamgr.snapshot import snapshot
from hamgr.times import times_for
from hamgr.wire import Wire
from tests.core.cluster import Cluster

WIRE = Wire("t", [b"k" * 32])
NODES = ("n1", "n2", "n3")
SPEC = ClusterSpec(
    name="t", nodes=tuple(NodeSpec(name=node) for node in NODES),
    groups=(GroupSpec(name="crm", nodes=NODES,
                      services=(ServiceSpec(name="db", monitor_interval=500 * MILLISECOND),)),
            GroupSpec(name="erp", nodes=NODES, stop_within=100 * MILLISECOND),
            GroupSpec(name="fenced", nodes=NODES, fencing_required=True)))

nodes = st.sampled_from((*NODES, "n9", ""))
groups = st.sampled_from(("crm", "erp", "fenced", "strange", ""))
numbers = st.sampled_from((0, 1, 2, 3, 5, 1000, 2**31, NEVER - 1))
lives = st.integers(0, 3)
words = st.sampled_from(("", "why", "{peer}"))
versions = st.integers(-1, 30)
times = st.sampled_from((
    Timing(), times_for(20 * MILLISECOND), Timing(lease=10 * SECOND), Timing(claim=0),
    Timing(interval=0), Timing(interval=-1, lease=-1, detection=-1, claim=-1)))

files = st.builds(
    ClusterSpec, name=st.just("t"),
    nodes=st.lists(st.builds(NodeSpec, name=nodes, voter=st.booleans(), witness=st.booleans()),
                   max_size=4, unique_by=lambda one: one.name).map(tuple),
    groups=st.lists(st.builds(
        GroupSpec, name=groups, nodes=st.lists(nodes, max_size=3).map(tuple),
        services=st.lists(st.builds(
            ServiceSpec, name=st.sampled_from(("db", "web")),
            monitor_interval=st.sampled_from((0, 1, 500 * MILLISECOND))), max_size=2,
            unique_by=lambda one: one.name).map(tuple),
        has_addresses=st.booleans(), fencing_required=st.booleans(),
        stop_within=st.sampled_from((0, 100 * MILLISECOND))), max_size=3,
        unique_by=lambda one: one.name).map(tuple))
rights = st.builds(Right, node=nodes, incarnation=lives, round=lives, epoch=numbers)
group_plans = st.builds(
    GroupPlan, holder=st.none() | rights, heir=st.none() | rights,
    leaving=st.lists(rights, max_size=2).map(tuple), handover=st.booleans(),
    maintenance=st.sampled_from(Maintenance), top_epoch=numbers,
    unverified=st.lists(rights, max_size=2).map(tuple))
some_nodes = st.lists(nodes, max_size=4).map(tuple)
voters = st.builds(Voters, number=numbers, names=some_nodes, former=some_nodes)
requests = st.builds(
    Request, id=st.sampled_from(("r1", "r2", "")), group=groups, node=nodes, voters=some_nodes,
    kind=st.sampled_from(("switchover", "standby", "resume", "maintenance-on", "maintenance-off",
                          "clear", "voters", "times", "dance", "")),
    times=st.none() | times,
    confirmed=st.booleans(), state=st.sampled_from(("open", "done", "nonsense")))
records = st.one_of(
    st.tuples(st.just(ROOT), st.builds(Root, cluster_id=st.sampled_from(("c1", "c2", "")),
                                       follows=st.sampled_from(((), ("c1",))))),
    st.tuples(st.just(LEADER), st.builds(Leader, term=numbers, node=nodes, incarnation=lives)),
    st.tuples(st.just(PLAN), st.builds(
        Plan, revision=numbers, by=nodes, voters=voters, times=times, standby=some_nodes,
        renew=nodes, groups=st.dictionaries(groups, group_plans, max_size=3))),
    st.tuples(nodes.map(seat_path), st.builds(Seat, incarnation=lives, round=lives, by=nodes,
                                              state=st.sampled_from(SeatState))),
    st.tuples(st.sampled_from(("requests/r1", "requests/r2")), requests),
    st.tuples(st.just("config"), st.builds(Config, revision=numbers, document=words)))
reads = st.one_of(
    st.builds(lambda found, version: RecordRead(path=found[0], record=found[1], version=version),
              records, versions),
    st.builds(RecordRead, path=records.map(lambda found: found[0]), record=st.none(),
              version=st.just(-1)))

heartbeats = st.builds(
    Heartbeat, cluster=words, sender=nodes, incarnation=lives, round=lives, sequence=numbers,
    sent=numbers, answer=st.booleans(), lapsed=st.booleans(), lease=numbers, revision=numbers,
    seat=st.sampled_from(("", "claimed", "member", "settling", "dead", "left")),
    voters=numbers, lateness=numbers, config=words, version=words, scars=some_nodes,
    credits=some_nodes,
    echo=st.none() | st.builds(Echo, lives, lives, numbers, st.booleans()),
    groups=st.lists(st.builds(GroupWord, groups, numbers, numbers, st.booleans(), st.booleans()),
                    max_size=3).map(tuple),
    accusations=st.lists(st.builds(Accusation, nodes, lives, lives), max_size=3).map(tuple),
    relays=st.lists(st.builds(Relay, nodes, lives, groups, numbers), max_size=3).map(tuple),
    epochs=st.lists(st.tuples(groups, numbers), max_size=3).map(tuple))

answers = st.one_of(
    st.builds(WriteAnswered, write=st.integers(0, 40),
              outcome=st.sampled_from((Outcome.CONFLICT, Outcome.UNKNOWN, Outcome.REFUSED))),
    st.builds(AddressesClaimed, group=groups, epoch=numbers, ok=st.booleans()),
    st.builds(AddressesWithdrawn, group=groups, epoch=numbers, ok=st.booleans()),
    st.builds(ServiceAnswered, run=st.integers(0, 40), group=groups, ok=st.booleans(),
              service=st.sampled_from(("db", "strange")),
              action=st.sampled_from(("promote", "demote", "monitor", "dance"))),
    st.builds(DeviceAnswered, run=numbers, ok=st.booleans(), power=st.sampled_from(Power)),
    st.builds(MaintenanceKept, group=groups, on=st.booleans()),
    st.builds(DeadlineSet, serial=st.integers(0, 40)))
others = st.one_of(
    st.just(Tick()),
    st.builds(LoopWasLate, lateness=numbers),
    st.builds(ZooKeeperChanged, connected=st.booleans()),
    st.builds(AddressesDisturbed, group=groups, what=st.sampled_from(("rival", "removed", "?"))),
    st.builds(ConditionChanged, group=groups, ok=st.booleans(), why=words),
    st.builds(StopAsked, why=words),
    st.builds(ConfigurationApplied, spec=files, digest=words))
events = st.one_of(reads, reads, st.builds(HeartbeatReceived, heartbeat=heartbeats), answers,
                   others)
waits = st.sampled_from((0, MILLISECOND, 100 * MILLISECOND, 2 * SECOND))


@cache
def running(zookeeper: bool) -> Cluster:
    """A cluster with a holder, an heir and a standby; one with ZooKeeper, one without."""
    cluster = Cluster(SPEC)
    for node in NODES:
        cluster.boot(node)
    cluster.advance(3 * SECOND)
    if not zookeeper:
        for node in NODES:
            cluster.disconnect(node)
    return cluster


class Guarded:
    """A copy of a running engine; what it wants is checked, and nothing of it is done."""

    def __init__(self, engine: Engine, armed: set[str], now: Instant) -> None:
        self.engine, self.armed, self.now = deepcopy(engine), set(armed), now
        self.life_over = False

    def hand(self, event: Event) -> None:
        for effect in self.engine.handle(event, self.now):
            self._check(effect)
            if isinstance(effect, Write):
                self._answer(effect)

    def _answer(self, effect: Write) -> None:
        done = WriteAnswered(write=effect.write, outcome=Outcome.DONE,
                             versions=tuple(31 for _ in effect.ops))
        if effect.write % 2:
            self.engine.handle(done, self.now)

    def _check(self, effect: Effect) -> None:
        match effect:
            case ArmSwitch(group=group):
                self.armed.add(group)
            case DisarmSwitch(group=group):
                self.armed.discard(group)
            case ClaimAddresses(group=group) | RunService(group=group, action="promote"):
                assert group in self.armed, "the switch is armed before anything starts (rule 14)"
            case SendHeartbeat(to=to, heartbeat=heartbeat):
                assert WIRE.decode(WIRE.encode(heartbeat, to), to) == heartbeat


@pytest.mark.parametrize("zookeeper", (True, False), ids=("zookeeper", "no-zookeeper"))
@pytest.mark.parametrize("node", NODES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=st.lists(st.tuples(waits, events), min_size=1, max_size=12))
def test_nothing_odd_raises(node: str, zookeeper: bool, story: list[tuple[int, Event]]) -> None:
    cluster = running(zookeeper)
    guarded = Guarded(cluster.engines[node], cluster.armed[node], cluster.now)
    for wait, event in story:
        guarded.now += wait
        guarded.hand(event)
        guarded.hand(Tick())
        for down in (("n2", "n3"), ("n2", "n9")):
            if not refusal(guarded.engine.knowledge, down, guarded.now):
                transaction(guarded.engine.knowledge, "c2", down)
        assert guarded.engine.deadline() > guarded.now
        snapshot(guarded.engine, guarded.now)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=st.lists(st.tuples(waits, events), min_size=1, max_size=12))
def test_nothing_odd_raises_at_the_start(story: list[tuple[int, Event]]) -> None:
    engine = Engine(SPEC, "n1", 2, 0, known_cluster="c1", known_revision=3, in_place={"crm": 1})
    guarded = Guarded(engine, set(), 0)
    guarded.hand(Tick())
    guarded.hand(ZooKeeperChanged(connected=True))
    for wait, event in story:
        guarded.now += wait
        guarded.hand(event)
        guarded.hand(Tick())
        assert guarded.engine.deadline() > guarded.now
        snapshot(guarded.engine, guarded.now)
