"""Failovers of a group with a service: when its hooks run, with what, and what a bad one does.

The hooks of all nodes record themselves on one clock, so what came before what is a fact.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hamgr.core.types import NEVER, Instant
from hamgr.lab.hook import FAIL, HANG
from hamgr.lab.hooked import HookRun
from hamgr.lab.lab import Lab
from hamgr.lab.node import AGENT
from hamgr.lab.spec import GROUP, VIP, VIP6, LabError, LabSpec
from tests.lab.scene import SOON_S, Scene, another, operate, raised, settled

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

LONG_S = 30.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with raised("hook", hooks=True) as whole:
        yield whole


@pytest.fixture
def fresh() -> Iterator[Scene]:
    """A cluster where no holder has released of its own accord: that is not done twice a minute."""
    with raised("fresh", hooks=True) as lab, settled(lab) as found:
        yield found


def runs(scene: Scene, action: str, since: Instant, node: str = "") -> list[HookRun]:
    return [run for run in scene.lab.hook_runs() if run.action == action and run.begin > since
            and node in ("", run.node)]


def wait_run(scene: Scene, action: str, since: Instant, node: str = "", ended: bool = False,
             count: int = 1) -> HookRun:
    """Return the last of so many runs, as soon as it has begun, or ended."""
    def found() -> list[HookRun]:
        return [run for run in runs(scene, action, since, node) if not ended or run.end < NEVER]

    wait(lambda: len(found()) >= count,
         lambda: f"{count} runs of {action} on {node or 'any node'}: {scene.lab.hook_runs()}")
    return found()[count - 1]


def wait(reached: Callable[[], bool], what: Callable[[], str]) -> None:
    end = time.monotonic() + LONG_S
    while not reached():
        assert time.monotonic() < end, what()
        time.sleep(0.01)


def group_on(scene: Scene, node: str) -> dict[str, Any]:
    """Return what an agent shows of the group on its own node."""
    status = scene.lab.nodes[node].status()
    assert status is not None and status["snapshot"] is not None
    found: dict[str, Any] = next(one for one in status["snapshot"]["groups"]
                                 if one["name"] == GROUP)
    return found


def last_address(scene: Scene, node: str) -> tuple[Instant, Instant]:
    """Return from when to when a node had addresses, the last time."""
    tenures = [[one for one in scene.eyes.tenures(vip) if one.node == node][-1]
               for vip in (VIP, VIP6)]
    return min(one.begin for one in tenures), max(one.end for one in tenures)


def never_two_at_once(scene: Scene, since: Instant) -> bool:
    """Tell whether each promote began after every demote elsewhere that was due before it."""
    promotes = sorted(runs(scene, "promote", since), key=lambda run: run.begin)
    return all(one.epoch < two.epoch and any(
        demote.ok and one.begin < demote.end <= two.begin
        for demote in runs(scene, "demote", since, one.node))
        for one, two in zip(promotes, promotes[1:], strict=False) if one.node != two.node)


def test_after_a_crash_the_heirs_promote_has_a_higher_epoch_and_nobodys_wish(
        scene: Scene) -> None:
    owner, plan, since = scene.client.served_by, scene.plan, time.monotonic_ns()
    scene.lab.crash(owner)
    assert scene.served_elsewhere(owner) == plan["heir"]["node"]
    (promote,) = runs(scene, "promote", since)
    assert (promote.node, promote.epoch, promote.planned) == (
        plan["heir"]["node"], plan["heir"]["epoch"], False)
    assert promote.epoch > plan["holder"]["epoch"]
    assert promote.facts["role"] == "active" and promote.facts["from"] == owner
    assert promote.ok and promote.end < last_address(scene, promote.node)[0]
    assert runs(scene, "demote", since) == []
    scene.lab.heal()
    cleaned = wait_run(scene, "demote", since, owner, ended=True)
    assert cleaned.ok and cleaned.epoch == 0, "whoever comes back stops what may be left first"


def test_a_switchover_demotes_the_old_before_it_promotes_the_new(scene: Scene) -> None:
    owner, plan, since = scene.client.served_by, scene.plan, time.monotonic_ns()
    operate(scene, owner, "switchover", GROUP)
    target = scene.served_elsewhere(owner)
    (demote,), (promote,) = runs(scene, "demote", since), runs(scene, "promote", since)
    assert (demote.node, demote.epoch) == (owner, plan["holder"]["epoch"])
    assert (promote.node, promote.epoch) == (target, plan["heir"]["epoch"])
    assert demote.planned and promote.planned
    assert (promote.facts["from"], promote.facts["to"]) == (owner, target)
    assert last_address(scene, owner)[1] < demote.begin, "the address leaves first"
    assert demote.ok and promote.ok
    assert demote.end < promote.begin
    assert promote.end < last_address(scene, target)[0]
    assert scene.shared() == 0


def test_a_monitor_that_fails_is_mended_on_the_spot_first_and_moves_the_group_then(
        fresh: Scene) -> None:
    owner, since = fresh.client.served_by, time.monotonic_ns()
    fresh.lab.hook(owner, "monitor", FAIL)
    target = fresh.served_elsewhere(owner)
    failed, mended = runs(fresh, "monitor", since, owner)[-2:], runs(fresh, "promote", since)
    assert [run.ok for run in failed] == [False, False]
    assert [run.node for run in mended] == [owner, target]
    assert len(runs(fresh, "demote", since, owner)) == 2
    assert never_two_at_once(fresh, since)
    assert fresh.shared() == 0


def test_a_promote_that_fails_on_the_heir_is_tried_again_and_then_the_third_serves(
        fresh: Scene) -> None:
    owner, heir, since = fresh.client.served_by, fresh.plan["heir"]["node"], time.monotonic_ns()
    third = another(fresh, owner, heir)
    fresh.lab.hook(heir, "promote", FAIL)
    fresh.lab.crash(owner)
    fresh.client.wait_served(LONG_S, by=[third])
    tries = runs(fresh, "promote", since)
    assert [run.node for run in tries] == [heir, heir, third]
    assert [run.ok for run in tries] == [False, False, True]
    assert never_two_at_once(fresh, since)
    assert heir not in [tenure.node for tenure in fresh.eyes.tenures(VIP)]
    assert fresh.finish().nodes == [owner, third]


def test_a_promote_that_fails_everywhere_leaves_a_clear_reason_and_ends_well_at_last(
        fresh: Scene) -> None:
    owner, since = fresh.client.served_by, time.monotonic_ns()
    others = [name for name in fresh.lab.nodes if name != owner]
    for name in others:
        fresh.lab.hook(name, "promote", FAIL)
    fresh.lab.crash(owner)
    for name in others:
        wait_run(fresh, "promote", since, name, ended=True)

    told = [text for name in others for text in (
        f"diary of app is stopped on {name}, failed 2 times",
        f"{name} cannot run app: a service failed here beyond its limit")]
    shown: list[str] = []

    def said() -> bool:
        shown[:] = [fresh.lab.hamgr(name, "status").stdout for name in others]
        return any(text in one for text in told for one in shown)

    wait(said, lambda: "status says why nobody serves:\n" + "\n".join(shown))
    for name in others:
        assert f"promote shall fail on {name}" in fresh.lab.nodes[name].log(AGENT).read_text()
    assert fresh.client.served_by == ""
    assert never_two_at_once(fresh, since)
    fresh.lab.heal()
    assert fresh.client.wait_served(LONG_S) in fresh.lab.nodes


def test_while_a_demote_hangs_nothing_starts_elsewhere_and_status_says_why(
        scene: Scene) -> None:
    owner, plan, since = scene.client.served_by, scene.plan, time.monotonic_ns()
    scene.lab.hook(owner, "demote", HANG)
    ask_for_switchover(scene, owner)
    wait_run(scene, "demote", since, owner, count=2)
    shown = group_on(scene, owner)
    assert shown["phase"] == "stopping" and shown["done"] < plan["holder"]["epoch"]
    assert shown["services"][0]["why"] == "no answer in 2 s"
    told = f"diary of app is demoting on {owner}: no answer in 2 s"
    assert told in scene.lab.hamgr(owner, "status").stdout
    assert runs(scene, "promote", since) == []
    assert scene.client.served_by == ""
    first = runs(scene, "demote", since)[0]
    assert first.end == NEVER, "killed at its timeout"
    scene.lab.heal()
    demote = wait_run(scene, "demote", since, owner, ended=True)
    promote = wait_run(scene, "promote", since, ended=True)
    assert demote.ok and demote.end < promote.begin
    assert scene.shared() == 0


def test_an_agent_killed_while_it_promotes_leaves_nothing_behind_and_another_promotes(
        scene: Scene) -> None:
    owner, heir, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    scene.lab.hook(heir, "promote", HANG)
    ask_for_switchover(scene, owner)
    stuck = wait_run(scene, "promote", since, heir)
    scene.lab.kill_agent(heir)
    target = scene.client.wait_served(SOON_S, other_than=[heir])
    promote = wait_run(scene, "promote", since, target, ended=True)
    assert promote.ok and promote.epoch > stuck.epoch
    assert [run.end for run in runs(scene, "promote", since, heir)] == [NEVER]
    assert heir not in [tenure.node for tenure in scene.eyes.tenures(VIP)]
    restarted = time.monotonic_ns()
    scene.lab.start_agent(heir)
    cleaned = wait_run(scene, "demote", restarted, heir, ended=True)
    assert cleaned.ok and cleaned.epoch == 0
    assert scene.shared() == 0


def ask_for_switchover(scene: Scene, node: str) -> None:
    """Ask for a switchover that does not come to its end yet."""
    scene.lab.hamgr(node, "switchover", GROUP, "--yes", "--timeout", "1")


def test_a_lab_without_hooks_has_none_to_break(lab: Lab) -> None:
    with pytest.raises(LabError, match="--hooks"):
        Lab(LabSpec(name=lab.spec.name)).hook("n1", "promote", FAIL)
