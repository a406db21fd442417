"""The faults, as data: what is done, to whom, how long it lasts, in which labs, and how often."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import Struct

from hamgr.core.types import SECOND, Instant
from hamgr.lab.probe import Probe
from hamgr.lab.spec import VIP, LabError
from hamgr.lab.watch import Watch
from tests.bench.contender import Contender, Hamgr
from tests.bench.settings import (
    HAMGR,
    HIGHEST,
    KEEPALIVED,
    LONG,
    SECOND_RING,
    SHORT,
    USUAL,
    Setting,
    Shape,
)

_SERVED_WITHIN_S = 20.0
_LOSS_PERCENT = 20
_EARLY_S = 1.0


class Stage(NamedTuple):
    """A system that is ready, its client, the eye on its kernels, and the node with the address."""

    contender: Contender
    client: Probe
    eyes: Watch
    owner: str


class Cause(NamedTuple):
    """What was done: when, and which nodes have had no power since when."""

    at: Instant
    dead: Mapping[str, Instant] = {}


class Scenario(Struct, frozen=True, kw_only=True):
    """One fault."""

    name: str
    what: str
    fault: Callable[[Stage], Cause]
    prepare: Callable[[Contender], None] = lambda contender: None
    hold_s: float = 0.5
    """How long the fault lasts at least; six intervals are added, so that the slow notice it."""
    until_served: bool = False
    """Whether it lasts until the client is served again, however long that takes."""
    after_s: float = 0.3
    """How long is looked on once it is mended and the system is ready."""
    shape: Shape = Shape()
    turn: int = 1
    """Scenarios of one turn run in one lab, and the systems change places between the turns."""
    counted: bool = False
    """Whether the heartbeats are counted while it lasts."""
    runs: Mapping[tuple[str, int], int]
    """How often for each (system, interval), by default."""

    def hold(self, setting: Setting) -> float:
        """Return how long it lasts, in seconds."""
        return self.hold_s + 6 * setting.interval / SECOND


def _runs(*, hamgr: tuple[int, int], keepalived: tuple[int, int, int] = (0, 0, 0),
          highest: int = 0, second_ring: int = 0) -> dict[tuple[str, int], int]:
    """Say how often: at 100 and 20 ms, and for keepalived also at 1 s."""
    counts = [*((HAMGR, each) for each in zip((USUAL, SHORT), hamgr, strict=True)),
              *((KEEPALIVED, each) for each in zip((USUAL, SHORT, LONG), keepalived, strict=True)),
              *((HIGHEST, (interval, highest)) for interval in (USUAL, SHORT)),
              (SECOND_RING, (USUAL, second_ring))]
    return {(system, interval): count for system, (interval, count) in counts if count}


# Faults

def _of_lab(name: str) -> Callable[[Stage], Cause]:
    """Have the lab do something to the owner, by the name of its method."""
    def fault(stage: Stage) -> Cause:
        return Cause(getattr(stage.contender.lab, name)(stage.owner))
    return fault


def _of_system(name: str) -> Callable[[Stage], Cause]:
    """Have the system do something on the owner, by the name of its method."""
    def fault(stage: Stage) -> Cause:
        return Cause(getattr(stage.contender, name)(stage.owner))
    return fault


def _crash(stage: Stage) -> Cause:
    at = stage.contender.lab.crash(stage.owner)
    return Cause(at, {stage.owner: at})


def _crash_early(stage: Stage) -> Cause:
    """Start the whole cluster, and a second after the client is first served cut the power."""
    nodes = stage.contender.lab.nodes
    for name in nodes:
        stage.contender.stop(name)
    stage.client.wait_silent(_SERVED_WITHIN_S)
    for node in nodes.values():
        node.start_agent()
    owner = stage.client.wait_served(_SERVED_WITHIN_S)
    time.sleep(_EARLY_S)
    return _crash(stage._replace(owner=owner))


def _crash_twice(stage: Stage) -> Cause:
    """Cut the owner's power, and that of the next one as soon as it serves."""
    first = _crash(stage)
    owner = stage.client.wait_served(_SERVED_WITHIN_S, other_than=[stage.owner])
    second = _crash(stage._replace(owner=owner))
    if second.at - first.at > 2 * SECOND:
        raise LabError("it took more than two seconds from one crash to the next")
    return Cause(first.at, {**first.dead, **second.dead})


def _loss(stage: Stage) -> Cause:
    return Cause(stage.contender.lab.lose(_LOSS_PERCENT, heartbeats=True))


# What must be so before

def _own(contender: Contender, node: str) -> None:
    """Have a node own the address, and the cluster settled."""
    assert isinstance(contender, Hamgr), "only hamgr can be told where to go"
    with contender.lab.watch() as eyes:
        owners = eyes.owners(VIP)
        if owners != [node]:
            contender.move(node, "--to", node)
            eyes.wait_owners(VIP, [node], _SERVED_WITHIN_S)
    contender.wait_ready()


def _own_with_leader(contender: Contender) -> None:
    _own(contender, contender.lab.zookeeper_leader())


