"""Control groups: what holds every process of a lab, so that none can be missed or mistaken.

A process is in the group of its part before its program starts, and all its children stay in it,
so the group is the truth about what the lab runs: no pid has to be written down, none can be
reused, and `cgroup.kill` (Linux 5.14) ends a whole node at one instant. Even the tools that make
the network run in a group: once the groups are gone, nothing that a killed command left behind
can make anything more.
"""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hamgr.lab.netns import NETNS, run
from hamgr.lab.spec import LabError

LABS = "hamgr-lab"
"""The group of all labs."""
_EMPTY_WITHIN_S = 5.0
_STEP_S = 0.002
_JOIN = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
_JOIN_AND_LEAVE = """
echo $$ >"$0/cgroup.procs" || exit 70
log=$1; shift
"$@" </dev/null >>"$log" 2>&1 &
"""
"""Leave the program to PID 1: it must outlive the command that starts it."""


def mount() -> Path:
    """Return where cgroup2 is mounted, alone or beside version 1. Raises LabError."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return Path(fields.split()[4])
    raise LabError("no cgroup2 is mounted: the lab needs it to end a node at one instant")


class Cgroup:
    """One control group and those below it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_lab(cls, name: str) -> "Cgroup":
        """Return the group of a whole lab."""
        return cls(mount() / LABS / name)

    def below(self, *parts: str) -> "Cgroup":
        """Return a group further down."""
        return Cgroup(self.path.joinpath(*parts))

    def make(self) -> None:
        """Make it, with those above. Raises LabError if this machine does not allow it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabError(f"cannot make control group {self.path}: {error.strerror}") from error
        if not (self.path / "cgroup.kill").exists():
            raise LabError("cgroup.kill is missing: the lab needs Linux 5.14 or later")

    def start(self, namespace: str, argv: Sequence[str], log: Path) -> None:
        """Start a program in this group and a network namespace, on its own."""
        self.make()
        shell = ("sh", "-c", _JOIN_AND_LEAVE, str(self.path), str(log),
                 "setsid", *_inside(namespace, argv))
        if subprocess.run(shell, check=False).returncode:
            raise LabError(f"cannot start {argv[0]} in {self.path}: see {log}")

    def joined(self, namespace: str, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs a program in this group and a network namespace."""
        self.make()
        return ["sh", "-c", _JOIN, str(self.path), *_inside(namespace, argv)]

    def run(self, *argv: str, script: str = "") -> str:
        """Run a tool of the system in this group; as netns.run, which see."""
        self.make()
        return run("sh", "-c", _JOIN, str(self.path), *argv, script=script)

    def pids(self) -> list[int]:
        """Return the processes in it and below."""
        found: list[int] = []
        for procs in self.path.rglob("cgroup.procs"):
            try:
                found += (int(line) for line in procs.read_text().split())
            except (FileNotFoundError, OSError):  # the group went away between the two calls
                continue
        return found

    @property
    def populated(self) -> bool:
        """Whether anything runs in it or below: zombies, which PID 1 may reap late, do not."""
        try:
            return "populated 1" in (self.path / "cgroup.events").read_text()
        except (FileNotFoundError, OSError):
            return False

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Signal one process if, and only if, it is still in this group."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if pid in self.pids():
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)

    def kill(self) -> None:
        """SIGKILL everything in it and below at one instant."""
        if self.path.exists():
            (self.path / "cgroup.kill").write_text("1")

    def freeze(self, on: bool) -> None:
        """Stop or continue every process in it; the kernel goes on answering for them."""
        if self.path.exists():
            (self.path / "cgroup.freeze").write_text("1" if on else "0")

    @property
    def frozen(self) -> bool:
        """Whether it is frozen itself."""
        try:
            return (self.path / "cgroup.freeze").read_text().strip() == "1"
        except FileNotFoundError:
            return False

    def wait_frozen(self) -> None:
        """Return once every process in it stands still. Raises LabError after five seconds."""
        end = time.monotonic() + _EMPTY_WITHIN_S
        while self.populated and "frozen 1" not in (self.path / "cgroup.events").read_text():
            if time.monotonic() > end:
                raise LabError(f"processes {self.pids()} in {self.path} do not freeze")
            time.sleep(_STEP_S)

    def wait_empty(self) -> None:
        """Return once nothing runs in it. Raises LabError after five seconds."""
        end = time.monotonic() + _EMPTY_WITHIN_S
        while self.populated:
            if time.monotonic() > end:
                raise LabError(f"processes {self.pids()} in {self.path} do not end")
            time.sleep(_STEP_S)

    def remove(self) -> None:
        """Kill what is left and remove it, with those below. Raises LabError after five seconds."""
        end = time.monotonic() + _EMPTY_WITHIN_S
        while self.path.exists():
            self.kill()
            self.wait_empty()
            if not self._remove_empty() and time.monotonic() > end:
                raise LabError(f"control group {self.path} is always used anew")
        with suppress(OSError):  # another lab is there, or no lab ever was
            self.path.parent.rmdir()

    def _remove_empty(self) -> bool:
        """Return whether it is gone now: not if a process has joined since it was empty."""
        try:
            for folder in (*sorted(self.path.rglob("*/"), reverse=True), self.path):
                folder.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True


def _inside(namespace: str, argv: Sequence[str]) -> list[str]:
    """`ip netns exec` would hide /sys/fs/cgroup behind a fresh /sys; nsenter(1) does not."""
    return ["nsenter", f"--net={NETNS / namespace}", "--", *argv]
