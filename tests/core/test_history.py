"""What the leader writes down of every plan, and throws away again."""

import pytest

from hamgr.core import leadership
from hamgr.core.records import HISTORY, PLAN, Plan, Request
from hamgr.core.types import SECOND
from tests.core.cluster import SPEC, Cluster, settled


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
