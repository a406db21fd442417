"""The driver "systemd" on a booted node, for tests: what it is asked, answers and notices."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from hamgr.adapters.services.systemd import Units
from hamgr.core.effects import RunService
from hamgr.core.events import Event, ServiceAnswered, ServiceChanged
from hamgr.core.types import MILLISECOND, SECOND, Duration, Found
from tests.adapters.systemd_node import SystemdNode, skip_unless_it_runs

LONG = 60 * SECOND
SHORT = 300 * MILLISECOND
HANGS = "/bin/sh -c 'until test -e /run/go-%n; do sleep 0.02; done; systemd-notify --ready; " \
    "exec sleep 1000'"
STUBBORN = "/bin/sh -c 'trap \"\" TERM; touch /run/up-%n; while :; do sleep 0.1; done'"

FILES: dict[str, str] = {
    "simple": "ExecStart=/bin/sleep 1000",
    "many@": "ExecStart=/bin/sleep 1000",
    "always": "ExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=10ms",
    "once": "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true",
    "slow": f"Type=notify\nNotifyAccess=all\nExecStart={HANGS}",
    "hangs": f"Type=notify\nNotifyAccess=all\nExecStart={HANGS}",
    "behind": "ExecStart=/bin/sleep 1000\n[Unit]\nAfter=hangs.service",
    "stubborn": f"ExecStart={STUBBORN}\nTimeoutStopSec=300ms",
    "dawdles": "ExecStart=/bin/sh -c 'trap \"until test -e /run/end-%n; do sleep 0.02; done; "
               "exit 0\" TERM; touch /run/up-%n; while :; do sleep 0.1; done'",
    "leaves": "ExecStart=/bin/sh -c 'sleep 1001 & touch /run/up-%n; exec sleep 1000'\n"
              "KillMode=process",
    "says": "ExecStart=/bin/sh -c 'until test -e /run/end-%n; do sleep 0.02; done; exit 3'",
    "ends": "ExecStart=/bin/sh -c 'until test -e /run/end-%n; do sleep 0.02; done'",
    "lingers": "ExecStart=/bin/sleep 1000\nExecStopPost=/bin/sh -c 'until test -e /run/end-%n; do "
               "sleep 0.02; done'",
    # those that cannot start
    "exits": "Type=oneshot\nExecStart=/bin/sh -c 'exit 7'",
    "crashes": "Type=oneshot\nLimitCORE=0\nExecStart=/bin/sh -c 'kill -SEGV $$$$'",
    "late": "Type=notify\nTimeoutStartSec=200ms\nExecStart=/bin/sleep 1000",
    "silent": "Type=notify\nExecStart=/bin/true",
    "nowhere": "Type=exec\nExecStart=/nonexistent/program",
    "nobody": "Type=exec\nUser=nonexistent-user\nExecStart=/bin/sleep 1000",
    "before": "ExecStartPre=/bin/false\nExecStart=/bin/sleep 1000",
    "after": "ExecStartPost=/bin/false\nExecStart=/bin/sleep 1000",
    "often": "Type=oneshot\nExecStart=/bin/false\n[Unit]\nStartLimitBurst=1",
    "needs": "ExecStart=/bin/sleep 1000\n[Unit]\nRequires=exits.service\nAfter=exits.service",
    "asserts": "ExecStart=/bin/sleep 1000\n[Unit]\nAssertPathExists=/nonexistent",
    "conditional": "ExecStart=/bin/sleep 1000\n[Unit]\nConditionPathExists=/nonexistent",
    "over": "Type=oneshot\nExecStart=/bin/true",
    "manual": "ExecStart=/bin/sleep 1000\n[Unit]\nRefuseManualStart=yes",
    "wrong": "ExecStart=",
    # what stands in for the agent: its stop takes until a test lets it end
    "hamgr": "ExecStart=/bin/sleep 1000\nTimeoutStopSec=20\n"
             "ExecStop=/bin/sh -c 'until test -e /run/end-%n; do sleep 0.02; done'",
}


def install(node: SystemdNode, files: Mapping[str, str] = FILES) -> None:
    """Give a node that is laid out these services, by what is in their section [Service]."""
    directory = node.root / "etc/systemd/system"
    for name, text in files.items():
        (directory / f"{name}.service").write_text(f"[Service]\n{text}\n")


class Driver:
    """The adapter with some units as the services of the group g, each by the name of its unit."""

    def __init__(self, node: SystemdNode, *units: str) -> None:
        self.node = node
        self.answers: asyncio.Queue[ServiceAnswered] = asyncio.Queue()
        self.changes: asyncio.Queue[ServiceChanged] = asyncio.Queue()
        self.units = Units(
            named(*units), self._post,
            address=f"unix:path={node.inside}/run/dbus/system_bus_socket",
            directory=node.inside / "run/systemd/system")
        self._runs = 0

    def begin(self, action: str, unit: str, within: Duration = LONG, active: bool = True) -> int:
        self._runs += 1
        self.units.run(RunService(run=self._runs, group="g", service=unit, action=action,
                                  epoch=42, timeout=within, active=active))
        return self._runs

    async def answer(self) -> ServiceAnswered:
        return await asyncio.wait_for(self.answers.get(), 30)

    async def run(self, action: str, unit: str, within: Duration = LONG,
                  active: bool = True) -> ServiceAnswered:
        run = self.begin(action, unit, within, active)
        answered = await self.answer()
        assert (answered.run, answered.group, answered.service, answered.action) == (
            run, "g", unit, action)
        return answered

    async def run_beside(self, action: str, unit: str, within: Duration = LONG) -> ServiceAnswered:
        """Run an action while another one goes on, whose answer does not come before."""
        run = self.begin(action, unit, within)
        answered = await self.answer()
        assert answered.run == run
        return answered

    async def change(self) -> ServiceChanged:
        return await asyncio.wait_for(self.changes.get(), 30)

    async def ctl(self, *argv: str) -> str:
        """Run systemctl in the node, while the loop goes on."""
        return await asyncio.to_thread(self.node.do, "systemctl", *argv)

    async def show(self, what: str, unit: str) -> str:
        return await self.ctl("show", "--value", f"--property={what}", f"{unit}.service")

    def touch(self, name: str) -> None:
        (self.node.inside / "run" / name).touch()

    async def appears(self, name: str) -> None:
        """Wait until a unit has made a file in /run."""
        async with asyncio.timeout(30):
            while True:
                if (self.node.inside / "run" / name).exists():
                    return
                await asyncio.sleep(0.01)

    def _post(self, event: Event) -> None:
        if isinstance(event, ServiceAnswered):
            self.answers.put_nowait(event)
        else:
            assert isinstance(event, ServiceChanged)
            self.changes.put_nowait(event)


def named(*units: str) -> dict[tuple[str, str], str]:
    return {("g", unit): f"{unit}.service" for unit in units}


@asynccontextmanager
async def driver(node: SystemdNode, *units: str) -> AsyncIterator[Driver]:
    made = Driver(node, *units)
    try:
        await made.units.start()
        yield made
    finally:
        await made.units.close()


def driven(node: SystemdNode, then: Callable[[Driver], Awaitable[None]], *units: str) -> None:
    """Run a story with a driver of these units; nothing that it does not await may be left."""
    async def story() -> None:
        async with driver(node, *units) as made:
            await then(made)
            assert made.answers.empty()
            assert made.changes.empty()
    asyncio.run(story())


def drop_in(node: SystemdNode, unit: str) -> Path:
    return node.inside / f"run/systemd/system/{unit}.service.d/50-hamgr.conf"


async def started(one: Driver, unit: str) -> None:
    assert (await one.run("start", unit)).ok


async def stopped(one: Driver, unit: str) -> None:
    assert (await one.run("stop", unit)).ok


async def kill(one: Driver, unit: str) -> None:
    await one.ctl("kill", "--kill-whom=main", "--signal=KILL", f"{unit}.service")


def told(unit: str, found: Found, why: str) -> ServiceChanged:
    return ServiceChanged(group="g", service=unit, found=found, why=why)


async def main_pid(one: Driver, unit: str) -> str:
    return await one.show("MainPID", unit)


@contextmanager
def booted(directory: Path) -> Iterator[SystemdNode]:
    """A node with all units of FILES; the test is skipped where there can be none."""
    skip_unless_it_runs()
    with SystemdNode(directory) as made:
        made.lay_out()
        install(made)
        made.boot()
        yield made
