"""Tests of fence devices: real engines in virtual time, with devices that are a stand-in."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from hamgr.agent.answers import Answers
from hamgr.agent.facts import AskFenceTest, FenceTested
from hamgr.agent.proving import Proving
from hamgr.core.effects import RunDevice
from hamgr.core.events import DeviceAnswered
from hamgr.core.records import REQUESTS, Request
from hamgr.core.spec import DeviceSpec, GroupSpec, ServiceSpec
from hamgr.core.types import MILLISECOND, SECOND, Power
from hamgr.ports import FenceTest
from tests.core.cluster import SPEC, Cluster, settled

IPMI = DeviceSpec(name="ipmi", nodes=("n1", "n2", "n3"), timeout=10 * SECOND)
PDU = DeviceSpec(name="pdu", nodes=("n1",), level=2, tells=False)
REQUEST = Request(id="7", kind="fence", node="n1")
ON = DeviceAnswered(run=0, ok=True, power=Power.ON)


class Story:
    """The agent on n2 that is asked, in a cluster of three; n1 holds the group."""

    def __init__(self, *devices: DeviceSpec, groups: tuple[GroupSpec, ...] = SPEC.groups,
                 **answers: DeviceAnswered | None) -> None:
        """answers: what devices say, by device and action; None: nothing, ever."""
        self.cluster = settled(Cluster(replace(SPEC, devices=devices, groups=groups)))
        self.given: dict[str, DeviceAnswered | None] = dict(answers)
        self.asked: list[str] = []
        self.said: list[str] = []
        self.tests: dict[str, FenceTest] = {}
        self._answers = Answers()
        self._devices: Any = self
        self.proving = Proving(
            lambda: self.cluster.engines.get("n2"), self._devices, self._answers, self._follow,
            self._passed, lambda: self.cluster.now)

    def run(self, effect: RunDevice) -> None:
        """Answer in place of the devices."""
        self.asked.append(f"{effect.device} {effect.action} {effect.node}")
        answer = self.given.get(f"{effect.device}_{effect.action}",
                                replace(ON, power=Power.ON if effect.action == "status" else
                                        Power.UNKNOWN))
        if answer is not None:
            self._answers.take(replace(answer, run=effect.run))

    async def _passed(self, node: str, test: FenceTest) -> bool:
        self.tests[node] = test
        return True

    async def _follow(self, request: Request, say: object, within_s: float) -> Request | None:
        self.cluster.ask(request)
        while True:
            record, _ = self.cluster.tree[f"{REQUESTS}/{request.id}"]
            assert isinstance(record, Request)
            if record.state != "open":
                return record
            await asyncio.sleep(0)

    def test(self, node: str = "n1", cycle: Request | None = None, within_s: float = 60.0,
             meanwhile: Callable[[Cluster], None] = lambda _: None) -> FenceTested:
        """Test a node's devices; virtual time passes meanwhile."""
        async def told() -> FenceTested:
            testing = asyncio.ensure_future(self.proving.test(
                AskFenceTest(node=node, cycle=cycle), within_s, self.said.append))
            while not testing.done():
                self.cluster.advance(MILLISECOND)
                meanwhile(self.cluster)
                self.proving.look(self.cluster.now)
                await asyncio.sleep(0)
            return testing.result()
        return asyncio.run(told())


def booting(cluster: Cluster) -> None:
    """Give n1 its power back a second after it was cut off."""
    if "n1" not in cluster.engines and cluster.now > 4500 * MILLISECOND:
        cluster.boot("n1")


def test_every_device_of_the_node_is_asked_and_nothing_is_switched() -> None:
    story = Story(IPMI, PDU, replace(IPMI, name="other", nodes=("n3",)))
    result = story.test()
    assert (result.state, result.why, result.by, result.cycle) == ("passed", "", "n2", None)
    assert result.recorded
    assert sorted(story.asked) == ["ipmi monitor n1", "ipmi status n1", "pdu monitor n1"]
    assert [(one.device, one.level, one.state, one.power, one.says) for one in result.devices] == [
        ("ipmi", 1, "passed", "on", "n1 is on"),
        ("pdu", 2, "passed", "", "answers; it cannot tell who is on (status = false)")]
    assert story.said == ["ipmi: n1 is on (0.00 s)",
                          "pdu: answers; it cannot tell who is on (status = false) (0.00 s)"]


