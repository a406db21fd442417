"""The life of an agent: start, one engine after the other, reload, stop.

Order of a start: the adapters' sockets; leftovers of a former life removed and verified (rule 21);
a new incarnation on disk; then the engine, and with it the first heartbeat. systemd is told READY
when heartbeats run. What cannot be had yet is tried again every second, and said in words.
"""

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from hamgr.agent.answers import Answers
from hamgr.agent.applying import Applying, Parts
from hamgr.agent.cleaning import Sweep, feeding, in_place, longest_chain
from hamgr.agent.control import Control, Desk
from hamgr.agent.disk import Disk
from hamgr.agent.dispatch import Dispatch, Ports
from hamgr.agent.facts import AgentStatus
from hamgr.agent.housekeeping import Housekeeping
from hamgr.agent.loop import Loop
from hamgr.agent.outside import About, Candidate, Outside
from hamgr.agent.rebuilding import Rebuilding
from hamgr.agent.recorder import Recorder
from hamgr.agent.requests import Requests
from hamgr.agent.showing import layers, process, status_line
from hamgr.agent.tasks import watched
from hamgr.core.effects import BeginNewLife, Exit
from hamgr.core.events import Event, StopAsked
from hamgr.core.types import SECOND, Duration, GroupName, Instant, NodeName
from hamgr.engine import Engine
from hamgr.explain import Explanation, explained
from hamgr.snapshot import snapshot

EXIT_HURRIED = 1
"""Exit status after a second signal: services may still run."""
EXIT_BUG = 70
"""Exit status after a bug of ours (EX_SOFTWARE of sysexits.h)."""
RETRY_S = 1.0
CLOSE_S = 1.0
GRACE: Duration = 90 * SECOND
"""What a step between two engines may take beyond the services' own timeouts: the longest of the
others, the building of all frames, gives up after a minute."""

logger = logging.getLogger("hamgr.agent")

class Hurried:
    """A second signal came: the orderly stop was not waited for."""


Over = BeginNewLife | Exit | Hurried | Exception
"""Why an engine is no longer fed."""
Attempt = Callable[[], Awaitable[None]]


class StuckError(Exception):
    """A step neither ended nor failed, although everything in it has a bound."""


