"""Cuts the TCP connections of a VIP, through sock_diag(7) and SOCK_DESTROY (Linux 4.9 and later).

Theory. A client that waits for an answer sends nothing, so nothing tells it that its server is no
longer there. tcp_abort() sends it a reset, which for IPv4 leaves the node only while the address
is still on it (measured: reset before the address is removed, silence after). Listening sockets
stay: their programs serve again when the address comes back. The kernel selects the sockets, by a
program in the request, so ten thousand others cost nothing here; pyroute2's DiagSocket cannot do
that. It looks through its whole table of connections each time (half a millisecond on a machine of
24 GiB), and the stop of a switchover waits for it: so one request asks for both families, which the
older of the two kinds of request can.
"""

import errno
import logging
import os
import socket
import struct
from collections.abc import Sequence

from hamgr.adapters.net.netlink import HEADER, NLMSG_DONE, NLMSG_ERROR, error_number, split

logger = logging.getLogger(__name__)

_NETLINK_SOCK_DIAG = 4
_TCPDIAG_GETSOCK, _SOCK_DESTROY = 18, 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_STATES = 0xFFF & ~(1 << 6 | 1 << 7 | 1 << 10)
"""Every TCP state but TIME_WAIT, CLOSE and LISTEN."""
_BYTECODE, _OP_JUMP, _OP_SOURCE = 1, 1, 7
"""INET_DIAG_REQ_BYTECODE, INET_DIAG_BC_JMP, INET_DIAG_BC_S_COND (linux/inet_diag.h)."""
_FIND, _DESTROY = struct.Struct("=4x48xII"), struct.Struct("=BBBxI")
"""inet_diag_req, for sockets of any family in some states; the head of an inet_diag_req_v2."""
_OP = struct.Struct("=BBH")
_FAMILY_AT, _ID = 16, slice(20, 68)
"""Where an answer has the socket's family, and the inet_diag_sockid that names it."""


class SocketCutter:
    """A socket for requests to sock_diag."""

    def __init__(self) -> None:
        self._socket = self._open()
        self._able = True

    def cut(self, addresses: Sequence[bytes]) -> int:
        """Destroy the TCP sockets whose own address is one of these (packed); return how many.

        A kernel that cannot is told of once, in the log, and then left in peace. Raises OSError.
        """
        try:
            return self._cut(addresses)
        except OSError:
            # An answer that comes after all must not be taken for that of the next request.
            self._socket.close()
            self._socket = self._open()
            raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @staticmethod
    def _open() -> socket.socket:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", 1, 0))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return opened

    def _cut(self, addresses: Sequence[bytes]) -> int:
        if not addresses or not self._able:
            return 0
        return sum(self._destroy(family, found) for family, found in self._find(addresses))

    def _find(self, addresses: Sequence[bytes]) -> list[tuple[int, bytes]]:
        program = selection(addresses)
        body = _FIND.pack(_STATES, 0) + struct.pack("=HH", 4 + len(program), _BYTECODE) + program
        self._socket.send(HEADER.pack(HEADER.size + len(body), _TCPDIAG_GETSOCK,
                                       _NLM_F_REQUEST | _NLM_F_DUMP, 0, 0) + body)
        found: list[tuple[int, bytes]] = []
        while True:
            for kind, message in split(self._socket.recv(1 << 17)):
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR:
                    self._cannot(error_number(message))
                    return []
                found.append((message[_FAMILY_AT], message[_ID]))

    def _destroy(self, family: int, name: bytes) -> bool:
        body = _DESTROY.pack(family, socket.IPPROTO_TCP, 0, 0) + name
        self._socket.send(HEADER.pack(HEADER.size + len(body), _SOCK_DESTROY,
                                       _NLM_F_REQUEST | _NLM_F_ACK, 0, 0) + body)
        number = error_number(self._socket.recv(1 << 16))
        if number not in (0, errno.ENOENT):
            self._cannot(number)
        return number == 0

    def _cannot(self, number: int) -> None:
        if number not in (errno.EOPNOTSUPP, errno.ENOENT):
            raise OSError(number, f"sock_diag: {os.strerror(number)}")
        if self._able:
            logger.warning("this kernel cannot destroy sockets (INET_DIAG_DESTROY): clients of a "
                           "withdrawn address learn of it only when they send")
        self._able = False


def selection(addresses: Sequence[bytes]) -> bytes:
    """Return the program that selects sockets by their own address: this one or that one or …

    A jump to the end of the program selects, one to 4 bytes beyond it rejects. An IPv4 client of a
    socket that listens on :: has an AF_INET6 socket; the kernel matches an AF_INET condition
    against its mapped address.
    """
    program = b""
    for address in reversed(addresses):
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        condition = struct.pack("=BBxxi", family, 8 * len(address), -1) + address
        to_jump = _OP.size + len(condition)
        otherwise = to_jump + _OP.size + (0 if program else 4)
        program = (_OP.pack(_OP_SOURCE, to_jump, otherwise) + condition
                   + _OP.pack(_OP_JUMP, _OP.size, _OP.size + len(program)) + program)
    return program
