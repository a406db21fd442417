"""Hears of every change of links and addresses from the kernel, as it happens."""

import asyncio
import errno
import socket
from collections.abc import Callable

from pyroute2.netlink.rtnl import RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK

from hamgr.adapters.net.messages import Presence, parse_address, parse_link
from hamgr.adapters.net.netlink import split
from hamgr.adapters.net.vip import Nic

_GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR (rtnetlink(7))."""
_BUFFER = 1 << 20
_FAMILY_AT = 16
_AT_ONCE = 64
"""Datagrams read in one go, so that a storm of changes leaves the loop its turn."""


class Monitor:
    """Calls back for each change, in the thread of the loop."""

    def __init__(
        self, *,
        address_changed: Callable[[Presence, bool], None],
        link_changed: Callable[[Nic, bool], None],
        missed: Callable[[], None],
    ) -> None:
        """The bool says whether it is there now. missed: too much happened at once, look anew."""
        self._address_changed, self._link_changed = address_changed, link_changed
        self._missed = missed
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Subscribe, unless that is done: a start may be tried again. Raises OSError."""
        if self._socket is not None:
            return
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK,
                               socket.NETLINK_ROUTE)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            opened.bind((0, _GROUPS))
        except OSError:
            opened.close()
            raise
        asyncio.get_running_loop().add_reader(opened, self.read)
        self._socket = opened

    def close(self) -> None:
        """Unsubscribe."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def read(self) -> None:
        """Tell what has happened up to now."""
        opened = self._socket
        if opened is None:
            return
        for _ in range(_AT_ONCE):
            try:
                data = opened.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._missed()
                return
            for kind, message in split(data):
                self._tell(kind, message)

    def _tell(self, kind: int, message: bytes) -> None:
        if kind in (RTM_NEWADDR, RTM_DELADDR):
            self._address_changed(parse_address(message), kind == RTM_NEWADDR)
        elif kind in (RTM_NEWLINK, RTM_DELLINK) and message[_FAMILY_AT] == socket.AF_UNSPEC:
            # With AF_BRIDGE the same types say that an interface joined or left a bridge.
            self._link_changed(parse_link(message), kind == RTM_NEWLINK)
