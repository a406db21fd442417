"""What a node brings along from outside of ZooKeeper: an empty disk, a slow disk, an older file."""

import pytest
from msgspec.structs import replace

from hamgr.core.effects import Effect, KeepMaintenance, Report
from hamgr.core.events import MaintenanceKept, RecordRead, Tick, ZooKeeperChanged
from hamgr.core.reasons import Reason
from hamgr.core.records import (
    LEADER,
    PLAN,
    ROOT,
    GroupPlan,
    Leader,
    Plan,
    Record,
    Request,
    Right,
    Root,
    Seat,
    Voters,
    seat_path,
)
from hamgr.core.timing import Timing, detection_for
from hamgr.core.types import MICROSECOND, MILLISECOND, SECOND, Duration, Instant, SeatState
from hamgr.engine import Engine
from hamgr.snapshot import snapshot
from tests.core.cluster import NODES, SPEC, Cluster, active, settled


def test_an_empty_disk_founds_no_second_cluster_beside_a_running_one() -> None:
    """Rule 25: ZooKeeper's data is lost, and a node comes back with nothing on its disk."""
    cluster = settled(Cluster(SPEC))
    assert active(cluster) == ["n1"]
    cluster.crash("n3")
    for path in list(cluster.tree):
        del cluster.tree[path]
        cluster.publish(path)
    cluster.facts.pop("n3")
    cluster.advance(SECOND)
    cluster.boot("n3")
    cluster.advance(10 * SECOND)
    assert active(cluster) == ["n1"]
    assert not cluster.tree, "only an operator's rebuild may write"


class SlowDisk(Cluster):
    """A cluster in which maintenance is on disk only after a while."""

    takes: Duration = SECOND

    def _carry_out(self, node: str, engine: Engine, effect: Effect) -> None:
        if not isinstance(effect, KeepMaintenance):
            super()._carry_out(node, engine, effect)
            return
        self.kept[node].pop(effect.group, None)
        if effect.on:
            self.kept[node][effect.group] = effect.epoch
        kept = MaintenanceKept(group=effect.group, on=effect.on)
        self._after(self.takes, lambda: self._hand_to(engine, node, kept))


def test_an_owner_that_lapses_before_maintenance_is_on_disk_keeps_nothing_there() -> None:
    """Rule 22: what has stopped meanwhile is not in place, and the disk must not say so."""
    cluster = settled(SlowDisk(SPEC))
    cluster.ask(Request(id="r1", kind="maintenance-on"))
    cluster.advance(100 * MILLISECOND)
    assert cluster.kept["n1"] == {"crm": 1}
    cluster.cuts |= {("n2", "n1"), ("n3", "n1")}
    cluster.advance(400 * MILLISECOND)
    assert active(cluster) == []
    cluster.cuts.clear()
    cluster.advance(3 * SECOND)
    assert cluster.kept["n1"] == {}


@pytest.mark.parametrize("seats_first", (True, False))
def test_a_voter_with_an_older_file_accuses_by_the_times_of_the_plan(seats_first: bool) -> None:
    """Rule 24: the times were changed since; whom it never heard may live on the longer lease."""
    times = Timing(interval=200 * MILLISECOND, lease=560 * MILLISECOND,
                   detection=700 * MILLISECOND, claim=4 * SECOND)
    holder = Right(node="n1", incarnation=1, round=1, epoch=1)
    plan: tuple[str, Record] = (PLAN, Plan(
        revision=5, by="n1", times=times, voters=Voters(number=1, names=NODES),
        groups={"crm": GroupPlan(holder=holder, top_epoch=1)}))
    seats: list[tuple[str, Record]] = [
        (seat_path(node), Seat(incarnation=1, round=1, state=SeatState.MEMBER, by=node))
        for node in NODES]
    engine = Engine(SPEC, "n3", 2, 0)
    engine.handle(Tick(), 0)
    engine.handle(ZooKeeperChanged(connected=True), 0)
    first: list[tuple[str, Record]] = [
        (ROOT, Root(cluster_id="c1")), (LEADER, Leader(term=1, node="n1", incarnation=1))]
    for path, record in [*first, *([*seats, plan] if seats_first else [plan, *seats])]:
        engine.handle(RecordRead(path=path, record=record, version=3), MILLISECOND)
    assert _accused_at(engine, "n1") >= detection_for(times.lease)


def _accused_at(engine: Engine, node: str) -> Instant:
    now = MILLISECOND
    while now < 10 * SECOND:
        now = engine.deadline()
        for effect in engine.handle(Tick(), now):
            if isinstance(effect, Report) and effect.reason is Reason.ACCUSED and (
                    effect.facts["peer"] == node):
                return now
    raise AssertionError(f"{node} was never accused")


def test_another_clusters_data_in_zookeeper_counts_as_if_it_were_down() -> None:
    """Even if its plan names a life of ours: nothing of it is believed (rule 25)."""
    cluster = settled(Cluster(SPEC))
    cluster.advance(SECOND)
    for node in NODES:
        cluster.disconnect(node)
    plan, version = cluster.tree[PLAN]
    root, root_version = cluster.tree[ROOT]
    assert isinstance(plan, Plan)
    assert isinstance(root, Root)
    ours = dict(cluster.tree)
    right = Right(node="n2", incarnation=1, round=1, epoch=50)
    cluster.tree[ROOT] = (replace(root, cluster_id="c9"), root_version)
    cluster.tree[PLAN] = (replace(plan, revision=900, groups={"crm": GroupPlan(holder=right)}),
                          version + 10)
    cluster.connect("n2")
    cluster.advance(SECOND)
    assert active(cluster) == ["n1"]
    assert "cluster id c9" in snapshot(cluster.engines["n2"], cluster.now).zookeeper_why
    cluster.disconnect("n2")
    cluster.tree = ours
    for node in NODES:
        cluster.connect(node)
    cluster.ask(Request(id="r1", kind="switchover", group="crm", node="n2"))
    cluster.advance(2 * SECOND)
    assert active(cluster) == ["n2"]


def test_a_leader_record_that_is_written_while_the_root_goes_is_nobodys() -> None:
    """`deleteall` of everything: the record that was taken meanwhile is not this cluster's."""
    cluster = settled(Cluster(SPEC))
    for path, wait in ((LEADER, 2500 * MICROSECOND), (ROOT, SECOND)):
        del cluster.tree[path]
        cluster.publish(path)
        cluster.advance(wait)
    assert cluster.engines["n1"].activity.groups["crm"].local.is_active
