"""What cuts nodes of a lab off: a board (IPMI 2.0) for each, and a power strip for all.

    python -m tests.lab.power LAB FOLDER DEVICE ADDRESS [NODE]

They are processes on a bystander, n4, each with an address of its own on ring 1, so nodes reach
them over the lab's network only, and lose them with it. Off is a crash of the node at one instant,
on a boot. How a device conducts itself stands in FOLDER/DEVICE, and what it did in FOLDER/record:
the latter on the clock of hooks, agents and watchers.
"""

import json
import os
import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from pyghmi.ipmi.bmc import Bmc

from hamgr.lab.lab import Lab
from hamgr.lab.spec import LabError

PORT, STRIP_PORT = 623, 7000
USER, PASSWORD = "hamgr", "c0rrect-h0rse"
RECORD, PASSWORD_FILE = "record", "password"
WELL, DEAF, REFUSES, HANGS, LATE = "", "deaf", "refuses", "hangs", "late"
"""Deaf: says that it has done it, and does nothing. Hangs: answers nothing, and forgets what it was
asked. Late: does it when whoever asked has given up."""
LATE_S = 5.0
"""Longer than the timeout of any device here."""
REFUSED = 0xD5
"""A completion code of IPMI: not in this state."""
_STEP_S = 0.02


class Did(NamedTuple):
    """Something that a device did: it cut a node off, or gave it power."""

    at: int
    device: str
    node: str
    what: str


class Machine:
    """The power of nodes, as one device has it in its hands."""

    def __init__(self, lab: str, folder: Path, device: str) -> None:
        self._lab, self._folder, self._device = Lab.find(lab), folder, device

    def is_on(self, node: str) -> bool:
        """Tell whether a node has power."""
        self.conduct()
        return node not in self._lab.faults.off

    def switch(self, node: str, on: bool) -> bool:
        """Switch a node; return whether the device says that it has done it."""
        how = self.conduct()
        if how == LATE and not on:
            time.sleep(LATE_S)
        if how in (REFUSES, HANGS):
            return False
        if how != DEAF:
            self._switch(node, on)
        return True

    def conduct(self) -> str:
        """Return how the device conducts itself, once it answers at all."""
        how = first = (self._folder / self._device).read_text()
        while how == HANGS:
            time.sleep(_STEP_S)
            how = (self._folder / self._device).read_text()
        return first

    def _switch(self, node: str, on: bool) -> None:
        try:
            at = time.monotonic_ns()
            self._note(at, node, "begins")
            (self._lab.boot if on else self._lab.crash)(node)
        except LabError:  # it is so already
            return
        self._note(time.monotonic_ns(), node, "on" if on else "off")

    def _note(self, at: int, node: str, what: str) -> None:
        with (self._folder / RECORD).open("a") as record:
            record.write(json.dumps([at, self._device, node, what]) + "\n")


class Board(Bmc):  # type: ignore[misc] # pyghmi has no types
    """The board of one node."""

    def __init__(self, address: str, node: str, machine: Machine) -> None:
        super().__init__({USER: PASSWORD}, port=PORT, address=address)
        self._node, self._machine = node, machine

    def get_power_state(self) -> str:
        """Return whether the node has power."""
        return "on" if self._machine.is_on(self._node) else "off"

    def power_off(self) -> int:
        """Cut the node off."""
        return 0 if self._machine.switch(self._node, on=False) else REFUSED

    def power_on(self) -> int:
        """Boot it."""
        return 0 if self._machine.switch(self._node, on=True) else REFUSED


class Strip(socketserver.StreamRequestHandler):
    """A line to a power strip that has an outlet for each node."""

    machine: Machine

    def handle(self) -> None:
        """Do what one line says."""
        action, node = self.rfile.readline().decode().split()
        if action in ("status", "monitor"):
            answer = "on" if self.machine.is_on(node) else "off"
        else:
            done = self.machine.switch(node, on=action == "on")
            answer = "done" if done else "the strip refuses"
        self.wfile.write(f"{answer}\n".encode())


class _Strips(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked was killed, or lost the network meanwhile."""


def main(lab: str, folder: str, device: str, address: str, node: str = "") -> None:
    """Be a device until standard input closes."""
    machine = Machine(lab, Path(folder), device)
    threading.Thread(target=_end_with_input, daemon=True).start()
    if node:
        board = Board(address, node, machine)
        _say_listening()
        board.listen()
    Strip.machine = machine
    with _Strips((address, STRIP_PORT), Strip) as server:
        _say_listening()
        server.serve_forever()


def _say_listening() -> None:
    sys.stdout.write(json.dumps({"listening": True}) + "\n")
    sys.stdout.flush()


def _end_with_input() -> None:
    """End when whoever started the device is gone, or wants no more of it."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
