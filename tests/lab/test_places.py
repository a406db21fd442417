"""Where groups run: two active-active, one on every node, and three that are tied to each other.

Three nodes, and ZooKeeper on three more, which outlive them. Each group has one hook, of its own
name with an "s": app on n1 and app2 on n2, each other's heir; lb everywhere; db, which prefers n1
and goes back to it; web with db and after it; batch apart from db.
"""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from hamgr.lab.hook import HANG
from hamgr.lab.hooked import HookRun
from hamgr.lab.lab import Lab
from tests.lab.five import (
    ended,
    group,
    hook,
    never_two,
    said,
    start_again,
    states,
    there,
    wait,
    wait_said,
)
from tests.lab.scene import SOON_S, Scene, healed, operate, raised

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

NOW = 'stop_within = "0s"\n'
BACK = 'prefer = { n1 = 100 }\nfailback = "after 2s"\n'
GROUPS = "".join((
    group("app", "n1 n2 n3", f'vips = ["10.77.1.100/24"]\n{NOW}'), hook("app", "apps"),
    group("app2", "n2 n1 n3", f'vips = ["10.77.1.101/24"]\n{NOW}'), hook("app2", "app2s"),
    group("lb", "n1 n2 n3", 'mode = "everywhere"\n'), hook("lb", "lbs"),
    group("db", "n1 n2 n3", f"{BACK}priority = 1\n{NOW}"), hook("db", "dbs"),
    group("web", "n1 n2 n3", f'with = ["db"]\nrequires = ["db"]\n{BACK}{NOW}'),
    hook("web", "webs"),
    group("batch", "n2 n1 n3", f'apart = ["db"]\nstickiness = 10\n{NOW}'), hook("batch", "batchs"),
))
MOVING = ("app", "app2", "db", "web", "batch")
FIRST = {"app": "n1", "app2": "n2", "db": "n1", "web": "n1", "batch": "n2"}
NODES = ("n1", "n2", "n3")


class Pair(NamedTuple):
    """Both groups that have clients."""

    lab: Lab
    app: Scene
    app2: Scene


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with raised("place", own=GROUPS, nodes=6, bystanders=3) as whole:
        yield whole


@pytest.fixture
def pair(lab: Lab) -> Iterator[Pair]:
    """The cluster as it began: every group at its first node."""
    with healed(lab) as scene:
        for name, node in FIRST.items():
            if place(scene, name) != node and name not in ("db", "web"):
                operate(scene, "n1", "switchover", name, "--to", node)
        wait(lambda: places(scene) == FIRST, lambda: places(scene))
        lab.wait_settled()
        with lab.watch() as eyes, lab.probe("10.77.1.100") as one, lab.probe("10.77.1.101") as two:
            one.wait_served(SOON_S, by=["n1"])
            two.wait_served(SOON_S, by=["n2"])
            app = scene._replace(client=one, eyes=eyes)
            yield Pair(lab, app, app._replace(client=two, group="app2"))


def place(scene: Scene, name: str) -> str:
    holder = scene._replace(group=name).plan["holder"]
    return str(holder["node"]) if holder else ""


def places(scene: Scene) -> dict[str, str]:
    """Return where each group really is: on no node but this one, and up."""
    found = {}
    for name in MOVING:
        nodes = [node for node in NODES if there(scene.lab, node, f"{name}s", name)]
        found[name] = nodes[0] if len(nodes) == 1 else f"{nodes}"
    return found


def heirs(pair: Pair) -> tuple[str, str]:
    """Return the heirs of both groups."""
    found = [(scene.plan["heir"] or {"node": ""})["node"] for scene in (pair.app, pair.app2)]
    return found[0], found[1]


def moves(lab: Lab, since: int, *groups: str) -> list[HookRun]:
    """Return every start and stop of these groups since then."""
    return [run for run in lab.hook_runs()
            if run.begin > since and run.action in ("start", "stop") and run.group in groups]


def in_order(lab: Lab, since: int, node: str, action: str, first: str, then: str) -> None:
    """Assert that a node has done this to one service before it began with the other."""
    [one], [other] = (ended(lab, service, action, since, node) for service in (first, then))
    assert one.ok and one.end < other.begin


def standing(lab: Lab, node: str) -> str:
    """Return how a node stands by its own count; nothing if it does not answer."""
    status = lab.nodes[node].status()
    return str(status["snapshot"]["lease"]) if status and status["snapshot"] else ""


def test_a_group_is_first_started_when_what_it_requires_is_active(lab: Lab) -> None:
    [db, *_], [web, *_] = (ended(lab, name, "start", 0) for name in ("dbs", "webs"))
    assert db.ok and db.end < web.begin and db.node == web.node


