"""Makes the agent a process that runs when it must: priority, memory, garbage at idle moments.

What is not allowed (no privilege, no container right) is said in words and done without: a lease
does not depend on it, only how seldom it is lost.

Children inherit none of it: SCHED_RESET_ON_FORK gives them the ordinary class back (sched(7)),
memory locks end at fork and exec (mlock(2)).
"""

import contextlib
import ctypes
import gc
import os
import resource
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from hamgr.core.types import Duration, Instant

PRIORITY = 40
"""SCHED_RR priority: below the dead-man's switch (41), above everything ordinary."""
OOM_SCORE = -900
"""oom_score_adj: among the last to be killed for memory, but before the switch (-1000)."""
THREAD_STACK = 512 * 1024
"""Bytes. A locked process has the whole stack of each thread in memory: 8 MiB by default."""

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_CAP_IPC_LOCK = 14


class RealTime(Struct, frozen=True, kw_only=True):
    """What was got, in words for status: "SCHED_RR 40", or "ordinary (why)"."""

    scheduling: str
    memory: str
    """"locked", or "not locked (why)"."""
    memory_locked: bool
    oom: str


def become_realtime() -> RealTime:
    """Take real-time priority, lock all memory, step back in the queue of the OOM killer.

    Call it before any thread is started: it sets the size of their stacks.
    """
    scheduling = _schedule()
    refused = _lock_memory()
    return RealTime(scheduling=scheduling, oom=_protect_from_oom(), memory_locked=not refused,
                    memory=f"not locked ({refused})" if refused else "locked")


def _schedule() -> str:
    """Take SCHED_RR; first lift RLIMIT_RTTIME, or stay in the ordinary class.

    With a finite limit the kernel kills a real-time process that computes for so long without a
    system call that blocks (getrlimit(2)): on a busy machine it would kill a healthy agent.
    """
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, unlimited)
    except (OSError, ValueError) as error:
        return f"ordinary (RLIMIT_RTTIME cannot be lifted: {error})"
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except OSError as error:
        return f"ordinary ({error.strerror}: needs CAP_SYS_NICE or RLIMIT_RTPRIO)"
    return f"SCHED_RR {PRIORITY}"


def _lock_memory() -> str:
    """Lock present and future pages (mlockall(2)); return why not, "" if done.

    Under a finite RLIMIT_MEMLOCK without the capability the lock might be granted now and make an
    allocation fail later: then none is taken.
    """
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit != resource.RLIM_INFINITY and not _capable(_CAP_IPC_LOCK):
        return f"RLIMIT_MEMLOCK is {limit // 1024} KiB: needs CAP_IPC_LOCK or no limit"
    threading.stack_size(THREAD_STACK)
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE):
        return os.strerror(ctypes.get_errno())
    return ""


def _capable(capability: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def _protect_from_oom() -> str:
    """Lower oom_score_adj; return what it is now.

    Lowering needs CAP_SYS_RESOURCE (proc(5)); without it, what was set from outside stays.
    """
    path = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(PermissionError):
        if int(path.read_text()) > OOM_SCORE:
            path.write_text(str(OOM_SCORE))
    return path.read_text().strip()


class Garbage:
    """The collector of cycles, run by hand: the loop names the moments.

    After settle() nothing collects by itself, so no collection can come between evidence and
    address; gc.callbacks see every collection, so that a test (and status) can tell.
    """

    def __init__(self, clock: Callable[[], Instant] = time.monotonic_ns, keep: int = 256) -> None:
        self._clock = clock
        self._began: Instant = 0
        self.collections: deque[tuple[Instant, Instant]] = deque(maxlen=keep)
        """Begin and end of the newest collections, whoever asked for them."""

    def settle(self) -> None:
        """At the end of the start: freeze what is there for good, and stop automatic collection."""
        if self._watch not in gc.callbacks:
            gc.callbacks.append(self._watch)
        gc.collect()
        gc.freeze()
        gc.disable()

    def collect(self) -> None:
        """Collect now: an idle moment, with room before the next deadline."""
        gc.collect()

    @property
    def longest(self) -> Duration:
        """The longest of the collections kept, in nanoseconds."""
        return max((ended - began for began, ended in self.collections), default=0)

    def _watch(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = self._clock()
        else:
            self.collections.append((self._began, self._clock()))
