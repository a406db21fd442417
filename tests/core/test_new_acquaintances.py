"""Rule 2: a voter credits an incarnation when it has heard it, as a voter, for long enough."""

from collections.abc import Callable

from hamgr.core.records import Request
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec
from hamgr.core.types import MILLISECOND, SECOND, Instant
from hamgr.snapshot import snapshot
from tests.core.cluster import SPEC, Cluster

STEP = 10 * MILLISECOND
LONG_ENOUGH = SPEC.timing.detection * 22 // 10


def test_a_node_that_restarted_is_credited_when_it_was_heard_for_long_enough() -> None:
    cluster = _up(SPEC)
    cluster.crash("n3")
    cluster.boot("n3")
    heard = _when(cluster, lambda: _incarnation(cluster, "n2", "n3") == cluster.lives["n3"])
    credited = _when(cluster, lambda: _credits(cluster, "n2", "n3"))
    assert credited - heard >= LONG_ENOUGH - STEP


def test_who_comes_to_vote_again_credits_nobody_at_once() -> None:
    """It may have accused them when it voted before, had it not been spared that."""
    names = (*(node.name for node in SPEC.nodes), "n4")
    cluster = _up(ClusterSpec(name="t", nodes=tuple(NodeSpec(name=name) for name in names),
                              groups=(GroupSpec(name="crm", nodes=names),)))
    votes = cluster.engines["n4"].knowledge
    assert _credits(cluster, "n4", "n1")
    cluster.ask(Request(id="r1", kind="voters", voters=names[:3]))
    _when(cluster, lambda: not votes.votes)
    cluster.advance(SECOND)
    cluster.ask(Request(id="r2", kind="voters", voters=names))
    begun = _when(cluster, lambda: votes.votes)
    credited = _when(cluster, lambda: _credits(cluster, "n4", "n1"))
    assert credited - begun >= LONG_ENOUGH - STEP


def _up(spec: ClusterSpec) -> Cluster:
    cluster = Cluster(spec)
    for node in spec.nodes:
        cluster.boot(node.name)
    cluster.advance(4 * SECOND)
    return cluster


def _when(cluster: Cluster, is_so: Callable[[], bool]) -> Instant:
    end = cluster.now + 5 * SECOND
    while not is_so():
        assert cluster.now < end, "not within five seconds"
        cluster.advance(STEP)
    return cluster.now


def _incarnation(cluster: Cluster, viewer: str, node: str) -> int:
    heartbeat = cluster.engines[viewer].knowledge.liveness.peers[node].heartbeat
    return heartbeat.incarnation if heartbeat is not None else 0


def _credits(cluster: Cluster, voter: str, node: str) -> bool:
    peers = snapshot(cluster.engines[voter], cluster.now).peers
    return next(peer.credited for peer in peers if peer.node == node)
