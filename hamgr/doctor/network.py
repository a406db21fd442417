"""Checks of interfaces, routes, and kernel settings: what they do to heartbeats and to VIPs.

The settings are explained in the kernel's Documentation/networking/ip-sysctl.rst ("ip-sysctl"
below). Most do harm only where two interfaces share a network: ARP belongs to the machine there,
not to the interface, and a VIP that answers with two MACs, or is asked for in another's name,
moves badly. The kernel uses the greater of conf/all and conf/NAME; so does `Link.settings`.
"""

from collections.abc import Iterator
from ipaddress import ip_interface

from hamgr.doctor.facts import Here, Link, Network
from hamgr.doctor.finding import Finding, fault, note, ok, warning

MTU_MIN = 1280
"""Bytes: what every IPv6 link carries (RFC 8200 section 5); a heartbeat has 1,204, and 48 of
headers."""
BEYOND = "192.0.2.1"
"""An address of no network (TEST-NET-1, RFC 5737): whoever is asked for it takes the default."""
ARP_NEVER = 8
STRICT = 1


def ring_links(here: Here, network: Network) -> Iterator[Finding]:
    """This node's ring addresses are on interfaces that work, and that carry a whole heartbeat."""
    for ring, address in enumerate(_own(here), 1):
        where, link = f"ring {ring}, {address}", network.link_of(address)
        if link is None:
            yield fault(where, "no interface of this node has this address",
                        "configure it, or mend the addresses in [node." + here.node + "]")
        elif link.fault:
            yield fault(where, link.fault, f"look at the cable and the switch port of {link.name}")
        elif link.mtu < MTU_MIN:
            yield fault(where, f"{link.name} has an MTU of {link.mtu}: a heartbeat of full size "
                        "is sent in fragments, or not at all",
                        f"`ip link set {link.name} mtu 1500`, and so in its configuration")
        else:
            yield ok(where, f"on {link.name}, MTU {link.mtu}")


def ring_routes(here: Here, network: Network) -> Iterator[Finding]:
    """Heartbeats leave by the interface of their ring, and need no router."""
    for ring, address in enumerate(_own(here)):
        link = network.link_of(address)
        for node, peer in _peers(here, ring):
            where = f"{node}, ring {ring + 1}"
            source = network.sources.get(peer, "")
            out = network.link_of(source) if source else None
            if not source:
                yield fault(where, f"this node has no route to {peer}",
                            "mend addresses and prefix lengths on this ring")
            elif link is not None and out is not None and out.name != link.name:
                yield _astray(where, peer, link, out)
            elif link is not None and not _direct(link, address, peer):
                yield warning(where, f"{peer} is in another subnet than {address}: a router is on "
                              "the way, and one more thing that fails",
                              "give all nodes addresses of one subnet on each ring")


def vip_links(here: Here, network: Network) -> Iterator[Finding]:
    """Each VIP that this node may have finds an interface, and a working one."""
    for vip in _vips(here):
        place = next((one for one in network.vips if one.address == vip), None)
        link = next((one for one in network.links if place and one.name == place.interface), None)
        if link is None:
            yield fault(vip, "no interface of this node has an address in its subnet, so it cannot "
                        "be here", "give one an address there, or name the interface: "
                        f'{{ address = "{vip}", interface = "NAME" }}')
        elif link.fault:
            yield fault(vip, f"{link.fault}, and this address belongs there",
                        f"look at the cable and the switch port of {link.name}")
        elif ":" in vip and link.settings.get("disable_ipv6"):
            yield fault(vip, f"IPv6 is turned off on {link.name} (ip-sysctl: disable_ipv6)",
                        f"`sysctl {_setting('ipv6', link, 'disable_ipv6')}=0`")
        else:
            yield ok(vip, f"belongs on {link.name}")


def arp(here: Here, network: Network) -> Iterator[Finding]:
    """ARP for a VIP is answered, by the interface that has it alone, and asked in its own name."""
    for link in _vip_links(here, network):
        ignore = link.settings.get("arp_ignore", 0)
        others = _sharing(link, network)
        names = ", ".join(other.name for other in others)
        if ignore >= ARP_NEVER:
            yield fault(link.name, f"arp_ignore is {ignore}: this node answers no ARP, so nobody "
                        "finds a VIP here (ip-sysctl: arp_ignore)",
                        f"`sysctl {_setting('ipv4', link, 'arp_ignore')}=1`, and see conf.all")
            continue
        if others and not ignore and not link.settings.get("arp_filter"):
            yield warning(
                link.name, f"shares a network with {names}, and arp_ignore is 0: each of them "
                "answers for a VIP with its own MAC, whichever interface has it, and clients keep "
                "the answer that comes last (ip-sysctl: arp_ignore)",
                "`sysctl net.ipv4.conf.all.arp_ignore=1`; or put them on networks of their own")
        if others and link.settings.get("arp_announce", 0) < 2:
            yield warning(
                link.name, f"shares a network with {names}, and arp_announce is below 2: with a "
                "VIP as their sender, the ARP requests of the other interfaces lead clients to "
                "these (ip-sysctl: arp_announce)", "`sysctl net.ipv4.conf.all.arp_announce=2`")
        if not others:
            yield ok(link.name, "is alone in its networks, so arp_ignore, arp_announce and "
                     "arp_filter may be as they are; arp_notify too, since hamgr announces itself")


