"""The systemd of a lab's node: a machine of its own in the node's network, beside the agent.

The agent stays outside, where all of a node is killed, frozen and looked at; it is shown
/run/systemd, /run/dbus and the unit files of that machine in place of this one's, so its driver,
and systemctl, find there what they find on any machine. All of it is in the node's control group,
and ends with its power. What is in memory goes then, the disk stays.
"""

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hamgr.lab import own, systemd
from hamgr.lab.cgroup import LABS
from hamgr.lab.spec import LabError, LabSpec, directory, namespace

_RUN = ("systemd", "dbus")
"""In /run: what a machine has there is a directory of the lab, so that others can be shown it."""
_JOURNAL = Path("var/log/journal")
"""Where it is, the journal is on the disk, and can be read from outside."""
_ENDED_WITHIN_S = 5.0
_STEP_S = 0.002
TALK = {"SYSTEMCTL_FORCE_BUS": "1"}
"""Environment of systemctl outside of the machine: systemd itself answers only who is inside, on
the bus everybody."""


class Booted:
    """The systemd of one node. Its files are in the node's directory."""

    def __init__(self, spec: LabSpec, node: str) -> None:
        self._spec, self._node = spec, node
        self._directory = directory(spec.name) / node
        self._machine = namespace(spec.name, node)
        self._disk = systemd.Disk(self._directory)

    @property
    def shown(self) -> Mapping[Path, Path]:
        """What of it is to be seen, by whatever shall reach it, and in place of what."""
        return {**self._memory, self._disk.root / systemd.UNITS: Path("/") / systemd.UNITS}

    @property
    def _memory(self) -> Mapping[Path, Path]:
        return {self._directory / f"run-{name}": Path("/run") / name for name in _RUN}

    def prepare(self) -> None:
        """Make its disk, with the unit files of the lab. Raises LabError."""
        if why := systemd.missing():
            raise LabError(f"no node can have a systemd of its own here: {why}")
        self._disk.make(self._node)
        (self._disk.root / _JOURNAL).mkdir(parents=True, exist_ok=True)
        for name, text in self._spec.units.items():
            (self._disk.root / systemd.UNITS / name).write_text(
                own.at_home(text, directory(self._spec.name)))

    def command(self, home: Path) -> list[str]:
        """Return what boots it, with nothing left in memory; {here} is its home."""
        for here, there in self._memory.items():
            _empty(here)
            there.mkdir(exist_ok=True)
        tree = systemd.named_tree()
        groups = [] if tree is None else [tree / LABS / self._spec.name / self._node]
        for group in groups:
            systemd.removed(group)
        return systemd.joined(groups, systemd.command(
            self._machine, self._disk.root, self._machine,
            bound={**self._memory, home: own.home(directory(self._spec.name))}))

    @property
    def listens(self) -> bool:
        """Whether it has come as far as having a bus, on which systemctl is answered."""
        return (self._directory / "run-dbus/system_bus_socket").is_socket()


def forget(name: str) -> None:
    """Remove what the machines of a lab leave that were killed, but for files. Raises LabError."""
    for node in directory(name).glob("*/"):
        systemd.Disk(node).remove()
    systemd.forget(namespace(name, "*"))
    tree = systemd.named_tree()
    if tree is not None and (tree / LABS / name).exists():
        end = time.monotonic() + _ENDED_WITHIN_S  # who is killed leaves it a moment later
        while not systemd.removed(tree / LABS / name):
            if time.monotonic() > end:
                raise LabError(f"control group {tree / LABS / name} is in use")
            time.sleep(_STEP_S)
        with suppress(OSError):  # other labs have machines there
            (tree / LABS).rmdir()


def _empty(folder: Path) -> None:
    """Empty a directory that may be mounted elsewhere."""
    folder.mkdir(mode=0o755, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            os.unlink(path)