def _own_without_leader(contender: Contender) -> None:
    """An election of ZooKeeper's is another scenario."""
    leader = contender.lab.zookeeper_leader()
    _own(contender, next(node for node in contender.lab.spec.group_nodes if node != leader))


def _own_without_server(contender: Contender) -> None:
    """With two of three servers gone ZooKeeper is down, and that is another scenario."""
    _own(contender, contender.lab.spec.node_names[-1])


def _zookeeper_down(contender: Contender) -> None:
    contender.lab.zookeeper_down()
    contender.lab.wait_status(lambda snapshot: not snapshot["zookeeper"], "do not miss ZooKeeper")


_FIVE = Shape(nodes=5)
_TWO_RINGS = Shape(rings=2)
_WITNESS = Shape(witnesses=1)
_TWO_VOTERS = Shape(bystanders=1)

SCENARIOS = (
    Scenario(name="node_crash", what="links and processes of the owner gone at once",
             fault=_crash, runs=_runs(hamgr=(10, 10), keepalived=(10, 10, 10), highest=5)),
    Scenario(name="node_crash_zk_leader", what="the owner also ran ZooKeeper's leader",
             fault=_crash, prepare=_own_with_leader, runs=_runs(hamgr=(10, 2))),
    Scenario(name="node_crash_zk_down", what="all of ZooKeeper was killed before",
             fault=_crash, prepare=_zookeeper_down, runs=_runs(hamgr=(10, 2))),
    Scenario(name="planned_switchover", what="an operator moves the address",
             fault=_of_system("switch_over"),
             runs=_runs(hamgr=(10, 10), keepalived=(10, 10, 3), highest=5)),
    Scenario(name="graceful_stop", what="the owner's daemon is stopped in order",
             fault=_of_system("stop"),
             runs=_runs(hamgr=(5, 3), keepalived=(5, 3, 2), highest=2)),
    Scenario(name="isolate", what="the owner is cut off on all rings, with carrier", turn=2,
             fault=_of_lab("isolate"), hold_s=3.0, after_s=6.5,
             runs=_runs(hamgr=(3, 2), keepalived=(3, 2, 1))),
    Scenario(name="deaf_active", what="the owner sends, and receives nothing", turn=2,
             fault=_of_lab("deafen"), hold_s=3.0, after_s=2.0,
             runs=_runs(hamgr=(3, 1), keepalived=(3, 1, 1))),
    Scenario(name="mute_active", what="the owner receives, and nothing that it sends arrives",
             turn=2, fault=_of_lab("mute"), hold_s=3.0, after_s=2.0,
             runs=_runs(hamgr=(3, 1), keepalived=(3, 1, 1))),
    Scenario(name="process_freeze", what="SIGSTOP of the process that decides", turn=2,
             fault=_of_system("freeze"), hold_s=3.0, after_s=1.0,
             runs=_runs(hamgr=(3, 1), keepalived=(3, 1, 1))),
    Scenario(name="process_kill", what="SIGKILL of the process that decides", turn=2,
             fault=_of_system("kill"), hold_s=3.0, after_s=1.0,
             runs=_runs(hamgr=(3, 1), keepalived=(3, 1, 1))),
    Scenario(name="all_freeze", what="all processes of the system on the owner stand still", turn=2,
             fault=_of_system("freeze_all"), hold_s=4.5, after_s=1.0,
             runs=_runs(hamgr=(3, 1), keepalived=(3, 1, 1))),
    Scenario(name="vip_link_cut", what="two rings, the VIP's interface loses carrier", turn=3,
             fault=_of_lab("cut"), hold_s=1.0, shape=_TWO_RINGS,
             runs=_runs(hamgr=(5, 2), keepalived=(3, 2, 1), second_ring=2)),
    Scenario(name="five_nodes", what="node_crash with five nodes", turn=4,
             fault=_crash, shape=_FIVE, runs=_runs(hamgr=(5, 0))),
    Scenario(name="crash_twice", what="five nodes; the next owner crashes as soon as it serves",
             turn=4, fault=_crash_twice, prepare=_own_without_server, until_served=True,
             shape=_FIVE, runs=_runs(hamgr=(3, 0))),
    Scenario(name="witness", what="node_crash with two nodes and a witness", turn=4,
             fault=_crash, shape=_WITNESS, runs=_runs(hamgr=(5, 0))),
    Scenario(name="two_voters", what="node_crash with two nodes alone, ZooKeeper's leader lives",
             turn=4, fault=_crash, prepare=_own_without_leader, until_served=True,
             shape=_TWO_VOTERS, runs=_runs(hamgr=(5, 0))),
    Scenario(name="crash_early", what="crash 1 s after the whole cluster was started", turn=5,
             fault=_crash_early, until_served=True, runs=_runs(hamgr=(3, 0))),
    Scenario(name="loss20", what="20 % of the heartbeats between nodes are lost, for 60 s", turn=6,
             fault=_loss, hold_s=60.0, after_s=1.0, counted=True,
             runs=_runs(hamgr=(10, 1), keepalived=(2, 1, 0))),
)
"""In the order of their turns."""
