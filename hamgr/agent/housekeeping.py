"""What is done when the engine has nothing left to do: systemd's watchdog, garbage, recorder, and
what adapters can do as well now as in a wake-up of their own.

While there is an engine, the watchdog is fed when it has handled what came or was due, so by its
own progress. Between two engines it is fed while a step goes on that has a bound.
Garbage is collected here and nowhere else: never while anything happens that an address may
depend on, since a collection would come between the evidence and the address.
"""

from collections.abc import Callable

from hamgr.agent.disk import Disk
from hamgr.agent.recorder import Recorder
from hamgr.core.effects import Effect, KeepFacts, Read, SendHeartbeat, SetDeadline, Write
from hamgr.core.events import Event, StopAsked
from hamgr.core.types import MICROSECOND, MILLISECOND, NEVER, SECOND, Duration, Instant

ROOM: Duration = 20 * MILLISECOND
"""Until the next deadline there must be so much: a full collection takes 2 to 5 ms here."""
QUIET: Duration = SECOND
"""So long nothing but the steady state must have been seen before garbage is collected."""
COLLECTION: Duration = 10 * SECOND
"""Between two collections. Reference counting frees all but cycles at once."""
PATIENT: Duration = 10 * SECOND
"""So long systemd waits for the next word, beyond TimeoutStartSec and TimeoutStopSec."""
BIDE = f"EXTEND_TIMEOUT_USEC={PATIENT // MICROSECOND}"
"""That word."""
FLUSH: Duration = SECOND
"""So soon what happened is on its way to the disk …"""
CALM_FLUSH: Duration = 5 * SECOND
"""… and so soon the steady state: each time wakes another thread, and the disk."""
STATUS: Duration = SECOND

_STEADY = (SendHeartbeat, SetDeadline, Write, Read, KeepFacts)


class Housekeeping:
    """Chooses the moments."""

    def __init__(
        self,
        recorder: Recorder,
        disk: Disk,
        *,
        collect: Callable[[], None],
        awake: Callable[[Instant], None],
        notify: Callable[[str], None],
        status: Callable[[Instant], str],
        watchdog: Duration = 0,
        stop_takes: Duration = 0,
    ) -> None:
        """Build it; status gives the line for systemd, watchdog is WatchdogSec, 0 for none.

        `stop_takes`: what an orderly stop may take at most where every service needs its timeout.
        """
        self._recorder, self._disk = recorder, disk
        self._collect, self._awake = collect, awake
        self._notify, self._status = notify, status
        self._watchdog = watchdog // 4
        self._fed = self._collected = self._flushed = self._told = self._stirred = -NEVER
        self.stop_takes = stop_takes
        """For a stop that is asked for from now on."""
        self._biding = -NEVER
        self._stops_until = -NEVER
        self._line = ""
        self._flushing = False

    def record(self, now: Instant, event: Event, effects: list[Effect]) -> None:
        """Note what happened, in the recorder too."""
        self._recorder.record(now, event, effects)
        if isinstance(event, StopAsked) and self._stops_until == -NEVER:
            self._stops_until = now + self.stop_takes
        for effect in effects:
            if not isinstance(effect, _STEADY):
                self._stirred = now

    def idle(self, now: Instant, due: Instant) -> None:
        """Do what is due now, knowing when the engine wants its next tick."""
        self._awake(now)
        if now - self._fed >= self._watchdog:
            self._fed = now
            self.feed()
        if now < self._stops_until and now - self._biding >= PATIENT // 2:
            self._biding = now
            self.bide()
        stirs = self._flushed <= self._stirred + QUIET
        if now - self._flushed >= (FLUSH if stirs else CALM_FLUSH):
            self._flushed = now
            self.flush(now)
        if due - now < ROOM or now - self._stirred < QUIET:
            return
        if now - self._told >= STATUS:
            self._told = now
            self._tell(now)
        if now - self._collected >= COLLECTION:
            self._collected = now
            self._collect()

    def feed(self) -> None:
        """Tell systemd's watchdog, if there is one, that all is well."""
        if self._watchdog:
            self._notify("WATCHDOG=1")

    def bide(self) -> None:
        """Tell systemd that a step goes on: in a start, between two engines, in a stop."""
        self.feed()
        self._notify(BIDE)

    def flush(self, now: Instant) -> None:
        """Hand what is recorded to the disk thread, unless that has not done with the last."""
        if self._flushing:
            return
        taken = self._recorder.take(now)
        if taken:
            self._flushing = True
            self._disk.submit("write the flight recorder", lambda: self._recorder.write(taken),
                              self._flushed_it, retry=False)

    def _flushed_it(self) -> None:
        self._flushing = False

    def _tell(self, now: Instant) -> None:
        line = self._status(now)
        if line != self._line:
            self._line = line
            self._notify(f"STATUS={line}")
