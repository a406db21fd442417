"""A socket for rtnetlink requests: ready-made messages, sent and acknowledged.

Theory. The kernel carries a request out inside send(2), so its acknowledgement can be read at once:
a batch costs one send and one short recv for each message, about 0.1 ms for one address, with
nothing awaited, opened or imported in between (a call of AsyncIPRoute costs 0.4 to 1 ms).
"""

import errno
import os
import socket
import struct
from collections.abc import Sequence

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_GETADDR, RTM_GETLINK

from hamgr.adapters.net.messages import (
    HEADER,
    IFADDR,
    IFINFO,
    NLMSG_DONE,
    NLMSG_ERROR,
    Presence,
    error_number,
    parse_address,
    parse_link,
    split,
)
from hamgr.adapters.net.vip import Nic

_NLM_F_DUMP_INTR = 0x10
_RECEIVE = 1 << 17
_BUFFER = 1 << 20
"""Room for the acknowledgements of a batch of some 1,000 addresses."""


class Rtnetlink:
    """A socket for requests. Every method is synchronous and takes microseconds."""

    def __init__(self) -> None:
        self._socket = self._open()

    def apply(self, messages: Sequence[bytes]) -> list[int]:
        """Send messages that ask for an acknowledgement, in one go.

        Returns the errno of each, 0 if done. Raises OSError if the socket itself fails.
        """
        answers: list[int] = []
        try:
            if messages:
                self._socket.send(b"".join(messages))
            while len(answers) < len(messages):
                answers += (error_number(message)
                            for kind, message in split(self._socket.recv(_RECEIVE))
                            if kind == NLMSG_ERROR)
        except OSError:
            self._reopen()
            raise
        return answers

    def addresses(self) -> list[Presence]:
        """Return every address of every interface. Raises OSError."""
        return [parse_address(message) for message in self._dump(RTM_GETADDR, IFADDR.size)]

    def links(self) -> list[Nic]:
        """Return every interface. Raises OSError."""
        return [parse_link(message) for message in self._dump(RTM_GETLINK, IFINFO.size)]

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _dump(self, kind: int, body: int) -> list[bytes]:
        request = HEADER.pack(HEADER.size + body, kind, NLM_F_REQUEST | NLM_F_DUMP, 0, 0)
        for _ in range(5):
            try:
                answers, whole = self._read_dump(request + bytes(body))
            except OSError:
                self._reopen()
                raise
            if whole:
                return answers
        raise OSError(errno.EAGAIN, "the kernel's table changed during each of five reads")

    def _read_dump(self, request: bytes) -> tuple[list[bytes], bool]:
        self._socket.send(request)
        answers: list[bytes] = []
        whole = True
        while True:
            for kind, message in split(self._socket.recv(_RECEIVE)):
                whole &= not HEADER.unpack_from(message)[2] & _NLM_F_DUMP_INTR
                if kind == NLMSG_DONE:
                    return answers, whole
                if kind == NLMSG_ERROR:
                    raise OSError(error_number(message), os.strerror(error_number(message)))
                answers.append(message)

    def _reopen(self) -> None:
        # An answer that comes after all must not be taken for that of the next request.
        self._socket.close()
        self._socket = self._open()

    @staticmethod
    def _open() -> socket.socket:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", 1, 0))
        return opened
