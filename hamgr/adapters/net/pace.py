"""Holds an action to a pace, without ever losing the last occasion for it."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Paced(Generic[Key]):
    """Acts at once, and then at most every `gap_s` for the same key.

    What is asked for within the gap is done once, at its end: between two nodes that answer one
    another this leaves a bounded number of frames a second, and each has the last word.
    """

    def __init__(self, action: Callable[[Key], None], gap_s: float) -> None:
        self._action, self._gap_s = action, gap_s
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._again: set[Key] = set()

    def __call__(self, key: Key) -> None:
        """Act now, or at the end of the gap."""
        if key in self._timers:
            self._again.add(key)
            return
        self._timers[key] = asyncio.get_running_loop().call_later(
            self._gap_s, self._end_of_gap, key)
        self._action(key)

    def close(self) -> None:
        """Act no more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._again.clear()

    def _end_of_gap(self, key: Key) -> None:
        del self._timers[key]
        if key in self._again:
            self._again.discard(key)
            self(key)
