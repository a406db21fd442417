"""`hamgr status` of a group that runs everywhere: it has no holder, and lacks none."""

from typing import Any

import pytest
from msgspec.structs import replace

from hamgr.agent.facts import AgentStatus
from hamgr.cli import from_agent, from_records, render
from hamgr.cli.survey import Answer, Survey, Wire
from hamgr.core.heartbeat import GroupWord
from hamgr.core.records import Leader, Root
from hamgr.core.spec import GroupSpec
from hamgr.core.types import MILLISECOND, SECOND
from hamgr.snapshot import GroupView, PeerView, ServiceView
from tests.cli import cluster
from tests.cli.cluster import group, peer, plan, seat, snapshot

SPEC = replace(cluster.SPEC, groups=(
    *cluster.SPEC.groups, GroupSpec(name="lb", nodes=("n1", "n2"), everywhere=True)))
N1 = Answer(mac="02:00:00:00:00:01", node="n1")
ANSWERED = {vip.address: Wire(asked=True, mac=N1.mac, node=N1.node, answers=(N1,))
            for vip in cluster.VIPS}
ROW = "lb     everywhere  n1, n2  -     -      -                 -          -     -"


def n1(why: str = "", *, up: bool = True, **changes: Any) -> PeerView:
    """Return what n1 says of both groups."""
    word = GroupWord("lb", 0, 0, not why, False, up, why=why)
    return peer("n1", words=(GroupWord("crm", 7, 0, True, True), word), **changes)


def here(state: str = "started", why: str = "") -> GroupView:
    return GroupView(name="lb", role="none", phase="inactive",
                     services=(ServiceView(name="proxy", state=state, why=why),))


def answer(there: PeerView, view: GroupView) -> AgentStatus:
    return cluster.status(snapshot(peers=(there, peer("n3")), groups=(group(), view)), spec=SPEC)


def survey(there: PeerView, view: GroupView) -> Survey:
    return from_agent.survey(answer(there, view), ANSWERED)


def test_where_it_runs_is_shown_and_nothing_is_missing() -> None:
    found = survey(n1(), here())
    assert (found.verdict, found.problems) == ("healthy", ())
    text = render.text(found)
    assert ROW in text.splitlines() and "lb: wherever it can" in text.splitlines()
    [_, lb] = found.groups
    assert (lb.everywhere, lb.active, lb.holder) == (True, ("n1", "n2"), "")


def test_it_outlives_a_lease() -> None:
    assert survey(n1(lapsed=True), here()).groups[1].active == ("n1", "n2")


@pytest.mark.parametrize(("there", "view", "active", "verdict", "text"), [
    (n1("proxy failed 4 times", up=False), here(), ("n2",), "degraded",
     "lb on n1: proxy failed 4 times"),
    (n1(), here("failed", "exit status 1"), ("n1",), "degraded",
     "proxy of lb is failed on n2: exit status 1"),
    (n1(up=False), here("stopped"), (), "failed", "lb runs nowhere"),
    (n1(heard_ago=9 * SECOND, rings_ago=(9 * SECOND, 9 * MILLISECOND)), here(), ("n2",),
     "failed", "crm is active nowhere (the plan has it on n1)")])
def test_where_it_does_not_run_is_said(
        there: PeerView, view: GroupView, active: tuple[str, ...], verdict: str,
        text: str) -> None:
    found = survey(there, view)
    assert found.groups[1].active == active
    assert found.verdict == verdict and text in [problem.text for problem in found.problems]


def test_zookeeper_does_not_know_where_it_runs() -> None:
    found = from_records.survey(
        SPEC, {}, root=Root(cluster_id="5f3a"), leader=Leader(term=3, node="n1"), plan=plan(),
        seats={"n1": seat(), "n2": seat(), "n3": seat()}, requests=(),
        sessions=("n1", "n2", "n3"), why="no agent runs here")
    assert [problem.text for problem in found.problems] == ["no agent runs here"]
    assert "lb     everywhere  ?" in render.text(found)
