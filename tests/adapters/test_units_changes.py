"""What happens to units without hamgr's doing is told at once, with its reason, and once."""

import asyncio

import pytest

from hamgr.core.types import Found
from tests.adapters.units import (
    SHORT,
    Driver,
    booted,
    driven,
    drop_in,
    kill,
    started,
    stopped,
    told,
)

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with booted(tmp_path_factory.mktemp("node")) as made:
        yield made


# ---- what changes by itself

def test_a_main_process_that_is_killed_is_told(node):
    async def then(one: Driver) -> None:
        await started(one, "simple")
        await kill(one, "simple")
        assert await one.change() == told("simple", Found.FAILED, "killed by SIGKILL")
        assert (await one.run("monitor", "simple")).why == "failed (failed): killed by SIGKILL"
        await stopped(one, "simple")
    driven(node, then, "simple")


@pytest.mark.parametrize(("unit", "found", "why"), [
    ("says", Found.FAILED, "exit status 3"),
    ("ends", Found.STOPPED, "it ended by itself: exit status 0"),
])
def test_a_main_process_that_ends_is_told(node, unit, found, why):
    async def then(one: Driver) -> None:
        await started(one, unit)
        one.touch(f"end-{unit}.service")
        assert await one.change() == told(unit, found, why)
    driven(node, then, unit)


def test_a_unit_that_fails_is_told_of_before_its_last_commands_have_ended(node):
    async def then(one: Driver) -> None:
        await started(one, "lingers")
        await kill(one, "lingers")
        assert await one.change() == told("lingers", Found.FAILED, "killed by SIGKILL")
        assert await one.show("ActiveState", "lingers") == "deactivating"
        one.touch("end-lingers.service")
        await stopped(one, "lingers")
    driven(node, then, "lingers")


def test_a_restart_by_systemd_is_told_where_an_operator_wants_it(node):
    async def then(one: Driver) -> None:
        await started(one, "always")
        await kill(one, "always")
        assert await one.change() == told("always", Found.FAILED, "killed by SIGKILL")
        assert await one.change() == told("always", Found.STARTED, "started by systemd (Restart=)")
        await stopped(one, "always")
    overriding = node.root / "etc/systemd/system/always.service.d"
    overriding.mkdir()
    (overriding / "override.conf").write_text("[Service]\nRestart=always\n")
    node.do("systemctl", "daemon-reload")
    driven(node, then, "always")
    (overriding / "override.conf").unlink()
    node.do("systemctl", "daemon-reload")


def test_nobody_restarts_what_hamgr_looks_after(node):
    async def then(one: Driver) -> None:
        await started(one, "always")
        await kill(one, "always")
        assert await one.change() == told("always", Found.FAILED, "killed by SIGKILL")
        assert await one.show("ActiveState", "always") == "failed"
        await stopped(one, "always")
    driven(node, then, "always")


# ---- what somebody else does

def test_what_somebody_does_with_systemctl_is_told(node):
    async def then(one: Driver) -> None:
        await started(one, "simple")
        await one.ctl("stop", "simple.service")
        assert await one.change() == told("simple", Found.STOPPED, "stopped by somebody else")
        await one.ctl("start", "simple.service")
        assert await one.change() == told("simple", Found.STARTED, "started by somebody else")
        await one.ctl("restart", "simple.service")
        assert await one.change() == told("simple", Found.STARTED, "restarted by somebody else")
        await kill(one, "simple")
        assert await one.change() == told("simple", Found.FAILED, "killed by SIGKILL")
        await one.ctl("reset-failed", "simple.service")
        assert (await one.change()).found is Found.STOPPED
    driven(node, then, "simple")


def test_a_stop_by_somebody_else_that_systemd_has_to_end_is_told_so(node):
    async def then(one: Driver) -> None:
        await started(one, "stubborn")
        await one.appears("up-stubborn.service")
        await one.ctl("stop", "stubborn.service")
        change = await one.change()
        assert change.found is Found.FAILED
        assert change.why.startswith("timeout: ")
        assert change.why.endswith(", in a job of somebody else")
        await stopped(one, "stubborn")
    driven(node, then, "stubborn")


@pytest.mark.parametrize("by", ["timeout", "cancel"])
def test_a_stop_that_was_given_up_goes_on_and_its_end_is_told(node, by):
    async def then(one: Driver) -> None:
        await started(one, "dawdles")
        await one.appears("up-dawdles.service")
        run = one.begin("stop", "dawdles", within=SHORT if by == "timeout" else 100 * SHORT)
        while await one.show("ActiveState", "dawdles") != "deactivating":
            pass
        if by == "cancel":
            one.units.cancel(run)
        answered = await one.answer()
        assert (answered.ok, answered.why) == (False, {
            "timeout": "no answer in 0.3 s: it is deactivating (stop-sigterm)",
            "cancel": "cancelled"}[by])
        assert (await one.run("probe", "dawdles")).found is Found.FAILED
        one.touch("end-dawdles.service")
        assert await one.change() == told(
            "dawdles", Found.STOPPED, "stopped by hamgr, later than it could wait")
        for name in ("end", "up"):
            (node.inside / f"run/{name}-dawdles.service").unlink()
    driven(node, then, "dawdles")


