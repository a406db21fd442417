"""Whatever file comes after whatever other, on some nodes or all: nothing raises, nothing is active
twice, and once all go by one file, that is what runs."""

import random

import pytest

from hamgr.core.records import Request
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec, ServiceSpec
from hamgr.core.types import MILLISECOND, SECOND
from hamgr.snapshot import snapshot
from tests.core.cluster import Cluster, settled

NODES = ("n1", "n2", "n3", "n4")
GROUPS = ("crm", "web", "app")
SERVICES = ("db", "queue", "web")


def a_file(rng: random.Random) -> ClusterSpec:
    witness = rng.choice((*NODES, "", "", ""))
    able = [name for name in NODES if name != witness]
    groups = []
    for name in rng.sample(GROUPS, rng.randint(0, len(GROUPS))):
        services = tuple(
            ServiceSpec(name=one, monitor_interval=rng.choice((0, 100, 700)) * MILLISECOND,
                        restarts=rng.randint(0, 3))
            for one in rng.sample(SERVICES, rng.randint(0, len(SERVICES))))
        groups.append(GroupSpec(
            name=name, nodes=tuple(rng.sample(able, rng.randint(1, len(able)))),
            services=services, has_addresses=rng.random() < 0.7,
            stop_within=rng.choice((0, 0, 300)) * MILLISECOND))
    return ClusterSpec(name="t", groups=tuple(groups), nodes=tuple(
        NodeSpec(name=name, voter=name != "n4", witness=name == witness) for name in NODES))


def stir(cluster: Cluster, rng: random.Random, step: int) -> None:
    """Do one thing that may happen while files change."""
    node = rng.choice(NODES)
    match rng.randint(0, 5):
        case 0:
            cluster.failing[node, rng.choice(("promote", "demote", "monitor", "claim",
                                              "withdraw"))] = rng.randint(1, 3)
        case 1 if len(cluster.engines) == len(NODES):
            cluster.crash(node)
        case 2:
            for name in NODES:
                if name not in cluster.engines:
                    cluster.boot(name)
        case 3:
            cluster.ask(Request(id=f"r{step}", kind="switchover", group=rng.choice(GROUPS),
                                node=node))
        case _:
            cluster.action_takes = rng.choice((5, 50, 400)) * MILLISECOND


def active(cluster: Cluster) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node, engine in sorted(cluster.engines.items()):
        for view in snapshot(engine, cluster.now).groups:
            if view.phase != "inactive":
                found.setdefault(view.name, []).append(node)
    return found


@pytest.mark.parametrize("seed", range(25))
def test_any_file_may_follow_any_other(seed: int) -> None:
    rng = random.Random(seed)
    cluster = settled(Cluster(a_file(rng)))
    for step in range(12):
        cluster.configure(a_file(rng), [name for name in NODES if rng.random() < 0.7])
        stir(cluster, rng, step)
        for _ in range(rng.randint(1, 30)):
            cluster.advance(50 * MILLISECOND)
            assert all(len(nodes) == 1 for nodes in active(cluster).values()), active(cluster)
    cluster.failing.clear()
    cluster.action_takes = 5 * MILLISECOND
    spec = a_file(rng)
    for name in NODES:
        if name not in cluster.engines:
            cluster.boot(name)
    cluster.configure(spec, NODES)
    # Failed services make a node unfit for a minute, their window.
    cluster.advance(70 * SECOND)
    there = active(cluster)
    assert sorted(there) == sorted(group.name for group in spec.groups)
    for group in spec.groups:
        (node,) = there[group.name]
        (view,) = [view for view in snapshot(cluster.engines[node], cluster.now).groups
                   if view.name == group.name]
        assert node in group.nodes and view.phase == "active"
        assert [(one.name, one.state) for one in view.services] == [
            (one.name, "promoted") for one in group.services]
