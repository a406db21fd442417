"""The dead-man's switch: a second process that holds the deadline and acts when it passes.

It outlives the agent: when the agent's end of the pipe closes it acts at the deadline and ends;
a new agent ends it with SIGTERM, upon which it acts at once. What it cannot outlive is the host.
"""

import random
from collections import Counter
from collections.abc import Callable

from hamgr.core.types import MICROSECOND, MILLISECOND, NEVER, Duration, GroupName, Instant
from hamgr.simulation.clock import Clock, Scheduler

LATENESS: Duration = 2 * MILLISECOND
LATENESS_MAX: Duration = 9 * MILLISECOND
"""At its 99.9th percentile; detection leaves 10 ms of room for it."""
PIPE_DELAY: Duration = 150 * MICROSECOND


class Switch:
    """One process of it; a new agent gets a new one."""

    def __init__(self, scheduler: Scheduler, clock: Clock, rng: random.Random,
                 cut_off: Callable[[GroupName], None]) -> None:
        self.alive = True
        self.frozen = False
        self.fed = True
        """The agent's end of the pipe is open."""
        self.deadline: Instant = 0
        self.armed: list[GroupName] = []
        self.disarmed: Counter[GroupName] = Counter()
        """How often each group was disarmed: what was cut off before that has stopped since."""
        self._scheduler = scheduler
        self._clock = clock
        self._rng = rng
        self._cut_off = cut_off
        self._timer = clock.timer(self._due)
        self._inbox: list[tuple[Instant, Callable[[], None]]] = []
        self._taken_by: Instant = 0

    @property
    def able(self) -> bool:
        """Whether it would act now."""
        return self.alive and not self.frozen

    def set_deadline(self, deadline: Instant, confirmed: Callable[[], None]) -> None:
        """Take a deadline over; it is in force a little later, which `confirmed` says."""
        arrives = self._scheduler.now + int(self._rng.random() * PIPE_DELAY)
        self._taken_by = max(self._taken_by, arrives)  # no deadline overtakes another
        self._scheduler.at(self._taken_by, self._take, deadline, confirmed)

    def arm(self, group: GroupName) -> None:
        """Guard a group from now on: cut off at once, if the deadline has passed."""
        if group not in self.armed:
            self.armed.append(group)
        if self.able and self._clock.now() >= self.deadline:
            self._timer.set(self._clock.now(), self._lateness())

    def disarm(self, group: GroupName) -> None:
        """Leave a group alone."""
        if group in self.armed:
            self.armed.remove(group)
            self.disarmed[group] += 1

    def act(self) -> None:
        """Cut every armed group off."""
        for group in list(self.armed):
            self._cut_off(group)

    def end(self) -> None:
        """The process is gone."""
        self.alive = False
        self._timer.cancel()

    def freeze(self) -> None:
        """Stop running (SIGSTOP, or the host is out of CPU)."""
        self.frozen = True

    def thaw(self) -> None:
        """Run again: the deadline is looked at before the pipe."""
        self.frozen = False
        if not self.alive:
            return
        if self._clock.now() >= self.deadline:
            self.act()
        waiting, self._inbox = self._inbox, []
        for _, confirmed in waiting:
            self._take(self.deadline, confirmed)

    def _take(self, deadline: Instant, confirmed: Callable[[], None]) -> None:
        if not self.alive:
            return
        self.deadline = deadline  # a page shared with the agent: there also while frozen
        if self.frozen:
            self._inbox.append((deadline, confirmed))
            return
        self._timer.set(deadline, self._lateness())
        confirmed()

    def _lateness(self) -> Duration:
        spread = LATENESS_MAX if self._rng.random() < 0.01 else LATENESS // 4
        return int(self._rng.random() * spread)

    def _due(self) -> None:
        if not self.able:
            return
        if self._clock.now() >= self.deadline:
            self.act()
            if not self.fed:
                self.end()
        else:
            self._timer.set(self.deadline if self.deadline < NEVER else NEVER, self._lateness())
