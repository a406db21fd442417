"""A machine with a real systemd as process 1: systemd-nspawn(1) over an overlay of this one's root.

What is here is shared by the nodes of labs that have a systemd (hamgr.lab.booted) and by tests that
boot a machine alone. Nothing of it registers anywhere: names, control groups and mounts are the
caller's, and what systemd-nspawn leaves behind by itself goes with `forget`.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from hamgr.lab.netns import NETNS, run

UNITS = Path("etc/systemd/system")
"""Where an operator has unit files, below a root."""
_SPAWN = (
    "env", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network",
    "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit",
    "--capability=CAP_NET_ADMIN", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
    "--console=pipe")
_LEFT_BY_SPAWN = Path("/run/systemd/nspawn")
_JOIN = ('while [ "$1" != -- ]; do mkdir -p "$1" && echo $$ >"$1/cgroup.procs" || exit 70; shift; '
         'done; shift; exec "$@"')


def missing() -> str:
    """Return why no machine can have a systemd of its own here, "" if nothing is known of that."""
    for program, package in (("systemd-nspawn", "systemd-container"), ("dbus-daemon", "dbus")):
        if not shutil.which(program):
            return f"{program} is not installed (Debian: {package})"
    return ""


def named_tree() -> Path | None:
    """Return the control groups of version 1 in which a systemd keeps its units, where there are.

    A systemd of its own must not find them shared: then each has a group of its own there, too.
    """
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup ") and "name=systemd" in rest:
            return Path(fields.split()[4])
    return None


class Disk:
    """The disk of a machine: this one's root, and on top, in memory, what differs. Outlives it."""

    def __init__(self, directory: Path) -> None:
        """directory exists, and has room for two mount points."""
        self._layers = directory / "disk"
        self.root = directory / "root"
        """As the machine sees it, but for /run and /tmp, which are its own."""

    def make(self, hostname: str) -> None:
        """Lay it out: nothing but the basics is to be started. Raises LabError."""
        # An overlay's upper layer cannot be on another overlay, as a container's root often is.
        upper, work = self._layers / "upper", self._layers / "work"
        self._layers.mkdir()
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(self._layers))
        for folder in (self.root, work, upper / UNITS):
            folder.mkdir(parents=True)
        (upper / UNITS / "default.target").symlink_to("/lib/systemd/system/basic.target")
        (upper / UNITS / "timers.target").symlink_to("/dev/null")
        (upper / "etc/machine-id").write_text("")
        (upper / "etc/hostname").write_text(f"{hostname}\n")
        run("mount", "-t", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}",
            "overlay", str(self.root))

    def remove(self) -> None:
        """Unmount what is mounted of it, whoever looks at it just now. Raises LabError."""
        if os.path.ismount(self.root):
            stat = self.root.stat()
            (_LEFT_BY_SPAWN / f"locks/inode-{stat.st_dev}:{stat.st_ino}").unlink(missing_ok=True)
        for mounted in filter(os.path.ismount, (self.root, self._layers)):
            run("umount", "--lazy", str(mounted))


def command(machine: str, root: Path, namespace: str, *, shown: Sequence[Path] = (),
            bound: Mapping[Path, Path] | None = None) -> list[str]:
    """Return what boots a machine from a root, in a network namespace: it ends with the machine.

    shown: read-only, where it is; bound: what of this machine is there where.
    """
    return [*_SPAWN, f"--directory={root}", f"--machine={machine}",
            f"--network-namespace-path={NETNS / namespace}",
            *(f"--bind-ro={path}" for path in shown),
            *(f"--bind={here}:{there}" for here, there in (bound or {}).items())]


def joined(groups: Sequence[Path], argv: Sequence[str]) -> list[str]:
    """Return the command line that runs a program in control groups, made for it."""
    return ["sh", "-c", _JOIN, "sh", *map(str, groups), "--", *argv]


def removed(group: Path) -> bool:
    """Remove a tree of control groups, from the leaves up; False while something lives in it."""
    try:
        for folder in (*sorted(group.rglob("*/"), reverse=True), group):
            folder.rmdir()
    except FileNotFoundError:
        return not group.exists()
    except OSError:
        return False
    return True


def forget(machines: str) -> None:
    """Remove what systemd-nspawn leaves of machines that were killed; names may have a `*`."""
    for kind in ("propagate", "unix-export"):
        for leftover in _LEFT_BY_SPAWN.glob(f"{kind}/{machines}"):
            shutil.rmtree(leftover, ignore_errors=True)
