"""`hamgr status`: what it says of a cluster, word for word, and which exit status that is."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from hamgr.agent.facts import AgentStatus
from hamgr.cli import from_agent, from_records, probing, render
from hamgr.cli.from_records import Here
from hamgr.cli.survey import EXIT, Answer, Survey, VipRow, Wire
from hamgr.core.heartbeat import GroupWord
from hamgr.core.records import Leader, Request, Root, Voters
from hamgr.core.spec import NodeSpec
from hamgr.core.types import MILLISECOND, SECOND, Maintenance, SeatState
from hamgr.snapshot import ServiceView
from hamgr.times import times_for
from tests.cli import cluster
from tests.cli.cluster import group, on_the_owner, peer, plan, seat, snapshot


def heard(*answers: tuple[str, str]) -> dict[str, Wire]:
    """These answered for each address: MAC and node."""
    every = tuple(Answer(mac=mac, node=node) for mac, node in answers)
    return {vip.address: Wire(asked=True, mac=every[0].mac, node=every[0].node, answers=every)
            for vip in cluster.VIPS}


FROM_N1 = heard(("02:00:00:00:00:01", "n1"))
SILENT = {vip.address: Wire(asked=True) for vip in cluster.VIPS}

HEALTHY = """\
cluster crm   leader n1 (term 3)   zookeeper connected   heartbeats 3/3 voters   \
survives now: 1 more node
asked: the agent on n2 (process 812, SCHED_RR 40, memory locked, at worst 6 ms late)

NODE  STATE   HEARD  ROUND  KEY       ACTIVE FOR  NOTE
n1    member  31 ms  1      5f0c1a2b  crm         leads
n2    member  -      1      5f0c1a2b  -           this node
n3    member  31 ms  1      5f0c1a2b  -           witness

GROUP  PLAN  ACTIVE  HEIR  EPOCH  ADDRESS           KERNEL     WIRE  GUARDED BY
crm    n1    n1      n2    7      10.0.0.100/24     not on n2  n1    switch
                                  2001:db8::100/64  not on n2  n1

crm: n2 is heir, epoch 8

healthy
"""
DEGRADED = """\
cluster crm   leader n2 (term 4)   zookeeper connected   heartbeats 2/3 voters   \
survives now: 0 more nodes
asked: the agent on n2 (process 812, SCHED_RR 40, memory locked, at worst 6 ms late)

NODE  STATE   HEARD   ROUND  KEY       ACTIVE FOR  NOTE
n1    down    42.0 s  1      5f0c1a2b  -           accused by n2, n3
n2    member  -       1      5f0c1a2b  crm         leads, this node
n3    member  31 ms   1      5f0c1a2b  -           witness

GROUP  PLAN  ACTIVE  HEIR  EPOCH  ADDRESS           KERNEL  WIRE      GUARDED BY
crm    n2    n2      -     8      10.0.0.100/24     on n2   no rival  deadline, switch, lifetime
                                  2001:db8::100/64  on n2   no rival

crm: n1 is out, for 41.0 s

degraded:
  crm has no heir: nobody can take over at once
  n1 is down
"""
FROM_ZOOKEEPER = """\
cluster crm   leader n1 (term 3)   zookeeper connected
asked: ZooKeeper, since no agent runs here

NODE  STATE       HEARD  ROUND  KEY  ACTIVE FOR  NOTE
n1    member      -      1      -    crm         leads, has a session
n2    silent      -      1      -    -           no session
n3    never seen  -      -      -    -           witness, no session

GROUP  PLAN  ACTIVE  HEIR  EPOCH  ADDRESS        KERNEL  WIRE  GUARDED BY
crm    n1    n1      n2    7      10.0.0.100/24  ?       -     -

crm: n2 is heir, epoch 8

asked for and not done yet: switchover crm

degraded:
  no agent runs here
  n2 is silent
  n3 is never seen
"""
NOTHING = """\
cluster crm
asked: nobody answers

unknown:
  no agent runs here
  ZooKeeper cannot be asked
