"""The framing of netlink messages (netlink(7)), by the standard library alone.

Commands that people wait for read the kernel's tables without importing pyroute2 (0.1 s).
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
NLMSG_ERROR, NLMSG_DONE = 2, 3
RECEIVE = 1 << 17
"""Bytes of one read: the kernel fills at most 32 KiB."""
_REQUEST, _DUMP, _DUMP_INTR = 0x1, 0x300, 0x10


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, message with its header) for each message of one datagram."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, offset)
        yield kind, data[offset:offset + length]
        offset += (length + 3) & ~3


def error_number(message: bytes) -> int:
    """Return the errno in an NLMSG_ERROR message; 0 in an acknowledgement."""
    return -int(struct.unpack_from("=i", message, HEADER.size)[0])


def attributes(message: bytes, offset: int) -> dict[int, bytes]:
    """Return the attributes of a message, from the offset on."""
    found = {}
    while offset + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        found[kind] = message[offset + 4:offset + length]
        offset += (length + 3) & ~3
    return found


def dump(opened: socket.socket, kind: int, body: int) -> list[bytes]:
    """Return every message of a table; `body` is the size of the header that its messages have.

    Raises OSError, with EAGAIN if the table changed during each of five reads.
    """
    request = HEADER.pack(HEADER.size + body, kind, _REQUEST | _DUMP, 0, 0) + bytes(body)
    for _ in range(5):
        opened.send(request)
        answers, whole = _read(opened)
        if whole:
            return answers
    raise OSError(errno.EAGAIN, "the kernel's table changed during each of five reads")


def _read(opened: socket.socket) -> tuple[list[bytes], bool]:
    answers: list[bytes] = []
    whole = True
    while True:
        for kind, message in split(opened.recv(RECEIVE)):
            whole &= not HEADER.unpack_from(message)[2] & _DUMP_INTR
            if kind == NLMSG_DONE:
                return answers, whole
            if kind == NLMSG_ERROR:
                raise OSError(error_number(message), os.strerror(error_number(message)))
            answers.append(message)
