"""A node's disk, as far as an agent keeps something on it (hamgr.ports.Store); it may be full."""

import random
from collections import deque
from collections.abc import Callable

from hamgr.core.records import Config
from hamgr.core.types import MILLISECOND, SECOND, Duration, Epoch, GroupName
from hamgr.simulation.clock import Scheduler

RETRY: Duration = 1 * SECOND
"""Between two attempts of an agent at a full disk (hamgr.agent.disk)."""
FSYNC: Duration = 2 * MILLISECOND

Job = tuple[Callable[[], None], Callable[[], None]]


class Disk:
    """Outlives processes and power; a replaced machine has a new one."""

    def __init__(self) -> None:
        self.full = False
        """Nothing can be written just now."""
        self.incarnation = 0
        self.facts: tuple[str, int] = ("", 0)
        """Cluster id and plan revision."""
        self.maintenance: dict[GroupName, Epoch] = {}
        self.rebooted = False
        """The machine was booted since the maintenance was kept."""
        self.document: Config | None = None
        """The configuration that was applied last."""

    def keep_maintenance(self, group: GroupName, epoch: Epoch, on: bool) -> None:
        """Keep what is in place of a group, or that nothing is any more."""
        self.maintenance.pop(group, None)
        if on:
            self.maintenance[group], self.rebooted = epoch, False


class DiskWork:
    """What one agent process writes: in order, and again each second while the disk is full."""

    def __init__(self, scheduler: Scheduler, rng: random.Random, disk: Callable[[], Disk],
                 in_process: Callable[..., None]) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._disk = disk
        self._in_process = in_process
        self._jobs: deque[Job] = deque()

    def submit(self, write: Callable[[], None], done: Callable[[], None] = lambda: None) -> None:
        """Write after all that was submitted before, and say when it is written."""
        self._jobs.append((write, done))
        if len(self._jobs) == 1:
            self._later(int(self._rng.random() * FSYNC))

    def _later(self, delay: Duration) -> None:
        self._scheduler.after(delay, self._in_process, self._work)

    def _work(self) -> None:
        if self._disk().full:
            self._later(RETRY)
            return
        write, done = self._jobs.popleft()
        write()
        if self._jobs:
            self._later(int(self._rng.random() * FSYNC))
        done()
