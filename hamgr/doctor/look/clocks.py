"""The wall clocks of other machines, asked with ICMP timestamps (RFC 792).

The kernel of the other side answers, to the millisecond since midnight UT; many firewalls do not
let that pass, and then nothing is known. Only good to know: no lease rests on a wall clock.
"""

import os
import select
import socket
import struct
import time
from collections.abc import Mapping

from hamgr.core.types import NodeName

WITHIN_S = 0.5
DAY_MS = 86_400_000
_REQUEST, _REPLY = 13, 14
_MESSAGE = struct.Struct("!BBHHHIII")
"""Type, code, checksum, identifier, sequence; originate, receive and transmit timestamp."""
_NOT_STANDARD = 1 << 31
"""A receiver that cannot give milliseconds since midnight UT sets the high bit."""


def ahead(addresses: Mapping[NodeName, str]) -> dict[NodeName, float]:
    """Return by how many seconds the clock of each node is ahead that answers, by IPv4 address.

    Raises OSError without the right to open a raw socket.
    """
    names = {address: node for node, address in addresses.items() if ":" not in address}
    found: dict[NodeName, float] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        for address in names:
            _request(sock, address)
        until = time.monotonic() + WITHIN_S
        while len(found) < len(names) and (left := until - time.monotonic()) > 0:
            if not select.select([sock], [], [], left)[0]:
                break
            packet, (source, _) = sock.recvfrom(256)
            there = reply(packet)
            if there is not None and source in names:
                found[names[source]] = difference(there, _now_ms()) / 1000
    return found


def request(sequence: int, now_ms: int) -> bytes:
    """Return a timestamp request."""
    blank = _MESSAGE.pack(_REQUEST, 0, 0, os.getpid() & 0xFFFF, sequence, now_ms, 0, 0)
    return _MESSAGE.pack(_REQUEST, 0, checksum(blank), os.getpid() & 0xFFFF, sequence, now_ms, 0, 0)


def reply(packet: bytes) -> int | None:
    """Return the transmit timestamp of an IPv4 packet with an answer to us, in ms."""
    start = 4 * (packet[0] & 0xF) if packet else 0
    if len(packet) < start + _MESSAGE.size:
        return None
    kind, _, _, identifier, _, _, _, sent = _MESSAGE.unpack_from(packet, start)
    if kind != _REPLY or identifier != os.getpid() & 0xFFFF or sent & _NOT_STANDARD:
        return None
    return sent if isinstance(sent, int) else None


def difference(there: int, here: int) -> int:
    """Return by how many ms one time of day is ahead of another, around midnight too."""
    return (there - here + DAY_MS // 2) % DAY_MS - DAY_MS // 2


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _request(sock: socket.socket, address: str) -> None:
    try:
        sock.sendto(request(1, _now_ms()), (address, 0))
    except OSError:
        return  # no route: then it does not answer either


def _now_ms() -> int:
    return time.time_ns() // 1_000_000 % DAY_MS
