"""Implements the port Switch: feeds the dead-man's switch (hamgr.deadman) and keeps one alive.

The switch is started by systemd where its socket unit listens (hamgr-deadman.socket gives each
connection a process in a control group of its own, which outlives whatever kills the agent's),
else as a child of the agent. Both get the same on standard input: one end of a socket.
The shared page belongs to the agent, so a switch that takes the place of a dead one finds deadline
and arming as they are.
"""

import asyncio
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from hamgr import deadman
from hamgr.adapters.errand import Errand
from hamgr.core.events import DeadlineSet
from hamgr.core.types import GroupName, Instant
from hamgr.ports import Post

SOCKET_NAME = "deadman.sock"
"""In the run directory: where hamgr-deadman.socket listens."""
READY_WITHIN_S = 5.0
ANSWERS_WITHIN_S = 5.0
"""A switch that has not answered for so long is taken for hung, killed and replaced."""
DISARMS_WITHIN_S = 0.05
"""An act takes under 1 ms; a switch that takes so long over one is stopped or starved."""
RETRY_S = 1.0
PING = -1
"""The serial of a question that only asks whether the switch is alive."""

logger = logging.getLogger("hamgr.switch")


class SwitchFacts(Struct, frozen=True, kw_only=True):
    """What status tells of the switch."""

    alive: bool
    process: int = 0
    home: str = ""
    """Where it runs. "own unit": whatever ends the agent, it stays. "child": under systemd it is
    killed with what is left of the agent's control group, and the clean-up withdraws instead."""
    scheduling: str = ""
    memory: str = ""
    deaths: int = 0
    acts: int = 0
    last_act: str = ""


