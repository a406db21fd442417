"""What `hamgr status` says of a node that cannot have a group: trouble, or a word by the way."""

from typing import Any

import pytest

from hamgr.agent.facts import AgentStatus
from hamgr.cli import from_agent
from hamgr.cli.survey import EXIT, Answer, Wire
from hamgr.core.group import LocalGroup
from hamgr.core.records import Right
from hamgr.core.rights import GroupRights
from hamgr.core.spec import GroupSpec, ServiceSpec
from hamgr.core.types import Role
from hamgr.snapshot import GroupView, PeerView, ServiceView
from tests.cli import cluster
from tests.cli.cluster import group, peer, plan, snapshot

OTHER = Right(node="n3", incarnation=2, round=1, epoch=8)
ANSWER = Answer(mac="02:00:00:00:00:01", node="n1")
N1 = {vip.address: Wire(asked=True, mac=ANSWER.mac, node="n1", answers=(ANSWER,))
      for vip in cluster.VIPS}


def weakness(score: int) -> str:
    """Return what the engine says of a replica with this score."""
    spec = ServiceSpec(name="db", actions=("start", "promote", "demote", "stop"), promotable=True)
    rights = GroupRights(LocalGroup(GroupSpec(name="crm", nodes=("n1",), services=(spec,)),
                                    lambda: 1))
    [service] = rights.local.services
    service.take_over(Role.STARTED)
    service.score = score
    return rights.weakness()


def replica(**changes: Any) -> GroupView:
    """Return n2's replica, whose score is as that of PostgreSQL's that are not in step."""
    kept = {"role": "none", "fit": False, "unfit_why": weakness(-1000000),
            "services": (ServiceView(name="db", state="started"),
                         ServiceView(name="app", state="stopped"))}
    return group(**kept | changes)


def seen(view: GroupView, heir: Right | None = OTHER,
         peers: tuple[PeerView, ...] = (peer("n1"), peer("n3"))) -> AgentStatus:
    return cluster.status(snapshot(plan=plan(heir=heir), groups=(view,), peers=peers))


def test_a_replica_whose_score_is_low_is_no_trouble_while_another_is_heir() -> None:
    shown = from_agent.survey(seen(replica()), N1)
    assert shown.notes == (
        "n2 is not fit to be heir of crm: db gives this node a score of -1000000",)
    assert (shown.problems, shown.verdict, EXIT[shown.verdict]) == ((), "healthy", 0)


CANNOT = "n2 cannot run crm: db gives this node a score of -1000000"


@pytest.mark.parametrize(("answer", "text"), [
    (seen(replica(), heir=None), CANNOT),
    (seen(replica(), heir=Right(node="n2", incarnation=2, round=1, epoch=8)), CANNOT),
    (seen(replica(phase="active", role="holder")), CANNOT),
    (seen(replica(unfit_why="eth0 has no carrier")), "n2 cannot run crm: eth0 has no carrier"),
    (seen(replica(unfit_why="")), "n2 cannot run crm: unfit"),
    (seen(replica(services=(ServiceView(name="db", state="stopped"),))), CANNOT),
    (seen(replica(services=(ServiceView(name="db", state="started"),
                            ServiceView(name="log", state="failed", why="exit status 1")))),
     CANNOT),
], ids=["no-heir", "heir-itself", "active", "no-carrier", "no-reason", "not-started",
        "another-service-failed"])
def test_it_is_where_nobody_else_can_take_over_or_something_else_is_wrong(
        answer: AgentStatus, text: str) -> None:
    shown = from_agent.survey(answer, N1)
    assert text in [problem.text for problem in shown.problems if problem.severity == "degraded"]
    assert shown.notes == ()


def test_a_node_that_is_fit_is_not_spoken_of() -> None:
    shown = from_agent.survey(seen(replica(fit=True, unfit_why="")), N1)
    assert (shown.problems, shown.notes) == ((), ())
