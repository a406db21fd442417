"""A node that is named in the very moment in which it loses ZooKeeper never reads that it is."""

from hamgr.core.records import PLAN
from hamgr.core.types import MILLISECOND, SECOND
from tests.core.cluster import NODES, SPEC, Cluster


def heir(cluster: Cluster) -> str:
    """Return whom the plan in ZooKeeper names."""
    right = cluster.tree[PLAN][0].groups["crm"].heir
    return "" if right is None else right.node


def test_a_round_that_an_unread_plan_may_name_ends_and_another_node_gets_the_group() -> None:
    cluster = Cluster(SPEC)
    for node in NODES:
        cluster.boot(node)
    cluster.advance(4 * SECOND)
    cluster.crash("n2")
    cluster.advance(3 * SECOND)
    cluster.boot("n2")
    cluster.advance(3 * SECOND)
    cluster.crash("n3")
    while heir(cluster) == "n3":
        cluster.advance(MILLISECOND)
    cluster.disconnect("n2")
    cluster.advance(20 * MILLISECOND)
    assert heir(cluster) == "n2", "named before its heartbeat could tell"
    cluster.boot("n3")
    cluster.advance(SECOND)
    cluster.crash("n1")
    cluster.advance(8 * SECOND)
    assert cluster.engines["n3"].activity.groups["crm"].local.is_active
    assert not cluster.engines["n2"].activity.groups["crm"].local.is_active
