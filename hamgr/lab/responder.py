"""The service behind the VIP: a ledger that acknowledges numbered writes with its node's name.

Run on each node as `python -m hamgr.lab.responder NODE LEDGER`. A write is in the ledger before
it is acknowledged, and the acknowledgement leaves from the address that was written to, so a node
that has lost the VIP meanwhile cannot send it.
"""

import contextlib
import socket
import struct
import sys
import time
from pathlib import Path

from hamgr.lab.realtime import prefer

PORT = 7400
REQUEST = struct.Struct("!IQ")
"""Number of the write, and when the client sent it (its own affair)."""
ENTRY = struct.Struct("!IQ")
"""A line of the ledger: number of the write, nanoseconds of CLOCK_MONOTONIC."""
_PKTINFO_SPACE = socket.CMSG_SPACE(20)


def serve(node: str, ledger: Path) -> None:
    """Answer until killed; the answer is the request with the node's name behind it."""
    prefer()
    name = node.encode()
    with open(ledger, "ab", buffering=0) as entries, _listen() as sock:
        while True:
            data, control, _, client = sock.recvmsg(REQUEST.size, _PKTINFO_SPACE)
            if len(data) != REQUEST.size:
                continue
            entries.write(ENTRY.pack(REQUEST.unpack(data)[0], time.monotonic_ns()))
            with contextlib.suppress(OSError):  # the VIP went away between request and answer
                sock.sendmsg((data, name), control, 0, client)


def entries(ledger: Path) -> list[tuple[int, int]]:
    """Return the writes in a ledger: number, and when it was entered."""
    if not ledger.exists():
        return []
    data = ledger.read_bytes()
    whole = len(data) - len(data) % ENTRY.size  # power may go in the middle of an entry
    return list(ENTRY.iter_unpack(data[:whole]))


def _listen() -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    sock.bind(("::", PORT))
    return sock


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
