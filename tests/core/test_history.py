"""What the leader writes down of every plan, and throws away again."""

import pytest

from hamgr.core.records import HISTORY, PLAN, History, Plan, Request
from hamgr.core.spec import ClusterSpec, GroupSpec
from hamgr.core.types import SECOND
from hamgr.leader import leadership
from tests.core.cluster import NODES, SPEC, Cluster, settled


def test_only_the_newest_plans_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "HISTORY_KEPT", 5)
    cluster = settled(Cluster(SPEC))
    for number in range(5):
        cluster.ask(Request(id=f"r{number}", kind="switchover", group="crm"))
        cluster.advance(2 * SECOND)
    plan = cluster.tree[PLAN][0]
    assert isinstance(plan, Plan)
    assert plan.revision > 10
    kept = sorted(int(path.rpartition("/")[2]) for path in cluster.tree if HISTORY in path)
    assert kept == list(range(plan.revision - 4, plan.revision + 1))


def test_a_plan_of_many_changes_tells_the_first_and_the_history_has_all() -> None:
    groups = tuple(GroupSpec(name=f"g{number:02}", nodes=NODES) for number in range(1, 26))
    cluster = settled(Cluster(ClusterSpec(name="t", nodes=SPEC.nodes, groups=groups)))
    told = next(line for line in cluster.lines if "plan 2: " in line)
    assert "g20: n1 is holder" in told and "g21" not in told
    assert told.endswith("; and 5 changes more")
    history = cluster.tree[f"{HISTORY}/2"][0]
    assert isinstance(history, History)
    assert [line[:3] for line in history.lines] == [group.name for group in groups]
