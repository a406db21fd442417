"""Fence devices: each cuts one machine off, says so, and may fail, hang or lie."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from hamgr.core.types import MILLISECOND, SECOND, Duration

if TYPE_CHECKING:
    from hamgr.simulation.host import Host

Answer = Callable[[bool, str], None]

TIMEOUT: Duration = 20 * SECOND
"""After it whoever asked a device that hangs takes it for failed (fence-agents: power_timeout)."""
LATE: Duration = 1500 * MILLISECOND
"""So much later than it says a device that lies cuts its machine off, at most."""


class FenceDevice:
    """The device of one machine. Shares are of what it is asked."""

    def __init__(self, host: "Host", rng: random.Random) -> None:
        self.fails = 0.2
        self.hangs = 0.0
        """No answer, and nothing done."""
        self.lies = 0.0
        """It says that the machine is off, and cuts it off later."""
        self.denies = 0.0
        """It says that it failed, though the machine is off."""
        self._host = host
        self._rng = rng

    def cut(self, answer: Answer) -> None:
        """Cut the machine off, and answer whether that was done."""
        takes = int((0.2 + 2 * self._rng.random()) * SECOND)
        if self._rng.random() < self.hangs:
            self._host.world.scheduler.after(TIMEOUT, answer, False, "no answer in time")
        else:
            self._host.world.scheduler.after(takes, self._act, answer)

    def _act(self, answer: Answer) -> None:
        host = self._host
        if self._rng.random() < self.fails:
            answer(False, "device timed out")
        elif self._rng.random() < self.lies and host.powered:
            host.condemned = True
            host.world.scheduler.after(int(self._rng.random() * LATE), self._at_last)
            answer(True, "")
        else:
            host.world.power_cycle(host.name)
            denied = self._rng.random() < self.denies
            answer(not denied, "exit status 1" if denied else "")

    def _at_last(self) -> None:
        if self._host.condemned:
            self._host.world.power_cycle(self._host.name)
