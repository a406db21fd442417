"""Units under a real systemd: what starts and stops, and what is told of it."""

import pytest

from hamgr.core.types import MILLISECOND, Found
from tests.adapters.units import SHORT, Driver, booted, driven, install

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with booted(tmp_path_factory.mktemp("node")) as made:
        yield made


# ---- what is started and stopped

@pytest.mark.parametrize("unit", ["simple", "once", "always"])
def test_a_unit_is_started_watched_and_stopped(node, unit):
    async def then(one: Driver) -> None:
        told = await one.run("probe", unit)
        assert (told.ok, told.found, told.why) == (True, Found.STOPPED, "inactive (dead)")
        told = await one.run("start", unit)
        assert (told.ok, told.why, told.found) == (True, "", Found.STARTED)
        assert await one.show("ActiveState", unit) == "active"
        for action in ("monitor", "probe", "start"):
            told = await one.run(action, unit)
            assert (told.ok, told.why, told.found) == (True, "", Found.STARTED)
        told = await one.run("stop", unit)
        assert (told.ok, told.why, told.found) == (True, "", Found.STOPPED)
        assert await one.show("ActiveState", unit) == "inactive"
        told = await one.run("monitor", unit)
        assert (told.ok, told.why, told.found) == (False, "inactive (dead)", Found.STOPPED)
        assert (await one.run("monitor", unit, active=False)).ok
        assert (await one.run("stop", unit)).ok
    driven(node, then, unit)


def test_a_slow_start_is_over_when_the_unit_says_so(node):
    async def then(one: Driver) -> None:
        one.begin("start", "slow")
        while (told := await one.run_beside("probe", "slow")).why != "activating (start)":
            assert told.found is Found.STOPPED
        assert told.found is Found.FAILED
        one.touch("go-slow.service")
        assert (await one.answer()).ok
        assert (await one.run("stop", "slow")).ok
    driven(node, then, "slow")


@pytest.mark.parametrize(("unit", "why"), [
    ("exits", "it failed: exit status 7"),
    ("crashes", "it failed: killed by SIGSEGV"),
    ("late", "it failed: timeout: it took longer than its unit allows (TimeoutStartSec=, "
             "TimeoutStopSec=)"),
    ("silent", "it failed: it did not tell systemd what its Type= promises"),
    ("nowhere", "it failed: exit status 203: its program cannot be executed"),
    ("nobody", "it failed: exit status 217: its user is unknown"),
    ("before", "it failed: a command like ExecStartPre= failed"),
    ("after", "it failed: a command like ExecStartPre= failed"),
    ("needs", "a unit that it requires failed"),
    ("asserts", "an assertion of the unit was not met (Assert…=)"),
    ("conditional", "a condition of the unit is not met (Condition…=)"),
    ("over", "it has ended already: a unit that is to count as started after its commands have "
             "ended needs RemainAfterExit=yes"),
    ("manual", "Operation refused, unit manual.service may be requested by dependency only (it is "
               "configured to refuse manual start/stop)"),
    ("missing", "missing.service is not-found"),
    ("wrong", "wrong.service is bad-setting"),
    ("no name", "no name.service is no name of a unit"),
])
def test_why_a_unit_does_not_start_is_told(node, unit, why):
    async def then(one: Driver) -> None:
        told = await one.run("start", unit)
        assert (told.ok, told.why) == (False, why)
        told = await one.run("stop", unit)
        assert told.ok or unit == "no name"
    driven(node, then, unit)


def test_a_unit_that_is_started_too_often_says_so(node):
    async def then(one: Driver) -> None:
        assert (await one.run("start", "often")).why == "it failed: exit status 1"
        assert (await one.run("start", "often")).why == (
            "systemd did not try: it was started too often in a short time (StartLimitBurst=)")
    driven(node, then, "often")


def test_a_masked_unit_is_stopped_and_cannot_be_started(node):
    async def then(one: Driver) -> None:
        told = await one.run("start", "masked")
        assert (told.ok, told.why) == (False, "masked.service is masked")
        assert (await one.run("stop", "masked")).ok
        told = await one.run("probe", "masked")
        assert (told.ok, told.found) == (True, Found.STOPPED)
    (node.root / "etc/systemd/system/masked.service").symlink_to("/dev/null")
    driven(node, then, "masked")


def test_a_unit_whose_file_is_gone_can_still_be_stopped(node):
    async def then(one: Driver) -> None:
        assert (await one.run("start", "gone")).ok
        (node.root / "etc/systemd/system/gone.service").unlink()
        await one.ctl("daemon-reload")
        assert (await one.run("monitor", "gone")).ok
        assert (await one.run("stop", "gone")).ok
        assert (await one.run("start", "gone")).why == "gone.service is not-found"
    install(node, {"gone": "ExecStart=/bin/sleep 1000"})
    driven(node, then, "gone")


@pytest.mark.parametrize(("unit", "text"), [
    ("listens.socket", "[Socket]\nListenStream=/run/listens\nService=simple.service\n"),
    ("gathers.target", "[Unit]\nWants=simple.service\n"),
    ("srv-memory.mount", "[Mount]\nWhat=tmpfs\nWhere=/srv/memory\nType=tmpfs\n")])