class Agent:
    """One agent, from its start to its end."""

    def __init__(self, about: About, ports: Ports, outside: Outside) -> None:
        """Build it in the event loop that it will run in."""
        self._about, self._ports, self._outside = about, ports, outside
        self._loop = Loop(perform=self._perform, record=self._record, failed=self._end,
                          call_at=outside.call_at)
        self._disk = Disk()
        self._recorder = Recorder(about.state_dir)
        self._house = Housekeeping(
            self._recorder, self._disk, collect=outside.collect, awake=outside.awake,
            notify=outside.notify,
            status=self._status_line, watchdog=outside.watchdog,
            stop_takes=longest_chain(about.leftovers))
        self._loop.idle = self._house.idle
        self._loop.stalled = self._stalled
        self._answers = Answers()
        self._dispatch = Dispatch(ports, self._disk, self.post, ended=self._end)
        self._loop.intercept = self._intercept
        self._requests = Requests(self._answers, ports.coordinator)
        self._rebuilding = Rebuilding(self.fed, ports.coordinator, self._answers)
        self._applying = Applying(
            about.applied, Parts(
                engine=self.fed,
                consider=outside.consider, seal=outside.seal, narrow=outside.narrow,
                keep=outside.keep,
                enter=self._enter, post=self.post),
            former=about.former, disk=self._disk, coordinator=ports.coordinator,
            answers=self._answers)
        self._control = Control(about.run_dir, Desk(
            status=self._status, ask=self._requests.ask, explain=self._explain, stop=self.stop,
            reload=self._reload, attributes=outside.attributes,
            recorder=self._recorder.tail, configuration=self._configuration,
            apply=self._applying.apply, rebuild=self._rebuilding.rebuild))
        self._over: asyncio.Future[Over] = asyncio.get_running_loop().create_future()
        self._stop: asyncio.Event = asyncio.Event()
        self._signals = 0
        self._above = 0
        self._waits_for = ""
        self._started = time.monotonic_ns()

    @property
    def post(self) -> Callable[[Event], None]:
        """Takes events from the adapters, in the loop's thread."""
        return self._loop.post

    async def run(self) -> int:
        """Live until told to stop, or until a bug of ours; return the exit status."""
        asyncio.get_running_loop().set_exception_handler(self._surfaced)
        self._listen_to_signals()
        try:
            return await self._live()
        finally:
            await self._close()

    def stop(self, why: str) -> None:
        """Stop in order: hand over, say done, leave."""
        if self._stop.is_set():
            return
        logger.info("stopping: %s", why)
        self._stop.set()
        self._outside.notify("STOPPING=1")
        self.post(StopAsked(why=why))

    async def _live(self) -> int:
        over: Over = await self._start() or await self._life(above=0)
        while isinstance(over, BeginNewLife):
            logger.warning("a new life begins: %s", over.why)
            over = await self._life(above=over.incarnation_above)
        if isinstance(over, Exit):
            return 0
        if isinstance(over, Hurried):
            return EXIT_HURRIED
        await self._crash(over)
        return EXIT_BUG

    async def _start(self) -> Over | None:
        """Start every part; return why that was given up, if it was."""
        self._disk.start()
        ports = self._ports
        parts: tuple[tuple[str, Attempt], ...] = (
            ("listen at the control socket", self._control.start),
            ("open the flight recorder", self._open_recorder),
            ("prepare the addresses", ports.addresses.start),
            ("start the dead-man's switch", ports.switch.start),
            ("start the runner of services", ports.services.start),
            ("start the runner of fence devices", ports.devices.start),
            ("open the heartbeat rings", ports.transport.start),
            ("begin to connect to ZooKeeper", ports.coordinator.start),
        )
        for what, start in parts:
            if over := await self._until_done(what, start):
                return over
        return None

    async def _life(self, above: int) -> Over:
        """Live with one engine, and return why it ended."""
        self._over = asyncio.get_running_loop().create_future()
        self._above = above
        for what, attempt in (("end the last life", self._answered),
                              ("remove leftovers", self._swept),
                              ("forget former configurations", self._applying.cleaned),
                              ("begin a life", self._conceive)):
            if over := await self._until_done(what, attempt):
                return over
        self._loop.begin(self._engine)
        self._ports.services.retell()
        self._applying.start()
        self._outside.notify("READY=1")
        self._outside.settle()
        return await self._over

    async def _until_done(self, what: str, attempt: Attempt) -> Over | None:
        """Attempt it each second until it works; return why that was given up, if it was.

        What fails, and says why, is tried for ever: a restart would help nothing.
        """
        said = ""
        while not self._stop.is_set():
            trying = asyncio.ensure_future(attempt())
            await self._wait_for(what, trying)
            if self._over.done():
                trying.cancel()
                return self._over.result()
            try:
                trying.result()
            except OSError as error:
                self._waits_for = f"cannot {what}: {error}"
            else:
                self._waits_for = ""
                return None
            if self._waits_for != said:
                said = self._waits_for
                logger.error("%s; trying again each second", said)
                self._outside.notify(f"STATUS={said}")
            self._house.bide()
            await _unless(self._stop, RETRY_S)
        return Exit()

    async def _wait_for(self, what: str, trying: asyncio.Future[None]) -> None:
        """Wait for an attempt, or the end of everything; an attempt that is stuck is one.

        systemd is patient meanwhile: without an engine nothing exclusive runs here that a restart
        would make safer. Turns are counted, not time: a freeze is no reason to give up.
        """
        patience = GRACE + longest_chain(self._about.leftovers)
        for _ in range(patience // SECOND):
            if (await asyncio.wait((trying, self._over), timeout=1,
                                   return_when=asyncio.FIRST_COMPLETED))[0]:
                return
            self._house.bide()
        self._end(StuckError(f"cannot {what}: no end of it in {patience // SECOND} s"))

    async def _swept(self) -> None:
        ports = self._ports
        sweep = Sweep(self._about.node, self._about.leftovers, addresses=ports.addresses,
                      services=ports.services, store=ports.store, answers=self._answers)
        await feeding(sweep.run(), ports.watchdog)
        ports.watchdog.swept()

    def _enter(self, candidate: Candidate) -> None:
        """Have everything of ours go by another document, but for the engine.

        What stops meanwhile may take as long as either document says.
        """
        self._house.stop_takes = longest_chain(candidate.leftovers)
        self._outside.enter(candidate)
        self._about = replace(self._about, spec=candidate.spec, rings=candidate.rings,
                              leftovers=candidate.leftovers)

    def _configuration(self) -> dict[str, Any]:
        refusal = self._applying.refusal
        return {"applied": self._applying.applied, "own": self._applying.own,
                "refused": refusal.why if refusal is not None else ""}

    async def _open_recorder(self) -> None:
        await self._disk.call("open the flight recorder", self._recorder.open)

    async def _conceive(self) -> None:
        store = self._ports.store
        incarnation = await self._disk.call(
            "keep the incarnation", lambda: store.next_incarnation(self._above))
        cluster_id, revision = store.facts()
        kept = store.maintenance()
        found = in_place(kept, self._outside.kernel(), self._about.spec, rebooted=store.rebooted)
        for group in kept:
            if group not in found:
                # A later start must not take it for left in place (rule 22).
                await self._disk.call("forget a maintenance that left nothing in place",
                                      partial(store.keep_maintenance, group, 0, False))
        self._engine = Engine(
            self._about.spec, self._about.node, incarnation, time.monotonic_ns(),
            known_cluster=cluster_id, known_revision=revision,
            in_place=found,
            config_digest=self._applying.own.digest, version=self._about.version,
            fresh_cluster_id=secrets.token_hex(8))

    async def _answered(self) -> None:
        """Wait until nothing that the last engine asked for can still be answered.

        What it asked of fence devices is given up: it may take minutes, and whom another life
        wants cut off, that one says.
        """
        self._ports.devices.give_up()
        if self._dispatch.outstanding:
            emptied = asyncio.Event()
            self._dispatch.outstanding.emptied = emptied.set
            await emptied.wait()

    async def _crash(self, error: Exception) -> None:
        logger.critical("a bug of hamgr: %r: everything exclusive is stopped", error,
                        exc_info=error)
        await self._ports.switch.close()
        try:
            async with asyncio.timeout((GRACE + longest_chain(self._about.leftovers)) / SECOND):
                await self._swept()
        except OSError as left:
            logger.critical("something may be left: %s", str(left) or "no end of cleaning")

    async def _close(self) -> None:
        ports = self._ports
        await self._control.close()
        self._applying.close()
        await ports.coordinator.close(CLOSE_S)
        await ports.services.close()
        await ports.devices.close()
        await ports.transport.close()
        await ports.switch.close()
        await ports.watchdog.close()
        await ports.addresses.close()
        self._house.flush(time.monotonic_ns())
        await self._disk.close(CLOSE_S)

    def _intercept(self, event: Event) -> bool:
        self._dispatch.outstanding.answered(event)
        self._requests.read(event)
        self._applying.read(event)
        return self._answers.take(event)

    def _perform(self, effect: Any) -> None:
        self._dispatch.perform(effect)

    def _record(self, now: Instant, event: Event, effects: list[Any]) -> None:
        self._house.record(now, event, effects)

    def _stalled(self, lateness: Duration) -> None:
        if lateness >= self._about.spec.timing.interval:
            self._ports.addresses.announce_again()

    def _end(self, over: Over) -> None:
        """Feed no engine any more, nor put an address back that the switch withdraws now."""
        self._loop.end()
        self._ports.addresses.hold_until(0)
        if not self._over.done():
            self._over.set_result(over)

    def _surfaced(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            self._end(error)
        else:
            loop.default_exception_handler(context)

    def _signalled(self, name: str) -> None:
        """Stop in order at the first signal, at once at the second."""
        if self._signals:
            logger.warning("%s again: not waiting for the orderly stop", name)
            self._end(Hurried())
        self._signals += 1
        self.stop(name)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, lambda: watched(self._hung_up()))

    async def _hung_up(self) -> None:
        await self._reload()

    async def _reload(self) -> tuple[str, ...]:
        """Read configuration and keys again, and return and log what came of it."""
        ready = self._loop.engine is not None
        if ready:  # before, READY=1 would be no reload's end
            self._outside.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            said = await self._disk.call("read the configuration again", self._outside.reload)
        except OSError as error:
            said = (f"cannot read the configuration again: {error}",)
        for line in said:
            logger.warning("%s", line)
        if ready:
            self._outside.notify("READY=1")
        return said

    def _status(self) -> AgentStatus:
        now = time.monotonic_ns()
        view = snapshot(self._engine, now) if self._loop.engine else None
        try:
            kernel, why = self._outside.kernel(), self._waits_for
        except OSError as error:
            kernel, why = (), f"the kernel's addresses cannot be read: {error}"
        me = process(self._about, self._outside, self._applying,
                     started_ago_s=(now - self._started) / SECOND,
                     stopping=self._stop.is_set(), running=view is not None,
                     why=why, worst_lateness=self._loop.worst_lateness)
        return AgentStatus(process=me, node=self._about.node, spec=self._about.spec,
                           rings=self._about.rings, snapshot=view,
                           zookeeper_trouble=self._ports.coordinator.trouble,
                           addresses=kernel, watchdog=self._ports.watchdog.facts,
                           layers=layers(view, kernel, me, self._ports.watchdog.facts.held),
                           keys=self._outside.keys(),
                           counters={**self._outside.counters(),
                                     "recorder": {"lost": self._recorder.lost}})

    def _explain(self, group: GroupName, node: NodeName) -> Explanation:
        if not self._loop.engine:
            return Explanation(lines=("this node takes no part yet: see hamgr status",))
        return explained(self._engine, group, node, time.monotonic_ns())

    def fed(self) -> Engine | None:
        """Return the engine that events go to now, if there is one."""
        return self._engine if self._loop.engine else None

    def _status_line(self, now: Instant) -> str:
        return status_line(snapshot(self._engine, now)) if self._loop.engine else "starting"


async def _unless(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
