"""Fence devices: each cuts one machine off, says so, and may fail, hang or lie."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from hamgr.core.effects import RunDevice
from hamgr.core.events import DeviceAnswered
from hamgr.core.types import MILLISECOND, SECOND, Duration, Power

if TYPE_CHECKING:
    from hamgr.simulation.host import Host

Answer = Callable[[DeviceAnswered], None]

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

    def run(self, effect: RunDevice, answer: Answer) -> None:
        """Do what is asked, and answer once: at its timeout at the latest."""
        scheduler = self._host.world.scheduler
        if effect.action == "off" and self._rng.random() < self.hangs:
            scheduler.after(effect.timeout, answer, DeviceAnswered(
                run=effect.run, ok=False, why="no answer in time"))
            return
        slowness = 2 if effect.action == "off" else 0.2
        takes = int((0.1 + slowness * self._rng.random()) * SECOND)
        scheduler.after(takes, self._act, effect, answer)

    def _act(self, effect: RunDevice, answer: Answer) -> None:
        why, power = "", Power.UNKNOWN
        if effect.action == "off":
            why = self._cut()
        elif self._rng.random() < self.fails / 4:
            why = "device timed out"
        elif effect.action == "on":
            self._host.condemned = False
            self._host.boot()
        else:
            power = Power.ON if self._host.powered and not self._host.condemned else Power.OFF
        answer(DeviceAnswered(run=effect.run, ok=not why, why=why, power=power))

    def _cut(self) -> str:
        """Cut the machine off; return what it says against that, or nothing."""
        host = self._host
        if self._rng.random() < self.fails:
            return "device timed out"
        if self._rng.random() < self.lies and host.powered:
            host.condemned = True
            host.world.scheduler.after(int(self._rng.random() * LATE), self._at_last)
            return ""
        host.world.cut_power(host.name)
        return "exit status 1" if self._rng.random() < self.denies else ""

    def _at_last(self) -> None:
        if self._host.condemned:
            self._host.world.cut_power(self._host.name)
