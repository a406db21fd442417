"""A virtual machine in a software-emulated CPU, with a shell that a test drives.

Serial port 1 is the console, in a file; port 2 the shell. The monitor (QMP) tells of resets. Only
the processes of qemu are real on this machine; they end with the test, however that ends.
"""

import json
import os
import re
import select
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.vm.kit import Kit

BOOT_S = 240
"""Seen: 20 s on a quiet machine, 4 times as long on a busy one."""
ANSWER_S = 180
BOOTED = re.compile(rb"@booted (\S+)\r?\n")
HOST = "10.0.2.2"
"""This machine's loopback, as the guest reaches it (qemu's user networking)."""
GUEST = "10.0.2.15"


class Guest:
    """One virtual machine, running until closed."""

    def __init__(self, kit: Kit, folder: Path, *devices: str) -> None:
        """Start it. `devices` are further arguments of qemu's -device."""
        self.folder = folder
        folder.mkdir()
        self._heard = b""
        self._serial = 0
        self.events: list[dict[str, Any]] = []
        """What the monitor has told, in order."""
        arguments = [
            "qemu-system-x86_64", "-nodefaults", "-display", "none", "-m", "768", "-smp", "1",
            "-accel", "tcg,tb-size=192", "-cpu", "max", "-kernel", str(kit.kernel),
            "-initrd", str(kit.initramfs),
            "-append", "console=ttyS0 quiet mitigations=off net.ifnames=0 panic=0",
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,"
                       "multidevs=remap",
            "-netdev", "user,id=net", "-device", "e1000,netdev=net",
            "-serial", f"file:{folder}/console",
            *self._socket("shell"), "-serial", "chardev:shell",
            *self._socket("qmp"), "-mon", "chardev=qmp,mode=control",
            *(word for device in devices for word in ("-device", device))]
        self._log = (folder / "qemu").open("wb")
        self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *arguments],
                                         stdin=subprocess.DEVNULL, stdout=self._log,
                                         stderr=self._log)
        self._shell, self._qmp = self._connected("shell"), self._connected("qmp")
        self._qmp_lines = b""
        self._qmp.sendall(b'{"execute": "qmp_capabilities"}\n')

    def _socket(self, name: str) -> list[str]:
        path = os.path.relpath(self.folder / name)
        return ["-chardev", f"socket,id={name},path={path},server=on,wait=off"]

    def _connected(self, name: str) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + BOOT_S
        while True:
            try:
                made.connect(os.path.relpath(self.folder / name))
            except OSError:
                assert self._process.poll() is None and time.monotonic() < deadline, self.said()
                time.sleep(0.05)  # nothing tells when qemu listens
            else:
                return made

    def until_booted(self) -> str:
        """Wait until the (next) boot has a shell; return its boot id."""
        boot = self._await(BOOTED, BOOT_S)[1].decode()
        self._hear(0)
        self.events.clear()  # what has led to it
        return boot

    def run(self, command: str, within_s: float = ANSWER_S) -> str:
        """Run a command in the shell and return what it printed. It must succeed."""
        status, said = self.try_to(command, within_s)
        assert not status, f"{command}: {said}\n{self.said()}"
        return said

    def try_to(self, command: str, within_s: float = ANSWER_S) -> tuple[int, str]:
        """Run a command; return its exit status, and what it printed."""
        self._serial += 1
        self._shell.sendall(f"{command}\necho @{self._serial} $?\n".encode())
        found = self._await(re.compile(rb"(?s)(.*)@%d (\d+)\n" % self._serial), within_s)
        return int(found[2]), found[1].decode(errors="replace").strip()

    def send(self, command: str) -> None:
        """Have the shell begin with a command that it may not live to see the end of."""
        self._shell.sendall(f"{command}\n".encode())

    def until(self, command: str, within_s: float = ANSWER_S) -> str:
        """Have the shell try a command again and again until it succeeds."""
        return self.run(f"until {command}; do sleep 0.2; done", within_s)

    def until_told(self, event: str, within_s: float) -> dict[str, Any]:
        """Wait for an event of the monitor that has not been waited for; return it."""
        seen = len(self.events)
        deadline = time.monotonic() + within_s
        while not (found := [one for one in self.events if one.get("event") == event]):
            assert self._hear(deadline), f"no {event}, but {self.events[seen:]}; {self.said()}"
        self.events.remove(found[0])
        return found[0]

    def said(self) -> str:
        """The last of what console, shell and qemu said."""
        console = self.folder / "console"
        return "\n".join([
            console.read_bytes().decode(errors="replace")[-3000:] if console.exists() else "",
            self._heard.decode(errors="replace")[-1000:],
            (self.folder / "qemu").read_text()[-1000:]])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for each in (self._shell, self._qmp, self._log):
            each.close()

    def _await(self, pattern: "re.Pattern[bytes]", within_s: float) -> "re.Match[bytes]":
        deadline = time.monotonic() + within_s
        while not (found := pattern.search(self._heard)):
            assert self._hear(deadline), f"waited for {pattern.pattern!r}; {self.said()}"
        self._heard = self._heard[found.end():]
        return found

    def _hear(self, deadline: float) -> bool:
        """Take in what shell or monitor say next; False if nothing comes in time."""
        left = max(deadline - time.monotonic(), 0)
        ready, _, _ = select.select([self._shell, self._qmp], [], [], left)
        for one in ready:
            data = one.recv(65536)
            assert data, f"qemu has gone; {self.said()}"
            if one is self._shell:
                self._heard += data
            else:
                *lines, self._qmp_lines = (self._qmp_lines + data).split(b"\n")
                self.events += [told for told in map(json.loads, lines) if "event" in told]
        return bool(ready)
