"""Real agents, real ZooKeeper, real addresses: each failure, and what the client notices of it.

Every test begins with a settled cluster and ends with everything healed. The address may be on
two nodes only where agent and switch are frozen both, and then no longer than its lifetime in the
kernel: 2 s, which the kernel checks once a second (1.25 s more at worst).
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hamgr.core.reasons import Reason
from hamgr.core.types import MILLISECOND, NEVER, SECOND, Instant
from hamgr.lab.lab import Lab
from hamgr.lab.node import AGENT
from hamgr.lab.spec import GROUP, VIP, VIP6
from tests.lab.scene import (
    CUT_OFF,
    FAILOVER_MS,
    HANDED_OVER,
    SOON_S,
    UNNOTICED_MS,
    Scene,
    another,
    noticed_nothing,
    operate,
    raised,
    settled,
    took_over,
)
from tests.lab.traces import traces

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

KERNEL_LIFETIME = 2 * SECOND + 1250 * MILLISECOND
FOREVER = 2**32 - 1
"""A lifetime that never ends (rtnetlink(7), INFINITY_LIFE_TIME)."""
LONGER_THAN_DETECTION_S = 0.5
LONGER_THAN_A_CLAIM_S = 2.5
LOSS_PERCENT = 20
"""Of each ring, each way: enough to lose words, too little for an accusation to be likely."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with raised("fail") as whole:
        yield whole


def evidence(scene: Scene, node: str, since: Instant) -> Instant:
    """Return when a node that has taken over first heard why it may: accusation or `done`."""
    told = scene.told(since, Reason.ACCUSED, Reason.ACCUSED_BY, Reason.STARTING)
    return min(one.at for one in told if one.node == node)


def collected_while_taking_over(scene: Scene, node: str, since: Instant) -> bool:
    """Tell whether a node collected garbage between evidence and its last address."""
    address = max(tenure.begin for tenure in scene.tenures(node))
    status = scene.lab.nodes[node].status()
    assert status is not None and status["process"]["collections"], "the start ends with one"
    heard = evidence(scene, node, since)
    return any(began < address and ended > heard
               for began, ended in status["process"]["collections"])


def test_no_garbage_is_collected_between_evidence_and_address(scene: Scene) -> None:
    for _ in range(2):
        for way in (crash, switch_over):
            owner, since = scene.client.served_by, time.monotonic_ns()
            way(scene, owner)
            target = scene.served_elsewhere(owner)
            assert not collected_while_taking_over(scene, target, since), way.__name__
            scene.lab.heal()


def crash(scene: Scene, owner: str) -> None:
    scene.lab.crash(owner)


def switch_over(scene: Scene, owner: str) -> None:
    operate(scene, owner, "switchover", GROUP)


def test_after_a_crash_the_heir_serves(scene: Scene) -> None:
    owner, heir = scene.client.served_by, scene.plan["heir"]["node"]
    with scene.lab.probe(VIP6) as second_client:
        second_client.wait_served(SOON_S, by=[owner])
        since = time.monotonic_ns()
        scene.lab.crash(owner)
        assert scene.served_elsewhere(owner) == heir
        second_client.wait_served(SOON_S, by=[heir])
        took_over(scene, heir, owner, since, CUT_OFF)
        for seen in (scene.finish(), second_client.finish()):
            assert seen.nodes == [owner, heir]
            assert seen.outage().ms < FAILOVER_MS
    [group] = json.loads(scene.lab.hamgr(heir, "status", "--json").stdout)["groups"]
    assert f"{owner} is blocked" in group["why"], "power was cut, so nobody can have handed over"
    assert scene.shared() == 0


@pytest.mark.parametrize("fault, why", [
    (Lab.kill_agent, CUT_OFF), (Lab.freeze, CUT_OFF), (Lab.isolate, CUT_OFF), (Lab.mute, CUT_OFF),
    (Lab.deafen, HANDED_OVER), (Lab.cut, HANDED_OVER)], ids=lambda value: getattr(
        value, "__name__", ""))
def test_an_owner_that_cannot_go_on_lets_go_before_another_takes_over(
        scene: Scene, fault: Callable[[Lab, str], int], why: str) -> None:
    owner, since = scene.client.served_by, time.monotonic_ns()
    fault(scene.lab, owner)
    target = scene.served_elsewhere(owner)
    took_over(scene, target, owner, since, why)
    scene.lab.heal()
    assert scene.plan["holder"]["node"] == target
    assert scene.shared() == 0
    seen = scene.finish()
    assert seen.nodes == [owner, target]
    assert seen.outage().ms < FAILOVER_MS


def test_an_orderly_stop_hands_over_and_the_client_hardly_notices(scene: Scene) -> None:
    owner, heir, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    scene.lab.stop_agent(owner)
    assert scene.served_elsewhere(owner) == heir
    took_over(scene, heir, owner, since, HANDED_OVER)
    assert scene.shared() == 0
    seen = scene.finish()
    assert seen.nodes == [owner, heir]
    assert seen.outage().ms < UNNOTICED_MS