def test_two_groups_on_two_nodes_survive_any_one_and_then_another(pair: Pair) -> None:
    lab, since = pair.lab, time.monotonic_ns()
    wait(lambda: heirs(pair) == ("n2", "n1"), lambda: heirs(pair))
    lab.crash("n1")
    pair.app.client.wait_served(SOON_S, by=["n2"])
    assert pair.app2.client.served_by == "n2"
    assert "app stays on n2" in wait_said(lab, "n2", "stays on n2", "explain", "app")
    assert "app is not to be on n1: " in said(lab, "n2", "why-not", "app", "n1")
    lab.wait_status(lambda seen: all(seen["plan"]["groups"][name]["heir"] for name in MOVING[:2]),
                    "have no heir yet")
    lab.crash("n2")
    for scene in (pair.app, pair.app2):
        scene.client.wait_served(SOON_S, by=["n3"])
        assert "n2" in wait_said(lab, "n3", "stays on n3", "explain", scene.group)
    lab.heal()
    assert {place(pair.app, name) for name in MOVING[:2]} == {"n3"}, "nothing moves back"
    for name in MOVING[:2]:
        assert never_two(pair.app, f"{name}s", since, crashed=("n1", "n2"))
    assert pair.app.shared() == 0
    assert pair.app.finish().nodes == ["n1", "n2", "n3"]
    assert pair.app2.finish().nodes == ["n2", "n3"]


def test_what_runs_everywhere_outlives_a_lapse_and_standby_empties_a_node(pair: Pair) -> None:
    lab, since = pair.lab, time.monotonic_ns()
    assert [states(lab, node, "lb")["lbs"] for node in NODES] == ["started"] * 3
    lab.isolate("n3")
    wait(lambda: standing(lab, "n3") in ("", "joining", "lapsed"), lambda: standing(lab, "n3"))
    wait_said(lab, "n1", "it fell silent, and was declared dead", "why-not", "lb", "n3")
    lab.heal()
    assert moves(lab, since, "lb") == []
    operate(pair.app, "n1", "standby", "n3")
    wait(lambda: not there(lab, "n3", "lbs", "lb"), lambda: states(lab, "n3", "lb"))
    assert "lb runs on n1, n2" in said(lab, "n1", "explain", "lb")
    assert "lb is not to be on n3: in standby" in said(lab, "n1", "why-not", "lb", "n3")
    operate(pair.app, "n1", "resume", "n3")
    wait(lambda: there(lab, "n3", "lbs", "lb"), lambda: states(lab, "n3", "lb"))
    assert [(run.node, run.action) for run in moves(lab, since, "lb")] == [
        ("n3", "stop"), ("n3", "start")]


def test_what_runs_everywhere_outlives_its_agent_and_is_not_started_again(pair: Pair) -> None:
    lab, since = pair.lab, time.monotonic_ns()
    lab.kill_agent("n3")
    start_again(lab, "n3")
    wait(lambda: states(lab, "n3", "lb").get("lbs") == "started", lambda: states(lab, "n3", "lb"))
    assert ended(lab, "lbs", "monitor", since, "n3")[0].ok
    assert moves(lab, since, "lb") == []


def test_a_drain_and_the_return_move_only_what_must_and_ties_hold_all_the_way(
        pair: Pair) -> None:
    lab, since = pair.lab, time.monotonic_ns()
    operate(pair.app, "n2", "standby", "n1")
    drained = {**FIRST, "app": "n2", "db": "n3", "web": "n3"}
    wait(lambda: places(pair.app) == drained, lambda: places(pair.app))
    assert "db is not to be on n1: in standby" in said(lab, "n2", "why-not", "db", "n1")
    assert "db, which it must be apart from, is there" in said(
        lab, "n2", "why-not", "batch", "n3")
    assert "db, which it must be with" in said(lab, "n2", "why-not", "web", "n2")
    in_order(lab, since, "n1", "stop", "webs", "dbs")
    in_order(lab, since, "n3", "start", "dbs", "webs")
    back = time.monotonic_ns()
    operate(pair.app, "n2", "resume", "n1")
    assert "failback" in said(lab, "n2", "why-not", "db", "n1")
    wait(lambda: places(pair.app) == {**FIRST, "app": "n2"}, lambda: places(pair.app))
    assert "app is not to be on n1: it runs on n2, and failback is never" in said(
        lab, "n2", "why-not", "app", "n1")
    assert {run.group for run in moves(lab, back, *MOVING)} == {"db", "web"}
    assert {run.group for run in moves(lab, since, *MOVING)} == {"app", "db", "web"}
    for name in ("app", "db", "web"):
        assert never_two(pair.app, f"{name}s", since)


def test_in_a_failover_too_a_group_waits_for_what_it_requires_and_says_so(pair: Pair) -> None:
    lab, since = pair.lab, time.monotonic_ns()
    wait(lambda: all((scene.plan["heir"] or {"node": ""})["node"] == "n3" for scene in (
        pair.app._replace(group="db"), pair.app._replace(group="web"))), lambda: pair.app.plan)
    lab.hook("n3", "start", HANG, "dbs")
    lab.crash("n1")
    wait_said(lab, "n3", "n3: waits: db is not active", "explain", "web")
    assert "n3: waits: db is not active" in said(lab, "n3", "why-not", "web", "n3")
    assert moves(lab, since, "web") == []
    lab.mend_hooks()
    wait(lambda: there(lab, "n3", "webs", "web"), lambda: states(lab, "n3", "web"))
    assert max(run.end for run in ended(lab, "dbs", "start", since, "n3")) < min(
        run.begin for run in ended(lab, "webs", "start", since, "n3"))