def test_a_success_is_noted_for_every_node() -> None:
    story = Story(IPMI, PDU)
    story.test()
    test = story.tests["n1"]
    assert (test.by, test.devices, test.cycle, test.cycle_at) == ("n2", ("ipmi", "pdu"), False, "")
    assert test.at.endswith("+00:00")


@pytest.mark.parametrize(("answers", "state", "why"), [
    ({"ipmi_monitor": DeviceAnswered(run=0, ok=False, why="no answer in 3 s")}, "failed",
     "ipmi: no answer in 3 s"),
    ({"ipmi_status": DeviceAnswered(run=0, ok=False, why="exit status 1")}, "failed",
     "ipmi: exit status 1"),
    ({"ipmi_status": DeviceAnswered(run=0, ok=True, power=Power.OFF)}, "failed",
     "ipmi: n1 is off, and its heartbeats are heard: it is wired to another machine, and would cut "
     "that off"),
    ({"ipmi_monitor": None}, "unknown", "ipmi: no answer within 0.05 s"),
    ({"ipmi_monitor": None, "pdu_monitor": DeviceAnswered(run=0, ok=False, why="refused")},
     "failed", "pdu: refused"),
])
def test_one_that_is_not_well_is_said_and_nothing_is_noted(
        answers: dict[str, DeviceAnswered | None], state: str, why: str) -> None:
    story = Story(IPMI, PDU, **answers)
    result = story.test(within_s=0.05, cycle=REQUEST)
    assert (result.state, result.why) == (state, why)
    assert (story.tests, result.cycle) == ({}, None)
    assert f"{REQUESTS}/7" not in story.cluster.tree, "what does not answer is not tried in earnest"


def test_one_that_is_off_may_be_said_to_be_off() -> None:
    story = Story(IPMI, ipmi_status=DeviceAnswered(run=0, ok=True, power=Power.OFF))
    story.cluster.crash("n1")
    story.cluster.advance(SECOND)
    result = story.test()
    assert (result.state, result.devices[0].says) == ("passed", "n1 is off")


def test_two_actions_fit_into_the_time_that_there_is() -> None:
    story, timeouts = Story(IPMI), list[int]()
    answer = story.run
    story.run = lambda effect: (timeouts.append(effect.timeout), answer(effect))  # type: ignore
    story.test(within_s=60)
    story.test(within_s=4)
    assert timeouts[:2] == [10 * SECOND, 10 * SECOND]
    assert all(2 * timeout < 4 * SECOND for timeout in timeouts[2:]) and len(timeouts) == 4


@pytest.mark.parametrize(("node", "why"), [
    ("n2", "n2 does not cut itself off: its devices are tested from where they will be asked, so "
           "run this on n1 or n3"),
    ("n3", "no fence device can cut n3 off"),
    ("n9", "there is no node 'n9'"),
])
def test_who_cannot_be_tested_here(node: str, why: str) -> None:
    story = Story(replace(IPMI, nodes=("n1", "n2")))
    with pytest.raises(ConnectionError) as caught:
        story.test(node)
    assert (str(caught.value), story.asked) == (why, [])


def test_a_real_cycle_is_followed_until_the_node_is_back() -> None:
    story = Story(IPMI)
    result = story.test(cycle=REQUEST, meanwhile=booting)
    cycle = result.cycle
    assert result.state == "passed" and cycle is not None
    (crm,) = cycle.groups
    assert (crm.group, crm.node) == ("crm", "n2")
    assert cycle.off_s is not None and crm.after_s is not None and cycle.back_s is not None
    assert 0 < cycle.off_s < crm.after_s < cycle.back_s
    # As virtual time has it: off, status, and their answers; the lease, and what a start takes.
    assert cycle.off_s == pytest.approx(0.013, abs=0.01)
    assert story.said[1:] == [f"n1 is confirmed off after {cycle.off_s:.2f} s",
                              f"crm is active on n2 after {crm.after_s:.2f} s",
                              f"n1 is a member again after {cycle.back_s:.2f} s"]
    assert story.tests["n1"].cycle and story.tests["n1"].cycle_at == story.tests["n1"].at