def test_agent_and_switch_frozen_the_kernel_lets_go(scene: Scene) -> None:
    owner, since = scene.client.served_by, time.monotonic_ns()
    scene.lab.freeze_all(owner)
    target = scene.served_elsewhere(owner)
    took_over(scene, target, owner, since, CUT_OFF)
    assert 0 < scene.shared() <= KERNEL_LIFETIME
    before = scene.shared()
    scene.lab.thaw(owner)
    scene.lab.wait_settled()
    assert scene.shared() == before, "whoever wakes finds its address gone, and leaves it so"
    seen = scene.finish()
    assert seen.nodes == [owner, target]
    assert seen.outage().ms < FAILOVER_MS


def test_a_switch_that_died_is_replaced_by_one_that_does_its_work_and_nothing_moves(
        scene: Scene) -> None:
    owner = scene.client.served_by
    node = scene.lab.nodes[owner]
    first = node.switch_pid()
    scene.lab.kill_switch(owner)
    node.wait(lambda: node.switch_pid() not in (None, first), SOON_S, "has no new switch", AGENT)
    scene.lab.wait_settled()
    noticed_nothing(scene, owner)
    with scene.lab.probe() as client:
        client.wait_served(SOON_S, by=[owner])
        scene.lab.kill_agent(owner)
        scene._replace(client=client).served_elsewhere(owner)
    assert scene.shared() == 0


@pytest.fixture
def patient() -> Iterator[Scene]:
    """A cluster with a long lease.

    Where one voter has accused the holder, a short stall of the only other one ends the lease.
    """
    with raised("slow", interval=300 * MILLISECOND) as lab, settled(lab) as found:
        yield found


def test_one_accuser_is_not_enough(patient: Scene) -> None:
    owner, heir = patient.client.served_by, patient.plan["heir"]["node"]
    patient.lab.block(owner, heir, one_way=True)

    def accused() -> bool:
        status = patient.lab.nodes[heir].status()
        return status is not None and any(
            peer["node"] == owner and peer["accused"] for peer in status["snapshot"]["peers"])

    patient.lab.nodes[heir].wait(accused, SOON_S, "does not accuse", AGENT)
    patient.lab.heal()
    noticed_nothing(patient, owner)


def test_zookeeper_down_moves_nothing_and_the_heir_takes_over_without_it(scene: Scene) -> None:
    owner, heir, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    scene.lab.zookeeper_down()
    scene.lab.wait_status(lambda snapshot: not snapshot["zookeeper"], "do not miss ZooKeeper")
    scene.look_on(LONGER_THAN_A_CLAIM_S)
    assert [one.end for one in scene.tenures()] == [NEVER] * 2
    crashed = scene.lab.crash(owner)
    assert scene.served_elsewhere(owner) == heir
    took_over(scene, heir, owner, since, CUT_OFF)
    assert scene.shared() == 0
    scene.lab.heal()
    seen = scene.finish()
    assert seen.nodes == [owner, heir]
    assert [gap for gap in seen.gaps() if gap.ms > UNNOTICED_MS and gap.end < crashed] == []
    assert seen.outage(crashed).ms < FAILOVER_MS


def test_the_owner_crashes_with_zookeepers_leader(scene: Scene) -> None:
    leader = scene.lab.zookeeper_leader()
    if scene.client.served_by != leader:
        operate(scene, leader, "switchover", GROUP, "--to", leader)
        scene.client.wait_served(SOON_S, by=[leader])
        scene.lab.wait_settled()
    heir, since = scene.plan["heir"]["node"], time.monotonic_ns()
    scene.lab.crash(leader)
    assert scene.served_elsewhere(leader) == heir
    took_over(scene, heir, leader, since, CUT_OFF)
    assert scene.shared() == 0
    assert scene.finish().outage(since).ms < FAILOVER_MS


def test_a_switchover_goes_where_it_is_told_or_to_the_heir(scene: Scene) -> None:
    owner, heir, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    third = another(scene, owner, heir)
    operate(scene, third, "switchover", GROUP, "--to", third)
    assert scene.served_elsewhere(owner) == third
    took_over(scene, third, owner, since, HANDED_OVER)
    scene.lab.wait_settled()
    heir, again = scene.plan["heir"]["node"], time.monotonic_ns()
    operate(scene, owner, "switchover", GROUP)
    assert scene.served_elsewhere(third) == heir
    took_over(scene, heir, third, again, HANDED_OVER)
    assert scene.shared() == 0
    seen = scene.finish()
    assert seen.nodes == [owner, third, heir]
    assert seen.outage().ms < UNNOTICED_MS


