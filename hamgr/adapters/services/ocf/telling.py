"""Notifications of what became of other nodes' replicas: beside the actions, never during one.

Agents count on it that no two actions of a resource run at once, and a notification is one. So for
each service they wait their turn, and an action that comes meanwhile waits for the one under way,
but only so long; then that is ended, and begun anew after an action that only looked. A
notification that a later right has overtaken is left out.

A promotion is told of when what the primary left for its replicas has come, too: heartbeats are
faster than ZooKeeper, and without ZooKeeper it is told all the same after a while, and once more
when that has come.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine
from typing import NamedTuple

from hamgr.core.effects import TellReplicas
from hamgr.core.types import GroupName, ServiceName

Key = tuple[GroupName, ServiceName]
WAITING_MAX = 4
"""Of a service: what is older than these says nothing any more (promote, demote, by turns)."""
TELL_S = 90.0
"""How long it may take until a service has been told: what most agents advise for notify."""
READY_S = 10.0
"""How long the primary's own words are waited for: longer than ZooKeeper is away when one of its
servers has died with the old primary (1 to 4 s)."""


class _Told(NamedTuple):
    effect: TellReplicas
    since: float


class Telling:
    """Runs the notifications of every service, one at a time."""

    def __init__(self, tell: Callable[[Key, TellReplicas], Coroutine[None, None, None]],
                 end: Callable[[Key], None],
                 ready: Callable[[Key, TellReplicas], bool]) -> None:
        """`tell` runs one to its end, and `end` has the one under way end now.

        `ready`: what the primary left for its replicas has come.
        """
        self._tell, self._end, self._ready = tell, end, ready
        self._waiting: defaultdict[Key, deque[_Told]] = defaultdict(
            lambda: deque(maxlen=WAITING_MAX))
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._last: dict[Key, _Told] = {}
        """By service: what was begun last."""
        self._late: dict[Key, TellReplicas] = {}
        """By service: what was told without the primary's own words."""
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._acting: Counter[Key] = Counter()
        self._closed = False

    def add(self, key: Key, effect: TellReplicas) -> None:
        """Tell a service, when its turn has come."""
        waiting = self._waiting[key]
        for old in [old for old in waiting if old.effect.epoch < effect.epoch
                    and old.effect.action == effect.action]:
            waiting.remove(old)
        waiting.append(_Told(effect, _now()))
        self._next(key)

    def news(self, key: Key) -> None:
        """What a primary left for its replicas may have come."""
        late = self._late.get(key)
        if late is not None and self._ready(key, late):
            self.add(key, self._late.pop(key))
        self._next(key)

    def forget(self, key: Key) -> None:
        """Tell nothing of what was before: the service itself is promoted."""
        self._waiting[key].clear()
        self._late.pop(key, None)

    async def make_way(self, key: Key, within_s: float, looks: bool) -> None:
        """An action of the service is about to run: return when nothing else does.

        What is told just now may take that long to end; then it is ended. Call `go_on` afterwards.
        `looks`: the action changes nothing.
        """
        self._acting[key] += 1
        running = self._running.get(key)
        if running is None:
            return
        await asyncio.wait((running,), timeout=within_s)
        if running.done():
            return
        cut = self._last[key]
        if looks and _now() < cut.since + TELL_S:
            self._waiting[key].appendleft(cut)
        self._end(key)
        await asyncio.wait((running,))

    def go_on(self, key: Key) -> None:
        """The action is over."""
        self._acting[key] -= 1
        self._next(key)

    def shut(self) -> None:
        """Tell nothing more but what is under way."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()

    async def ended(self) -> None:
        """Return when nothing is told any more."""
        if self._running:
            await asyncio.wait(tuple(self._running.values()))

    def _next(self, key: Key) -> None:
        if self._closed or self._acting[key] or key in self._running or not self._waiting[key]:
            return
        first = self._waiting[key][0]
        ready = self._ready(key, first.effect)
        if not ready and _now() < first.since + READY_S:
            if key in self._timers:
                self._timers[key].cancel()
            self._timers[key] = asyncio.get_running_loop().call_at(
                first.since + READY_S, self._next, key)
            return
        self._late.pop(key, None)
        if not ready:
            self._late[key] = first.effect
        self._last[key] = self._waiting[key].popleft()
        task = asyncio.create_task(self._tell(key, first.effect))
        self._running[key] = task
        task.add_done_callback(lambda _: self._told(key))

    def _told(self, key: Key) -> None:
        del self._running[key]
        self._next(key)


def _now() -> float:
    return asyncio.get_running_loop().time()
