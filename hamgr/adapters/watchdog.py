"""Implements the port Watchdog: the kernel's watchdog device, held while anything exclusive runs.

It is the last layer between an old owner and two owners: whatever becomes of this process, of the
dead-man's switch and of all that could stop a service, the machine is reset if nobody feeds it
(watchdog-api.rst in the kernel's documentation, linux/watchdog.h).

When it is fed
    When the engine has handled what came or was due (`progress`), and until the lease has run out;
    beyond that only as long as what the armed groups promise (stop_within) leaves time for a reset
    (times.reset_within). So a stop that hangs is fed no more in time, and one that ends closes it.

How it is left
    By the magic close when nothing is armed any more, or when a sweep has verified that nothing
    runs (`swept`, `relieve`). A process that dies leaves it open: the kernel then starts the
    timeout over once and resets, unless the clean-up is done by then. A file in the run directory
    says that there is something to be closed, and where.

Everything that touches the device is done by one thread, since a driver may wait for its hardware
(ipmi_watchdog asks a management controller). The thread only does what it is told: no feeding of
its own. It has the priority of the process's first thread: starved, it would reset the machine.
"""

import array
import asyncio
import fcntl
import logging
import os
import queue
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from hamgr.core.types import SECOND, Duration, GroupName, Instant
from hamgr.ports import WatchdogFacts
from hamgr.times import reset_within

MARKER = "watchdog"
"""In the run directory: holds the path of a device that was opened and not closed in order."""
OPENS_WITHIN_S = 0.02
"""So long the first start waits for the device: every driver but those of slow hardware is done."""
CLOSES_WITHIN_S = 1.0
RETRY: Duration = SECOND
FEEDS = 8
"""In each timeout: what is left of one when feeding ends is nearly all of it."""

_WDIOC_GETSUPPORT = 0x80285700
_WDIOC_SETTIMEOUT = 0xC0045706
_WDIOF_MAGICCLOSE = 0x0100
_INFO = struct.Struct("=II32s")
"""struct watchdog_info: options, firmware version, identity."""
FIRST = os.makedev(10, 130)
"""/dev/watchdog: another way to the first of the devices."""
SYSFS = Path("/sys")

logger = logging.getLogger("hamgr.watchdog")


class Settings(Struct, frozen=True, kw_only=True):
    """What the configuration says."""

    device: str
    timeout: Duration
    """Whole seconds: the kernel counts so."""


class Device(Protocol):
    """An open watchdog device: it counts since it was opened. All raise OSError."""

    identity: str

    def set_timeout(self, seconds: int) -> int:
        """Have it reset the machine after so long without feeding; return what was granted."""

    def feed(self) -> None:
        """Start its timeout over."""

    def close(self, *, stop: bool) -> None:
        """Close it; with `stop` it counts no more, else the machine is reset."""


class KernelDevice:
    """One of the kernel."""

    def __init__(self, path: str) -> None:
        """Open it, which starts it, if it can be stopped again. Raises OSError."""
        if attribute(path, "nowayout") == "1":
            raise OSError("its driver was loaded with nowayout: it cannot be closed again, and "
                          "each stop of hamgr would reset the machine")
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self.identity = "unknown"
        info = bytearray(_INFO.size)
        with suppress(OSError):
            fcntl.ioctl(self._fd, _WDIOC_GETSUPPORT, info)
            options, _, name = _INFO.unpack(info)
            self.identity = name.split(b"\0")[0].decode(errors="replace")
            if not options & _WDIOF_MAGICCLOSE:
                logger.warning("%s (%s) stops whenever it is closed: it does not cover an agent "
                               "that is killed", path, self.identity)

    def set_timeout(self, seconds: int) -> int:
        """As Device says. A driver may round."""
        granted = array.array("i", [seconds])
        fcntl.ioctl(self._fd, _WDIOC_SETTIMEOUT, granted, True)
        return granted[0]

    def feed(self) -> None:
        """As Device says. Any byte but the magic one."""
        os.write(self._fd, b"\0")

    def close(self, *, stop: bool) -> None:
        """As Device says."""
        try:
            if stop:
                os.write(self._fd, b"V")
        finally:
            os.close(self._fd)


