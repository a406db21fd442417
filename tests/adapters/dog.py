"""A stand-in for a watchdog device: a FIFO, whose other end records what the kernel would see.

Every feeding is a byte there, the magic close is a "V" before the end, and a process that dies is
the end without it. The device's own code is used as it is; only ioctl(2), which a FIFO has not, is
answered by `pretend`, in the process that opens it.

What it cannot show: that an unfed device resets, that it starts to count when opened and again when
a process dies, what a driver grants, who may open it besides. tests/vm shows these.
"""

import fcntl
import os
import select
import struct
from pathlib import Path
from typing import Any

from tests.netns import PATIENCE_S

IDENTITY = "stand-in"
GETSUPPORT, SETTIMEOUT = 0x80285700, 0xC0045706
MAGICCLOSE = 0x0100


def pretend(granted: int = 0) -> None:
    """Answer for the device in this process from now on: any timeout, or always the same one."""
    real = fcntl.ioctl

    def ioctl(fd: int, request: int, argument: Any = 0, mutate: bool = True) -> Any:
        if request == GETSUPPORT:
            argument[:] = struct.pack("=II32s", MAGICCLOSE, 1, IDENTITY.encode())
        elif request == SETTIMEOUT:
            argument[0] = granted or argument[0]
        else:
            return real(fd, request, argument, mutate)
        return 0

    setattr(fcntl, "ioctl", ioctl)  # noqa: B010 - mypy knows fcntl's overloads


class Dog:
    """The other end."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.heard = b""
        """All bytes since it was opened last; "." is its end, as often as it ended."""

    def hears(self, within_s: float = PATIENCE_S) -> bool:
        """Wait for the next bytes, or the end; False if nothing comes."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(within_s * 1000):
            return False
        data = os.read(self._fd, 65536)
        if data:
            self.heard += data
        else:  # the end is told again and again until it is opened anew: listen anew
            self.heard += b"."
            os.close(self._fd)
            self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        return True

    def until_fed(self, times: int = 1) -> None:
        """Wait until it has been fed so often from now on."""
        fed = self.heard.count(b"\0") + times
        while self.heard.count(b"\0") < fed:
            assert self.hears(), f"not fed: {self.heard!r}"

    def until_closed(self) -> str:
        """Wait for the end; return how it came: magic, or died."""
        before = self.heard.count(b".")
        while self.heard.count(b".") == before:
            assert self.hears(), f"not closed: {self.heard!r}"
        return "magic" if self.heard.endswith(b"V.") else "died"

    def drain(self) -> None:
        """Take in what has been said until now."""
        while self.hears(0):
            pass

    def close(self) -> None:
        os.close(self._fd)
