"""The client: writes to the VIP each millisecond, and notes which node acknowledged, and when.

Run in the client's namespace as `python -m hamgr.lab.prober ADDRESS RECORD`. It prints a line of
JSON whenever it is served anew (`served`, after a silence or by another node) and when silence
falls (`silent`); its standard input closed, it writes the record and ends.
"""

import json
import select
import socket
import struct
import sys
import time
from array import array
from pathlib import Path

from hamgr.lab.realtime import prefer
from hamgr.lab.responder import PORT, REQUEST

INTERVAL_NS = 1_000_000
SILENCE_NS = 20_000_000
"""So long without any acknowledgement is worth a line: scheduling noise is shorter."""
ROW = struct.Struct("!QQH")
"""A line of the record: sent, acknowledged (0: never), number of the node in the order heard."""


class Prober:
    """One client of one address."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.target = (address, PORT)
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sent = array("Q")
        self.answered = array("Q")
        self.by = array("H")
        self.nodes: list[str] = []
        self.newest = -1
        self.last = 0
        self.last_by = ""
        self.silent = True

    def run(self) -> None:
        """Write each millisecond until standard input closes."""
        due, stdin = time.monotonic_ns(), sys.stdin.fileno()
        while True:
            wait = max(0, due - time.monotonic_ns()) / 1e9
            readable, _, _ = select.select([self.sock, stdin], [], [], wait)
            if self.sock in readable:
                self._receive()
            if stdin in readable:
                return
            now = time.monotonic_ns()
            if now >= due:
                self._send(now)
                # Writes that fell due while this process slept are left out, not caught up with.
                due = max(due + INTERVAL_NS, now - now % INTERVAL_NS)
            if not self.silent and now - self.last > SILENCE_NS:
                self.silent = True
                _tell(silent=self.last_by, since=self.last)

    def save(self, record: Path) -> None:
        """Write the record: the nodes' names on one line, then rows."""
        rows = b"".join(map(ROW.pack, self.sent, self.answered, self.by))
        record.write_bytes(" ".join(self.nodes).encode() + b"\n" + rows)

    def _send(self, now: int) -> None:
        number = len(self.sent)
        self.sent.append(now)
        self.answered.append(0)
        self.by.append(0)
        try:
            self.sock.sendto(REQUEST.pack(number, now), self.target)
        except OSError:  # no route or no neighbour: a write that is lost like any other
            return

    def _receive(self) -> None:
        while True:
            try:
                data = self.sock.recv(256)
            except BlockingIOError:
                return
            number, _ = REQUEST.unpack_from(data)
            self.note(number, data[REQUEST.size:].decode(), time.monotonic_ns())

    def note(self, number: int, node: str, now: int) -> None:
        """Take an acknowledgement down. One that comes after its time does not tell who serves."""
        if node not in self.nodes:
            self.nodes.append(node)
        self.answered[number] = now
        self.by[number] = self.nodes.index(node)
        if number < self.newest:
            return
        if self.silent or node != self.last_by:
            _tell(served=node, at=now, after=now - self.last if self.last else 0)
        self.newest, self.silent, self.last, self.last_by = number, False, now, node


def _tell(**line: str | int) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(address: str, record: Path) -> None:
    """Probe an address, then write the record."""
    prefer()
    prober = Prober(address)
    try:
        prober.run()
    finally:
        prober.save(record)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
