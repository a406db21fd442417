"""What an adapter does every so often: in a wake-up that is for something else, if one comes.

Theory. A wake-up costs more than most of what it is for (docs/design.md). While an engine lives the
loop wakes at each heartbeat anyway, and says so; a timer is there for when it does not.
"""

import asyncio
from collections.abc import Callable

from hamgr.core.types import NEVER, SECOND, Instant


class Errand:
    """One action, repeated. Runs in one event loop."""

    def __init__(self, every_s: float, action: Callable[[], None]) -> None:
        self.every_s = every_s
        """Another time counts from the next run on."""
        self._action = action
        self._timer: asyncio.TimerHandle | None = None
        self._from: Instant = NEVER
        """An occasion is taken from then on."""

    def start(self) -> None:
        """Run it after the time between two runs, and so on."""
        self.stop()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.every_s, self._run)
        self._from = int((loop.time() + self.every_s * 0.9) * SECOND)

    def awake(self, now: Instant) -> None:
        """Take the occasion, if it comes in the last tenth of the time between two runs."""
        if now >= self._from:
            self._run()

    def stop(self) -> None:
        """Run it no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._from = None, NEVER

    def _run(self) -> None:
        self.start()
        self._action()