@dataclass(frozen=True, kw_only=True)
class Running:
    """One switch process that said that it is ready."""

    link: socket.socket
    pidfd: int
    process: int
    home: str
    scheduling: str
    memory: str
    child: subprocess.Popen[bytes] | None

    async def end(self, within_s: float) -> None:
        """Wait so long for its end, kill it then, and reap it."""
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self.pidfd, gone.set)
        try:
            async with asyncio.timeout(within_s):
                await gone.wait()
        except TimeoutError:
            self.kill()
            await gone.wait()
        finally:
            loop.remove_reader(self.pidfd)
        if self.child:
            self.child.wait()

    def kill(self) -> None:
        """Kill it; safe against a process id that was given anew."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def release(self) -> None:
        """Close what leads to it, after its end."""
        os.close(self.pidfd)
        self.link.close()


class SwitchProcess:
    """The dead-man's switch of this agent."""

    def __init__(self, groups: Sequence[GroupName], post: Post, *, run_dir: Path, lock_fd: int,
                 on_death: Callable[[str], None] = lambda why: None) -> None:
        """Make the shared page; lock_fd is the run directory's lock file (RunLock.fileno).

        on_death is told why, in the loop's thread, at once when a switch died; the next one is
        being started then.
        """
        self._slots: dict[GroupName, int] = {}
        self._loads: dict[GroupName, bytes] = {}
        self.configure(groups)
        self._post, self._on_death = post, on_death
        self._run_dir, self._lock_fd = run_dir, lock_fd
        self._page = os.memfd_create("hamgr-switch")
        os.ftruncate(self._page, deadman.PAGE)
        self._words = memoryview(mmap.mmap(self._page, deadman.PAGE)).cast("q")
        self._asked: dict[int, float] = {}
        self._running: Running | None = None
        self._dead: Running | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.checking = Errand(ANSWERS_WITHIN_S / 2, self._check)
        self._died = asyncio.Event()
        self._closing = False
        self._deaths = self._acts = 0
        self._last_act = ""

    def configure(self, groups: Sequence[GroupName]) -> None:
        """Guard these groups from now on, each once it is loaded; those that go must be disarmed.

        Raises ValueError if they are too many.
        """
        if len(groups) > deadman.SLOTS:
            raise ValueError(f"at most {deadman.SLOTS} groups, not {len(groups)}")
        for gone in [group for group in self._slots if group not in groups]:
            self._slots.pop(gone)
            self._loads.pop(gone, None)
        free = (slot for slot in range(deadman.SLOTS) if slot not in self._slots.values())
        for group in groups:
            if group not in self._slots:
                self._slots[group] = next(free)

    async def start(self) -> None:
        """Start the process, wait until it is ready, and keep one alive from then on.

        Raises OSError if it cannot start. Does nothing if one is alive.
        """
        if self._keeper is None:
            await self._begin()
            self._keeper = asyncio.create_task(self._keep(), name="keeper of the switch")
            self.checking.start()

    @property
    def alive(self) -> bool:
        """Whether there is a switch: without one, this layer is missing."""
        return self._running is not None

    @property
    def facts(self) -> SwitchFacts:
        """What status tells."""
        past = SwitchFacts(alive=False, deaths=self._deaths, acts=self._acts,
                           last_act=self._last_act)
        now = self._running
        return past if now is None else SwitchFacts(
            alive=True, process=now.process, home=now.home, scheduling=now.scheduling,
            memory=now.memory, deaths=past.deaths, acts=past.acts, last_act=past.last_act)

    def load(self, group: GroupName, messages: tuple[bytes, ...]) -> None:
        """Hand over the group's RTM_DELADDR messages in place of those before; in force on return.

        Raises ValueError if they are more than a message can hold (about 1,000 addresses).
        """
        name = group.encode()
        head = deadman.LOAD_HEAD.pack(deadman.LOAD, self._slots[group], len(name))
        load = head + name + b"".join(messages)
        if len(load) > deadman.LARGEST:
            raise ValueError(f"group {group} has more addresses than the switch can hold")
        self._loads[group] = load
        self._send(load)

    def set_deadline(self, deadline: Instant, serial: int, confirm: bool) -> None:
        """Hand over the deadline; DeadlineSet when the switch says that it has seen it.

        Without confirm it is one store. A lowered one rings besides: the switch may be asleep
        until the old one. What a dying switch has not confirmed the next one does.
        """
        lowered = deadline < self._words[deadman.DEADLINE]
        self._words[deadman.DEADLINE] = deadline
        if confirm:
            self._ask(serial)
        elif lowered:
            self._send(deadman.POKE)

    def arm(self, group: GroupName) -> None:
        """From now on withdraw this group's addresses at the deadline."""
        self._words[deadman.ARMED + self._slots[group]] = 1
        self._send(deadman.POKE)

    def disarm(self, group: GroupName) -> None:
        """Leave this group alone; a withdrawal that is under way is over on return."""
        self._words[deadman.ARMED + self._slots[group]] = 0
        self._send(deadman.POKE)
        deadline = time.monotonic() + DISARMS_WITHIN_S
        while self._running and self._words[deadman.ACTING]:
            if time.monotonic() > deadline:
                self._running.kill()
                return
            time.sleep(0.0002)

    def armed(self) -> frozenset[GroupName]:
        """Return the groups that are armed: guarded if the switch is alive."""
        return frozenset(group for group, slot in self._slots.items()
                         if self._words[deadman.ARMED + slot])

    async def close(self) -> None:
        """End the process in order; what is still armed is withdrawn at once."""
        self.checking.stop()
        if self._keeper:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        self._closing = True
        self._send(deadman.QUIT)
        running = self._running
        if running:
            await running.end(deadman.LAST_TRY)
            while self._running:
                self._hear(running)
            running.release()

    async def _keep(self) -> None:
        """Replace a switch that died."""
        while True:
            await self._died.wait()
            try:
                await self._bury()
                await self._begin()
            except OSError as error:
                logger.error("cannot start the dead-man's switch: %s", error)
                await asyncio.sleep(RETRY_S)

    def _check(self) -> None:
        """Kill a switch that hangs."""
        oldest = min(self._asked.values(), default=time.monotonic())
        if time.monotonic() - oldest > ANSWERS_WITHIN_S and self._running:
            logger.error("the dead-man's switch (process %d) does not answer",
                         self._running.process)
            self._running.kill()
        elif self._running:
            self._ask(PING)

    def _ask(self, serial: int) -> None:
        self._asked.setdefault(serial, time.monotonic())
        self._send(deadman.CONFIRM + str(serial).encode())

    async def _begin(self) -> None:
        """Start a switch and give it all that there is to know. Raises OSError."""
        running = await launch(self._run_dir / SOCKET_NAME, self._page, self._lock_fd)
        self._running = running
        self._died.clear()
        asyncio.get_running_loop().add_reader(running.link, self._hear, running)
        for load in self._loads.values():
            self._send(load)
        self._send(deadman.POKE)
        questions = list(self._asked)
        self._asked.clear()
        for serial in questions:
            self._ask(serial)
        logger.info("the dead-man's switch is ready: process %d, %s, %s, memory %s",
                    running.process, running.home, running.scheduling, running.memory)

    def _hear(self, running: Running) -> None:
        try:
            message = running.link.recv(deadman.LARGEST)
        except BlockingIOError:
            return
        except ConnectionError:
            message = b""
        what, *facts = message.decode().split("\t")
        if what == "seen":
            self._asked.pop(int(facts[0]), None)
            if int(facts[0]) != PING:
                self._post(DeadlineSet(serial=int(facts[0])))
        elif what == "acted":
            self._acts += 1
            groups, why, after, result = facts
            self._last_act = f"{groups} ({why}, {after}): {result}"
            logger.warning("the dead-man's switch withdrew %s", self._last_act)
        elif not message:
            self._lost(running)

    def _lost(self, running: Running) -> None:
        asyncio.get_running_loop().remove_reader(running.link)
        self._running = None
        if self._closing:
            return
        self._dead = running
        self._deaths += 1
        why = f"the dead-man's switch (process {running.process}) died; starting another"
        logger.error("%s", why)
        self._on_death(why)
        self._died.set()

    async def _bury(self) -> None:
        """Wait until the last one has let go of the lock, which the next one needs."""
        dead, self._dead = self._dead, None
        if dead:
            await dead.end(0)
            dead.release()

    def _send(self, message: bytes) -> None:
        if self._running is None:
            return
        try:
            self._running.link.send(message)
        except BlockingIOError:
            # Hundreds of messages unread: stopped or hung. What it has not read, the next one gets.
            self._running.kill()
        except ConnectionError:
            logger.debug("the dead-man's switch is dying: its end will be read in a moment")


