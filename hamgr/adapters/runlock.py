"""The lock of a run directory: one agent at a time, and none while an old switch is still armed.

One file, two bytes, each a POSIX record lock (fcntl(2)): byte 0 is the agent's, byte 1 the
dead-man's switch's. The kernel drops a lock when its process ends, however it ends, tells who
holds it (F_GETLK), and never hands it to a child: so nothing stale can be left, and no file with a
process id has to be believed. The switch locks its byte itself, through the descriptor that it is
given; a process that has the file open twice would lose its lock on closing either, so this module
opens it once.
"""

import contextlib
import fcntl
import os
import select
import signal
import struct
import time
from pathlib import Path

from hamgr.deadman import SWITCH_BYTE

AGENT_BYTE = 0
_FLOCK = struct.Struct("@hhqqi4x")
"""struct flock on 64-bit Linux: type, whence, start, length, process."""


class AgentRunsError(Exception):
    """Another agent lives on this run directory."""


class RunLock:
    """Held by an agent (or a clean-up) from its start to the end of its process."""

    def __init__(self, run_dir: Path) -> None:
        """Open the lock file in the run directory, which is made if it is missing (0700).

        Raises OSError if it cannot be written.
        """
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = run_dir / "lock"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def fileno(self) -> int:
        """Return the descriptor that the switch is to lock."""
        return self._fd

    def take(self) -> None:
        """Become the agent of this run directory. Raises AgentRunsError if there is one."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, AGENT_BYTE)
        except (BlockingIOError, PermissionError):
            raise AgentRunsError(
                f"another agent (process {self._holder(AGENT_BYTE)}) runs with {self.path.parent}; "
                f"stop it, or give this one its own --run-dir") from None

    def end_old_switch(self, within_s: float = 5.0) -> int:
        """End the switch of an agent that is gone; return its process id, 0 if there was none.

        SIGTERM has it withdraw what is still armed and exit; it is killed after half of the time
        if it does not (it was stopped or hangs), and the caller's own clean-up has to do the rest.
        Call only with the lock taken: then no living agent can depend on it. Raises OSError if it
        cannot be ended.
        """
        old = self._holder(SWITCH_BYTE)
        if old is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(old)
            try:
                self._end(old, pidfd, within_s)
            finally:
                os.close(pidfd)
        if self._holder(SWITCH_BYTE) is not None:
            raise OSError(f"the dead-man's switch of an earlier agent (process {old}) does not end")
        return old

    def close(self) -> None:
        """Give the lock up."""
        os.close(self._fd)

    def _end(self, old: int, pidfd: int, within_s: float) -> None:
        for order in (signal.SIGTERM, signal.SIGKILL):
            if self._holder(SWITCH_BYTE) != old:
                return
            signal.pidfd_send_signal(pidfd, order)
            deadline = time.monotonic() + within_s / 2
            if select.select([pidfd], [], [], deadline - time.monotonic())[0]:
                return

    def _holder(self, byte: int) -> int | None:
        """Return the process that holds this byte, None if it is free or our own."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        kind, _, _, _, process = _FLOCK.unpack(fcntl.fcntl(self._fd, fcntl.F_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else int(process)
