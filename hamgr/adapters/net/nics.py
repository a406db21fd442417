"""Which interface of this node a VIP belongs on."""

from collections.abc import Iterable, Mapping, Sequence

from hamgr.adapters.net.messages import Presence
from hamgr.adapters.net.rtnetlink import Rtnetlink
from hamgr.adapters.net.vip import Nic, Place, Vip


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


def interface_of(vip: Vip, vips: Sequence[Vip] = ()) -> str:
    """Return the name of the interface that a VIP belongs on, for who has no agent to ask.

    `vips`: all that are configured, none of which counts as the node's own address.
    Raises LookupError, with the remedy, if there is none; OSError.
    """
    netlink = Rtnetlink()
    try:
        virtual = frozenset(other.packed for other in (vip, *vips))
        own = [one for one in netlink.addresses() if one.packed not in virtual]
        place = place_for(vip, {nic.index: nic for nic in netlink.links()}, own)
    finally:
        netlink.close()
    if isinstance(place, str):
        raise LookupError(place)
    return place.nic.name
