"""How fresh leases are where no further voter may be lost (PROTOCOL: Times)."""

from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec
from hamgr.core.types import MILLISECOND, SECOND, Duration
from tests.core.cluster import Cluster

NODES = ("n1", "n2", "n3", "n4")
SPEC = ClusterSpec(name="t", nodes=tuple(NodeSpec(name=node) for node in NODES),
                   groups=(GroupSpec(name="crm", nodes=NODES),))


def least_left(cluster: Cluster, nodes: tuple[str, ...], during: Duration) -> Duration:
    """Return the least that any of these nodes had left of its lease."""
    least, end = 10 * SECOND, cluster.now + during
    while cluster.now < end:
        cluster.advance(1 * MILLISECOND)
        least = min([least, *(cluster.engines[node].seat.deadline - cluster.now
                              for node in nodes)])
    return least


def test_three_of_four_voters_are_answered_at_once_though_the_fourth_is_heard() -> None:
    cluster = Cluster(SPEC)
    for node in NODES:
        cluster.boot(node)
        cluster.advance(27 * MILLISECOND)
    cluster.advance(4 * SECOND)
    for other in ("n1", "n2", "n3"):
        cluster.cuts.add((other, "n4"))  # deaf: it credits nobody; all hear it
    cluster.advance(2 * SECOND)
    lease = cluster.engines["n1"].seat.lease.length
    left = least_left(cluster, ("n1", "n2", "n3"), 2 * SECOND)
    interval = cluster.engines["n1"].knowledge.timing.interval
    assert left > lease - interval * 13 // 10, f"{left / MILLISECOND} ms left"
