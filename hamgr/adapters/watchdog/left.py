"""What is left of a holder that is gone: a device that counts, and a file that says so.

The file is in the run directory from before the device is opened until it is closed in order. It
holds the instant until which the device might be fed, as of the last feeding, and its path.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path

from hamgr.adapters.watchdog.device import Device, KernelDevice, Opener
from hamgr.core.types import MILLISECOND, Duration, Instant

MARKER = "watchdog"
EVERY: Duration = 500 * MILLISECOND
"""Between two feedings by who cleans up: half of the shortest timeout that there is."""
_INSTANT = "%020d\n"

logger = logging.getLogger("hamgr.watchdog")


class Mark:
    """The file, written by who holds the device. In a directory in memory, as a rule."""

    def __init__(self, run_dir: Path, device: str) -> None:
        """Raises OSError."""
        self._path = run_dir / MARKER
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.write(self._fd, (_INSTANT % 0 + device).encode())

    def fed(self, until: Instant) -> None:
        """It is fed now, and may be until then."""
        os.pwrite(self._fd, (_INSTANT % until).encode(), 0)

    def erase(self) -> None:
        """It is closed."""
        self._path.unlink(missing_ok=True)
        self.let_be()

    def let_be(self) -> None:
        """It is left open."""
        os.close(self._fd)


class Leftover:
    """A device that a process which is gone has left counting, if there is one.

    Who cleans up feeds it as long as the one who is gone might have, and stops it when nothing of
    ours runs any more. What cannot be opened now is gone, or in other hands.
    """

    def __init__(self, run_dir: Path, opens: Opener = KernelDevice) -> None:
        self._path, self._opens = run_dir / MARKER, opens
        self._device: Device | None = None
        self._fed: Instant = 0
        self.name, self._until = "", 0
        with suppress(OSError, ValueError):
            until, self.name = self._path.read_text().split("\n", 1)
            self._until = int(until)

    def progress(self, now: Instant) -> None:
        """Cleaning goes on."""
        if not self.name or now >= self._until or now - self._fed < EVERY:
            return
        self._fed = now
        try:
            self._device = self._device or self._opens(self.name)
            self._device.feed()
        except OSError as error:
            self._give_up(error)

    def swept(self) -> None:
        """Nothing of ours runs."""
        if not self.name:
            return
        try:
            (self._device or self._opens(self.name)).close(stop=True)
        except OSError as error:
            self._give_up(error)
            return
        logger.info("%s is closed: nothing of what it guarded runs", self.name)
        self._forget()

    def _give_up(self, error: OSError) -> None:
        logger.warning("%s was left open, and cannot be had: %s", self.name, error)
        self._forget()

    def _forget(self) -> None:
        self.name, self._device = "", None
        with suppress(OSError):
            self._path.unlink()