def test_a_node_on_standby_gives_everything_away_until_it_resumes(scene: Scene) -> None:
    owner, heir, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    third = another(scene, owner, heir)
    operate(scene, owner, "standby", owner)
    assert scene.served_elsewhere(owner) == heir
    took_over(scene, heir, owner, since, HANDED_OVER)
    scene.lab.wait_status(lambda snapshot: heir_in(snapshot) == third, f"do not name {third} heir")
    refused = scene.lab.hamgr(heir, "switchover", GROUP, "--to", owner, "--yes")
    assert refused.returncode == 1 and "standby" in refused.stdout + refused.stderr
    operate(scene, heir, "resume", owner)
    scene.lab.wait_settled()
    assert scene.client.served_by == heir, "nothing moves back by itself"
    operate(scene, heir, "switchover", GROUP, "--to", owner)
    assert scene.served_elsewhere(heir) == owner
    assert scene.shared() == 0
    seen = scene.finish()
    assert seen.nodes == [owner, heir, owner]
    assert seen.outage().ms < UNNOTICED_MS


def heir_in(snapshot: dict[str, Any]) -> str:
    """Return the heir by an agent's plan; empty: none."""
    return str((snapshot["plan"]["groups"][GROUP]["heir"] or {}).get("node", ""))


def test_standby_and_resume_while_frames_are_lost(scene: Scene) -> None:
    owner = scene.client.served_by
    scene.lab.lose(LOSS_PERCENT)
    operate(scene, owner, "standby", owner)
    target = scene.client.wait_served(SOON_S, other_than=[owner])
    assert all(tenure.end < NEVER for tenure in scene.tenures(owner))
    scene.lab.wait_status(lambda snapshot: heir_in(snapshot) not in ("", owner),
                          "name no heir beside the node on standby")
    drained = scene.tenures(owner)
    operate(scene, target, "resume", owner)
    assert scene.tenures(owner) == drained, "a node on standby gets nothing, whatever is lost"
    scene.lab.heal()
    scene.lab.wait_status(lambda snapshot: not snapshot["plan"]["standby"],
                          "do not forget the standby")
    assert scene.shared() == 0


def test_an_orderly_stop_hands_over_while_frames_are_lost(scene: Scene) -> None:
    owner, since = scene.client.served_by, time.monotonic_ns()
    scene.lab.lose(LOSS_PERCENT)
    scene.lab.stop_agent(owner)
    assert all(tenure.end < NEVER for tenure in scene.tenures(owner))
    took_over(scene, scene.served_elsewhere(owner), owner, since, HANDED_OVER)
    scene.lab.wait_status(lambda snapshot: snapshot["seats"][owner]["state"] == "left",
                          f"do not read that {owner} has left")
    assert scene.shared() == 0


def lifetimes(scene: Scene, node: str) -> list[int]:
    """Return for how many seconds more the kernel keeps each VIP that it has."""
    links = json.loads(scene.lab.output(node, ["ip", "-json", "address", "show"]))
    return [info["valid_life_time"] for link in links for info in link["addr_info"]
            if info["local"] in (VIP, VIP6)]


@pytest.mark.parametrize("end", [Lab.stop_agent, Lab.kill_agent], ids=lambda end: end.__name__)
def test_in_maintenance_the_agent_is_restarted_and_the_client_notices_nothing(
        scene: Scene, end: Callable[[Lab, str], int]) -> None:
    owner = scene.client.served_by
    assert all(seconds < FOREVER for seconds in lifetimes(scene, owner))
    operate(scene, owner, "maintenance", "on")
    try:
        assert lifetimes(scene, owner) == [FOREVER] * 2
        end(scene.lab, owner)
        scene.lab.stop_agent(another(scene, owner))
        scene.look_on(LONGER_THAN_DETECTION_S)
    finally:
        for name in scene.lab.nodes:
            scene.lab.start_agent(name)
        scene.lab.wait_status(lambda snapshot: snapshot["zookeeper"], "do not reach ZooKeeper")
        operate(scene, owner, "maintenance", "off")
    scene.lab.wait_settled()
    assert len(lifetimes(scene, owner)) == 2 and FOREVER not in lifetimes(scene, owner)
    assert scene.shared() == 0
    noticed_nothing(scene, owner)


def test_a_second_whole_lab_fails_over_and_the_first_feels_nothing(scene: Scene) -> None:
    first = scene.client.served_by
    with raised("next") as lab, settled(lab) as beside:
        owner, heir = beside.client.served_by, beside.plan["heir"]["node"]
        beside.lab.crash(owner)
        assert beside.served_elsewhere(owner) == heir
        noticed_nothing(scene, first)
        with scene.lab.probe() as client:
            client.wait_served(SOON_S, by=[first])
            scene.lab.crash(first)
            client.wait_served(SOON_S, other_than=[first])
        assert beside.finish().nodes == [owner, heir]
        assert beside.shared() == 0
    assert traces(scene.lab.spec.name)["namespaces"] != []
