"""Keeps systemd from acting on its own on units that are hamgr's: one drop-in for each.

Pacemaker does the same, with the same two lines (50-pacemaker.conf):

- `Before=` the agent's unit: at shutdown units stop in the reverse order, so systemd leaves this
  one alone until the agent has ended, which hands over and stops it itself. Without it systemd
  would stop the unit under the agent, which would see it fail.
- `Restart=no`: who restarts it, how often, and when the group moves instead, is decided in one
  place; and a unit whose agent has died does not come back by itself.

The order has a price: while systemd stops the agent, it has the stop of such a unit wait for the
agent's end, and the agent waits for that stop (seen with systemd 252, until TimeoutStopSec=). So
under a stop of the agent alone all drop-ins go before the first stop, and systemd reads its files
anew (Pacemaker does that for each stop, whenever it is). At shutdown the order must stay for the
other units, and each stop is queued to ignore it: what else depends on the unit is stopped by the
shutdown itself.

Files here lie in memory: /run is a tmpfs (file-hierarchy(7)), so reading and writing them does not
hold the loop up. What an operator sets in /etc in a drop-in whose name sorts after ours overrides
it (systemd.unit(5)).
"""

import logging
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

DIRECTORY = Path("/run/systemd/system")
FILE = "50-hamgr.conf"
AGENT = "hamgr.service"
"""The unit that the agent runs in."""


class Guard:
    """The drop-ins."""

    def __init__(self, directory: Path) -> None:
        """directory is where systemd reads units that live until the next boot."""
        self._directory = directory

    def path(self, unit: str) -> Path:
        """Return the file of a unit."""
        return self._directory / f"{unit}.d" / FILE

    def put(self, unit: str) -> bool:
        """Write the drop-in of a unit, if it is not there; return whether it is there now."""
        path, text = self.path(unit), _text(unit)
        try:
            if not path.exists() or path.read_text() != text:
                path.parent.mkdir(mode=0o755, exist_ok=True)
                path.parent.chmod(0o755)  # whatever the umask: systemd complains of hidden files
                path.write_text(text)
                path.chmod(0o644)
        except OSError as error:
            log.warning("%s has no drop-in of hamgr, so systemd may restart it, and stop it at "
                        "shutdown before hamgr does: %s", unit, error)
            return False
        return True

    def take(self, unit: str) -> bool:
        """Remove the drop-in of a unit; return whether there was one."""
        path = self.path(unit)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("the drop-in of %s cannot be removed: %s", unit, error)
            return False
        with suppress(OSError):  # others may have drop-ins there too
            path.parent.rmdir()
        return True


def _text(unit: str) -> str:
    text = f"# hamgr starts and stops this unit\n[Unit]\nBefore={AGENT}\n"
    return f"{text}\n[Service]\nRestart=no\n" if unit.endswith(".service") else text
