"""Carries out the actions of units, and tells what changes without them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hamgr.adapters.services.systemd import states
from hamgr.adapters.services.systemd.faults import Lost, Refused
from hamgr.adapters.services.systemd.guard import AGENT, DIRECTORY, FILE, Guard
from hamgr.adapters.services.systemd.watched import Watched
from hamgr.core.effects import RunService
from hamgr.core.events import ServiceAnswered, ServiceChanged
from hamgr.core.types import SECOND, Found, GroupName, ServiceName
from hamgr.ports import Post

if TYPE_CHECKING:
    from hamgr.adapters.services.systemd.manager import Manager, Seen

log = logging.getLogger(__name__)

AGAIN_S = 0.05
"""Seconds until an action is begun again whose connection broke."""
SETTLE_S = 10.0
"""Seconds that an agent waits for new units to be followed: it can do without for a while."""
MODE = "replace"
"""A job takes the place of one that conflicts with it (org.freedesktop.systemd1(5), StartUnit)."""
_CHANGING = ("start", "stop")
"""Actions that change a unit."""
UNIT = "org.freedesktop.systemd1.Unit"


class Verdict(NamedTuple):
    """How an action went."""

    ok: bool
    why: str = ""
    found: Found = Found.UNKNOWN


Act = Callable[[RunService, Watched], Awaitable[Verdict]]


class Units:
    """Starts, stops and watches the unit of every service whose driver is "systemd"."""

    def __init__(self, units: Mapping[tuple[GroupName, ServiceName], str], post: Post, *,
                 address: str = "", directory: Path = DIRECTORY) -> None:
        """units has full names, such as "nginx.service".

        address is where the system bus is (D-Bus specification, server addresses), "" by
        DBUS_SYSTEM_BUS_ADDRESS or else the usual place; directory is for drop-ins.
        """
        self._post, self._address = post, address
        self._units: dict[tuple[GroupName, ServiceName], str] = {}
        self._watched: dict[str, Watched] = {}
        self._guard = Guard(directory)
        self._manager: Manager | None = None
        self._runs: dict[int, asyncio.Task[Verdict]] = {}
        self._ended_by: dict[int, str] = {}
        self._releases: set[asyncio.Task[None]] = set()
        self._settling, self._lifting = asyncio.Lock(), asyncio.Lock()
        self._lifted = False
        self._acts: dict[str, Act] = {"start": self._start, "stop": self._stop,
                                      "monitor": self._monitor, "probe": self._probe}
        self.configure(units)

    def configure(self, units: Mapping[tuple[GroupName, ServiceName], str]) -> None:
        """Use these units from the next action on. Start anew for those that were not there."""
        self._units = dict(units)
        gone = [unit for name, unit in self._watched.items() if name not in units.values()]
        self._watched = {name: self._watched.get(name) or Watched(name)
                         for name in dict.fromkeys(units.values())}
        if gone:
            task = asyncio.get_running_loop().create_task(self._release(gone))
            self._releases.add(task)
            task.add_done_callback(self._releases.discard)

    async def start(self) -> None:
        """Connect, look at every unit and guard it. Without systemd, say so, and go on trying."""
        if not self._units:
            return
        if self._manager is None:
            # An agent without such services has no D-Bus library in its memory.
            from hamgr.adapters.services.systemd.manager import Manager

            self._manager = Manager(self._address, changed=self._changed, came=self._came)
            await self._manager.bus.start()
            return
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._settle()
        except (Lost, Refused, TimeoutError):  # then all is begun anew, with a line in the log
            self._manager.bus.drop("systemd refuses to show its units")

    def run(self, effect: RunService) -> None:
        """Start the action; exactly one ServiceAnswered follows."""
        task = asyncio.get_running_loop().create_task(self._act(effect))
        self._runs[effect.run] = task
        task.add_done_callback(partial(self._answer, effect))

    def cancel(self, run: int) -> None:
        """Give a run up: a start that is queued or goes on loses its job, a stop goes on."""
        self._end(run, "cancelled")

    async def close(self) -> None:
        """Give up whatever runs, and leave the units that run guarded."""
        tasks = [*self._runs.values(), *self._releases]
        for run in list(self._runs):
            self._end(run, "the agent ends")
        await asyncio.gather(*tasks, return_exceptions=True)
        for unit in self._watched.values():
            if unit.known and unit.found is Found.STOPPED:
                self._guard.take(unit.name)
        if self._manager is not None:
            await self._manager.bus.close()

    # ---- actions

    async def _act(self, effect: RunService) -> Verdict:
        name = self._units.get((effect.group, effect.service))
        act = self._acts.get(effect.action)
        if name is None or self._manager is None:
            return Verdict(False, "it has no systemd unit")
        if act is None:
            return Verdict(False, f"the driver systemd has no action {effect.action}: a unit can "
                                  "be started, stopped, monitored and probed")
        unit = self._watched[name]
        try:
            with self._ours(unit) if effect.action in _CHANGING else nullcontext():
                async with asyncio.timeout(effect.timeout / SECOND):
                    return await self._until_answered(act, effect, unit)
        except TimeoutError:
            silent = unit.state if effect.action in _CHANGING else "systemd does not answer"
            why = self._manager.bus.trouble or silent
            return Verdict(False, f"no answer in {effect.timeout / SECOND:g} s: {why}")
        except Refused as error:
            return Verdict(False, str(error))

    async def _until_answered(self, act: Act, effect: RunService, unit: Watched) -> Verdict:
        """Begin an action again if the connection breaks: systemd merges its job with the one that
        goes on, so that this is found again."""
        while True:
            await self._systemd.bus.there()
            try:
                return await act(effect, unit)
            except Lost:
                await asyncio.sleep(AGAIN_S)

    async def _start(self, effect: RunService, unit: Watched) -> Verdict:
        seen = await self._look(unit)
        if seen.load != "loaded":
            return Verdict(False, f"{unit.name} is {seen.load}")
        before = unit.invocation
        result = await self._systemd.do("StartUnit", unit.name, unit.queued, MODE)
        seen = await self._look(unit)
        found = states.found(seen.active)
        if found is Found.STARTED:
            return Verdict(True, found=found)
        return Verdict(False, _why_not(seen, unit, result, unit.invocation != before), found)

    async def _stop(self, effect: RunService, unit: Watched) -> Verdict:
        seen = await self._look(unit)
        if seen.load == "loaded" or not seen.at_rest:
            await self._systemd.do("StopUnit", unit.name, unit.queued, await self._stop_mode())
        left = await self._systemd.processes(unit.name)
        seen = await self._look(unit)
        if not seen.at_rest:
            job = f", with a {seen.job_type} job" if seen.job else ""
            return Verdict(False, f"it is still {seen.words}{job}", states.found(seen.active))
        if left:
            return Verdict(False, _leftovers(seen, left), Found.FAILED)
        return Verdict(True, found=Found.STOPPED)

    async def _monitor(self, effect: RunService, unit: Watched) -> Verdict:
        seen = await self._look(unit)
        found = states.found(seen.active)
        if found is Found.STARTED:
            return Verdict(True, found=found)
        return Verdict(not effect.active, ": ".join(filter(None, (seen.words, unit.failure))),
                       found)

    async def _probe(self, effect: RunService, unit: Watched) -> Verdict:
        left = await self._systemd.processes(unit.name)
        seen = await self._look(unit)
        found = states.found(seen.active)
        if left and seen.at_rest:
            return Verdict(True, _leftovers(seen, left), Found.FAILED)
        return Verdict(True, "" if found is Found.STARTED else seen.words, found)

    # ---- what is known of units

    async def _look(self, unit: Watched) -> "Seen":
        """Return the state of a unit, no older than any signal of it so far."""
        while True:
            heard = unit.heard
            seen = await self._systemd.look(unit.name)
            if seen.path != unit.path:  # an alias that leads elsewhere since a reload
                await self._follow(unit)
            elif heard == unit.heard:
                unit.take({"ActiveState": seen.active, "SubState": seen.sub,
                           "Job": (seen.job, seen.job_path)})
                return seen

    async def _follow(self, unit: Watched) -> None:
        """Have its signals from now on, and know what they would have told so far."""
        seen = await self._systemd.look(unit.name)
        await self._systemd.follow(seen)
        unit.path = seen.path
        while True:
            heard = unit.heard
            seen = await self._systemd.look(unit.name)
            details = await self._systemd.details(seen)
            if heard == unit.heard:
                break
        unit.take(details)
        if not unit.known:
            unit.settle()
        self._judge(unit)

    def _changed(self, path: str, properties: Mapping[str, Any]) -> None:
        for unit in self._watched.values():
            if unit.path == path:
                unit.heard += 1
                unit.take(properties)
                if "ActiveState" in properties:  # the second of two signals: all is told
                    self._judge(unit)

    def _judge(self, unit: Watched) -> None:
        if change := unit.change():
            for (group, service), name in self._units.items():
                if name == unit.name:
                    self._post(ServiceChanged(group=group, service=service, found=change.found,
                                              why=change.why))

    @contextmanager
    def _ours(self, unit: Watched) -> Iterator[None]:
        """What happens to the unit is our doing, and answered for: an action looks at it last."""
        unit.ours += 1
        try:
            yield
        finally:
            unit.ours -= 1
            if unit.known:
                unit.settle()

    # ---- the connection, and what is done once for each

    @property
    def _systemd(self) -> "Manager":
        assert self._manager is not None
        return self._manager

    async def _came(self) -> None:
        for unit in self._watched.values():
            unit.path, unit.unheard = "", True
        await self._settle()

    async def _settle(self) -> None:
        """Guard and follow every unit that is not followed yet. Raises Refused and Lost."""
        async with self._settling:
            new = [unit for unit in self._watched.values() if not unit.path]
            if new and not (await self._systemd.look(AGENT)).being_stopped:
                await self._put_guards([unit.name for unit in new])
            for unit in new:
                try:
                    await self._follow(unit)
                except Refused as error:
                    log.warning("the unit %s cannot be watched: %s", unit.name, error)

    async def _put_guards(self, units: list[str]) -> None:
        """Write drop-ins; have systemd read them where it has read the unit already.

        NeedDaemonReload does not tell: it overlooks a directory that was not there before (seen
        with systemd 252).
        """
        self._lifted = False
        put = [unit for unit in units if self._guard.put(unit)]
        if any([await self._guarded(unit) is False for unit in put]):
            try:
                await self._systemd.reload()
            except Refused as error:
                log.warning("systemd does not read hamgr's drop-ins: %s", error)

    async def _guarded(self, unit: str) -> bool | None:
        """Tell whether systemd goes by the drop-in of a unit; None: it has no unit by that name."""
        try:
            seen = await self._systemd.look(unit)
        except Refused:  # told of when it is to be followed
            return None
        if seen.load != "loaded":
            return None
        paths = await self._systemd.get(seen.path, UNIT, "DropInPaths")
        return any(path.endswith(f"/{unit}.d/{FILE}") for path in paths)

    async def _stop_mode(self) -> str:
        """Return how a stop is to be queued, so that it does not wait for the agent's own end."""
        if not (await self._systemd.look(AGENT)).being_stopped:
            return MODE
        if await self._systemd.shutting_down():
            return "ignore-dependencies"
        await self._lift()
        return MODE

    async def _lift(self) -> None:
        """Take all guards away: the agent is being stopped, and the machine is not (see guard)."""
        async with self._lifting:
            if not self._lifted:
                for name in self._watched:
                    self._guard.take(name)
                if any([await self._guarded(name) for name in self._watched]):
                    await self._systemd.reload()
                self._lifted = True

    async def _release(self, units: list[Watched]) -> None:
        """Leave units alone that are no longer ours."""
        taken = [unit.name for unit in units if self._guard.take(unit.name)]
        if self._manager is None:
            return
        try:
            for unit in (one for one in units if one.path):
                await self._systemd.follow(await self._systemd.look(unit.name), on=False)
            if any([await self._guarded(name) for name in taken]):
                await self._systemd.reload()
        except (Lost, Refused) as error:
            log.warning("systemd goes by hamgr's drop-in of %s until it reads its files anew: %s",
                        ", ".join(taken), error)

    # ---- the end of runs

    def _end(self, run: int, why: str) -> None:
        if run in self._runs:
            self._ended_by[run] = why
            self._runs[run].cancel()

    def _answer(self, effect: RunService, task: "asyncio.Task[Verdict]") -> None:
        del self._runs[effect.run]
        why = self._ended_by.pop(effect.run, "cancelled")
        if task.cancelled():
            verdict = Verdict(False, why)
        elif error := task.exception():
            log.error("%s of %s ended in a fault of hamgr", effect.action, effect.service,
                      exc_info=error)
            verdict = Verdict(False, f"a fault of hamgr: {error!r}")
        else:
            verdict = task.result()
        self._post(ServiceAnswered(
            run=effect.run, group=effect.group, service=effect.service, action=effect.action,
            ok=verdict.ok, why=verdict.why, found=verdict.found))


def _why_not(seen: "Seen", unit: Watched, result: str, tried: bool) -> str:
    """Say why a unit is not active after a start, by the job's result and what is known of it."""
    if result == "failed" and not tried:
        # Its Result may still be that of the start before (seen with systemd 252).
        return "systemd did not try: it was started too often in a short time (StartLimitBurst=)"
    if result == "failed":
        return ": ".join(filter(None, (states.job(result), unit.failure)))
    if result != "done":
        return states.job(result)
    if seen.active != "inactive":
        return ": ".join(filter(None, (f"it is {seen.words}", unit.failure)))
    if not unit.condition_met:
        return "a condition of the unit is not met (Condition…=)"
    return ("it has ended already: a unit that is to count as started after its commands have "
            "ended needs RemainAfterExit=yes")


def _leftovers(seen: "Seen", left: list[str]) -> str:
    """Say what a unit has left behind that systemd calls stopped."""
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    return (f"it is {seen.words}, but process {left[0]}{more} is left in its control group "
            "(KillMode=, SendSIGKILL=)")
