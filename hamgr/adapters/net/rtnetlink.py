"""A socket for rtnetlink requests: ready-made messages, sent and acknowledged.

Theory. The kernel carries a request out inside send(2), so its acknowledgement can be read at once:
a batch costs one send and one short recv for each message, about 0.1 ms for one address, with
nothing awaited, opened or imported in between (a call of AsyncIPRoute costs 0.4 to 1 ms).
"""

import socket
import struct
from collections.abc import Sequence

from pyroute2.netlink.rtnl import RTM_GETADDR, RTM_GETLINK

from hamgr.adapters.net.messages import IFADDR, IFINFO, Presence, parse_address, parse_link
from hamgr.adapters.net.netlink import NLMSG_ERROR, RECEIVE, dump, error_number, split
from hamgr.adapters.net.vip import Nic

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
                            for kind, message in split(self._socket.recv(RECEIVE))
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
        try:
            return dump(self._socket, kind, body)
        except OSError:
            self._reopen()
            raise

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