"""


def from_zookeeper(**changes: Any) -> Survey:
    records: dict[str, Any] = {
        "root": Root(cluster_id="5f3a"), "leader": Leader(term=3, node="n1"), "plan": plan(),
        "seats": {"n1": seat(), "n2": seat()}, "sessions": ("n1",), "why": "no agent runs here",
        "requests": (Request(id="1", kind="switchover", group="crm"),
                     Request(id="2", kind="standby", node="n3", state="done"))}
    return from_records.survey(cluster.SPEC, {"crm": ("10.0.0.100/24",)}, **records | changes)


def texts(survey: Survey) -> list[str]:
    return [problem.text for problem in survey.problems]


@pytest.mark.parametrize(("survey", "text"), [
    (from_agent.survey(cluster.status(), FROM_N1), HEALTHY),
    (from_agent.survey(on_the_owner(), SILENT), DEGRADED),
    (from_zookeeper(), FROM_ZOOKEEPER),
    (from_records.nothing("crm", ["no agent runs here", "ZooKeeper cannot be asked"]), NOTHING),
], ids=["healthy", "degraded", "from-zookeeper", "nothing"])
def test_the_text(survey: Survey, text: str) -> None:
    assert render.text(survey) == text


def test_the_json_keeps_its_schema() -> None:
    survey = msgspec.to_builtins(from_agent.survey(cluster.status(), FROM_N1))
    assert survey == {
        "schema": 1, "source": "agent",
        "asked": "the agent on n2 (process 812, SCHED_RR 40, memory locked, at worst 6 ms late)",
        "cluster": "crm", "cluster_id": "5f3a", "node": "n2", "leader": "n1", "term": 3,
        "plan_revision": 31, "zookeeper": "connected", "voters_heard": 3, "voters": 3,
        "survives": 1, "requests": (), "last_words": (), "problems": (), "verdict": "healthy",
        "notes": (), "counters": {},
        "nodes": ({
            "name": "n1", "state": "member", "alive": True, "voter": True, "witness": False,
            "standby": False, "leads": True, "heard_ms": 31.0, "incarnation": 4, "round": 1,
            "accused_by": (), "version": "0.1.0", "keys": ("5f0c1a2b",), "note": ""}, {
            "name": "n2", "state": "member", "alive": True, "voter": True, "witness": False,
            "standby": False, "leads": False, "heard_ms": None, "incarnation": 2, "round": 1,
            "accused_by": (), "version": "0.1.0", "keys": ("5f0c1a2b",),
            "note": "this node"}, {
            "name": "n3", "state": "member", "alive": True, "voter": True, "witness": True,
            "standby": False, "leads": False, "heard_ms": 31.0, "incarnation": 4, "round": 1,
            "accused_by": (), "version": "0.1.0", "keys": ("5f0c1a2b",), "note": "witness"}),
        "groups": ({
            "name": "crm", "holder": "n1", "heir": "n2", "epoch": 7, "active": ("n1",),
            "moving": (), "phase": "inactive", "active_for_s": None, "maintenance": "off",
            "handover": False, "everywhere": False,
            "guarded_by": ("switch",), "why": "n2 is heir, epoch 8",
            "vips": tuple({
                "address": address, "plan": "n1", "kernel": False, "interface": "eth0",
                "lifetime_s": None,
                "wire": {"asked": True, "mac": "02:00:00:00:00:01", "node": "n1", "why": "",
                         "answers": ({"mac": "02:00:00:00:00:01", "node": "n1"},)},
            } for address in ("10.0.0.100/24", "2001:db8::100/64"))},),
    }


def other(**changes: Any) -> AgentStatus:
    return cluster.status(snapshot(**changes))


def with_vips(answer: AgentStatus, **changes: Any) -> AgentStatus:
    return replace(answer, addresses=tuple(replace(vip, **changes) for vip in answer.addresses))


IDLE = peer("n1", words=())
WORD = GroupWord("crm", 8, 0, True, True)


@pytest.mark.parametrize(("answer", "wire", "verdict", "text"), [
    (other(peers=(peer("n1", words=()), peer("n3"))), {}, "failed",
     "crm is active nowhere (the plan has it on n1)"),
    (other(peers=(peer("n1"), peer("n3", words=(WORD,)))), {}, "failed",
     "crm is active on n1 and n3"),
    (other(peers=(peer("n1"), peer("n3", words=(WORD._replace(up=False),)))), {}, "failed",
     "crm is active on n1 and n3"),
    (other(peers=(peer("n1", words=(WORD._replace(up=False),)), peer("n3"))), {}, "failed",
     "crm is active nowhere: it is on its way up or down on n1"),
    (other(peers=(peer("n1", words=()), peer("n3", words=(WORD,)))), {}, "failed",
     "crm is active on n3, but the plan has it on n1"),
    (with_vips(cluster.status(), present=True), {}, "failed",
     "10.0.0.100/24 is on n2, where crm is not active"),
    (with_vips(on_the_owner(), present=False), {}, "failed",
     "crm is active on n2, but 10.0.0.100/24 is not there"),
    (on_the_owner(), FROM_N1, "failed", "n1 answers for 10.0.0.100/24 too"),
    (cluster.status(), SILENT, "failed", "nobody answers for 10.0.0.100/24 on the wire"),
    (cluster.status(), heard(("02:00:00:00:00:03", "n3")), "failed",
     "n3 answers for 10.0.0.100/24, but crm is active on n1"),
    (cluster.status(), heard(("02:00:00:00:00:01", "n1"), ("02:00:00:00:00:03", "n3")), "failed",
     "n1 and n3 answer for 10.0.0.100/24: only one may"),
    (cluster.status(), heard(("02:00:00:00:00:01", "n1"), ("de:ad:be:ef:00:01", "")), "failed",
     "n1 and de:ad:be:ef:00:01 answer for 10.0.0.100/24: only one may"),
    (cluster.status(), heard(("de:ad:be:ef:00:01", "")), "degraded",
     "de:ad:be:ef:00:01 answers for 10.0.0.100/24, and no node is known to have this MAC (crm is "
     "active on n1): find that machine"),
    (cluster.status(), {vip.address: Wire(asked=False, why="cannot ask on eth0: Operation not "
                                          "permitted") for vip in cluster.VIPS}, "degraded",
     "nobody knows who answers for 10.0.0.100/24: cannot ask on eth0: Operation not permitted"),
    (other(zookeeper=False, zookeeper_why="not connected"), FROM_N1, "degraded",
     "no ZooKeeper server answers this node: nothing stops for that, and the heir can take over "
     "once, but nothing can be planned"),
    (other(zookeeper=False, zookeeper_why="the cluster's root record is missing"), FROM_N1,
     "degraded",
     "ZooKeeper's data cannot be built on (the cluster's root record is missing): nothing stops "
     "for that, and the heir can take over once, but nothing can be planned until `hamgr rebuild`, "
     "on one node, writes it anew, or a server that lags has caught up"),
    (other(leader=Leader(term=4)), FROM_N1, "degraded",
     "no node leads: nothing can be planned until one does"),
    (other(plan=plan(heir=None)), FROM_N1, "degraded",
     "crm has no heir: nobody can take over at once"),
    (other(plan=plan(maintenance=Maintenance.ON)), FROM_N1, "degraded",
     "crm is in maintenance (on): nothing takes over"),
    (cluster.on_the_owner(maintenance=Maintenance.ON), SILENT, "degraded",
     "10.0.0.100/24 still expires, although crm is in maintenance: the journal says why"),
    (other(lease="lapsed"), FROM_N1, "degraded", "n2 has no lease"),
    (other(peers=(peer("n1", accused_by=("n3",)), peer("n3"))), FROM_N1, "degraded",
     "n1 is heard, but accused by n3: one more accuser ends its lease"),
    (other(peers=(peer("n1"), peer("n3", heard_ago=2 * SECOND))), FROM_N1, "degraded",
     "n3 is silent"),
    (other(peers=(peer("n1"), peer("n3", config="fedcba")),), FROM_N1, "degraded",
     "n3 runs with another configuration"),
    (cluster.status(spec=replace(cluster.SPEC, nodes=cluster.SPEC.nodes[:2])), FROM_N1, "degraded",
     "by the configuration n1, n2 vote, by the plan n1, n2, n3, and the plan counts: hamgr config "
     "apply changes it"),
    (cluster.status(spec=replace(cluster.SPEC, timing=times_for(20 * MILLISECOND))), FROM_N1,
     "degraded",
     "by the configuration the times are interval 20 ms, lease 45 ms, detection 65 ms, claim "
     "2000 ms, by the plan interval 100 ms, lease 280 ms, detection 350 ms, claim 2000 ms, and the "
     "plan counts: hamgr config apply changes it"),
    (other(groups=(group(fit=False, unfit_why="eth0 has no carrier"),)), FROM_N1, "degraded",
     "n2 cannot run crm: eth0 has no carrier"),
    (other(peers=(IDLE, peer("n3")), groups=(group(phase="stopping", services=(ServiceView(
        name="db", state="demoting", why="no answer in 30 s"),)),)), {}, "failed",
     "db of crm is demoting on n2: no answer in 30 s"),
    (other(peers=(IDLE, peer("n3")), groups=(group(phase="starting", services=(ServiceView(
        name="db", state="stopped", failures=4),)),)), {}, "failed",
     "db of crm is stopped on n2, failed 4 times"),
    (replace(on_the_owner(), layers={"crm": ("deadline",)}), {}, "degraded",
     "crm is not guarded by the dead-man's switch"),
    (cluster.status(process=replace(cluster.status().process, switch_alive=False)), FROM_N1,
     "degraded", "no dead-man's switch runs on n2"),
])
def test_what_is_wrong_is_said(
        answer: AgentStatus, wire: dict[str, Wire], verdict: str, text: str) -> None:
    survey = from_agent.survey(answer, wire)
    assert text in texts(survey)
    assert survey.verdict == verdict


@pytest.mark.parametrize(("answer", "wire"), [
    (cluster.status(), heard(("02:00:00:00:00:01", "n1"), ("02:00:00:00:01:01", "n1"))),
    (on_the_owner(), heard(("02:00:00:00:01:02", "n2"))),
    (cluster.status(addresses=tuple(replace(vip, interface="") for vip in cluster.VIPS)),
     {vip.address: Wire(asked=False, why=probing.NO_INTERFACE) for vip in cluster.VIPS}),
], ids=["two-interfaces-of-the-owner", "our-own-other-interface", "a-node-beside-the-network"])
def test_what_is_no_disagreement_on_the_wire(answer: AgentStatus, wire: dict[str, Wire]) -> None:
    assert [text for text in texts(from_agent.survey(answer, wire)) if "answer" in text] == []


def test_a_heir_that_took_over_before_the_leader_wrote_it_down_is_no_disagreement() -> None:
    view = snapshot(zookeeper=False, peers=(peer("n1", heard_ago=SECOND, accused=True), peer("n3")),
                    groups=(group(phase="active", epoch=8, armed=True),))
    answer = replace(with_vips(cluster.status(view), present=True),
                     layers={"crm": ("deadline", "switch", "lifetime")})
    survey = from_agent.survey(answer, SILENT)
    assert survey.verdict == "degraded"
    assert survey.groups[0].active == ("n2",)


def test_the_word_of_a_node_that_lapsed_does_not_count() -> None:
    survey = from_agent.survey(other(peers=(peer("n1", lapsed=True), peer("n3"))), {})
    assert survey.groups[0].active == ()


@pytest.mark.parametrize(("changes", "state"), [
    ({"heard_ago": None, "seat": ""}, "never seen"),
    ({"heard_ago": 9 * SECOND}, "silent"),
    ({"heard_ago": 9 * SECOND, "accused": True}, "down"),
    ({"lapsed": True}, "lapsed"),
    ({"seat": "claimed"}, "claimed"),
])
def test_the_word_for_a_node(changes: dict[str, Any], state: str) -> None:
    seats = {} if state == "never seen" else {"n3": seat()}
    view = snapshot(peers=(peer("n1"), peer("n3", **changes)), seats=seats)
    (row,) = [row for row in from_agent.survey(cluster.status(view), {}).nodes if row.name == "n3"]
    assert row.state == state


def test_a_switch_that_ends_with_its_agent_is_a_guard_and_said_to_be_a_child() -> None:
    process = replace(cluster.status().process, switch_ends_with_us=True)
    answer = replace(on_the_owner(), process=process,
                     layers={"crm": ("deadline", "switch (child)", "lifetime")})
    shown = from_agent.survey(answer, SILENT)
    assert shown.groups[0].guarded_by == ("deadline", "switch (child)", "lifetime")
    assert not [text for text in texts(shown) if "switch" in text]
    assert shown.notes == ("the dead-man's switch of n2 is a child of the agent, and ends with it: "
                           "enable hamgr-deadman.socket, and restart the agent",)


@pytest.mark.parametrize(("changes", "state", "verdict"), [
    ({}, "member", "healthy"), ({"accused": True, "blocked": True}, "down", "degraded")])
def test_beyond_seven_nodes_those_that_do_not_vote_do_not_miss_each_other(
        changes: dict[str, Any], state: str, verdict: str) -> None:
    names = [f"n{number}" for number in range(1, 10)]
    voters = tuple(name for name in names if name not in ("n2", "n9"))
    spec = replace(cluster.SPEC, nodes=tuple(
        NodeSpec(name=name, voter=name in voters) for name in names))
    away = peer("n9", heard_ago=None, rings_ago=(None, None), **changes)
    view = snapshot(
        peers=(*map(peer, voters), away), voters=voters, seats=dict.fromkeys(names, seat()),
        plan=replace(plan(), voters=Voters(number=1, names=voters)))
    shown = from_agent.survey(cluster.status(view, spec=spec), FROM_N1)
    (row,) = [node for node in shown.nodes if node.name == "n9"]
    assert (row.state, row.note, shown.verdict) == (state, "no vote, not heard from here", verdict)


def test_a_node_that_left_is_not_called_dead() -> None:
    view = snapshot(peers=(peer("n1"), peer("n3", heard_ago=9 * SECOND, accused=True)),
                    seats={"n3": seat(SeatState.LEFT)})
    assert "n3 is left" in texts(from_agent.survey(cluster.status(view), {}))


def test_an_agent_that_still_starts_cannot_tell() -> None:
    starting = replace(cluster.status(), snapshot=None, process=replace(
        cluster.status().process, phase="starting", why="cannot remove leftovers: busy"))
    survey = from_agent.survey(starting, {})
    assert (survey.verdict, EXIT[survey.verdict]) == ("unknown", 3)
    assert "cannot remove leftovers: busy" in render.text(survey)


def test_zookeeper_alone_shows_a_holder_that_looks_dead() -> None:
    survey = from_zookeeper(sessions=())
    assert "crm is planned on n1, which does not look alive from ZooKeeper" in texts(survey)
    assert survey.verdict == "failed"


def here(present: bool, *, deserted: bool = True, lifetime_s: int | None = 2,
         answers: tuple[Answer, ...] = ()) -> Here:
    row = VipRow(address="10.0.0.100/24", plan="", kernel=present, interface="eth0",
                 lifetime_s=lifetime_s, wire=Wire(asked=True, answers=answers))
    return Here(node="n2", deserted=deserted, vips={row.address: row}).told({"m1": "n1"})


ANSWER = Answer(mac="m1")


@pytest.mark.parametrize(("survey", "verdict", "text"), [
    (from_zookeeper(plan=None, unreadable=("the record 'plan' in ZooKeeper cannot be read: no",)),
     "failed", "the record 'plan' in ZooKeeper cannot be read: no"),
    (from_zookeeper(here=here(True)), "failed",
     "10.0.0.100/24 is on n2, where no agent answers: nothing guards it; it expires in 2 s unless "
     "something renews it"),
    (from_zookeeper(here=here(True, lifetime_s=None)), "failed",
     "10.0.0.100/24 is on n2, where no agent answers: nothing guards it, and it does not expire; "
     "unless this is maintenance, start the agent, or run hamgr agent --cleanup"),
    (from_zookeeper(here=here(True, lifetime_s=None), plan=plan(maintenance=Maintenance.ON)),
     "degraded",
     "10.0.0.100/24 is on n2, where no agent answers: left there for crm's maintenance"),
    (from_zookeeper(here=here(True, answers=(ANSWER,))), "failed",
     "n1 answers for 10.0.0.100/24 too"),
    (from_zookeeper(here=here(False)), "failed", "nobody answers for 10.0.0.100/24 on the wire"),
    (from_zookeeper(here=here(False, answers=(Answer(mac="m9"),))), "degraded",
     "m9 answers for 10.0.0.100/24, and no node is known to have this MAC (crm is active on n1): "
     "find that machine"),
    (from_records.nothing("crm", ["?"], {"crm": ("10.0.0.100/24",)}, here(True)), "failed",
     "10.0.0.100/24 is on n2, where no agent answers: nothing guards it; it expires in 2 s unless "
     "something renews it"),
    (from_records.nothing("crm", ["?"], {"crm": ("10.0.0.100/24",)},
                          here(False, answers=(ANSWER, Answer(mac="m9")))), "failed",
     "n1 and m9 answer for 10.0.0.100/24: only one may"),
])
def test_without_an_agent_kernel_and_wire_are_compared_too(
        survey: Survey, verdict: str, text: str) -> None:
    assert text in texts(survey)
    assert survey.verdict == verdict


def test_without_an_agent_kernel_and_wire_are_shown() -> None:
    shown = render.text(from_zookeeper(here=here(False, answers=(ANSWER,))))
    assert "10.0.0.100/24  not on n2  n1    -" in shown
    alone = from_records.nothing("crm", ["no agent runs here"], {"crm": ("10.0.0.100/24",)},
                                 here(False, answers=(ANSWER,)))
    assert alone.verdict == "unknown"
    assert "crm    ?     ?       -     -      10.0.0.100/24  not on n2  n1" in render.text(alone)


def test_an_agent_that_this_user_may_not_ask_is_not_called_down() -> None:
    survey = from_zookeeper(here=here(True, deserted=False))
    assert [text for text in texts(survey) if "no agent answers" in text] == []


@pytest.mark.parametrize(("seconds", "words"), [
    (None, "-"), (0.0314, "31 ms"), (4.21, "4.2 s"), (725, "12m05s"), (11220, "3h07m"),
    (187300, "2d04h")])
def test_lengths_of_time(seconds: float | None, words: str) -> None:
    assert render.span(seconds) == words
