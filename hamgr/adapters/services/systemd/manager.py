"""systemd as it is reached over the system bus: looks, jobs and their results, signals of units.

Methods, signals and properties are those of org.freedesktop.systemd1(5).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from dbus_fast import Message

from hamgr.adapters.services.systemd.bus import (
    MANAGER,
    MANAGER_PATH,
    PROPERTIES,
    SYSTEMD,
    Bus,
)
from hamgr.adapters.services.systemd.faults import Lost, Refused

UNIT = "org.freedesktop.systemd1.Unit"
NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
SERVICE = "org.freedesktop.systemd1.Service"


class Seen(NamedTuple):
    """One unit, as ListUnitsByNames has it."""

    name: str
    """Its first name, whatever alias was asked for."""
    description: str
    load: str
    """LoadState: loaded, not-found, masked, bad-setting, error, …"""
    active: str
    """ActiveState."""
    sub: str
    """SubState."""
    following: str
    path: str
    """Its object on the bus."""
    job: int
    """The job that is queued for it or runs; 0: none."""
    job_type: str
    """start, stop, restart, …; empty without a job."""
    job_path: str

    @property
    def words(self) -> str:
        """Its state as people know it from systemctl."""
        state = f"{self.active} ({self.sub})"
        return state if self.load == "loaded" else f"{self.load}, {state}"

    @property
    def at_rest(self) -> bool:
        """Whether systemd runs nothing of it, nor is about to."""
        return self.active in ("inactive", "failed") and not self.job

    @property
    def being_stopped(self) -> bool:
        """Whether a job of its own stops it."""
        return self.job_type in ("stop", "restart")


class Manager:
    """systemd: its units and their jobs."""

    def __init__(self, address: str, *, changed: Callable[[str, Mapping[str, Any]], None],
                 came: Callable[[], Awaitable[None]]) -> None:
        """changed is called with the path of a unit that is followed, and what changed of it; came
        on each connection, when nothing is followed yet."""
        self.bus = Bus(address, self._heard, self._begin, self._lost)
        self._changed, self._came = changed, came
        self._waiting = 0
        self._jobs: dict[str, asyncio.Future[str]] = {}

    async def look(self, unit: str) -> Seen:
        """Return the state of a unit, which is loaded for it. Raises Refused and Lost."""
        [listed] = await self.bus.call("ListUnitsByNames", "as", [unit])
        if not listed:
            raise Refused(f"{unit} is no name of a unit")
        return Seen(*listed[0])

    async def details(self, seen: Seen) -> dict[str, Any]:
        """Return those properties that a look does not have. Raises Refused and Lost."""
        wanted = {"InvocationID": UNIT}
        if seen.name.endswith(".service"):
            wanted |= dict.fromkeys(("Result", "ExecMainCode", "ExecMainStatus", "NRestarts"),
                                    SERVICE)
        return {"ActiveState": seen.active, "SubState": seen.sub, "Job": (seen.job, ""),
                **{name: await self.get(seen.path, interface, name)
                   for name, interface in wanted.items()}}

    async def get(self, path: str, interface: str, name: str) -> Any:
        """Return one property. Raises Refused and Lost."""
        [variant] = await self.bus.call("Get", "ss", interface, name, path=path,
                                        interface=PROPERTIES)
        return variant.value

    async def follow(self, seen: Seen, on: bool = True) -> None:
        """Have the signals of a unit delivered, or no more. Raises Refused and Lost."""
        await self.bus.match(f"sender='{SYSTEMD}',path='{seen.path}',interface='{PROPERTIES}',"
                             "member='PropertiesChanged'", on)
        await self.bus.match(f"sender='{SYSTEMD}',member='JobRemoved',arg2='{seen.name}'", on)

    async def do(self, method: str, unit: str, queued: Callable[[int], None], mode: str) -> str:
        """Call StartUnit or StopUnit and return the result of the job; queued is told its number.

        A start that is cancelled takes its job along, also one that is not queued yet: it would
        start the unit behind our back. A stop that is cancelled goes on. Raises Refused and Lost.
        """
        with self._listening():
            call = asyncio.ensure_future(self.bus.call(method, "ss", unit, mode))
            try:
                [path] = await asyncio.shield(call)
                queued(_number(path))
                return await self._jobs.setdefault(
                    path, asyncio.get_running_loop().create_future())
            except asyncio.CancelledError:
                call.add_done_callback(partial(self._given_up, method))
                raise

    async def processes(self, unit: str) -> list[str]:
        """Return what lives in the control group of a unit, as "PID COMMAND". Raises Refused and
        Lost."""
        try:
            [listed] = await self.bus.call("GetUnitProcesses", "s", unit)
        except Refused as error:
            if error.name == NO_SUCH_UNIT:  # unloaded, as systemd does only without processes
                return []
            raise
        return [f"{pid} {command}" for _, pid, command in listed]

    async def shutting_down(self) -> bool:
        """Tell whether the machine is. Raises Refused and Lost."""
        return bool(await self.get(MANAGER_PATH, MANAGER, "SystemState") == "stopping")

    async def reload(self) -> None:
        """Have systemd read all its unit files anew; it answers when it has. Raises Refused and
        Lost."""
        await self.bus.call("Reload")

    def _given_up(self, method: str, call: "asyncio.Future[list[Any]]") -> None:
        if not call.cancelled() and call.exception() is None and method == "StartUnit":
            self.bus.send("CancelJob", "u", _number(call.result()[0]))

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Note the results of jobs: one may come before the answer that says which job it is."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._jobs.clear()

    async def _begin(self) -> None:
        await self.bus.call("Subscribe")
        await self._came()

    def _lost(self, why: Lost) -> None:
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            if not job.done():
                job.set_exception(why)

    def _heard(self, signal: Message) -> None:
        if signal.member == "JobRemoved" and self._waiting:
            _, path, _, result = signal.body
            job = self._jobs.setdefault(path, asyncio.get_running_loop().create_future())
            if not job.done():
                job.set_result(result)
        elif signal.member == "PropertiesChanged" and signal.path:
            self._changed(signal.path, {name: variant.value
                                        for name, variant in signal.body[1].items()})


def _number(path: str) -> int:
    """Return the number of a job, with which its path ends."""
    return int(path.rpartition("/")[2])
