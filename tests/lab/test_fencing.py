"""Fence devices in a cluster of real agents: fence_ipmilan and ipmitool ask boards that really cut
a node's power, each with a power strip as its second level (tests/lab/fenced.py)."""

import os
import time
from collections.abc import Iterator

import pytest

from hamgr.adapters.fence import AGENTS
from hamgr.core.reasons import Reason
from hamgr.core.types import Instant
from hamgr.lab.hook import FAIL
from hamgr.lab.lab import Lab

pytest.importorskip("pyghmi", reason="the boards need pyghmi")
from tests.lab import fence_soak  # noqa: E402 # only with pyghmi
from tests.lab.fenced import (  # noqa: E402
    NODES,
    STRIP,
    Power,
    Room,
    confirmed_first,
    one_owner,
    powered,
    room,
)
from tests.lab.five import here, said, wait, wait_said  # noqa: E402
from tests.lab.power import DEAF, HANGS, LATE, REFUSES  # noqa: E402
from tests.lab.scene import operate  # noqa: E402

pytestmark = [
    pytest.mark.lab, pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not (AGENTS / "fence_ipmilan").exists(),
                       reason="fence-agents is not installed (.ci/setup --tests)")]
SAMPLE, SEED = 3, 19
"""Faults of the soak in continuous integration: one that cannot stop, one that is
isolated, and one that is frozen and whose fencer is killed; none waits for a next attempt."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Power]]:
    with powered("fence", tmp_path_factory.mktemp("fence")) as found:
        yield found


@pytest.fixture
def at(made: tuple[Lab, Power]) -> Iterator[Room]:
    with room(*made) as found:
        yield found


def other(*than: str) -> str:
    return next(node for node in NODES if node not in than)


def heir(at: Room, name: str) -> str:
    found = at.scene._replace(group=name).plan["heir"]
    return str(found["node"]) if found else ""


def back(at: Room, node: str, since: Instant) -> None:
    """Wait until a node that was cut off is there again: a member like any other."""
    def standing() -> str:
        status = at.lab.nodes[node].status()
        return str(status["snapshot"]["lease"]) if status and status["snapshot"] else ""

    wait(lambda: any((did.node, did.what) == (node, "on") for did in at.power.did(since)),
         lambda: at.power.did(since))
    wait(lambda: standing() == "member", standing)


def on_one_node(at: Room, node: str, *names: str) -> None:
    for name in names:
        if at.holder(name) != node:
            operate(at.scene, node, "switchover", name, "--to", node)


def test_two_heirs_of_a_crashed_node_go_by_one_fence(at: Room) -> None:
    on_one_node(at, "n1", "app", "db")
    wait(lambda: (heir(at, "app"), heir(at, "db")) == ("n2", "n3"),
         lambda: (heir(at, "app"), heir(at, "db")))
    since = at.lab.crash("n1")
    assert (at.wait_elsewhere("app", "n1"), at.wait_elsewhere("db", "n1")) == ("n2", "n3")
    confirmed_first(at, "n1", since, "app", "db")
    assert len(at.told(since, Reason.FENCES)) == 1
    assert {one.node for one in at.told(since, Reason.WAITS_FOR_FENCE)} == {"n2", "n3"}
    assert at.power.cuts(since) == [], "the board said that it was off already"
    wait_said(at.lab, "n2", "n1 was fenced", "history")
    back(at, "n1", since)
    assert at.active("app") == ["n2"] and at.active("db") == ["n3"]
    one_owner(at, since, "n1")


@pytest.mark.parametrize("how", ["freeze_all", "isolate"])
def test_an_owner_that_still_runs_is_cut_off_before_anything_starts(at: Room, how: str) -> None:
    owner = at.holder("app")
    since = getattr(at.lab, how)(owner)
    target = at.wait_elsewhere("app", owner)
    confirmed_first(at, owner, since, "app")
    [cut] = at.power.cuts(since)
    assert (cut.node, cut.device) == (owner, f"ipmi-{owner}")
    assert f"app stays on {target}" in wait_said(at.lab, target, "stays on", "explain", "app")
    assert "it fell silent, and was declared dead" in said(
        at.lab, target, "why-not", "app", owner)
    wait_said(at.lab, target, f"{owner} was fenced", "history")
    one_owner(at, since)


def test_who_cannot_stop_a_group_is_fenced_and_comes_back_as_a_plain_member(at: Room) -> None:
    owner, since = at.holder("app"), time.monotonic_ns()
    at.lab.hook(owner, "stop", FAIL, "apps")
    operate(at.scene, other(owner), "switchover", "app")
    target = at.wait_elsewhere("app", owner)
    confirmed_first(at, owner, since, "app")
    why = at.told(since, Reason.FENCES)[0].facts["why"]
    assert why.startswith("it cannot get rid of app: apps does not stop: exit status 1")
    wait_said(at.lab, target, f"app: {owner} cannot get rid of it", "history")
    at.lab.mend_hooks()
    back(at, owner, since)
    assert at.active("app") == [target]
    assert f"app is not to be on {owner}: it runs on {target}" in wait_said(
        at.lab, target, "failback is never", "why-not", "app", owner)
    assert len(at.power.cuts(since)) == 1
    one_owner(at, since)


def test_a_service_that_asks_for_it_has_its_node_fenced(at: Room) -> None:
    owner, since = at.holder("web"), time.monotonic_ns()
    (here(at.lab, owner) / "web-webs").unlink()
    target = at.wait_elsewhere("web", owner)
    confirmed_first(at, owner, since, "web")
    why = at.told(since, Reason.FENCES)[0].facts["why"]
    assert why.startswith("it cannot get rid of web: webs asks for its node to be fenced")
    wait_said(at.lab, target, f"web: {owner} cannot get rid of it", "history")
    one_owner(at, since)


def test_where_no_device_answers_only_an_operators_word_releases_a_group(at: Room) -> None:
    owner, lab = at.holder("app"), at.lab
    asks = other(owner)
    refused = lab.hamgr(asks, "fence", "--confirm", owner, "--yes")
    assert refused.returncode == 1 and f"{owner} is not down" in refused.stdout + refused.stderr
    at.power.network(up=False)
    since = lab.crash(owner)
    at.wait_told(since, Reason.FENCE_FAILED)
    wait_said(lab, asks, f"if {owner} is switched off, say so: hamgr fence --confirm {owner}",
              "status")
    waits_for = heir(at, "app") if at.holder("app") == owner else at.holder("app")
    wait_said(lab, waits_for, f"{owner} is not fenced", "explain", "app")
    wait_said(lab, waits_for, f"{owner} is not fenced", "why-not", "app", waits_for)
    assert at.active("app") == []
    word = time.monotonic_ns()
    operate(at.scene, asks, "fence", "--confirm", owner)
    target = at.wait_elsewhere("app", owner)
    assert all(one.at > word for one in at.told(since, Reason.STARTING) if one.group == "app")
    wait_said(lab, target, f"app: {owner} is down by an operator's word", "history")
    one_owner(at, since, owner)


@pytest.mark.parametrize("how", [DEAF, pytest.param(LATE, marks=pytest.mark.slow),
                                 pytest.param("away", marks=pytest.mark.slow)])
def test_nothing_starts_until_a_device_does_what_it_says(at: Room, how: str) -> None:
    owner = at.holder("app")
    at.power.conduct(how if how != "away" else DEAF, f"ipmi-{owner}")
    at.power.conduct(REFUSES, STRIP)
    at.power.network(up=how != "away")
    since = at.lab.freeze_all(owner)
    failed = at.wait_told(since, Reason.FENCE_FAILED)
    assert failed.facts["why"].startswith("strip: ")
    first, second = at.told(since, Reason.FENCES)[:2]
    assert (first.facts["devices"], second.facts["devices"]) == (f"ipmi-{owner}", STRIP)
    assert second.facts["why"].startswith(f"ipmi-{owner}: ")
    assert at.active("app") == []
    if how != LATE:
        assert at.power.cuts(since) == []
        at.power.mend()
    at.wait_elsewhere("app", owner)
    confirmed_first(at, owner, since, "app")
    [cut] = at.power.cuts(since)
    assert cut.node == owner and (cut.device != STRIP or how == "away")
    one_owner(at, since)


def test_where_a_board_hangs_the_second_level_cuts_off(at: Room) -> None:
    owner = at.holder("app")
    at.power.conduct(HANGS, f"ipmi-{owner}")
    since = at.lab.isolate(owner)
    at.wait_elsewhere("app", owner)
    confirmed_first(at, owner, since, "app")
    assert [(cut.device, cut.node) for cut in at.power.cuts(since)] == [(STRIP, owner)]
    one_owner(at, since)


def test_a_node_that_starts_clean_waits_for_a_word_after_an_operator_had_it_fenced(
        at: Room) -> None:
    owner, lab, since = at.holder("app"), at.lab, time.monotonic_ns()
    asks, base = other(owner), lab.nodes[owner].configuration
    clean = lab.directory / "clean.toml"
    clean.write_text(base.read_text().replace(
        f"[node.{owner}]\n", f'[node.{owner}]\nstart = "clean"\n'))
    applied = lab.hamgr(asks, "config", "apply", str(clean), "--yes")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    try:
        operate(at.scene, asks, "fence", owner)
        at.wait_elsewhere("app", owner)
        confirmed_first(at, owner, since, "app")
        assert at.told(since, Reason.FENCES)[0].facts["why"] == "an operator asked for it"
        wait_said(lab, asks, f"{owner} was fenced, and waits for `hamgr resume {owner}`",
                  "history")
        back(at, owner, since)
        wait_said(lab, asks, "in standby", "why-not", "app", owner)
        operate(at.scene, asks, "resume", owner)
        wait_said(lab, asks, "failback is never", "why-not", "app", owner)
        one_owner(at, since)
    finally:
        lab.hamgr(asks, "config", "apply", str(base), "--yes")


def test_a_sample_of_the_soak(made: tuple[Lab, Power],
                              capsys: pytest.CaptureFixture[str]) -> None:
    well = fence_soak.soak(*made, faults=SAMPLE, seed=SEED)
    told = capsys.readouterr().out
    assert well, told
    assert told.splitlines()[-1].startswith(
        f"faults {SAMPLE}  two owners 0 ms  fencing loops 0  takeover median ")
