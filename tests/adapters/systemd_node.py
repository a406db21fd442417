"""A node with a real systemd as process 1: systemd-nspawn over an overlay of this machine's root.

The node has its own network namespace with eth0, its own journal, and /opt/hamgr made of this
checkout: what is called hamgr there is the caller's choice; the dead-man's switch is the real one,
run by Debian's Python, since ProtectHome= may hide where a virtual environment has its own from.
"""

import functools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from hamgr.lab import cgroup, systemd
from hamgr.lab.spec import LabError
from tests.netns import Segment, eventually

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("hamgr.service", "hamgr-deadman.socket", "hamgr-deadman@.service")
OURS = dict.fromkeys((ROOT, Path(sys.prefix)))
"""Shown to the node wherever they are: its /tmp is its own, and other file systems are not seen."""


class SystemdNode(Segment):
    """A booted node. A context manager."""

    def __init__(self, directory: Path) -> None:
        super().__init__("node")
        self.name = f"hgt-{secrets.token_hex(4)}"
        self._disk = systemd.Disk(directory)
        self.root = self._disk.root
        self._groups = [tree / self.name
                        for tree in (systemd.named_tree(), cgroup.mount()) if tree is not None]
        self._console = directory / "console"
        self._supervisor: subprocess.Popen[Any] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.power_off()
            self._disk.remove()
            systemd.forget(self.name)
        finally:
            super().__exit__()

    @property
    def leader(self) -> int:
        """The process id, here, of the node's systemd."""
        return self._leader

    @property
    def inside(self) -> Path:
        """The root of the node as its processes see it, /run and /tmp included."""
        return Path(f"/proc/{self._leader}/root")

    def lay_out(self) -> None:
        """Make the disk of the node: this machine's root, and changes on top, in memory."""
        self._disk.make("node")

    def install(self, command: Path | str, drop_in: str = "") -> None:
        """Lay the disk of the node out: units as shipped, and a program to be hamgr."""
        self.lay_out()
        units = self.root / "etc/systemd/system"
        for name in UNITS:
            shutil.copy(ROOT / "systemd" / name, units / name)
        if drop_in:
            (units / "hamgr.service.d").mkdir()
            (units / "hamgr.service.d/test.conf").write_text(drop_in)
        programs = self.root / "opt/hamgr"
        (programs / "bin").mkdir(parents=True)
        (programs / "libexec/hamgr").mkdir(parents=True)
        (programs / "bin/python3").symlink_to("/usr/bin/python3")
        shutil.copy(ROOT / "hamgr/deadman.py", programs / "libexec/hamgr/deadman.py")
        hamgr = programs / "bin/hamgr"
        hamgr.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {command} \"$@\"\n")
        hamgr.chmod(0o755)

    def boot(self) -> None:
        """Start systemd in the node and wait until it has booted."""
        self._supervisor = subprocess.Popen(
            systemd.joined(self._groups, systemd.command(
                self.name, self.root, self.namespace("node"), shown=[*OURS])),
            stdin=subprocess.DEVNULL, stdout=self._console.open("ab"), stderr=subprocess.STDOUT,
            start_new_session=True)
        eventually(self._booted, within_s=60)
        self.do("systemctl", "is-system-running", "--wait", check=False)

    def do(self, *argv: str, check: bool = True) -> str:
        """Run a program in the node; return what it prints."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w",
             "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", *argv],
            capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def shut_down(self) -> None:
        """Have systemd stop everything in its order, and wait for its end."""
        assert self._supervisor
        self.do("systemctl", "poweroff", check=False)
        self._supervisor.wait(timeout=60)

    def power_off(self) -> None:
        """Kill everything in the node at once; wait until it is gone."""
        if self._supervisor is None:
            return
        for group in self._groups:
            kill = group / "cgroup.kill"
            if kill.exists():
                kill.write_text("1")
        if self._supervisor.poll() is None:
            self._supervisor.send_signal(signal.SIGKILL)
        self._supervisor.wait()
        self._supervisor = None
        for group in self._groups:
            eventually(partial(systemd.removed, group))

    def _booted(self) -> bool:
        assert self._supervisor
        assert self._supervisor.poll() is None, self._console.read_text(errors="replace")
        children = Path(f"/proc/{self._supervisor.pid}/task/{self._supervisor.pid}/children")
        for child in children.read_text().split():
            if Path(f"/proc/{child}/root/run/systemd/private").is_socket():
                self._leader = int(child)
                return True
        return False


@functools.cache
def why_not() -> str:
    """Return why systemd cannot run in a container here, "" if it can: an empty one was booted."""
    if missing := systemd.missing():
        return missing
    if os.geteuid():
        return "only root can start systemd in a container"
    with tempfile.TemporaryDirectory(prefix="hgt-") as directory:
        try:
            with SystemdNode(Path(directory)) as node:
                node.lay_out()
                node.boot()
        except (AssertionError, OSError, LabError) as error:
            return f"systemd does not boot in a container here: {error}"
    return ""


def skip_unless_it_runs() -> None:
    """Skip a test where there can be no systemd in a container, and say why."""
    if why_not():
        pytest.skip(why_not())
