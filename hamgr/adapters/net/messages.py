"""rtnetlink messages (RFC 3549, rtnetlink(7)): built by pyroute2, before they are needed.

What the kernel sends is taken apart here, by its fixed headers: pyroute2 takes 40 us for an address
and 165 us for a link, and a busy host has hundreds of them, in the agent's loop.
"""

import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELADDR, RTM_NEWADDR
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, IFA_F_NOPREFIXROUTE, ifaddrmsg

from hamgr.adapters.net.netlink import HEADER, attributes
from hamgr.adapters.net.vip import Nic, Place, Vip

UNLIMITED = 0xFFFFFFFF
"""The lifetime of an address that does not expire."""
IFINFO = struct.Struct("=BxHiII")
IFADDR = struct.Struct("=BBBBi")
_IFLA_ADDRESS, _IFLA_IFNAME = 1, 3
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO = 1, 2, 6
_CACHEINFO = struct.Struct("=IIII")
"""struct ifa_cacheinfo: preferred and valid lifetime in seconds, time stamps."""
_IFF_UP, _IFF_RUNNING, _IFF_NOARP, _IFF_LOWER_UP = 0x1, 0x40, 0x80, 0x10000
_ARPHRD_ETHER = 1


class Messages(NamedTuple):
    """Everything that is ever asked of the kernel for one VIP in one place."""

    hold: bytes
    """Add it, or renew its lifetime."""
    restore: bytes
    """Add it, only if it is not there (EEXIST)."""
    loosen: bytes
    """Make its lifetime unlimited."""
    remove: bytes


class Presence(NamedTuple):
    """One address that the kernel has."""

    packed: bytes
    prefix: int
    nic: int
    """The index of its interface."""
    lifetime_s: int | None = None
    """What is left of its lifetime when it was read; None: it does not expire."""


def messages_for(vip: Vip, place: Place, valid_lft_s: int) -> Messages:
    """Build the messages for a VIP.

    An IPv6 address is added without duplicate address detection: a probe of our own has come
    before, and the kernel's may leave it unusable for good after a layer-2 disturbance. It is
    deprecated from the start (preferred lifetime 0), so that the node never chooses it as the
    source of its own connections (RFC 6724, rule 3); IPv4 has no such rule, nor the need for it.
    """
    add = NLM_F_CREATE | NLM_F_REPLACE
    return Messages(
        hold=_address_message(vip, place, RTM_NEWADDR, add, valid_lft_s),
        restore=_address_message(vip, place, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, valid_lft_s),
        loosen=_address_message(vip, place, RTM_NEWADDR, add, UNLIMITED),
        remove=removal(Presence(vip.packed, place.prefix, place.nic.index)),
    )


def removal(presence: Presence) -> bytes:
    """Build the message that removes an address."""
    family = socket.AF_INET if len(presence.packed) == 4 else socket.AF_INET6
    text = socket.inet_ntop(family, presence.packed)
    attributes = [("IFA_LOCAL", text), ("IFA_ADDRESS", text)]
    return _encode(RTM_DELADDR, 0, family, presence.prefix, presence.nic, attributes)


def _address_message(vip: Vip, place: Place, kind: int, flags: int, lifetime: int) -> bytes:
    six = vip.family == socket.AF_INET6
    attributes: list[tuple[str, object]] = [
        ("IFA_LOCAL", vip.address), ("IFA_ADDRESS", vip.address),
        ("IFA_CACHEINFO", {"ifa_preferred": 0 if six else lifetime, "ifa_valid": lifetime,
                           "cstamp": 0, "tstamp": 0}),
    ]
    if six:
        attributes.append(("IFA_FLAGS", IFA_F_NODAD | IFA_F_NOPREFIXROUTE * place.covered))
    return _encode(kind, flags, vip.family, place.prefix, place.nic.index, attributes)


def _encode(kind: int, flags: int, family: int, prefix: int, index: int,
            attributes: Sequence[tuple[str, object]]) -> bytes:
    message = ifaddrmsg()
    message["header"] = {"type": kind, "flags": NLM_F_REQUEST | NLM_F_ACK | flags,
                         "sequence_number": 0, "pid": 0}
    message["family"], message["prefixlen"], message["index"] = family, prefix, index
    message["attrs"] = list(attributes)
    message.encode()
    return bytes(message.data)


def parse_address(message: bytes) -> Presence:
    """Read an RTM_NEWADDR or RTM_DELADDR message."""
    _, prefix, _, _, index = IFADDR.unpack_from(message, HEADER.size)
    found = attributes(message, HEADER.size + IFADDR.size)
    _, lifetime, _, _ = _CACHEINFO.unpack(found.get(_IFA_CACHEINFO, bytes(_CACHEINFO.size)))
    expires = _IFA_CACHEINFO in found and lifetime != UNLIMITED
    return Presence(found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b""), prefix, index,
                    lifetime if expires else None)


def parse_link(message: bytes) -> Nic:
    """Read an RTM_NEWLINK or RTM_DELLINK message."""
    _, kind, index, flags, _ = IFINFO.unpack_from(message, HEADER.size)
    found = attributes(message, HEADER.size + IFINFO.size)
    name = found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode()
    if not flags & _IFF_UP:
        fault = f"{name} is down"
    elif not flags & _IFF_LOWER_UP:
        fault = f"{name} has no carrier"
    else:
        fault = "" if flags & _IFF_RUNNING else f"{name} is not operational"
    ethernet = kind == _ARPHRD_ETHER and not flags & _IFF_NOARP
    return Nic(index, name, found.get(_IFLA_ADDRESS, b""), ethernet, fault)
