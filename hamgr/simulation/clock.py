"""Virtual time: one scheduler for the world, and for each host a clock that drifts and may stop."""

import heapq
from collections.abc import Callable
from typing import Any

from hamgr.core.types import NEVER, SECOND, Duration, Instant

Action = Callable[..., None]
PPM = 1_000_000

STEPS_IN_ONE_INSTANT = 20_000
"""More steps than this without time moving are a livelock, not work."""


class Livelock(Exception):
    """Time stands still while steps go on."""


class Scheduler:
    """Runs actions in the order of (world time, insertion); world time starts at 0."""

    def __init__(self) -> None:
        self.now: Instant = 0
        self.steps = 0
        self._heap: list[tuple[Instant, int, Action, tuple[Any, ...]]] = []
        self._counter = 0

    def at(self, instant: Instant, action: Action, *args: Any) -> None:
        """Run an action at a world time, which must not have passed."""
        assert instant >= self.now, "an action in the past"
        self._counter += 1
        heapq.heappush(self._heap, (instant, self._counter, action, args))

    def after(self, delay: Duration, action: Action, *args: Any) -> None:
        """Run an action after a delay of world time."""
        self._counter += 1
        heapq.heappush(self._heap, (self.now + delay, self._counter, action, args))

    def run_until(self, end: Instant) -> None:
        """Run everything that is due up to a world time. Raises Livelock."""
        heap, pop = self._heap, heapq.heappop
        here, repeated = self.now, 0
        while heap and heap[0][0] <= end:
            at, _, action, args = pop(heap)
            if at != here:
                here, repeated = at, 0
            repeated += 1
            if repeated > STEPS_IN_ONE_INSTANT:
                raise Livelock(f"{repeated} steps at {at / SECOND:.6f} s")
            self.now = at
            self.steps += 1
            action(*args)
        self.now = max(self.now, end)


class Clock:
    """One host's CLOCK_MONOTONIC: own origin, own rate, and it stops while a machine is paused."""

    def __init__(self, scheduler: Scheduler, start: Instant, ppm: int = 0) -> None:
        self._scheduler = scheduler
        self._shown = start
        self._since = scheduler.now
        self._rate = PPM + ppm
        self._stopped = False
        self._timers: list[Timer] = []

    def now(self) -> Instant:
        """Return what this clock shows."""
        if self._stopped:
            return self._shown
        return self._shown + (self._scheduler.now - self._since) * self._rate // PPM

    def world(self, instant: Instant) -> Instant:
        """Return the world time at which this clock will show an instant; NEVER if stopped."""
        if self._stopped or instant >= NEVER:
            return NEVER
        ahead = instant - self._shown
        return max(self._scheduler.now, self._since - (-ahead * PPM // self._rate))

    def slew(self, ppm: int) -> None:
        """Run faster or slower from now on."""
        self._shown, self._since = self.now(), self._scheduler.now
        self._rate = PPM + ppm
        self._wake_timers()

    def stop(self) -> None:
        """Stand still (the machine is paused with everything that it runs)."""
        if not self._stopped:
            self._shown, self._since, self._stopped = self.now(), self._scheduler.now, True

    def go(self, jump: bool = False) -> None:
        """Go on from where it stood, or (`jump`) from where it would be had it never stopped."""
        self._stopped = False
        if not jump:
            self._since = self._scheduler.now
        self._wake_timers()

    def restart(self, start: Instant) -> None:
        """The machine was booted: its monotonic clock begins anew, every timer is gone."""
        for timer in self._timers:
            timer.cancel()
        self._shown, self._since, self._stopped = start, self._scheduler.now, False

    def timer(self, action: Action) -> "Timer":
        """Return a timer on this clock."""
        timer = Timer(self._scheduler, self, action)
        self._timers.append(timer)
        return timer

    def _wake_timers(self) -> None:
        for timer in self._timers:
            timer.rearm()


class Timer:
    """Runs its action once when a clock shows an instant; setting it again replaces the instant."""

    def __init__(self, scheduler: Scheduler, clock: Clock, action: Action) -> None:
        self.instant: Instant = NEVER
        self._scheduler = scheduler
        self._clock = clock
        self._action = action
        self._lateness: Duration = 0
        self._wakeup: Instant = NEVER

    def set(self, instant: Instant, lateness: Duration = 0) -> None:
        """Fire at an instant of the clock, late by some world time."""
        self.instant, self._lateness = instant, lateness
        self.rearm()

    def cancel(self) -> None:
        """Do not fire."""
        self.instant = NEVER

    def rearm(self) -> None:
        """Put the wake-up where the clock now says it belongs.

        A wake-up that is too early stays in the heap and finds out when it comes: a deadline that
        moves ahead with every heartbeat then costs nothing.
        """
        due = self._clock.world(self.instant)
        if due >= NEVER or due + self._lateness >= self._wakeup:
            return
        self._wakeup = due + self._lateness
        self._scheduler.at(self._wakeup, self._wake, self._wakeup)

    def _wake(self, wakeup: Instant) -> None:
        if wakeup != self._wakeup:
            return
        self._wakeup = NEVER
        due = self._clock.world(self.instant)
        if due >= NEVER:
            return
        if due + self._lateness > self._scheduler.now and self._clock.now() < self.instant:
            self.rearm()
            return
        self.instant = NEVER
        self._action()
