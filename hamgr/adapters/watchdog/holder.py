"""Holds the device in a thread of its own, since a driver may wait for its hardware.

ipmi_watchdog, for one, asks a management controller for each feeding. The thread does only what it
is told: no feeding of its own. It has the priority of the process's first thread: starved, it would
reset the machine.
"""

import logging
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from hamgr.adapters.watchdog.device import Device, Opener
from hamgr.adapters.watchdog.left import Mark
from hamgr.core.types import SECOND, Duration, Instant
from hamgr.ports import WatchdogFacts

CLOSES_WITHIN_S = 1.0

logger = logging.getLogger("hamgr.watchdog")


class Settings(Struct, frozen=True, kw_only=True):
    """What the configuration says."""

    device: str
    timeout: Duration
    """Whole seconds: the kernel counts so."""


class Holder:
    """The thread, what it can be told to do, and what of it the loop may look at."""

    def __init__(self, run_dir: Path, opens: Opener, clock: Callable[[], Instant]) -> None:
        self._run_dir, self._opens, self._clock = run_dir, opens, clock
        self._held: tuple[Device, Mark] | None = None
        self._settings: Settings | None = None
        """By which it is held."""
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.facts = WatchdogFacts()

    def start(self) -> None:
        """Start the thread, if it does not run: nothing of this is left for later."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="hamgr-watchdog", daemon=True)
            self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Have the thread do it, after all that it was told before."""
        self._jobs.put(job)

    @property
    def idle(self) -> bool:
        """Whether all that was submitted has at least begun."""
        return self._jobs.empty()

    def join(self) -> None:
        """Wait for the end of all that was submitted, for a while, and end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(CLOSES_WITHIN_S)
            self._thread = None

    def open(self, settings: Settings) -> None:
        """Job: hold the device with these settings, if it can be had."""
        if self._held is not None and settings == self._settings:
            return
        self.close()
        try:
            self._take(settings)
        except OSError as error:
            self._fails(settings.device, f"cannot be opened: {error.strerror or error}")

    def feed(self, until: Instant) -> None:
        """Job: feed it, unless that instant has passed meanwhile."""
        if self._held is None or self._clock() >= until:
            return
        device, mark = self._held
        try:
            mark.fed(until)
            device.feed()
        except OSError as error:
            self._held = None
            self._fails(self.facts.device, f"cannot be fed: {error}")
            mark.let_be()
            with suppress(OSError):
                device.close(stop=False)

    def close(self) -> None:
        """Job: stop it, nothing needs it any more."""
        if self._held is None:
            return
        (device, mark), self._held = self._held, None
        try:
            device.close(stop=True)
        except OSError as error:
            mark.let_be()
            self._fails(self.facts.device, f"cannot be closed: {error}")
            return
        mark.erase()
        self.facts = replace(self.facts, held=False)
        logger.info("%s is closed: nothing needs it", self.facts.device)

    def _take(self, settings: Settings) -> None:
        mark = Mark(self._run_dir, settings.device)
        try:
            device = self._opens(settings.device)
            try:
                granted = _grant(device, settings.timeout // SECOND)
            except OSError:
                device.close(stop=True)
                raise
        except OSError:
            mark.erase()
            raise
        self._held, self._settings = (device, mark), settings
        self.facts = WatchdogFacts(device=settings.device, identity=device.identity,
                                   timeout_s=granted, held=True)
        logger.info("%s (%s) is open: without feeding it resets this machine after %d s",
                    settings.device, device.identity, granted)

    def _fails(self, device: str, trouble: str) -> None:
        if trouble != self.facts.trouble:
            logger.error("%s %s", device, trouble)
        self.facts = WatchdogFacts(device=device, trouble=trouble)

    def _work(self) -> None:
        with suppress(OSError):
            first = os.getpid()
            policy = os.sched_getscheduler(first) & ~os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_getparam(first))
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # a bug of ours, which must not starve what can still be fed
                logger.exception("a bug of hamgr, in what holds the watchdog device")


def _grant(device: Device, seconds: int) -> int:
    """Set the timeout; return what was granted, which is not more. Raises OSError."""
    granted = device.set_timeout(seconds)
    if granted > seconds:
        raise OSError(f"it grants {granted} s, not {seconds}")
    return granted
