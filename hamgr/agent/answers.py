"""The shell's own few writes and runs, beside those of the engine.

They are numbered downward from -1, so that their answers are never taken for an engine's.
"""

import asyncio
from itertools import count

from hamgr.core.events import DeviceAnswered, Event, ServiceAnswered, WriteAnswered

Answer = WriteAnswered | ServiceAnswered | DeviceAnswered


class Answers:
    """Hands each answer to who waits for it."""

    def __init__(self) -> None:
        self._numbers = count(-1, -1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    def expect(self) -> tuple[int, asyncio.Future[Answer]]:
        """Return a number for a request, and its answer to be."""
        number = next(self._numbers)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        return number, answer

    def take(self, event: Event) -> bool:
        """Return whether the event answers a request of the shell's own, and hand it over."""
        if not isinstance(event, Answer):
            return False
        number = event.write if isinstance(event, WriteAnswered) else event.run
        if number >= 0:
            return False
        answer = self._waiting.pop(number, None)
        if answer is not None and not answer.done():
            answer.set_result(event)
        return True