def test_a_group_that_comes_up_on_another_node_is_seen_there() -> None:
    story = Story(IPMI)
    story.cluster.ask(Request(id="1", kind="standby", node="n2"))
    story.cluster.advance(SECOND)
    result = story.test(cycle=REQUEST, meanwhile=booting)
    assert result.cycle is not None and [one.node for one in result.cycle.groups] == ["n3"]


def test_what_n1_said_before_does_not_count() -> None:
    story = Story(IPMI, groups=(GroupSpec(name="crm", nodes=("n1",)),))
    cycle = story.test(cycle=REQUEST, meanwhile=booting).cycle
    assert cycle is not None
    (crm,) = cycle.groups
    assert crm.node == "n1" and crm.after_s is not None and crm.after_s > 1


def test_a_group_that_starts_slowly_is_waited_for() -> None:
    group = GroupSpec(name="crm", nodes=("n1", "n2"), services=(ServiceSpec(name="db"),))
    story = Story(IPMI, groups=(group,))
    story.cluster.action_takes = 5 * SECOND
    cycle = story.test(cycle=REQUEST, meanwhile=booting).cycle
    assert cycle is not None and cycle.back_s is not None
    (crm,) = cycle.groups
    assert crm.node == "n2" and crm.after_s is not None and crm.after_s > cycle.back_s


def test_a_node_that_does_not_come_back_leaves_the_question_open() -> None:
    story = Story(IPMI)
    result = story.test(cycle=REQUEST, within_s=0.3)
    assert (result.state, result.why) == (
        "unknown", "it was cut off, but n1 is not a member again after 0.3 s")
    assert result.cycle is not None and result.cycle.off_s and result.cycle.back_s is None
    assert story.tests == {}


def test_what_the_leader_refuses_is_not_proven() -> None:
    story = Story(IPMI)
    result = story.test(cycle=replace(REQUEST, node="n9"))
    assert (result.state, result.why) == ("failed", "there is no node 'n9'")
    assert story.tests == {}


def test_a_device_that_only_says_so_has_failed() -> None:
    story = Story(IPMI)
    story.cluster.fence_fails.add(("ipmi", "lies"))
    result = story.test(cycle=REQUEST, within_s=0.2)
    assert (result.state, result.why) == (
        "failed", "no device has confirmed within 0.2 s that n1 is off; see `hamgr status`")


@pytest.mark.parametrize(("before", "why"), [
    (lambda cluster: cluster.crash("n1"), "n1 is no member now: a cycle begins with one that is"),
    (lambda cluster: cluster.ask(Request(id="1", kind="maintenance-on")),
     "crm is in maintenance on n1: nobody would take it over"),
])
def test_a_cycle_that_would_show_nothing_is_not_begun(
        before: Callable[[Cluster], None], why: str) -> None:
    story = Story(IPMI)
    before(story.cluster)
    story.cluster.advance(SECOND)
    with pytest.raises(ConnectionError, match=why):
        story.test(cycle=REQUEST)
    assert story.asked == []


def test_a_request_that_nobody_takes_is_said() -> None:
    story = Story(IPMI)

    async def away(*_: Any) -> Request | None:
        raise ConnectionError("ZooKeeper did not take the request")
    story.proving._ask = away
    with pytest.raises(ConnectionError, match="did not take the request"):
        story.test(cycle=REQUEST)


def test_between_two_lives_nobody_is_asked() -> None:
    story = Story(IPMI)
    story.cluster.crash("n2")
    with pytest.raises(ConnectionError, match="ask again in a moment"):
        story.test()
