"""Real agents, real ZooKeeper, real addresses: each failure, and what the client notices of it.

Every test begins with a settled cluster and ends with everything healed. The address may be on
two nodes only where agent and switch are frozen both, and then no longer than its lifetime in the
kernel: 2 s, which the kernel checks once a second (1.25 s more at worst).
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from hamgr.core.types import MILLISECOND, SECOND
from hamgr.lab import watch
from hamgr.lab.lab import Lab
from hamgr.lab.probe import Probe, Record
from hamgr.lab.spec import GROUP, VIP, VIP6, LabSpec
from hamgr.lab.watch import Watch
from tests.lab.traces import traces

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SOON_S = 15.0
KERNEL_LIFETIME = 2 * SECOND + 1250 * MILLISECOND


class Scene(NamedTuple):
    """A settled cluster, a client that writes, and the eye on the kernels."""

    lab: Lab
    client: Probe
    eyes: Watch

    @property
    def plan(self) -> dict[str, Any]:
        snapshots = (node.status() for node in self.lab.nodes.values())
        plans = [status["snapshot"]["plan"] for status in snapshots if status is not None]
        newest: dict[str, Any] = max(plans, key=lambda plan: plan["revision"])["groups"][GROUP]
        return newest

    def served_elsewhere(self, than: str) -> str:
        """Wait until another node serves; return it, once it alone has both addresses."""
        target = self.client.wait_served(SOON_S, other_than=[than])
        for vip in (VIP, VIP6):
            self.eyes.wait_owners(vip, [target], SOON_S)
        return target

    def shared(self) -> int:
        """Return for how many nanoseconds an address was on two nodes."""
        now = time.monotonic_ns()
        return max(watch.shared(self.eyes.tenures(vip), now) for vip in (VIP, VIP6))

    def finish(self) -> Record:
        """End the client; what it had acknowledged stands in a ledger."""
        return self.client.finish()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    name = f"tfail{os.getpid()}"
    with Lab.raised(LabSpec(name=name)) as raised:
        yield raised
    assert traces(name) == {}


@pytest.fixture
def scene(lab: Lab) -> Iterator[Scene]:
    lab.wait_settled()
    try:
        with lab.watch() as eyes, lab.probe() as client:
            client.wait_served(SOON_S)
            yield Scene(lab, client, eyes)
    finally:
        lab.heal()


def operate(scene: Scene, node: str, *words: str) -> dict[str, Any]:
    done = scene.lab.hamgr(node, *words, "--yes", "--json")
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0 and answer["state"] == "done", done.stdout + done.stderr
    return answer


def another(scene: Scene, *than: str) -> str:
    return next(name for name in scene.lab.nodes if name not in than)


def test_after_a_crash_the_heir_serves(scene: Scene) -> None:
    owner, heir = scene.client.served_by, scene.plan["heir"]["node"]
    with scene.lab.probe(VIP6) as second_client:
        second_client.wait_served(SOON_S, by=[owner])
        at = scene.lab.crash(owner)
        assert scene.served_elsewhere(owner) == heir
        second_client.wait_served(SOON_S, by=[heir])
    assert scene.shared() == 0
    seen = scene.finish()
    assert (seen.outage(at).before, seen.outage(at).after) == (owner, heir)
    assert seen.nodes == [owner, heir]


@pytest.mark.parametrize("fault", [Lab.kill_agent, Lab.freeze, Lab.isolate, Lab.deafen, Lab.mute,
                                   Lab.cut, Lab.stop_agent], ids=lambda fault: fault.__name__)
def test_an_owner_that_cannot_go_on_lets_go_before_another_takes_over(
        scene: Scene, fault: Callable[[Lab, str], int]) -> None:
    owner = scene.client.served_by
    fault(scene.lab, owner)
    target = scene.served_elsewhere(owner)
    scene.lab.heal()
    assert scene.plan["holder"]["node"] == target
    assert scene.shared() == 0
    assert scene.finish().nodes == [owner, target]


def test_agent_and_switch_frozen_the_kernel_lets_go(scene: Scene) -> None:
    owner = scene.client.served_by
    scene.lab.freeze_all(owner)
    target = scene.served_elsewhere(owner)
    assert 0 < scene.shared() <= KERNEL_LIFETIME
    before = scene.shared()
    scene.lab.thaw(owner)
    scene.lab.wait_settled()
    assert scene.shared() == before, "whoever wakes finds its address gone, and leaves it so"
    assert scene.client.served_by == target


def test_a_switch_that_died_is_replaced_and_nothing_moves(scene: Scene) -> None:
    owner = scene.client.served_by
    node = scene.lab.nodes[owner]
    first = node.switch_pid()
    scene.lab.kill_switch(owner)
    node.wait(lambda: node.switch_pid() not in (None, first), SOON_S, "has no new switch", "agent")
    scene.lab.wait_settled()
    assert scene.finish().nodes == [owner]


def test_one_accuser_is_not_enough(scene: Scene) -> None:
    owner, heir = scene.client.served_by, scene.plan["heir"]["node"]
    scene.lab.block(owner, heir, one_way=True)

    def accused() -> bool:
        status = scene.lab.nodes[heir].status()
        return status is not None and any(
            peer["node"] == owner and peer["accused"] for peer in status["snapshot"]["peers"])

    scene.lab.nodes[heir].wait(accused, SOON_S, "does not accuse", "agent")
    scene.lab.heal()
    assert scene.finish().nodes == [owner]


def test_zookeeper_down_moves_nothing_and_the_heir_takes_over_without_it(scene: Scene) -> None:
    owner, heir = scene.client.served_by, scene.plan["heir"]["node"]
    scene.lab.zookeeper_down()
    scene.lab.wait_status(lambda snapshot: not snapshot["zookeeper"], "do not miss ZooKeeper")
    assert scene.client.served_by == owner
    scene.lab.crash(owner)
    assert scene.served_elsewhere(owner) == heir
    assert scene.shared() == 0
    scene.lab.heal()
    assert scene.finish().nodes == [owner, heir]


def test_the_owner_crashes_with_zookeepers_leader(scene: Scene) -> None:
    leader = scene.lab.zookeeper_leader()
    if scene.client.served_by != leader:
        operate(scene, leader, "switchover", GROUP, "--to", leader)
        scene.client.wait_served(SOON_S, by=[leader])
        scene.lab.wait_settled()
    heir = scene.plan["heir"]["node"]
    scene.lab.crash(leader)
    assert scene.served_elsewhere(leader) == heir
    assert scene.shared() == 0


def test_a_switchover_goes_where_it_is_told(scene: Scene) -> None:
    owner, heir = scene.client.served_by, scene.plan["heir"]["node"]
    third = another(scene, owner, heir)
    operate(scene, third, "switchover", GROUP, "--to", third)
    assert scene.served_elsewhere(owner) == third
    scene.lab.wait_settled()
    operate(scene, owner, "switchover", GROUP)
    scene.served_elsewhere(third)
    assert scene.shared() == 0


def test_a_node_on_standby_gives_everything_away_until_it_resumes(scene: Scene) -> None:
    owner = scene.client.served_by
    operate(scene, owner, "standby", owner)
    target = scene.served_elsewhere(owner)
    assert target != owner
    operate(scene, target, "resume", owner)
    scene.lab.wait_settled()
    assert scene.shared() == 0
    assert scene.finish().nodes == [owner, target]


def test_in_maintenance_the_agent_is_restarted_and_the_client_notices_nothing(
        scene: Scene) -> None:
    owner = scene.client.served_by
    operate(scene, owner, "maintenance", "on")
    scene.lab.stop_agent(owner)
    other = another(scene, owner)
    scene.lab.stop_agent(other)
    assert scene.eyes.owners(VIP) == [owner], "the address stays where the agent was stopped"
    scene.lab.start_agent(owner)
    scene.lab.start_agent(other)
    operate(scene, owner, "maintenance", "off")
    scene.lab.wait_settled()
    assert scene.shared() == 0
    assert scene.finish().nodes == [owner]
