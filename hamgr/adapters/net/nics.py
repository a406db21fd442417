"""Which interface of this node a VIP belongs on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from hamgr.adapters.net.messages import Presence
from hamgr.adapters.net.rtnetlink import Rtnetlink
from hamgr.adapters.net.vip import Nic, Place, Vip


class Sighting(NamedTuple):
    """Where one VIP is, or belongs, on this node."""

    interface: str
    """Empty when no interface fits."""
    present: bool
    lifetime_s: int | None = None
    """What is left of its lifetime when present; None: it does not expire."""


def place_for(
    vip: Vip,
    nics: Mapping[int, Nic],
    own: Iterable[Presence],
) -> Place | str:
    """Return where a VIP belongs, or why there is no such place. `own` has no VIPs in it.

    A VIP is added with the full prefix length, 32 or 128, whenever the interface has an address of
    its own in the subnet, and thereby the route: so it is nobody's secondary address, and neither
    the removal of the node's own address nor that of another VIP takes it along
    (ip-sysctl: promote_secondaries). An interface without one, which must be named, gets the route
    to the clients with the VIP, by its configured prefix.
    """
    near = [presence for presence in own
            if presence.nic in nics and vip.shares_subnet(presence.packed, presence.prefix)]
    if vip.interface is None:
        if not near:
            return (f"no interface has an address in {vip.subnet}: give one an address there, or "
                    f"name the interface of {vip.address}")
        best = min(near, key=lambda presence: (-presence.prefix, presence.nic))
        return Place(nics[best.nic], 8 * len(vip.packed), True)
    named = next((nic for nic in nics.values() if nic.name == vip.interface), None)
    if named is None:
        return f"there is no interface {vip.interface}"
    covered = any(presence.nic == named.index for presence in near)
    return Place(named, 8 * len(vip.packed) if covered else vip.prefix, covered)


def settle(old: Place | None, found: Place | str, nics: Mapping[int, Nic],
           active: bool) -> Place | None:
    """Return the place of a VIP that had one, now that another look was taken.

    One that is in use is left alone as long as its interface is there, whatever becomes of the
    node's own addresses: restarting the network's configuration flushes them for a moment.
    """
    if active and old is not None and old.nic.index in nics:
        stays = isinstance(found, str) or found.nic.index == old.nic.index
        if stays:
            return Place(nics[old.nic.index], old.prefix, old.covered)
    return None if isinstance(found, str) else found


def look(vips: Sequence[Vip]) -> list[Sighting]:
    """Return where this node's kernel has each VIP, or would have it: for who has no agent to ask.

    `vips`: all that are configured, none of which counts as the node's own address. Raises OSError.
    """
    nics, addresses = _seen()
    own = _own(addresses, vips)
    return [_sighting(vip, nics, own, addresses) for vip in vips]


def homeless(vips: Sequence[Vip], others: Sequence[Vip]) -> list[str]:
    """Return why each of these VIPs that has no place on this node has none, wherever it is now.

    `others`: those that are configured as well, none of which counts as the node's own. Raises
    OSError.
    """
    nics, addresses = _seen()
    own = _own(addresses, (*vips, *others))
    found = (place_for(vip, nics, own) for vip in vips)
    return [why for why in found if isinstance(why, str)]


def _seen() -> tuple[dict[int, Nic], list[Presence]]:
    netlink = Rtnetlink()
    try:
        return {nic.index: nic for nic in netlink.links()}, netlink.addresses()
    finally:
        netlink.close()


def _own(addresses: Sequence[Presence], vips: Sequence[Vip]) -> list[Presence]:
    virtual = {vip.packed for vip in vips}
    return [one for one in addresses if one.packed not in virtual]


def _sighting(vip: Vip, nics: Mapping[int, Nic], own: Sequence[Presence],
              addresses: Sequence[Presence]) -> Sighting:
    for one in addresses:
        if one.packed == vip.packed and one.nic in nics:
            return Sighting(nics[one.nic].name, True, one.lifetime_s)
    place = place_for(vip, nics, own)
    return Sighting("" if isinstance(place, str) else place.nic.name, False)