def test_other_types_of_units_are_started_and_stopped_too(node, unit, text):
    async def then(one: Driver) -> None:
        one.units.configure({("g", unit): unit})
        await one.units.start()
        guard = (node.inside / f"run/systemd/system/{unit}.d/50-hamgr.conf").read_text()
        assert "Before=hamgr.service" in guard and "Restart" not in guard
        assert (await one.run("start", unit)).ok
        assert (await one.run("monitor", unit)).found is Found.STARTED
        await one.ctl("stop", unit)
        assert (await one.change()).why == "stopped by somebody else"
        assert (await one.run("stop", unit)).ok
        await one.ctl("stop", "simple.service")
    (node.root / "etc/systemd/system" / unit).write_text(text)
    driven(node, then, "simple")


@pytest.mark.parametrize("action", ["promote", "demote"])
def test_a_unit_cannot_be_promoted(node, action):
    async def then(one: Driver) -> None:
        told = await one.run(action, "simple")
        assert not told.ok and told.why.startswith(f"the driver systemd has no action {action}")
    driven(node, then, "simple")


# ---- time that runs out

@pytest.mark.parametrize("by", ["timeout", "cancel"])
def test_a_start_that_hangs_is_given_up_and_not_called_stopped(node, by):
    async def then(one: Driver) -> None:
        run = one.begin("start", "hangs", within=SHORT if by == "timeout" else 60 * SHORT)
        while await one.show("ActiveState", "hangs") != "activating":
            pass
        if by == "cancel":
            one.units.cancel(run)
        told = await one.answer()
        assert (told.ok, told.why) == (False, {
            "timeout": "no answer in 0.3 s: it is activating (start)",
            "cancel": "cancelled"}[by])
        told = await one.run("probe", "hangs")
        assert (told.found, told.why) == (Found.FAILED, "activating (start)")
        assert "hangs.service" not in await one.ctl("list-jobs")
        assert (await one.run("stop", "hangs")).ok
        assert await one.show("ActiveState", "hangs") == "inactive"
    driven(node, then, "hangs")


def test_a_start_that_waits_for_another_unit_is_not_made_up_for_later(node):
    async def then(one: Driver) -> None:
        one.begin("start", "hangs")
        while await one.show("ActiveState", "hangs") != "activating":
            pass
        assert not (await one.run_beside("start", "behind", within=SHORT)).ok
        one.touch("go-hangs.service")
        assert (await one.answer()).ok
        assert await one.show("ActiveState", "behind") == "inactive"
        assert "behind.service" not in await one.ctl("list-jobs")
        assert (await one.run("stop", "hangs")).ok
        (node.inside / "run/go-hangs.service").unlink()
    driven(node, then, "hangs", "behind")


def test_a_stop_that_systemd_has_to_end_with_sigkill_is_a_stop(node):
    async def then(one: Driver) -> None:
        assert (await one.run("start", "stubborn")).ok
        await one.appears("up-stubborn.service")
        told = await one.run("stop", "stubborn")
        assert (told.ok, told.found) == (True, Found.STOPPED)
        assert await one.show("Result", "stubborn") == "timeout"
    driven(node, then, "stubborn")


def test_processes_that_outlive_their_unit_keep_it_from_being_stopped(node):
    async def then(one: Driver) -> None:
        assert (await one.run("start", "leaves")).ok
        await one.appears("up-leaves.service")
        told = await one.run("stop", "leaves")
        assert not told.ok and told.found is Found.FAILED
        assert told.why.startswith("it is inactive (dead), but process ")
        assert told.why.endswith(" is left in its control group (KillMode=, SendSIGKILL=)")
        assert (await one.run("probe", "leaves")).found is Found.FAILED
        await one.ctl("kill", "--kill-whom=all", "leaves.service")
        while not (told := await one.run("stop", "leaves")).ok:
            pass
        assert told.found is Found.STOPPED
    driven(node, then, "leaves")


def test_many_units_at_once_and_each_is_answered_once(node):
    names = [f"many@{number}" for number in range(40)]

    async def then(one: Driver) -> None:
        for action, state in (("start", Found.STARTED), ("stop", Found.STOPPED)):
            for name in names:
                one.begin(action, name)
            told = [await one.answer() for _ in names]
            assert {answer.service for answer in told} == {*names}
            assert all(answer.ok and answer.found is state for answer in told)
    driven(node, then, *names)


def test_closing_answers_for_what_runs(node):
    async def then(one: Driver) -> None:
        one.begin("start", "hangs")
        while await one.show("ActiveState", "hangs") != "activating":
            pass
        await one.units.close()
        told = await one.answer()
        assert (told.ok, told.why) == (False, "the agent ends")
        assert "hangs.service" not in await one.ctl("list-jobs")
        await one.ctl("stop", "hangs.service")
    driven(node, then, "hangs")


def test_cancelling_what_has_ended_does_nothing(node):
    async def then(one: Driver) -> None:
        told = await one.run("probe", "simple")
        one.units.cancel(told.run)
        one.units.cancel(99)
        assert (await one.run("probe", "simple", within=500 * MILLISECOND)).ok
    driven(node, then, "simple")
