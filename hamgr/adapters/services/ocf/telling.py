"""Notifications of what became of other nodes' replicas: beside the actions, never during one.

Agents count on it that no two actions of a resource run at once, and a notification is one. So for
each service they wait their turn, and an action that comes meanwhile waits for the one under way,
but only so long; then that is ended. A notification that a later right has overtaken is left out.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine

from hamgr.core.effects import TellReplicas
from hamgr.core.types import GroupName, ServiceName

Key = tuple[GroupName, ServiceName]
WAITING_MAX = 4
"""Of a service: what is older than these says nothing any more (promote, demote, by turns)."""


class Telling:
    """Runs the notifications of every service, one at a time."""

    def __init__(self, tell: Callable[[Key, TellReplicas], Coroutine[None, None, None]],
                 end: Callable[[Key], None]) -> None:
        """`tell` runs one to its end, and `end` has the one under way end now."""
        self._tell, self._end = tell, end
        self._waiting: defaultdict[Key, deque[TellReplicas]] = defaultdict(
            lambda: deque(maxlen=WAITING_MAX))
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._acting: Counter[Key] = Counter()
        self._closed = False

    def add(self, key: Key, effect: TellReplicas) -> None:
        """Tell a service, when its turn has come."""
        waiting = self._waiting[key]
        for old in [old for old in waiting if old.epoch < effect.epoch
                    and old.action == effect.action]:
            waiting.remove(old)
        waiting.append(effect)
        self._next(key)

    async def make_way(self, key: Key, within_s: float) -> None:
        """An action of the service is about to run: return when nothing else does.

        What is told just now may take that long to end; then it is ended. Call `go_on` afterwards.
        """
        self._acting[key] += 1
        running = self._running.get(key)
        if running is None:
            return
        await asyncio.wait((running,), timeout=within_s)
        if not running.done():
            self._end(key)
            await asyncio.wait((running,))

    def go_on(self, key: Key) -> None:
        """The action is over."""
        self._acting[key] -= 1
        self._next(key)

    def shut(self) -> None:
        """Tell nothing more but what is under way."""
        self._closed = True

    async def ended(self) -> None:
        """Return when nothing is told any more."""
        if self._running:
            await asyncio.wait(tuple(self._running.values()))

    def _next(self, key: Key) -> None:
        if self._closed or self._acting[key] or key in self._running or not self._waiting[key]:
            return
        task = asyncio.create_task(self._tell(key, self._waiting[key].popleft()))
        self._running[key] = task
        task.add_done_callback(lambda _: self._told(key))

    def _told(self, key: Key) -> None:
        del self._running[key]
        self._next(key)