def test_what_hamgr_does_itself_is_answered_and_not_told_of(node):
    async def then(one: Driver) -> None:
        for _ in range(3):
            await started(one, "simple")
            await stopped(one, "simple")
        assert not (await one.run("start", "exits")).ok
        await started(one, "simple")
        await kill(one, "simple")
        assert (await one.change()).found is Found.FAILED
    driven(node, then, "simple", "exits")


def test_every_service_of_a_unit_is_told(node):
    async def then(one: Driver) -> None:
        one.units.configure({("g", "a"): "simple.service", ("h", "b"): "simple.service"})
        await started(one, "a")
        await kill(one, "simple")
        changes = [await one.change(), await one.change()]
        assert {(change.group, change.service) for change in changes} == {("g", "a"), ("h", "b")}
        await stopped(one, "a")
    driven(node, then, "simple")


def test_nothing_is_asked_while_nothing_happens(node, monkeypatch):
    async def then(one: Driver) -> None:
        await started(one, "simple")
        bus = one.units._systemd.bus
        calls: list[str] = []
        monkeypatch.setattr(type(bus), "call", lambda self, member, *_, **__: calls.append(member))
        await one.ctl("start", "once.service")
        await kill(one, "simple")
        assert (await one.change()).why == "killed by SIGKILL"
        assert calls == []
        monkeypatch.undo()
        await one.ctl("stop", "once.service")
    driven(node, then, "simple")


# ---- drop-ins

def test_a_unit_is_guarded_from_the_start_of_the_agent_to_its_end(node):
    async def then(one: Driver) -> None:
        assert drop_in(node, "always").stat().st_mode & 0o777 == 0o644
        await started(one, "always")
        assert await one.show("Restart", "always") == "no"
        assert "hamgr.service" in await one.show("Before", "always")
        await stopped(one, "always")
    driven(node, then, "always")
    assert not drop_in(node, "always").exists()


def test_a_unit_that_runs_stays_guarded_when_the_agent_ends(node):
    async def then(one: Driver) -> None:
        await started(one, "always")
    driven(node, then, "always")
    assert drop_in(node, "always").exists()

    async def again(one: Driver) -> None:
        assert (await one.run("probe", "always")).found is Found.STARTED
        await stopped(one, "always")
    driven(node, again, "always")


def test_a_unit_that_is_loaded_already_is_guarded_too(node):
    async def then(one: Driver) -> None:
        assert await one.show("Restart", "always") == "no"
        assert (await one.run("probe", "always")).found is Found.STARTED
        await stopped(one, "always")
    node.do("systemctl", "start", "always.service")
    assert node.do("systemctl", "show", "--value", "-p", "Restart", "always.service") == "always"
    driven(node, then, "always")


def test_a_unit_that_is_no_longer_ours_is_left_alone(node):
    async def then(one: Driver) -> None:
        await started(one, "always")
        one.units.configure({("g", "simple"): "simple.service"})
        await one.units.start()
        await asyncio.gather(*one.units._releases)
        assert not drop_in(node, "always").exists() and drop_in(node, "simple").exists()
        assert await one.show("Restart", "always") == "always"
        await one.ctl("stop", "always.service")
        assert (await one.run("start", "always")).why == "it has no systemd unit"
        await started(one, "simple")
        await stopped(one, "simple")
    driven(node, then, "always")


@pytest.mark.parametrize(("how", "then_it_is"), [("stop", "inactive"), ("restart", "active")])
def test_a_stop_under_a_stop_of_the_agent_does_not_wait_for_it(node, how, then_it_is):
    async def then(one: Driver) -> None:
        await one.ctl("start", "hamgr.service")
        for unit in ("simple", "always"):
            await started(one, unit)
        await one.ctl(how, "--no-block", "hamgr.service")
        for unit in ("simple", "always"):
            await stopped(one, unit)
        assert await one.show("ActiveState", "hamgr") == "deactivating"
        one.touch("end-hamgr.service")
        while await one.show("ActiveState", "hamgr") != then_it_is:
            pass
        await one.ctl("stop", "hamgr.service")
        (node.inside / "run/end-hamgr.service").unlink()
    driven(node, then, "simple", "always")
