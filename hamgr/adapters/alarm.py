"""One timer that is not late: timerfd_create(2), on CLOCK_MONOTONIC.

Theory. The timers of asyncio end a wait in epoll_wait(2), which counts in milliseconds and rounds
up: on average half a millisecond late, and two nodes that miss the same heartbeat accuse its sender
up to one apart. A timer that is itself a file descriptor is exact to some microseconds. Python has
it from 3.13 on (os.timerfd_create); this is the same by way of the C library.
"""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

from hamgr.core.types import SECOND, Instant

_TFD_NONBLOCK, _TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Alarm:
    """Calls back once, at an instant. Runs in one event loop."""

    def __init__(self) -> None:
        """Make it, in the event loop that it will run in. Raises OSError."""
        self._descriptor = _libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._descriptor < 0:
            raise _error()
        self._setting = (ctypes.c_long * 4)()
        """struct itimerspec: the interval, which is none, and the instant."""
        self._callback: Callable[[], None] | None = None
        asyncio.get_running_loop().add_reader(self._descriptor, self._ring)

    def call_at(self, when: Instant, callback: Callable[[], None]) -> "Alarm":
        """Call back then, and not when it was set for before. An instant that is past is now."""
        self._callback = callback
        self._setting[2], self._setting[3] = divmod(max(when, 1), SECOND)  # 0 would be never
        if _libc.timerfd_settime(self._descriptor, _TFD_TIMER_ABSTIME, self._setting, None) < 0:
            raise _error()
        return self

    def cancel(self) -> None:
        """Do not call back. It may wake the loop all the same."""
        self._callback = None

    def close(self) -> None:
        """Give it back; it calls back no more."""
        self._callback = None
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _ring(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return  # set anew since it rang
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


def _error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"timerfd: {os.strerror(code)}")
