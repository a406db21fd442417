"""Implements the port Watchdog: the kernel's watchdog device, held while anything exclusive runs.

It is the last layer between an old owner and two owners: whatever becomes of this process, of the
dead-man's switch and of all that could stop a service, the machine is reset if nobody feeds it.

When it is fed
    When the engine has handled what came or was due (`progress`), and until the lease has run out;
    beyond that only as long as what the armed groups promise (stop_within) leaves time for a reset
    (times.reset_within). So a stop that hangs is fed no more in time, and one that ends closes it.

How it is left
    By the magic close when nothing is armed any more, or when a sweep has verified that nothing
    runs (`swept`). A process that dies leaves it open: the kernel then starts the timeout over once
    and resets, unless who cleans up (Leftover) is done by then, or feeds it meanwhile, within the
    same limit.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hamgr.adapters.watchdog.device import KernelDevice, Opener
from hamgr.adapters.watchdog.holder import Holder, Settings
from hamgr.adapters.watchdog.left import Leftover
from hamgr.core.types import SECOND, Duration, GroupName, Instant
from hamgr.ports import WatchdogFacts
from hamgr.times import reset_within

OPENS_WITHIN_S = 0.02
"""So long the first start waits for the device: every driver but those of slow hardware is done."""
RETRY: Duration = SECOND
FEEDS = 8
"""In each timeout: what is left of one when feeding ends is nearly all of it."""

logger = logging.getLogger("hamgr.watchdog")


class KernelWatchdog:
    """The watchdog of this agent; without settings it does nothing but close a leftover."""

    def __init__(self, run_dir: Path, opens: Opener = KernelDevice,
                 clock: Callable[[], Instant] = time.monotonic_ns) -> None:
        """Build it with the run directory's lock taken: what was left is nobody's then."""
        self._clock = clock
        self._holder = Holder(run_dir, opens, clock)
        self._leftover = Leftover(run_dir, opens)
        self._settings: Settings | None = None
        self._promises: Mapping[GroupName, Duration] = {}
        self._armed: dict[GroupName, None] = {}
        """From the first to the last of them it is to be open."""
        self._lapse: Instant = 0
        self._fed: Instant = 0
        self._tried: Instant = 0

    def configure(self, settings: Settings | None,
                  promises: Mapping[GroupName, Duration]) -> None:
        """Go by these settings from now on; promises are the groups' stop_within.

        A device that is fed no more stays as it is: another one would start anew.
        """
        self._promises = promises
        if settings == self._settings:
            return
        starves = bool(self._armed) and self._settings is not None and self._clock() >= self.until
        self._settings = settings
        if settings is None:
            self._holder.submit(self._holder.close)
            return
        self._holder.start()
        if self._armed and not starves:
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
        if not self._armed:
            self._leftover.progress(now)
        elif settings is None or not self._holder.idle:
            return
        elif not self._holder.facts.held:
            if now - self._tried >= RETRY:
                self._open(settings)
        elif now - self._fed >= self._holder.facts.timeout_s * SECOND // FEEDS:
            self._fed, until = now, self.until
            self._holder.submit(lambda: self._holder.feed(until))

    def swept(self) -> None:
        """Nothing exclusive runs here, also of a former life."""
        self._armed.clear()
        if self._settings is not None:
            self._holder.submit(self._holder.close)
        self._leftover.swept()

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
