"""A group of five ordered services of two drivers through everything that can befall it.

disk (hook), data (ocf, promotable), queue (hook, promotable), cache (ocf), work (ocf).
"""

import os
import sys
import time
from collections.abc import Iterator
from threading import Thread

import pytest

from hamgr.core.types import NEVER
from hamgr.lab.hook import FAIL, HANG
from hamgr.lab.lab import Lab
from tests.lab.five import (
    APP,
    FIVE,
    LONG_S,
    REPLICAS,
    did,
    ended,
    group_on,
    here,
    never_two,
    runs,
    said,
    start_again,
    states,
    there,
    wait,
    wait_said,
)
from tests.lab.scene import Scene, another, healed, operate, raised

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

UP = ["start disk", "promote data", "promote queue", "start cache", "start work"]
DOWN = ["stop work", "stop cache", "demote queue", "demote data", "stop disk"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with raised("five", own=APP) as whole:
        yield whole


@pytest.fixture
def scene(lab: Lab) -> Iterator[Scene]:
    """The lab settled, with no failure remembered: by itself that takes as long as `window`."""
    with healed(lab) as found:
        operate(found, found.client.served_by, "clear", "app")
        yield found


def ask_for_switchover(scene: Scene, target: str) -> None:
    """Ask for a switchover that does not come to its end yet, and do not wait for it."""
    Thread(target=scene.lab.hamgr, args=(
        target, "switchover", "app", "--to", target, "--yes", "--timeout", "1")).start()


def running(scene: Scene, node: str) -> set[str]:
    return {service for service in FIVE if there(scene.lab, node, service)}


def all_on(scene: Scene, node: str) -> None:
    """Wait until the whole group is on one node, and on each other the replicas alone."""
    wait(lambda: all(running(scene, name) == set(FIVE if name == node else REPLICAS)
                     for name in scene.lab.nodes) and group_on(scene.lab, node, "app")["phase"]
         == "active",
         lambda: {name: (running(scene, name), states(scene.lab, name))
                  for name in scene.lab.nodes})


def test_a_switchover_stops_in_reverse_and_starts_in_order(scene: Scene) -> None:
    owner, target, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    operate(scene, owner, "switchover", "app")
    assert scene.served_elsewhere(owner) == target
    all_on(scene, target)
    assert did(scene.lab, owner, since) == DOWN
    assert did(scene.lab, target, since) == UP
    assert did(scene.lab, another(scene, owner, target), since) == []
    [demoted], [stopped] = (ended(scene.lab, *what, since) for what in
                            (("queue", "demote"), ("disk", "stop")))
    [started], [promoted] = (ended(scene.lab, *what, since) for what in
                             (("disk", "start"), ("queue", "promote")))
    withdrawn = max(tenure.end for tenure in scene.tenures(owner))
    added = min(tenure.begin for tenure in scene.tenures(target))
    instants = [withdrawn, demoted.begin, demoted.end, stopped.begin, stopped.end,
                started.begin, started.end, promoted.begin, promoted.end, added]
    assert instants == sorted(instants)
    assert scene.shared() == 0
    outage = scene.finish().outage(since).ms
    sys.stdout.write(f"a switchover of five services: {outage:.0f} ms without (pytest -rP)\n")


def test_after_a_crash_the_heir_starts_all_of_it_and_nobody_else_does_a_thing(
        scene: Scene) -> None:
    owner, heir, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    scene.lab.crash(owner)
    wait_said(scene.lab, heir, f"{heir} makes sure first that {owner} has stopped",
              "explain", "app")
    assert f"app is not to be on {owner}: " in said(scene.lab, heir, "why-not", "app", owner)
    assert runs(scene.lab, "disk", "start", since) == [], "stop_within has not passed yet"
    assert scene.served_elsewhere(owner) == heir
    assert did(scene.lab, heir, since) == UP
    assert did(scene.lab, another(scene, owner, heir), since) == []
    scene.lab.heal()
    all_on(scene, heir)
    assert did(scene.lab, owner, since) == ["start data", "start queue"], "replicas alone"
    assert scene.shared() == 0


def test_what_fails_is_restarted_with_what_follows_it_and_beyond_the_limit_the_group_moves(
        scene: Scene) -> None:
    owner, heir, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    (here(scene.lab, owner) / "work.state").unlink()
    wait(lambda: did(scene.lab, owner, since) == ["stop work", "start work"],
         lambda: did(scene.lab, owner, since))
    all_on(scene, owner)
    since = time.monotonic_ns()
    (here(scene.lab, owner) / "app-queue").unlink()
    all_on(scene, owner)
    assert did(scene.lab, owner, since) == [
        "stop work", "stop cache", "demote queue", "stop queue",
        "start queue", "promote queue", "start cache", "start work"]
    again = time.monotonic_ns()
    (here(scene.lab, owner) / "app-queue").unlink()
    target = scene.served_elsewhere(owner)
    assert target == heir
    assert "stop disk" in did(scene.lab, owner, again)
    assert did(scene.lab, target, since) == UP
    assert never_two(scene, "disk", since)
    told = wait_said(scene.lab, target, "queue failed", "why-not", "app", owner)
    assert f"app is not to be on {owner}: " in told
    operate(scene, target, "clear", "app")
    all_on(scene, target)


def test_a_start_that_fails_is_tried_again_and_then_the_next_one_has_the_group(
        scene: Scene) -> None:
    target, since = scene.plan["heir"]["node"], time.monotonic_ns()
    scene.lab.hook(target, "start", FAIL, "disk")
    ask_for_switchover(scene, target)
    wait(lambda: len(ended(scene.lab, "disk", "start", since, target)) == 2,
         lambda: scene.lab.hook_runs()[-9:])
    final = scene.client.wait_served(LONG_S, other_than=[target])
    told = said(scene.lab, final, "explain", "app")
    assert "disk failed 2 times: exit status 1: start sh" in told and "(last resort)" in told
    assert "only if no other node can have it" in said(
        scene.lab, final, "why-not", "app", target)
    assert never_two(scene, "disk", since)
    scene.lab.mend_hooks()
    all_on(scene, final)


@pytest.mark.slow
def test_what_starts_nowhere_is_explained_and_starts_once_it_can(scene: Scene) -> None:
    owner = scene.client.served_by
    others = [name for name in scene.lab.nodes if name != owner]
    for name in scene.lab.nodes:
        scene.lab.hook(name, "start", FAIL, "disk")
    ask_for_switchover(scene, others[0])
    why = "disk failed 2 times: exit status 1: start shall fail on"
    wait(lambda: any(why in said(scene.lab, name, "explain", "app") for name in others),
         lambda: [said(scene.lab, name, "explain", "app") for name in others])
    assert scene.client.served_by == ""
    scene.lab.mend_hooks()
    all_on(scene, scene.client.wait_served(LONG_S))


def test_what_cannot_be_stopped_is_started_nowhere_else_until_it_can(scene: Scene) -> None:
    owner, target, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    scene.lab.hook(owner, "stop", FAIL, "disk")
    ask_for_switchover(scene, target)
    wait(lambda: len(ended(scene.lab, "disk", "stop", since, owner)) == 2,
         lambda: scene.lab.hook_runs()[-9:])
    assert f"stop shall fail on {owner}" in said(scene.lab, owner, "status")
    told = said(scene.lab, target, "explain", "app")
    assert f"{owner} hands over to {target}" in told and f"stays on {owner}" not in told
    assert f"{owner}: disk does not stop: exit status 1: stop shall fail on {owner}" in told
    assert f"app is on its way to {target}: {owner} hands over, and has yet to stop" in said(
        scene.lab, target, "why-not", "app", target)
    assert runs(scene.lab, "disk", "start", since) == [] and scene.client.served_by == ""
    scene.lab.mend_hooks()
    assert scene.served_elsewhere(owner) == target
    assert never_two(scene, "disk", since)
    all_on(scene, target)


def test_what_hangs_is_killed_at_its_timeout_and_what_cannot_be_demoted_is_stopped(
        scene: Scene) -> None:
    owner, target, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    scene.lab.hook(owner, "demote", HANG, "queue")
    operate(scene, owner, "switchover", "app")
    assert scene.served_elsewhere(owner) == target
    [hung], [stopped] = (runs(scene.lab, "queue", what, since, owner) for what in
                         ("demote", "stop"))
    assert hung.end == NEVER and stopped.ok
    assert never_two(scene, "disk", since)
    all_on(scene, target)


@pytest.mark.parametrize("action, service, at_target", [
    pytest.param("start", "disk", True, marks=pytest.mark.slow), ("promote", "queue", True),
    pytest.param("demote", "queue", False, marks=pytest.mark.slow), ("stop", "disk", False)])
def test_an_agent_killed_in_the_middle_of_a_step_leaves_nothing_and_never_two(
        scene: Scene, action: str, service: str, at_target: bool) -> None:
    owner, heir, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    victim = heir if at_target else owner
    scene.lab.hook(victim, action, HANG, service)
    ask_for_switchover(scene, heir)
    wait(lambda: runs(scene.lab, service, action, since, victim),
         lambda: scene.lab.hook_runs()[-9:])
    scene.lab.kill_agent(victim)
    scene.lab.mend_hooks()
    start_again(scene.lab, victim)
    final = scene.client.wait_served(LONG_S)
    all_on(scene, final)
    [killed] = [run for run in runs(scene.lab, service, action, since, victim)
                if run.end == NEVER]
    assert killed.facts["action"] == action
    assert never_two(scene, "disk", since)
    assert never_two(scene, "queue", since, "promote", "demote")
    assert scene.shared() == 0
