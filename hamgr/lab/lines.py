"""A process that tells what it sees in lines of JSON, and whoever waits for one of them."""

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from hamgr.lab.spec import LabError

Line = dict[str, Any]
_END_WITHIN_S = 5.0


class Lines:
    """A running process and what it has told so far; it ends when its standard input closes."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         start_new_session=True)
        self._told: list[Line] = []
        self._news = threading.Condition()
        self._ended = self._asked_to_end = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def told(self) -> list[Line]:
        """All lines so far."""
        with self._news:
            return list(self._told)

    @property
    def broken(self) -> bool:
        """Whether the process ended by itself, or had to be killed: there was more to tell."""
        with self._news:
            return self._ended and not self._asked_to_end

    def wait(self, wanted: Callable[[list[Line]], bool], within_s: float, what: str) -> list[Line]:
        """Return all lines as soon as they are as wanted. Raises LabError when they never are."""
        end = time.monotonic() + within_s
        with self._news:
            while not wanted(self._told):
                left = end - time.monotonic()
                if self._ended:
                    raise LabError(f"{what}: {self._process.args!r} ended before")
                if left <= 0:
                    raise LabError(f"{what}: not within {within_s:g} s; last: {self._told[-3:]}")
                self._news.wait(left)
            return list(self._told)

    def after(self, count: int, within_s: float) -> list[Line]:
        """Return what came after so many lines, as soon as anything did; nothing if not in time."""
        with self._news:
            self._news.wait_for(lambda: len(self._told) > count or self._ended, within_s)
            return self._told[count:]

    def close(self) -> None:
        """End the process and read what it still tells."""
        assert self._process.stdin is not None
        with self._news:
            self._asked_to_end |= not self._ended
        self._process.stdin.close()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._asked_to_end = False
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            with self._news:
                self._told.append(msgspec.json.decode(raw, type=Line))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
