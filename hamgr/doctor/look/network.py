"""This node's interfaces and routes, from its kernel."""

import fcntl
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from hamgr.adapters.net import nics
from hamgr.adapters.net.rtnetlink import Rtnetlink
from hamgr.adapters.net.vip import Nic, Vip
from hamgr.doctor.facts import Here, Link, Network, VipPlace
from hamgr.doctor.network import BEYOND

SYSCTL = Path("/proc/sys/net")
PORT = 9
"""Of nobody: a UDP socket that is connected sends nothing, but has asked for the route."""
_SIOCGIFMTU = 0x8921
_SETTINGS = ("arp_ignore", "arp_announce", "arp_filter", "rp_filter")


def network(here: Here) -> Network:
    """Return what the kernel has. Raises OSError."""
    document = here.document
    peers = [str(address) for name, node in document.node.items() if name != here.node
             for address in node.addresses]
    vips = {str(vip.address): Vip(str(vip.address.ip), vip.address.network.prefixlen,
                                  vip.interface or None)
            for group in document.group.values() if here.node in group.nodes for vip in group.vips}
    seen = nics.look(list(vips.values()))
    return Network(
        links=tuple(_links()),
        vips=tuple(VipPlace(address=address, interface=sighting.interface)
                   for address, sighting in zip(vips, seen, strict=True)),
        sources={peer: source(peer) for peer in (*peers, BEYOND)},
        settings={f"{family}.ip_nonlocal_bind": _setting(SYSCTL / family / "ip_nonlocal_bind")
                  for family in ("ipv4", "ipv6")})


def source(peer: str) -> str:
    """Return the own address from which the kernel would talk to another one; empty: no route."""
    family = socket.AF_INET6 if ip_address(peer).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock, suppress(OSError):
        sock.connect((peer, PORT))
        return str(sock.getsockname()[0])
    return ""


def _links() -> Iterable[Link]:
    netlink = Rtnetlink()
    try:
        found, addresses = netlink.links(), netlink.addresses()
    finally:
        netlink.close()
    for nic in found:
        try:
            mtu = _mtu(nic)
        except OSError:
            continue  # it has gone meanwhile
        yield Link(name=nic.name, mtu=mtu, fault=nic.fault, settings=_settings(nic.name),
                   addresses=tuple(f"{ip_address(one.packed)}/{one.prefix}"
                                   for one in addresses if one.nic == nic.index))


def _mtu(nic: Nic) -> int:
    """Ask by ioctl (netdevice(7)): /sys may belong to another network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFMTU, struct.pack("16si", nic.name.encode(), 0))
    mtu: int = struct.unpack("16si", answer)[1]
    return mtu


def _settings(name: str) -> dict[str, int]:
    own = SYSCTL / "ipv4/conf"
    found = {key: max(_setting(own / "all" / key), _setting(own / name / key))
             for key in _SETTINGS}
    return {**found, "disable_ipv6": _setting(SYSCTL / "ipv6/conf" / name / "disable_ipv6")}


def _setting(path: Path) -> int:
    """Return a setting, 0 if this kernel does not have it."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
