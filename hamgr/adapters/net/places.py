"""Where every VIP belongs on this node, followed as its interfaces change."""

from collections.abc import Collection, Iterable

from hamgr.adapters.net.holding import Group, State
from hamgr.adapters.net.kernel import Kernel
from hamgr.adapters.net.lan import Lan
from hamgr.adapters.net.links import LinkWatch
from hamgr.adapters.net.messages import Presence
from hamgr.adapters.net.nics import place_for, settle
from hamgr.adapters.net.vip import Nic, Place, Vip


class Places:
    """Tells kernel, wires and link watch of each place."""

    def __init__(self, kernel: Kernel, links: LinkWatch, lan: Lan) -> None:
        self._kernel, self._links, self._lan = kernel, links, lan
        self._places: dict[Vip, Place] = {}
        self._nics: dict[int, Nic] = {}

    def interfaces(self) -> dict[str, str]:
        """Return the name of the interface that each VIP belongs on, by its address."""
        return {vip.address: place.nic.name for vip, place in self._places.items()}

    def macs(self) -> tuple[str, ...]:
        """Return the MACs of those interfaces, sorted."""
        nics = {place.nic for place in self._places.values()}
        return tuple(sorted({nic.mac.hex(":") for nic in nics if nic.mac}))

    def uses(self, group: Group, nic: Nic) -> bool:
        """Tell whether a VIP of the group belongs on this interface."""
        return any(self._places[vip].nic.index == nic.index
                   for vip in group.vips if vip in self._places)

    def forget(self, vips: Iterable[Vip]) -> None:
        """Know nothing of these VIPs any more."""
        for vip in vips:
            self._places.pop(vip, None)
            self._kernel.place(vip, None)

    def changed(self, nic: Nic, there: bool) -> Nic | None:
        """Take in what the kernel says of an interface; return what it was before, if known."""
        old = self._nics.pop(nic.index, None)
        if there:
            self._nics[nic.index] = nic
        self._links.see(nic, there)
        return old

    def look(self, groups: Iterable[Group], virtual: Collection[bytes]) -> list[Vip]:
        """Find all interfaces anew; return the VIPs that have moved to another. Raises OSError.

        `virtual`: the addresses of all VIPs, which are no node's own.
        """
        self._nics, addresses = self._kernel.look()
        own = [presence for presence in addresses if presence.packed not in virtual]
        moved = [vip for group in groups for vip in self._place(group, own)]
        self._links.see_all(self._nics)
        return moved

    def follow(self) -> None:
        """Have wires where VIPs belong, and ask for their frames. Raises OSError."""
        self._lan.follow(self._places, self._nics)

    def _place(self, group: Group, own: list[Presence]) -> list[Vip]:
        moved = []
        group.missing = ""
        for vip in (*group.vips, *group.coming):
            old, found = self._places.pop(vip, None), place_for(vip, self._nics, own)
            if isinstance(found, str):
                group.missing = group.missing or found
            place = settle(old, found, self._nics, group.state is not State.IDLE)
            if place is not None:
                self._places[vip] = place
            if place != old:
                self._kernel.place(vip, place)
            if place is not None and (old is None or old.nic.index != place.nic.index):
                moved.append(vip)
        nics = {self._places[vip].nic for vip in group.vips if vip in self._places}
        self._links.need(group.name, {nic.index: nic.name for nic in nics}, group.missing)
        return moved
