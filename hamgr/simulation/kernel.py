"""What a host's kernel holds: addresses with lifetimes, which outlive every process."""

import random
from collections.abc import Callable

from hamgr.core.types import MILLISECOND, NEVER, SECOND, Duration, GroupName, Instant
from hamgr.simulation.clock import Clock

VALID_LFT: Duration = 2 * SECOND
"""Lifetime of an address that is not renewed (valid_lft, RTM_NEWADDR)."""
REAPER_LATENESS: Duration = 1250 * MILLISECOND
"""The kernel looks for expired addresses at leisure: 0 to 0.4 s late as a rule, 1.25 s at worst."""


class Kernel:
    """The addresses of one host, one entry for all the addresses of a group."""

    def __init__(self, clock: Clock, rng: random.Random,
                 changed: Callable[[GroupName], None]) -> None:
        self._clock = clock
        self._rng = rng
        self._changed = changed
        self._expiry: dict[GroupName, Instant] = {}
        self._reaper = clock.timer(self._reap)

    def has(self, group: GroupName) -> bool:
        """Whether the group's addresses are on this host."""
        return group in self._expiry

    def groups(self) -> tuple[GroupName, ...]:
        """Return the groups whose addresses are on this host."""
        return tuple(self._expiry)

    def add(self, group: GroupName, unlimited: bool = False) -> None:
        """Add the addresses, or renew them."""
        was_there = group in self._expiry
        self._expiry[group] = NEVER if unlimited else self._clock.now() + VALID_LFT
        self._arm()
        if not was_there:
            self._changed(group)

    def remove(self, group: GroupName) -> None:
        """Remove the addresses, if they are there."""
        if self._expiry.pop(group, None) is not None:
            self._changed(group)

    def recheck(self, group: GroupName) -> None:
        """Have it judged again who is active: a claim came to nothing."""
        self._changed(group)

    def power_off(self) -> None:
        """Everything is gone."""
        for group in self.groups():
            self.remove(group)

    def _arm(self) -> None:
        first = min(self._expiry.values(), default=NEVER)
        spread = REAPER_LATENESS if self._rng.random() < 0.1 else REAPER_LATENESS // 3
        self._reaper.set(first, int(self._rng.random() * spread))

    def _reap(self) -> None:
        now = self._clock.now()
        for group, expiry in list(self._expiry.items()):
            if expiry <= now:
                self.remove(group)
        self._arm()
