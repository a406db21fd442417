"""The bus and systemd go away, come back, or hang: what was missed is told, nothing else stops."""

import asyncio
import os
import signal

import pytest

from hamgr.adapters.services.systemd import Units
from hamgr.core.effects import RunService
from hamgr.core.events import Event, ServiceAnswered
from hamgr.core.types import SECOND, Found
from tests.adapters.systemd_node import SystemdNode
from tests.adapters.units import (
    SHORT,
    Driver,
    booted,
    driven,
    driver,
    kill,
    main_pid,
    started,
    stopped,
    told,
)

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with booted(tmp_path_factory.mktemp("node")) as made:
        yield made


async def restart_bus(one: Driver, beside: str = "true") -> None:
    """Stop the bus, do something that nobody can hear of, start the bus."""
    await asyncio.to_thread(
        one.node.do, "sh", "-c", f"systemctl stop dbus.socket dbus.service && {beside} && "
        "systemctl start dbus.socket")


def test_what_happened_while_the_bus_was_away_is_told(node):
    async def then(one: Driver) -> None:
        await started(one, "simple")
        await started(one, "once")
        await started(one, "always")
        await restart_bus(one, "systemctl kill --kill-whom=main --signal=KILL simple.service && "
                               "systemctl stop once.service && systemctl restart always.service")
        changes = {change.service: change for change in [await one.change() for _ in range(3)]}
        assert changes["simple"] == told("simple", Found.FAILED, "killed by SIGKILL")
        assert changes["once"] == told("once", Found.STOPPED, "stopped while hamgr could not hear "
                                                              "of it")
        assert changes["always"] == told("always", Found.STARTED, "restarted while hamgr "
                                                                  "could not hear of it")
        await kill(one, "always")
        assert (await one.change()).found is Found.FAILED
    driven(node, then, "simple", "once", "always")


def test_a_start_goes_on_over_a_restart_of_the_bus(node):
    async def then(one: Driver) -> None:
        one.begin("start", "slow")
        while await one.show("ActiveState", "slow") != "activating":
            pass
        await restart_bus(one)
        one.touch("go-slow.service")
        answered = await one.answer()
        assert (answered.ok, answered.found) == (True, Found.STARTED)
        await stopped(one, "slow")
        (node.inside / "run/go-slow.service").unlink()
    driven(node, then, "slow")


def test_a_start_goes_on_while_systemd_executes_itself_anew(node):
    async def then(one: Driver) -> None:
        one.begin("start", "hangs")
        while await one.show("ActiveState", "hangs") != "activating":
            pass
        await one.ctl("daemon-reexec")
        one.touch("go-hangs.service")
        answered = await one.answer()
        assert (answered.ok, answered.found) == (True, Found.STARTED)
        await kill(one, "hangs")
        assert await one.change() == told("hangs", Found.FAILED, "killed by SIGKILL")
        await one.ctl("daemon-reload")
        await stopped(one, "hangs")
    driven(node, then, "hangs")


def test_a_failure_while_systemd_executes_itself_anew_is_told(node):
    async def then(one: Driver) -> None:
        await started(one, "simple")
        pid = await main_pid(one, "simple")
        os.kill(node.leader, signal.SIGSTOP)
        anew = asyncio.create_task(one.ctl("daemon-reexec"))
        node.do("kill", "-KILL", pid)
        os.kill(node.leader, signal.SIGCONT)
        await anew
        assert await one.change() == told("simple", Found.FAILED, "killed by SIGKILL")
        await stopped(one, "simple")
    driven(node, then, "simple")


def test_a_run_says_what_is_missing_while_there_is_no_bus(node):
    async def then(one: Driver) -> None:
        await started(one, "simple")
        await one.ctl("stop", "dbus.socket", "dbus.service")
        answered = await one.run("monitor", "simple", within=SHORT)
        assert not answered.ok and answered.found is Found.UNKNOWN
        assert answered.why == (
            f"no answer in 0.3 s: nobody answers at {node.inside}/run/dbus/system_bus_socket: the "
            "system bus is stopped")
        await one.ctl("start", "dbus.socket")
        await stopped(one, "simple")
    driven(node, then, "simple")


@pytest.mark.parametrize("whom", ["bus", "systemd"])
def test_one_that_hangs_costs_the_loop_nothing(node, whom):
    async def then(one: Driver) -> None:
        await started(one, "simple")
        # Process 1 takes a SIGSTOP from outside its namespace alone.
        freeze = ["kill", "-STOP", await main_pid(one, "dbus")]
        loop = asyncio.get_running_loop()
        if whom == "bus":
            node.do(*freeze)
        else:
            os.kill(node.leader, signal.SIGSTOP)
        try:
            runs = [one.begin("monitor", "simple", within=SHORT) for _ in range(100)]
            turns, latest = [], loop.time()
            while one.answers.qsize() < len(runs):
                await asyncio.sleep(0.001)
                latest, before = loop.time(), latest
                turns.append(latest - before)
        finally:
            os.kill(node.leader, signal.SIGCONT)
            node.do("kill", "-CONT", freeze[-1])
        for _ in runs:
            assert (await one.answer()).why == "no answer in 0.3 s: systemd does not answer"
        assert sorted(turns)[len(turns) // 2] < SHORT / SECOND / 10
        await stopped(one, "simple")
    driven(node, then, "simple")


# ---- without systemd

def test_without_a_system_bus_it_says_so(tmp_path):
    nowhere = tmp_path / "bus"

    class Nowhere(SystemdNode):
        inside = tmp_path

    async def story() -> None:
        async with driver(Nowhere(tmp_path), "simple") as one:
            for action in ("start", "stop", "monitor", "probe"):
                answered = await one.run(action, "simple")
                assert (answered.ok, answered.found) == (False, Found.UNKNOWN)
                assert answered.why == (
                    f"no system bus at {nowhere.parent}/run/dbus/system_bus_socket: systemd does "
                    "not run here")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    asyncio.run(story())


def test_what_a_unit_did_before_the_first_connection_is_no_change(node, tmp_path):
    """A node that boots learns by a probe what runs, not by events."""
    async def story() -> None:
        bus = tmp_path / "bus"
        told: asyncio.Queue[Event] = asyncio.Queue()
        units = Units({("g", "simple"): "simple.service"}, told.put_nowait, directory=tmp_path,
                      address=f"unix:path={bus}")
        await units.start()
        units.run(RunService(run=1, group="g", service="simple", action="stop", epoch=1,
                             timeout=SECOND))
        assert (await told.get()).why.startswith("no system bus at ")
        bus.symlink_to(node.inside / "run/dbus/system_bus_socket")
        while True:
            units.run(RunService(run=2, group="g", service="simple", action="probe", epoch=1,
                                 timeout=SECOND))
            answered = await told.get()
            assert isinstance(answered, ServiceAnswered)
            if answered.ok:
                break
            assert answered.why.startswith("no system bus at ")
        assert answered.found is Found.STOPPED
        await units.close()
        assert told.empty()
    asyncio.run(story())


def test_the_bus_is_where_the_environment_says(tmp_path, monkeypatch):
    async def story() -> None:
        told: asyncio.Queue[Event] = asyncio.Queue()
        units = Units({("g", "app"): "app.service"}, told.put_nowait, directory=tmp_path)
        await units.start()
        units.run(RunService(run=1, group="g", service="app", action="probe", epoch=1,
                             timeout=SECOND))
        answered = await told.get()
        await units.close()
        assert answered.why.startswith(f"no system bus at {tmp_path}/elsewhere: ")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/elsewhere")
    asyncio.run(story())
