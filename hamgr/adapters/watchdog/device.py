"""One watchdog device of the kernel (watchdog-api.rst in its documentation, linux/watchdog.h)."""

import array
import fcntl
import logging
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

_WDIOC_GETSUPPORT = 0x80285700
_WDIOC_SETTIMEOUT = 0xC0045706
_WDIOF_MAGICCLOSE = 0x0100
_INFO = struct.Struct("=II32s")
"""struct watchdog_info: options, firmware version, identity."""
FIRST = os.makedev(10, 130)
"""/dev/watchdog: another way to the first of the devices."""
SYSFS = Path("/sys")

logger = logging.getLogger("hamgr.watchdog")


class Device(Protocol):
    """An open watchdog device: it counts since it was opened. All raise OSError."""

    identity: str

    def set_timeout(self, seconds: int) -> int:
        """Have it reset the machine after so long without feeding; return what was granted."""

    def feed(self) -> None:
        """Start its timeout over."""

    def close(self, *, stop: bool) -> None:
        """Close it; with `stop` it counts no more, else the machine is reset."""


class KernelDevice:
    """One of the kernel."""

    def __init__(self, path: str) -> None:
        """Open it, which starts it, if it can be stopped again. Raises OSError."""
        if attribute(path, "nowayout") == "1":
            raise OSError("its driver was loaded with nowayout: it cannot be closed again, and "
                          "each stop of hamgr would reset the machine")
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self.identity = "unknown"
        info = bytearray(_INFO.size)
        with suppress(OSError):
            fcntl.ioctl(self._fd, _WDIOC_GETSUPPORT, info)
            options, _, name = _INFO.unpack(info)
            self.identity = name.split(b"\0")[0].decode(errors="replace")
            if not options & _WDIOF_MAGICCLOSE:
                logger.warning("%s (%s) stops whenever it is closed: it does not cover an agent "
                               "that is killed", path, self.identity)

    def set_timeout(self, seconds: int) -> int:
        """As Device says. A driver may round."""
        granted = array.array("i", [seconds])
        fcntl.ioctl(self._fd, _WDIOC_SETTIMEOUT, granted, True)
        return granted[0]

    def feed(self) -> None:
        """As Device says. Any byte but the magic one."""
        os.write(self._fd, b"\0")

    def close(self, *, stop: bool) -> None:
        """As Device says."""
        try:
            if stop:
                os.write(self._fd, b"V")
        finally:
            os.close(self._fd)


Opener = Callable[[str], Device]


def attribute(device: str, name: str) -> str:
    """Return what sysfs says of a device (sysfs-class-watchdog), "" if nothing."""
    number = os.stat(device).st_rdev
    folder = (SYSFS / "class/watchdog/watchdog0" if number == FIRST else
              SYSFS / f"dev/char/{os.major(number)}:{os.minor(number)}")
    with suppress(OSError):
        return (folder / name).read_text().strip()
    return ""