async def launch(path: Path, page: int, lock: int) -> Running:
    """Start a switch and wait until it is ready. Raises OSError if it does not get there.

    Where the unit's switch cannot be had, a child is the second best.
    """
    if path.is_socket():  # noqa: ASYNC240 - one stat in /run
        try:
            return await _from_unit(path, page, lock)
        except OSError as error:
            logger.warning("no dead-man's switch at %s (%s): it will share the agent's control "
                           "group, and its end if that is killed as a whole", path, error)
    return await _as_child(page, lock)


async def _from_unit(path: Path, page: int, lock: int) -> Running:
    """Have systemd start one: it does for each connection."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        link.setblocking(False)
        await asyncio.get_running_loop().sock_connect(link, str(path))
        return await _greet(link, page, lock, "own unit", None)
    except OSError:
        link.close()
        raise


async def _as_child(page: int, lock: int) -> Running:
    link, child = _spawn()
    try:
        return await _greet(link, page, lock, "child", child)
    except OSError:
        link.close()
        child.kill()
        child.wait()
        raise


async def _greet(link: socket.socket, page: int, lock: int, home: str,
                 child: subprocess.Popen[bytes] | None) -> Running:
    socket.send_fds(link, [deadman.HELLO], [page, lock])
    async with asyncio.timeout(READY_WITHIN_S):
        answer = await asyncio.get_running_loop().sock_recv(link, deadman.LARGEST)
    if not answer:
        raise OSError("the process ended before it was ready; it says why in its own log")
    _, process, namespace, scheduling, memory = answer.decode().split("\t")
    if int(namespace) != os.stat("/proc/self/ns/net").st_ino:
        raise OSError("it is in another network namespace, where it can do nothing for this agent")
    return Running(link=link, pidfd=os.pidfd_open(int(process)), process=int(process), home=home,
                   child=child, scheduling=scheduling, memory=memory)


def _spawn() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a child in a session of its own, with nothing of ours but one end of a socket."""
    link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.setblocking(False)
    try:
        with theirs:
            child = subprocess.Popen([sys.executable, *deadman.OPTIONS, deadman.__file__],
                                     stdin=theirs.fileno(), stdout=subprocess.DEVNULL,
                                     env=deadman.ENVIRONMENT, cwd="/", start_new_session=True)
    except OSError:
        link.close()
        raise
    return link, child