def reverse_path(here: Here, network: Network) -> Iterator[Finding]:
    """Strict filtering of sources (RFC 3704) does not drop who is expected (ip-sysctl: rp_filter).

    It drops what arrives on an interface by which the kernel would not answer.
    """
    out = network.link_of(network.sources.get(BEYOND, ""))
    for link in _vip_links(here, network):
        if link.settings.get("rp_filter") != STRICT:
            yield ok(link.name, "does not filter sources strictly")
            continue
        if others := _sharing(link, network):
            yield warning(
                link.name, "shares a network with "
                f"{', '.join(other.name for other in others)}, and rp_filter is 1: of what arrives "
                "on both, one half is dropped (ip-sysctl: rp_filter)",
                "`sysctl net.ipv4.conf.all.rp_filter=2` (loose, the greater value counts); or put "
                "them on networks of their own")
        elif out is not None and out.name != link.name:
            yield note(link.name, f"rp_filter is 1 and the default route leaves by {out.name}: "
                       "clients of a VIP here that come through a router are dropped",
                       "harmless if all clients are in the VIP's subnet; else "
                       f"`sysctl {_setting('ipv4', link, 'rp_filter')}=2`")
        else:
            yield ok(link.name, "filters sources strictly, and answers by itself")


def nonlocal_bind(here: Here, network: Network) -> Iterator[Finding]:
    """A service that binds to its VIP can start before the VIP is there (services come first)."""
    for name, group in here.document.group.items():
        families = {"ipv6" if ":" in str(vip.address) else "ipv4" for vip in group.vips}
        off = [family for family in sorted(families)
               if not network.settings.get(f"{family}.ip_nonlocal_bind")]
        if group.service and off and here.node in group.nodes:
            yield note(name, f"ip_nonlocal_bind is 0 ({', '.join(off)}): a service that binds to "
                       "its VIP by name cannot start, as it is started before the VIP is added "
                       "(ip-sysctl: ip_nonlocal_bind)",
                       "install systemd/hamgr.sysctl.conf; or let it listen on all addresses")


def _astray(where: str, peer: str, link: Link, out: Link) -> Finding:
    text = f"what goes to {peer} leaves by {out.name}, not by {link.name}: the rings are not " \
           "independent"
    if link.settings.get("rp_filter") == STRICT:
        return fault(where, f"{text}, and what comes from there is dropped on {link.name}, whose "
                     "rp_filter is 1 (ip-sysctl: rp_filter)",
                     "give each ring a subnet of its own")
    return warning(where, text, "give each ring a subnet of its own")


def _setting(family: str, link: Link, name: str) -> str:
    """Return how sysctl(8) calls a setting: a dot in an interface's name is a slash there."""
    return f"net.{family}.conf.{link.name.replace('.', '/')}.{name}"


def _own(here: Here) -> list[str]:
    return [str(address) for address in here.document.node[here.node].addresses]


def _peers(here: Here, ring: int) -> list[tuple[str, str]]:
    return [(name, str(node.addresses[ring])) for name, node in here.document.node.items()
            if name != here.node and ring < len(node.addresses)]


def _vips(here: Here) -> list[str]:
    return [str(vip.address) for group in here.document.group.values()
            if here.node in group.nodes for vip in group.vips]


def _direct(link: Link, address: str, peer: str) -> bool:
    prefixes = [ip_interface(one) for one in link.addresses
                if one.partition("/")[0] == address]
    return any(ip_interface(peer).ip in prefix.network for prefix in prefixes)


def _vip_links(here: Here, network: Network) -> list[Link]:
    """Return the interfaces of IPv4 VIPs: IPv6 has neighbour discovery, which is per interface."""
    mine = {vip for vip in _vips(here) if ":" not in vip}
    names = dict.fromkeys(place.interface for place in network.vips if place.address in mine)
    return [link for name in names for link in network.links if link.name == name]


def _sharing(link: Link, network: Network) -> list[Link]:
    """Return the other interfaces with an IPv4 address in one of this one's subnets."""
    mine = _subnets(link)
    return [other for other in network.links
            if other.name != link.name and not other.fault and mine & _subnets(other)]


def _subnets(link: Link) -> set[str]:
    """Return the subnets of an interface; a host's own /32, such as a VIP's, is none."""
    return {str(ip_interface(one).network) for one in link.addresses
            if ":" not in one and not one.endswith("/32")}