Opener = Callable[[str], Device]


def attribute(device: str, name: str) -> str:
    """Return what sysfs says of a device, "" if nothing."""
    number = os.stat(device).st_rdev
    folder = (SYSFS / "class/watchdog/watchdog0" if number == FIRST else
              SYSFS / f"dev/char/{os.major(number)}:{os.minor(number)}")
    with suppress(OSError):
        return (folder / name).read_text().strip()
    return ""


def relieve(run_dir: Path, opens: Opener = KernelDevice) -> None:
    """Stop a device that a process which is gone has left counting: nothing of ours runs any more.

    Whatever cannot be opened now is in other hands, or gone.
    """
    marker = run_dir / MARKER
    with suppress(OSError):
        device = marker.read_text()
        try:
            opens(device).close(stop=True)
            logger.info("%s is closed: nothing of what it guarded runs", device)
        except OSError as error:
            logger.warning("%s was left open, and cannot be closed: %s", device, error)
        marker.unlink()


class _Holder:
    """What the thread does, and what of it the loop may look at."""

    def __init__(self, run_dir: Path, opens: Opener, clock: Callable[[], Instant]) -> None:
        self._run_dir, self._opens, self._clock = run_dir, opens, clock
        self._device: Device | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.facts = WatchdogFacts()

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="hamgr-watchdog", daemon=True)
            self._thread.start()

    def submit(self, job: Callable[[], None] | None) -> None:
        self._jobs.put(job)

    @property
    def idle(self) -> bool:
        """Whether everything submitted has at least begun."""
        return self._jobs.empty()

    def join(self) -> None:
        """Wait for the end of all that was submitted, for a while."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(CLOSES_WITHIN_S)
            self._thread = None

    def open(self, settings: Settings) -> None:
        """Hold the device with these settings, if it can be had."""
        held = self._device
        if held is not None and self.facts.device == settings.device and (
                self.facts.timeout_s * SECOND == settings.timeout):
            return
        self.close()
        try:
            self._take(settings)
        except OSError as error:
            self._fails(settings, f"cannot be opened: {error.strerror or error}")

    def _take(self, settings: Settings) -> None:
        marker = self._run_dir / MARKER
        marker.write_text(settings.device)
        try:
            device = self._opens(settings.device)
        except OSError:
            marker.unlink()
            raise
        seconds = settings.timeout // SECOND
        try:
            granted = device.set_timeout(seconds)
        except OSError:
            device.close(stop=True)
            marker.unlink()
            raise
        if granted > seconds:
            device.close(stop=True)
            marker.unlink()
            raise OSError(f"it grants {granted} s, not {seconds}")
        self._device = device
        self.facts = WatchdogFacts(device=settings.device, identity=device.identity,
                                   timeout_s=granted, held=True)
        logger.info("%s (%s) is open: without feeding it resets this machine after %d s",
                    settings.device, device.identity, granted)

    def feed(self, until: Instant) -> None:
        """Feed it, unless that instant has passed meanwhile."""
        if self._device is None or self._clock() >= until:
            return
        try:
            self._device.feed()
        except OSError as error:
            device, self._device = self._device, None
            self._fails(Settings(device=self.facts.device, timeout=0), f"cannot be fed: {error}")
            with suppress(OSError):
                device.close(stop=False)

    def close(self) -> None:
        """Stop it: nothing needs it any more."""
        device, self._device = self._device, None
        if device is None:
            return
        try:
            device.close(stop=True)
            (self._run_dir / MARKER).unlink(missing_ok=True)
            self.facts = replace(self.facts, held=False)
            logger.info("%s is closed: nothing needs it", self.facts.device)
        except OSError as error:
            self._fails(Settings(device=self.facts.device, timeout=0), f"cannot be closed: {error}")

    def relieve(self) -> None:
        """Stop it, whoever has opened it."""
        self.close()
        relieve(self._run_dir, self._opens)

    def _fails(self, settings: Settings, trouble: str) -> None:
        if trouble != self.facts.trouble:
            logger.error("%s %s", settings.device, trouble)
        self.facts = WatchdogFacts(device=settings.device, trouble=trouble)

    def _work(self) -> None:
        with suppress(OSError):
            first = os.getpid()
            policy = os.sched_getscheduler(first) & ~os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_getparam(first))
        while (job := self._jobs.get()) is not None:
            job()


class KernelWatchdog:
    """The watchdog of this agent; without settings it does nothing."""

    def __init__(self, run_dir: Path, opens: Opener = KernelDevice,
                 clock: Callable[[], Instant] = time.monotonic_ns) -> None:
        self._run_dir, self._opens, self._clock = run_dir, opens, clock
        self._holder = _Holder(run_dir, opens, clock)
        self._settings: Settings | None = None
        self._promises: Mapping[GroupName, Duration] = {}
        self._armed: dict[GroupName, None] = {}
        """From the first to the last of them it is to be open."""
        self._lapse: Instant = 0
        self._fed: Instant = 0
        self._tried: Instant = 0

    def configure(self, settings: Settings | None,
                  promises: Mapping[GroupName, Duration]) -> None:
        """Go by these settings from now on; promises are the groups' stop_within."""
        self._promises = promises
        if settings == self._settings:
            return
        self._settings = settings
        if settings is None:
            self._holder.submit(self._holder.close)
            return
        self._holder.start()
        if self._armed:
            self._open(settings)

    @property
    def facts(self) -> WatchdogFacts:
        """What status tells."""
        settings, facts = self._settings, self._holder.facts
        if settings is None:
            return WatchdogFacts()
        return facts if facts.device else WatchdogFacts(
            device=settings.device, timeout_s=settings.timeout // SECOND)

    def arm(self, group: GroupName) -> None:
        """Something exclusive is about to start."""
        first = not self._armed
        self._armed[group] = None
        if first and self._settings is not None:
            self._open(self._settings).wait(OPENS_WITHIN_S)

    def disarm(self, group: GroupName) -> None:
        """Nothing of this group needs it any more."""
        self._armed.pop(group, None)
        if not self._armed and self._settings is not None:
            self._holder.submit(self._holder.close)

    def set_deadline(self, deadline: Instant) -> None:
        """Note when the lease runs out. One in the past ends it now, or when it had ended."""
        now = self._clock()
        self._lapse = deadline if deadline > now else min(self._lapse, now)

    @property
    def until(self) -> Instant:
        """When feeding ends, if the lease is not renewed."""
        promised = [promise for group in self._armed if (promise := self._promises.get(group, 0))]
        if self._settings is None or not promised:
            return self._lapse
        return self._lapse + max(0, min(promised) - reset_within(self._settings.timeout))

    def progress(self, now: Instant) -> None:
        """All is handled that came or was due: feed if it is time, and, as seen then, a right."""
        settings = self._settings
        if settings is None or not self._armed or not self._holder.idle:
            return
        if not self._holder.facts.held:
            if now - self._tried >= RETRY:
                self._open(settings)
        elif now - self._fed >= settings.timeout // FEEDS:
            self._fed, until = now, self.until
            self._holder.submit(lambda: self._holder.feed(until))

    def swept(self) -> None:
        """Nothing exclusive runs here, also of a former life."""
        self._armed.clear()
        if self._settings is not None:
            self._holder.submit(self._holder.relieve)
        else:
            relieve(self._run_dir, self._opens)  # a former configuration had one

    async def close(self) -> None:
        """End the thread. What is still armed has the kernel count on."""
        if self._armed and self._holder.facts.held:
            logger.critical("%s stays open: what it guards may still run", self.facts.device)
        await asyncio.to_thread(self._holder.join)

    def _open(self, settings: Settings) -> threading.Event:
        """Have it opened, if it is not; return what is set when that has been tried."""
        tried = threading.Event()

        def attempt() -> None:
            self._holder.open(settings)
            tried.set()

        self._tried = self._clock()
        self._holder.submit(attempt)
        return tried
