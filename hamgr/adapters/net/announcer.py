"""When a group's addresses are announced: at once, after 0.2, 1 and 5 s, then every minute."""

import asyncio
from collections.abc import Callable

from hamgr.core.types import GroupName

WAITS_S = (0.2, 0.8, 4.0)
"""From each of the first announcements to the next: one frame can be lost, and a switch that has
just learned of a new path may drop more."""
STEADY_S = 60.0
"""A neighbour that missed all of them, or was told otherwise, is put right within a minute."""


class Announcer:
    """Calls `say` for each group that is on, at the times above. Must run in the loop's thread."""

    def __init__(self, say: Callable[[GroupName, bool], None]) -> None:
        """The bool says whether it is the first announcement of the schedule."""
        self._say = say
        self._timers: dict[GroupName, asyncio.TimerHandle] = {}

    def begin(self, group: GroupName) -> None:
        """Announce at once, and go on from there; begins anew if it is going on."""
        self._step(group, 0)

    def stop(self, group: GroupName) -> None:
        """Be silent."""
        timer = self._timers.pop(group, None)
        if timer is not None:
            timer.cancel()

    def _step(self, group: GroupName, step: int) -> None:
        self.stop(group)
        wait = WAITS_S[step] if step < len(WAITS_S) else STEADY_S
        self._timers[group] = asyncio.get_running_loop().call_later(
            wait, self._step, group, step + 1)
        self._say(group, step == 0)
