"""Puts VIPs into the kernel, keeps them there, and takes them out again, verified."""

import errno
import logging
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hamgr.adapters.net.messages import Messages, Presence, messages_for, removal
from hamgr.adapters.net.rtnetlink import Rtnetlink
from hamgr.adapters.net.sockets import SocketCutter
from hamgr.adapters.net.vip import Nic, Place, Vip

logger = logging.getLogger(__name__)

_GONE = frozenset({0, errno.EADDRNOTAVAIL, errno.ENODEV})
"""Answers to a removal after which the address is not there."""


class Found(NamedTuple):
    """A configured VIP that the kernel has, be it where it belongs or not."""

    address: str
    prefix: int
    interface: str
    right: bool
    """It is on the interface, and with the prefix length, that it belongs on."""
    lifetime_s: int | None
    """What is left of its lifetime; None: it does not expire."""


class Kernel:
    """The kernel's side of all VIPs of this node. Every call is synchronous and short."""

    def __init__(self, valid_lft_s: int) -> None:
        self._valid_lft_s = valid_lft_s
        self._netlink = Rtnetlink()
        self._cutter = SocketCutter()
        self._places: dict[Vip, Place] = {}
        self._messages: dict[Vip, Messages] = {}

    def close(self) -> None:
        """Close the sockets. Addresses stay."""
        self._netlink.close()
        self._cutter.close()

    def live_for(self, valid_lft_s: int) -> None:
        """Give addresses this lifetime, in whole seconds, from the next renewal on."""
        self._valid_lft_s = valid_lft_s
        for vip, place in self._places.items():
            self._messages[vip] = messages_for(vip, place, valid_lft_s)

    def look(self) -> tuple[dict[int, Nic], list[Presence]]:
        """Return all interfaces by index, and all addresses. Raises OSError."""
        return {nic.index: nic for nic in self._netlink.links()}, self._netlink.addresses()

    def place(self, vip: Vip, place: Place | None) -> None:
        """Build the messages for a VIP's new place, or forget the old one."""
        self._places.pop(vip, None)
        self._messages.pop(vip, None)
        if place is not None:
            self._messages[vip] = messages_for(vip, place, self._valid_lft_s)
            self._places[vip] = place

    def removals(self, vips: Sequence[Vip]) -> tuple[bytes, ...]:
        """Return the messages that remove these VIPs from where they belong."""
        return tuple(self._messages[vip].remove for vip in vips if vip in self._messages)

    def hold(self, vips: Sequence[Vip]) -> str:
        """Add VIPs, or renew those that are there, all in one batch. Returns why not, or ""."""
        placed = [vip for vip in vips if vip in self._messages]
        try:
            answers = self._netlink.apply([self._messages[vip].hold for vip in placed])
        except OSError as error:
            return f"netlink: {error}"
        faults = self._faults(placed, answers)
        return "; ".join(faults + [f"{vip.address} has no interface" for vip in vips
                                   if vip not in self._messages])

    def restore(self, vip: Vip) -> bool:
        """Add a VIP if it is missing; return whether it was. Raises OSError if it cannot be."""
        if vip not in self._messages:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        [answer] = self._netlink.apply([self._messages[vip].restore])
        if answer not in (0, errno.EEXIST):
            raise OSError(answer, os.strerror(answer))
        return answer == 0

    def loosen(self, vips: Sequence[Vip]) -> str:
        """Make the lifetimes of those that are there unlimited. Returns why not, or ""."""
        try:
            found = self.found(vips)
            there = [vip for vip in vips if self._is_right(vip, found)]
            answers = self._netlink.apply([self._messages[vip].loosen for vip in there])
        except OSError as error:
            return f"netlink: {error}"
        return "; ".join(self._faults(there, answers))

    def missing(self, vips: Sequence[Vip]) -> str:
        """Say which VIPs are not where they belong, "" if none. Raises OSError."""
        found = self.found(vips)
        return ", ".join(f"{vip.address} is not there" for vip in vips
                         if not self._is_right(vip, found))

    def found(self, vips: Sequence[Vip]) -> list[Found]:
        """Return which of these VIPs the kernel has now, on any interface. Raises OSError."""
        names = {nic.index: nic.name for nic in self._netlink.links()}
        return [Found(vip.address, presence.prefix,
                      names.get(presence.nic, str(presence.nic)),
                      self._is_place(vip, presence), presence.lifetime_s)
                for vip, presence in self._present(vips)]

    def remove(self, vips: Sequence[Vip], *, reset: bool) -> str:
        """Take VIPs off this node, wherever they are, and cut their local TCP sockets.

        reset: send the clients resets first, while the address is still there to send them from.
        Returns why it is not certain that none is left, or "".
        """
        fault = self.take_off(vips, reset=reset)
        self.cut(vips)
        return fault

    def take_off(self, vips: Sequence[Vip], *, reset: bool) -> str:
        """Do as remove does, but leave to `cut` what came between the resets and the removal."""
        try:
            if reset:
                self.cut(vips)
            self._netlink.apply(self.removals(vips))
            return self._remove_present(vips)
        except OSError as error:
            return f"netlink: {error}"

    def _remove_present(self, vips: Sequence[Vip]) -> str:
        # What is left after the ready-made messages was put there by somebody else, elsewhere or
        # with another prefix.
        strays = self._present(vips)
        answers = self._netlink.apply([removal(presence) for _, presence in strays])
        refused = {vip.address: os.strerror(answer)
                   for (vip, _), answer in zip(strays, answers, strict=True)
                   if answer not in _GONE}
        left = {vip.address for vip, _ in self._present(vips)} if strays else set()
        return "; ".join(f"{address} is still there: {refused.get(address, 'added again')}"
                         for address in sorted(left))

    def remove_strays(self, vips: Sequence[Vip]) -> None:
        """Remove these VIPs from wherever they do not belong. Raises OSError."""
        self._netlink.apply([removal(presence) for vip, presence in self._present(vips)
                             if not self._is_place(vip, presence)])

    def _present(self, vips: Sequence[Vip]) -> list[tuple[Vip, Presence]]:
        wanted: Mapping[bytes, Vip] = {vip.packed: vip for vip in vips}
        return [(wanted[presence.packed], presence) for presence in self._netlink.addresses()
                if presence.packed in wanted]

    def _is_place(self, vip: Vip, presence: Presence) -> bool:
        place = self._places.get(vip)
        return (place is not None and presence.nic == place.nic.index
                and presence.prefix == place.prefix)

    def _faults(self, vips: Sequence[Vip], answers: Sequence[int]) -> list[str]:
        return [f"{vip.address} on {self._places[vip].nic.name}: {os.strerror(answer)}"
                for vip, answer in zip(vips, answers, strict=True) if answer]

    @staticmethod
    def _is_right(vip: Vip, found: Sequence[Found]) -> bool:
        return any(one.right and one.address == vip.address for one in found)

    def cut(self, vips: Sequence[Vip]) -> None:
        """Cut the local TCP sockets of VIPs; their clients hear of it while the address is here."""
        try:
            cut = self._cutter.cut([vip.packed for vip in vips])
        except OSError as error:
            # A connection that lingers is a nuisance; an address that stays would be a disaster.
            logger.error("connections of a withdrawn address were not cut: %s", error)
            return
        if cut:
            logger.info("cut %d connections of %s", cut, ", ".join(vip.address for vip in vips))
