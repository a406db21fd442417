"""The eye on the kernels: who has which address, told by netlink as it happens (rtnetlink(7)).

Run as `python -m hamgr.lab.watcher ADDRESS,… NODE=NAMESPACE …`. It prints one line of JSON when an
address of the list comes to a node or leaves it, beginning with those that are there, then a
line `watching`; its standard input closed, it ends. Renewals of a lifetime are no changes.
"""

import ipaddress
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator

from hamgr.lab.netns import open_socket
from hamgr.lab.realtime import prefer

_NEWADDR, _DELADDR, _GETADDR, _DONE = 20, 21, 22, 3
_GROUPS = 0x10 | 0x100
"""RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR."""
_REQUEST_DUMP = 0x301
_HEADER = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_BUFFER = 1 << 18


def messages(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield (type, address) for each address message in a datagram; (DONE, "") ends a dump."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if kind in (_NEWADDR, _DELADDR):
            yield kind, _address(data[at + _HEADER.size:at + length])
        elif kind == _DONE:
            yield kind, ""
        at += (length + 3) & ~3


def _address(body: bytes) -> str:
    """Return the local address of an ifaddrmsg; IFA_LOCAL wins over IFA_ADDRESS (IPv4)."""
    found: dict[int, bytes] = {}
    at = _IFADDRMSG.size
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        found[kind] = body[at + _ATTRIBUTE.size:at + length]
        at += max(4, (length + 3) & ~3)
    raw = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    return str(ipaddress.ip_address(raw)) if raw else ""


class Watcher:
    """All nodes of one lab."""

    def __init__(self, addresses: frozenset[str], namespaces: dict[str, str]) -> None:
        self.addresses = addresses
        self.owners: set[tuple[str, str]] = set()
        self.sockets = {self._open(namespace): node for node, namespace in namespaces.items()}

    def run(self) -> None:
        """Tell every change until standard input closes."""
        for sock, node in self.sockets.items():
            self._take_stock(sock, node)
        _tell(watching=sorted(self.sockets.values()), at=time.monotonic_ns())
        while True:
            readable, _, _ = select.select([sys.stdin.fileno(), *self.sockets], [], [])
            if sys.stdin.fileno() in readable:
                return
            for sock, node in self.sockets.items():
                if sock in readable:
                    self._note(node, sock.recv(_BUFFER), time.monotonic_ns())

    @staticmethod
    def _open(namespace: str) -> socket.socket:
        sock = open_socket(namespace, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        sock.bind((0, _GROUPS))
        return sock

    def _take_stock(self, sock: socket.socket, node: str) -> None:
        size = _HEADER.size + _IFADDRMSG.size
        sock.send(_HEADER.pack(size, _GETADDR, _REQUEST_DUMP, 1, 0) + bytes(_IFADDRMSG.size))
        ended = False
        while not ended:
            data = sock.recv(_BUFFER)
            ended = any(kind == _DONE for kind, _ in messages(data))
            self._note(node, data, time.monotonic_ns())

    def _note(self, node: str, data: bytes, now: int) -> None:
        for kind, address in messages(data):
            if address not in self.addresses:
                continue
            here, there = kind == _NEWADDR, (node, address) in self.owners
            if here != there:
                (self.owners.add if here else self.owners.discard)((node, address))
                _tell(at=now, node=node, address=address, here=here)


def _tell(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(addresses: str, pairs: list[str]) -> None:
    """Watch these addresses in these namespaces."""
    prefer()
    Watcher(frozenset(addresses.split(",")), dict(pair.split("=", 1) for pair in pairs)).run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
