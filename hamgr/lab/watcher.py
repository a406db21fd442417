"""The eye on the kernels: who has which address, told by netlink as it happens (rtnetlink(7)).

Run as `python -m hamgr.lab.watcher ADDRESS,… NODE=NAMESPACE …`. It prints one line of JSON when an
address of the list comes to a node or leaves it, beginning with those that are there, then a
line `watching`; its standard input closed, it ends. Renewals of a lifetime are no changes.

The order of the lines is that in which things happened, however late this process runs. A kernel
changes addresses under one lock for all namespaces and tells of each change before it lets go, and
one socket hears of them all (NETLINK_LISTEN_ALL_NSID), so they queue up in their order.

The instants are less exact. Netlink has no timestamps: SO_TIMESTAMPNS and SO_TIMESTAMPING are taken
on such a socket, and nothing comes of them; an address's own (IFA_CACHEINFO) count hundredths of a
second, and none tells when it left. So each line says `at`, by when the change had been read, and
`after`, when there was nothing yet to read: this process looks each millisecond, so where it gets
its turn they are no further apart, and where it does not, they say by how much it was late.
"""

import ipaddress
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator

from hamgr.core.types import MILLISECOND, SECOND, Instant
from hamgr.lab.netns import number_of, open_socket
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
_QUEUE = 1 << 22
"""Bytes the kernel keeps for us: renewals of a lifetime, several a second, for minutes."""
_SO_RCVBUFFORCE = 33
"""Beyond net.core.rmem_max (socket(7)); not in Python's socket module."""
_SOL_NETLINK, _LISTEN_ALL_NSID = 270, 8
"""setsockopt(2), and the type of the control message with the number of the namespace."""
_NUMBER = struct.Struct("=i")
_LOOK = 1 * MILLISECOND
"""Between two looks at an empty queue: they cost a fiftieth of a core."""
_STOCKS = 100
"""How often everything is looked at anew because something changed meanwhile."""


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
        self.namespaces = namespaces
        self.owners: set[tuple[str, str]] = set()
        self.nodes = {number_of(name): node for node, name in namespaces.items()}
        self.sock = self._subscribed()
        self.quiet: Instant = 0
        """Nothing was left to read then."""
        self.last: Instant = 0

    def run(self) -> None:
        """Tell every change until standard input closes. Raises OSError when one was missed."""
        self._take_stock()
        for node, address in sorted(self.owners):
            self._tell_of(node, address, here=True)
        _tell(watching=sorted(self.namespaces), at=time.monotonic_ns())
        stdin = sys.stdin.fileno()
        while True:
            asked = time.monotonic_ns()
            readable, _, _ = select.select([stdin, self.sock], [], [], _LOOK / SECOND)
            if self.sock in readable:
                self._read()
            elif stdin in readable:
                return
            else:  # select(2) looks once more when its time is up
                self.quiet = asked + _LOOK

    @staticmethod
    def _subscribed() -> socket.socket:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE)
        sock.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        sock.bind((0, _GROUPS))
        return sock

    def _take_stock(self) -> None:
        """Find out who has what, at one moment: what moves while it is looked for counts twice."""
        for _ in range(_STOCKS):
            self.quiet = time.monotonic_ns()
            self.owners = {(node, address) for node, namespace in self.namespaces.items()
                           for address in _dump(namespace) if address in self.addresses}
            if not any([self._changes() for _ in iter(self._waiting, False)]):
                return
        raise OSError(f"the addresses changed during each of {_STOCKS} looks")

    def _waiting(self) -> bool:
        return bool(select.select([self.sock], [], [], 0)[0])

    def _read(self) -> None:
        for node, address, here in self._changes():
            self._tell_of(node, address, here)

    def _changes(self) -> list[tuple[str, str, bool]]:
        """Return what one datagram changes."""
        data, control, _, _ = self.sock.recvmsg(_BUFFER, socket.CMSG_SPACE(_NUMBER.size))
        numbers = [_NUMBER.unpack(value)[0] for level, kind, value in control
                   if (level, kind) == (_SOL_NETLINK, _LISTEN_ALL_NSID)]
        node = self.nodes.get(numbers[0]) if numbers else None
        if node is None:  # a namespace that is none of our nodes, as the one we live in
            return []
        return [(node, address, kind == _NEWADDR) for kind, address in messages(data)
                if address in self.addresses and self._changed(node, address, kind == _NEWADDR)]

    def _changed(self, node: str, address: str, here: bool) -> bool:
        there = (node, address) in self.owners
        (self.owners.add if here else self.owners.discard)((node, address))
        return here != there

    def _tell_of(self, node: str, address: str, here: bool) -> None:
        self.last = max(time.monotonic_ns(), self.last + 1)  # instants are in the order of lines
        _tell(at=self.last, after=self.quiet, node=node, address=address, here=here)


def _dump(namespace: str) -> list[str]:
    """Return every address of a namespace."""
    with open_socket(namespace, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        size = _HEADER.size + _IFADDRMSG.size
        sock.send(_HEADER.pack(size, _GETADDR, _REQUEST_DUMP, 1, 0) + bytes(_IFADDRMSG.size))
        found: list[tuple[int, str]] = []
        while not any(kind == _DONE for kind, _ in found):
            found += messages(sock.recv(_BUFFER))
    return [address for kind, address in found if kind == _NEWADDR]


def _tell(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(addresses: str, pairs: list[str]) -> None:
    """Watch these addresses in these namespaces."""
    prefer()
    Watcher(frozenset(addresses.split(",")), dict(pair.split("=", 1) for pair in pairs)).run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
