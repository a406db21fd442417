"""The kernel's table of neighbours, for IPv4 and IPv6: whose MAC an address has on the wire."""

import socket
import struct

from hamgr.adapters.net.netlink import HEADER, attributes, dump

_RTM_GETNEIGH = 30
_NDMSG = struct.Struct("=BxxxiHBB")
"""struct ndmsg (rtnetlink(7)): family, interface, state, flags, type."""
_NDA_DST, _NDA_LLADDR = 1, 2


def neighbours() -> dict[bytes, str]:
    """Return the MAC of each neighbour that has one, by its address in network byte order.

    Raises OSError.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as opened:
        messages = dump(opened, _RTM_GETNEIGH, _NDMSG.size)
    found = (attributes(message, HEADER.size + _NDMSG.size) for message in messages)
    return {one[_NDA_DST]: one[_NDA_LLADDR].hex(":") for one in found
            if _NDA_DST in one and any(one.get(_NDA_LLADDR, b""))}
