"""A group of five ordered services of three drivers through everything that can befall it.

disk (hook), data (ocf, promotable), queue (hook, promotable), cache (systemd), work (ocf). Beside
it a balancer of two services on every node, which none of that touches.
"""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Thread

import pytest

from hamgr.core.types import NEVER, Instant
from hamgr.lab import responder
from hamgr.lab.hook import FAIL, HANG
from hamgr.lab.lab import Lab
from hamgr.lab.probe import Acknowledged, Record
from hamgr.lab.spec import CLIENT, VIP
from tests.adapters.systemd_node import skip_unless_it_runs
from tests.lab.five import (
    APP,
    BESIDE,
    FAILS,
    FIVE,
    HANGS,
    LONG_S,
    REPLICAS,
    UNITS,
    acts,
    beside,
    did,
    ended,
    group_on,
    here,
    mend,
    never_two,
    noticed,
    runs,
    said,
    spoil,
    start_again,
    states,
    there,
    units_together,
    wait,
    wait_said,
)
from tests.lab.scene import Scene, another, healed, operate, raised

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

UP = ["start disk", "promote data", "promote queue", "start cache", "start work"]
DOWN = ["stop work", "stop cache", "demote queue", "demote data", "stop disk"]
AGAIN = ["stop work", "stop cache", "start cache", "start work"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    skip_unless_it_runs()
    with raised("five", own=APP + BESIDE, systemd=True, units=UNITS) as whole:
        yield whole


@pytest.fixture
def crashed() -> set[str]:
    """The nodes whose power the test has cut: everything on them has begun anew."""
    return set()


@pytest.fixture
def scene(lab: Lab, crashed: set[str]) -> Iterator[Scene]:
    """The lab settled, with no failure remembered: by itself that takes as long as `window`.

    What is on every node runs there afterwards, and nothing was done to it.
    """
    with healed(lab) as found:
        operate(found, found.client.served_by, "clear", "app")
        before = beside(lab)
        yield found
        mend(lab)
    after = beside(lab)
    assert all(all(running) for running in (*before.values(), *after.values())), (before, after)
    assert {node for node in before if before[node] != after[node]} == crashed
    assert units_together(lab) == []


def ask_for_switchover(scene: Scene, target: str) -> None:
    """Ask for a switchover that does not come to its end yet, and do not wait for it."""
    Thread(target=scene.lab.hamgr, args=(
        target, "switchover", "app", "--to", target, "--yes", "--timeout", "1")).start()


def out(scene: Scene, node: str, asked: str) -> None:
    """Wait until another node explains that this one is out, and what that makes it wait for.

    Until ZooKeeper has elected anew, if its leader was on that node, the plan cannot tell the rest.
    """
    told = wait_said(scene.lab, asked, f" makes sure first that {node} has stopped", "explain",
                     "app", or_else=f"{node} is out (not heard)")
    assert f"stays on {node}" not in told
    assert f"app is not to be on {node}: " in said(scene.lab, asked, "why-not", "app", node)


def heir_of(scene: Scene, lasting: bool = False) -> str:
    """Return the heir, once there is one: for a moment there is none when a better one comes.

    One that lasts is the best: another one is replaced in time.
    """
    owner, heir = scene.client.served_by, [""]

    def named() -> bool:
        heir[0] = (scene.plan["heir"] or {"node": ""})["node"]
        return heir[0] != "" and (not lasting or f"if {owner} dies: {heir[0]}" in said(
            scene.lab, owner, "explain", "app"))

    wait(named, lambda: said(scene.lab, owner, "explain", "app"))
    return heir[0]


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
    owner, target, since = scene.client.served_by, heir_of(scene), time.monotonic_ns()
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
    scene.lab.wait_settled()
    told = wait_said(scene.lab, owner, "\nhealthy\n", "status")
    assert "lb     everywhere  n1, n2, n3" in told
    outage = scene.finish().outage(since).ms
    sys.stdout.write(f"a switchover of five services: {outage:.0f} ms without (pytest -rP)\n")


def test_after_a_crash_the_heir_starts_all_of_it_and_nobody_else_does_a_thing(
        scene: Scene, crashed: set[str]) -> None:
    owner, heir, since = scene.client.served_by, heir_of(scene), time.monotonic_ns()
    scene.lab.crash(owner)
    crashed.add(owner)
    out(scene, owner, heir)
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
    owner, heir, since = scene.client.served_by, heir_of(scene, lasting=True), time.monotonic_ns()
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
    target, since = heir_of(scene), time.monotonic_ns()
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
    owner, target, since = scene.client.served_by, heir_of(scene), time.monotonic_ns()
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
    owner, target, since = scene.client.served_by, heir_of(scene), time.monotonic_ns()
    scene.lab.hook(owner, "demote", HANG, "queue")
    ask_for_switchover(scene, target)
    wait(lambda: runs(scene.lab, "queue", "demote", since, owner),
         lambda: scene.lab.hook_runs()[-9:])
    told = said(scene.lab, target, "explain", "app")
    assert f"{owner} hands over to {target}" in told and f"stays on {owner}" not in told
    assert scene.served_elsewhere(owner) == target
    [hung], [stopped] = (runs(scene.lab, "queue", what, since, owner) for what in
                         ("demote", "stop"))
    assert hung.end == NEVER and stopped.ok
    assert never_two(scene, "disk", since)
    all_on(scene, target)


def kill_main(scene: Scene, node: str) -> None:
    scene.lab.output(node, ["systemctl", "kill", "--kill-whom=main", "--signal=KILL",
                            "cache.service"])


def test_a_unit_that_is_killed_is_restarted_with_what_follows_and_the_next_time_the_group_moves(
        scene: Scene) -> None:
    owner, heir, since = scene.client.served_by, heir_of(scene, lasting=True), time.monotonic_ns()
    kill_main(scene, owner)
    wait(lambda: did(scene.lab, owner, since) == AGAIN, lambda: did(scene.lab, owner, since))
    all_on(scene, owner)
    assert noticed(scene.lab, owner, "cache", since) == ["failed: killed by SIGKILL"]
    assert f"app stays on {owner}: " in said(scene.lab, heir, "explain", "app")
    again = time.monotonic_ns()
    kill_main(scene, owner)
    assert scene.served_elsewhere(owner) == heir
    all_on(scene, heir)
    assert did(scene.lab, owner, again) == DOWN
    assert did(scene.lab, heir, since) == UP
    why = "cache failed 2 times: killed by SIGKILL"
    assert f"{why} (last resort)" in said(scene.lab, heir, "explain", "app")
    assert f"app is not to be on {owner}: {why}; only if no other node can have it" in said(
        scene.lab, heir, "why-not", "app", owner)


def test_a_unit_that_does_not_start_is_tried_again_and_then_the_next_node_has_the_group(
        scene: Scene) -> None:
    owner, target, since = scene.client.served_by, heir_of(scene), time.monotonic_ns()
    spoil(scene.lab, target, "start", FAILS)
    ask_for_switchover(scene, target)
    wait(lambda: did(scene.lab, target, since)[-1:] == ["stop disk"],
         lambda: did(scene.lab, target, since))
    final = scene.client.wait_served(LONG_S, other_than=[target])
    all_on(scene, final)
    assert did(scene.lab, owner, since)[:len(DOWN)] == DOWN
    assert did(scene.lab, target, since) == [
        *UP[:4], "stop cache", "start cache", *DOWN[1:]]
    why = "cache failed 2 times: it failed: a command like ExecStartPre= failed"
    told = said(scene.lab, final, "explain", "app")
    assert why in told and "(last resort)" in told
    assert f"app is not to be on {target}: {why}" in said(
        scene.lab, final, "why-not", "app", target)


def test_a_unit_whose_stop_hangs_has_nothing_started_elsewhere_until_it_is_down(
        scene: Scene) -> None:
    owner, target, since = scene.client.served_by, heir_of(scene), time.monotonic_ns()
    spoil(scene.lab, owner, "stop", HANGS)
    ask_for_switchover(scene, target)
    why = "no answer in 2 s: it is deactivating (stop)"
    told = wait_said(scene.lab, target, f"{owner}: cache does not stop: {why}", "explain", "app")
    assert f"{owner} hands over to {target}" in told and f"stays on {owner}" not in told
    assert f"app is on its way to {target}: {owner} hands over, and has yet to stop" in said(
        scene.lab, target, "why-not", "app", target)
    assert why in said(scene.lab, owner, "status")
    assert {act.node for act in acts(scene.lab, since)} == {owner}
    assert scene.client.served_by == "" and there(scene.lab, owner, "cache")
    mend(scene.lab)
    assert scene.served_elsewhere(owner) == target
    all_on(scene, target)
    done = [act for act in acts(scene.lab, since) if act.action != "stop" or act.service != "cache"]
    assert [f"{act.action} {act.service}" for act in done] == [
        *(step for step in DOWN if step != "stop cache"), *UP], "all of it in this order"


def unkept(lab: Lab, seen: Record) -> list[Acknowledged]:
    """Return the writes of a client that the node which acknowledged them has not taken then."""
    taken: dict[tuple[str, int], list[Instant]] = {}
    for name, node in lab.nodes.items():
        for number, at in responder.entries(node.directory / "ledger"):
            taken.setdefault((name, number), []).append(at)
    return [write for write in seen.writes
            if not any(write.sent <= at <= write.at
                       for at in taken.get((write.node, write.number), ()))]


def test_under_load_clients_lose_no_write_and_each_sees_one_change(scene: Scene) -> None:
    owner, target, since = scene.client.served_by, heir_of(scene), time.monotonic_ns()
    with ExitStack() as stack:
        clients = [stack.enter_context(scene.lab.probe(VIP, host))
                   for host in (CLIENT, CLIENT, another(scene, owner, target))]
        for client in clients:
            client.wait_served(LONG_S, by=[owner])
        operate(scene, another(scene, owner, target), "switchover", "app")
        for client in clients:
            client.wait_served(LONG_S, by=[target])
        records = [client.finish() for client in clients]
    all_on(scene, target)
    for seen in records:
        gap = seen.outage(since)
        assert seen.nodes == [owner, target] == [gap.before, gap.after]
        assert [change for change in seen.gaps(since) if change.before != change.after] == [gap]
        assert unkept(scene.lab, seen) == []
        sys.stdout.write(f"under load: {gap.ms:.0f} ms without (pytest -rP)\n")
    assert scene.shared() == 0
    assert did(scene.lab, owner, since) == DOWN and did(scene.lab, target, since) == UP
    assert f"app stays on {target}: " in said(scene.lab, owner, "explain", "app")
    assert f"app is not to be on {owner}: " in said(scene.lab, target, "why-not", "app", owner)


@pytest.mark.parametrize("action, service, at_target", [
    pytest.param("start", "disk", True, marks=pytest.mark.slow), ("promote", "queue", True),
    pytest.param("start", "cache", True, marks=pytest.mark.slow), ("stop", "cache", False),
    pytest.param("demote", "queue", False, marks=pytest.mark.slow), ("stop", "disk", False)])
def test_an_agent_killed_in_the_middle_of_a_step_leaves_nothing_and_never_two(
        scene: Scene, action: str, service: str, at_target: bool) -> None:
    owner, heir, since = scene.client.served_by, heir_of(scene), time.monotonic_ns()
    victim = heir if at_target else owner
    if service == "cache":
        spoil(scene.lab, victim, action, HANGS)
    else:
        scene.lab.hook(victim, action, HANG, service)
    ask_for_switchover(scene, heir)
    wait(lambda: did(scene.lab, victim, since)[-1:] == [f"{action} {service}"] and (
        service == "cache" or runs(scene.lab, service, action, since, victim)),
         lambda: (did(scene.lab, victim, since), scene.lab.hook_runs()[-9:]))
    scene.lab.kill_agent(victim)
    with ThreadPoolExecutor() as beside_it:  # in less than stop_within, as what runs on has to end
        explained = beside_it.submit(out, scene, victim, another(scene, victim))
        mend(scene.lab)
        gone = start_again(scene.lab, victim)
        explained.result()
    final = scene.client.wait_served(LONG_S)
    all_on(scene, final)
    killed = [run for run in runs(scene.lab, service, action, since, victim) if run.end == NEVER]
    assert len(killed) == (service != "cache")
    assert never_two(scene, "disk", since, killed=gone)
    assert never_two(scene, "queue", since, "promote", "demote", killed=gone)
    assert scene.shared() == 0
