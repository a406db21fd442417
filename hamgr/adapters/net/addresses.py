"""The port Addresses: claims, holds and gives up the VIPs of the groups on this node.

Theory. Four things could put an address back that this node has no right to any more: a claim, the
end of a probe, a renewal, and the restoring of what somebody else removed. A process that was
frozen wakes with all of them due, and an event loop runs its readers before its timers, so none
may trust that the engine has spoken first. Therefore each looks at the lease deadline itself
(hold_until): nothing is ever added, renewed or announced after it. What the kernel still holds then
expires by its lifetime. A process can be frozen even between that look and the kernel's work, so it
looks again afterwards, and takes back what came too late before anybody is told of it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from hamgr.adapters.net.announcer import Announcer
from hamgr.adapters.net.guard import Guard
from hamgr.adapters.net.kernel import Found, Kernel
from hamgr.adapters.net.lan import Lan
from hamgr.adapters.net.links import LinkWatch
from hamgr.adapters.net.messages import Presence
from hamgr.adapters.net.monitor import Monitor
from hamgr.adapters.net.nics import place_for, settle
from hamgr.adapters.net.pace import Paced
from hamgr.adapters.net.vip import Nic, Place, Vip
from hamgr.core.events import AddressesClaimed, AddressesWithdrawn
from hamgr.core.types import NEVER, Epoch, GroupName, Instant
from hamgr.ports import Post

logger = logging.getLogger(__name__)

QUESTIONS_S = (0.08, 0.16)
"""After the first one, the conflict probe asks again: a frame may be lost."""
PROBE_S = 0.24
"""How long a conflict probe waits for an answer. RFC 5227 would take 5 to 7 s, RFC 4862 1 s: time
enough for a machine that is booting, too much for a service that is down."""
LOOK_AGAIN_S = 0.1
"""Changes of interfaces come in bursts; one look after so long sees them all."""
SETTLE_S = 1.0
"""A node's own addresses are often flushed and set anew; only what lasts so long counts."""


class _State(Enum):
    IDLE = "not here"
    PROBING = "asked for on the wire, not added yet"
    HELD = "added, announced, renewed and guarded"
    LOOSE = "in maintenance: there, and left alone"


class _Group:
    def __init__(self, name: GroupName, vips: tuple[Vip, ...]) -> None:
        self.name, self.vips = name, vips
        self.state = _State.IDLE
        self.epoch: Epoch = 0
        self.missing = ""
        """Why a VIP has no interface on this node."""
        self.timers: list[asyncio.TimerHandle] = []

    def enter(self, state: _State) -> None:
        """Change the state; a probe that is going on ends."""
        self.state = state
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


class Addresses:
    """The VIPs of all groups on this node (ports.Addresses). Runs in the agent's loop."""

    def __init__(
        self,
        groups: Mapping[GroupName, tuple[Vip, ...]],
        post: Post,
        *,
        valid_lft_s: int = 2,
        renewal_s: float = 0.5,
        interfaces_changed: Callable[[], None] = lambda: None,
    ) -> None:
        """valid_lft_s: whole seconds, for so the kernel counts. Raises OSError.

        interfaces_changed: called once withdrawal_messages() and macs() are ready, at start(), and
        whenever they give others than before.
        """
        self._groups = {name: _Group(name, vips) for name, vips in groups.items()}
        self._owner = {vip: group for group in self._groups.values() for vip in group.vips}
        self._vips = {vip.packed: vip for vip in self._owner}
        self._post, self._interfaces_changed = post, interfaces_changed
        self._renewal_s = renewal_s
        self._deadline: Instant = NEVER
        self._places: dict[Vip, Place] = {}
        self._nics: dict[int, Nic] = {}
        self._trouble = ""
        self._kernel = Kernel(valid_lft_s)
        self._lan = Lan(heard=self._heard, rebuilt=self.announce_again)
        self._links = LinkWatch(post)
        self._announcer = Announcer(self._say)
        self._guard = Guard(self._kernel, self._lan, post, self._holder)
        self._blind = ""
        """Why the interfaces cannot be read."""
        self._look_soon = Paced(self._look_again, LOOK_AGAIN_S)
        self._monitor = Monitor(address_changed=self._address_changed,
                                link_changed=self._link_changed, missed=self._missed)
        self._renewal: asyncio.TimerHandle | None = None
        self._settling: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Find the interfaces, open all sockets, build all frames and messages. Raises OSError.

        A group without an interface is no error of the node: it is told as ConditionChanged.
        """
        self._monitor.start()
        self._look()
        self._interfaces_changed()
        await self._lan.start()
        self._renewal = asyncio.get_running_loop().call_later(self._renewal_s, self._renew)

    async def clean(self, keep: frozenset[GroupName]) -> None:
        """Remove every configured VIP but those of `keep`. Works before start().

        Raises OSError if one stays.
        """
        gone = [group for name, group in self._groups.items() if name not in keep]
        for group in gone:
            self._let_go(group, _State.IDLE)
        fault = self._kernel.remove([vip for group in gone for vip in group.vips], reset=False)
        if fault:
            raise OSError(f"addresses that this node has no right to could not be removed: {fault}")

    async def close(self) -> None:
        """Stop renewing, close all sockets. What is there expires, except in maintenance."""
        for timer in filter(None, (self._renewal, self._settling)):
            timer.cancel()
        for group in self._groups.values():
            self._let_go(group, _State.IDLE)
        self._look_soon.close()
        self._guard.close()
        self._links.close()
        self._monitor.close()
        await self._lan.close()
        self._kernel.close()

    def hold_until(self, deadline: Instant) -> None:
        """Add and renew nothing after this instant: the lease deadline, as the switch has it."""
        self._deadline = deadline

    def claim(self, group: GroupName, epoch: Epoch, probe: str) -> None:
        """Add and announce; AddressesClaimed follows. probe: before, beside or none."""
        claimed = self._groups[group]
        claimed.epoch = epoch
        asked = (probe != "none" and claimed.state is not _State.HELD
                 and any([self._lan.ask(vip) for vip in claimed.vips]))
        if asked and probe == "before":
            claimed.enter(_State.PROBING)
            claimed.timers.append(
                asyncio.get_running_loop().call_later(PROBE_S, self._take, claimed))
        else:
            self._take(claimed)
        if asked and claimed.state is not _State.IDLE:
            for wait in QUESTIONS_S:
                claimed.timers.append(
                    asyncio.get_running_loop().call_later(wait, self._ask, claimed))

    def withdraw(self, group: GroupName, epoch: Epoch) -> None:
        """Remove, cut local sockets, verify; AddressesWithdrawn follows."""
        withdrawn = self._groups[group]
        if withdrawn.state is _State.PROBING:
            self._post(AddressesClaimed(group=group, epoch=withdrawn.epoch, ok=False,
                                        why="withdrawn while the wire was asked"))
        self._let_go(withdrawn, _State.IDLE)
        fault = self._kernel.remove(withdrawn.vips, reset=self._may_hold())
        self._post(AddressesWithdrawn(group=group, epoch=epoch, ok=not fault, why=fault))

    def loosen(self, group: GroupName) -> None:
        """Make the lifetimes of what is there unlimited, and leave it alone.

        What the kernel refuses is tried again at the pace of renewals, and logged.
        """
        loosened = self._groups[group]
        self._let_go(loosened, _State.LOOSE)
        self._loosen(loosened, "")

    def tighten(self, group: GroupName, epoch: Epoch) -> None:
        """Give lifetimes again to what is there; AddressesClaimed follows."""
        tightened = self._groups[group]
        tightened.epoch = epoch
        try:
            missing = self._kernel.missing(tightened.vips)
        except OSError as error:
            missing = f"netlink: {error}"
        if missing:
            self._fail(tightened, missing)
            return
        self._take(tightened)

    def announce_again(self, group: GroupName | None = None) -> None:
        """Announce what is held at once, and go on as after a claim: after a stall of one's own."""
        for held in self._groups.values():
            if held.state is _State.HELD and group in (None, held.name):
                self._announcer.begin(held.name)

    def withdrawal_messages(self) -> dict[GroupName, tuple[bytes, ...]]:
        """Return the rtnetlink messages that remove each group's VIPs, for the switch to send.

        They ask for an acknowledgement. Valid until interfaces_changed is called again.
        """
        return {name: self._kernel.removals(group.vips) for name, group in self._groups.items()}

    def found(self) -> dict[GroupName, list[Found]]:
        """Return which VIPs of each group the kernel has now, on any interface. Raises OSError."""
        return {name: self._kernel.found(group.vips) for name, group in self._groups.items()}

    def interfaces(self) -> dict[str, str]:
        """Return the name of the interface that each VIP belongs on, by its address."""
        return {vip.address: place.nic.name for vip, place in self._places.items()}

    def macs(self) -> tuple[str, ...]:
        """Return the MACs of those interfaces, sorted: it is they that answer for the VIPs."""
        nics = {place.nic for place in self._places.values()}
        return tuple(sorted({nic.mac.hex(":") for nic in nics if nic.mac}))

    def _may_hold(self) -> bool:
        return time.monotonic_ns() < self._deadline

    def _hold(self, vips: Sequence[Vip]) -> str:
        """Add or renew, only under the lease. Returns why not, or ""."""
        if not self._may_hold():
            return "the lease had run out before the address was added"
        fault = self._kernel.hold(vips)
        if self._may_hold():
            return fault
        left = self._kernel.remove(vips, reset=False)
        return "; ".join(filter(None, ("the lease ran out while the address was added", left)))

    def _loosen(self, group: _Group, said: str) -> None:
        fault = self._kernel.loosen(group.vips)
        if fault and fault != said:
            logger.error("%s: lifetimes cannot be made unlimited for maintenance, trying again: %s",
                         group.name, fault)
        elif said and not fault:
            logger.info("%s: lifetimes are unlimited now", group.name)
        if fault:
            group.timers.append(asyncio.get_running_loop().call_later(
                self._renewal_s, self._loosen, group, fault))

    def _take(self, group: _Group) -> None:
        if group.missing:
            self._fail(group, group.missing)
        elif fault := self._hold(group.vips):
            self._fail(group, fault)
        else:
            group.enter(_State.HELD)
            self._announcer.begin(group.name)
            self._post(AddressesClaimed(group=group.name, epoch=group.epoch, ok=True))

    def _fail(self, group: _Group, why: str) -> None:
        self._let_go(group, _State.IDLE)
        left = self._kernel.remove(group.vips, reset=False)
        self._post(AddressesClaimed(group=group.name, epoch=group.epoch, ok=False,
                                    why="; ".join(filter(None, (why, left)))))

    def _let_go(self, group: _Group, state: _State) -> None:
        group.enter(state)
        self._announcer.stop(group.name)

    def _ask(self, group: _Group) -> None:
        for vip in group.vips:
            self._lan.ask(vip)

    def _say(self, name: GroupName, first: bool) -> None:
        if not self._may_hold():
            return
        for vip in self._groups[name].vips:
            self._lan.announce(vip)
        if not first:
            # A rival that says nothing of its own accord is found by its answer.
            self._ask(self._groups[name])

    def _heard(self, vip: Vip, mac: bytes) -> None:
        group = self._owner[vip]
        if group.state is _State.PROBING:
            self._fail(group, f"{mac.hex(':')} answers for {vip.address}")
        else:
            self._guard.rival(vip, mac)

    def _holder(self, vip: Vip) -> GroupName | None:
        group = self._owner[vip]
        return group.name if group.state is _State.HELD and self._may_hold() else None

    def _renew(self) -> None:
        self._renewal = asyncio.get_running_loop().call_later(self._renewal_s, self._renew)
        held = [vip for vip, group in self._owner.items() if group.state is _State.HELD]
        if held and self._may_hold():
            self._note(self._hold(held))

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            logger.error("a VIP's lifetime could not be renewed: %s", trouble)
        self._trouble = trouble

    def _address_changed(self, presence: Presence, there: bool) -> None:
        vip = self._vips.get(presence.packed)
        if vip is None:
            self._settle_soon()
        elif not there:
            self._guard.removed(vip)

    def _settle_soon(self) -> None:
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(SETTLE_S, self._settled)

    def _settled(self) -> None:
        self._settling = None
        self._look_soon("an address changed")

    def _link_changed(self, nic: Nic, there: bool) -> None:
        old = self._nics.pop(nic.index, None)
        if there:
            self._nics[nic.index] = nic
        self._links.see(nic, there)
        if not there or old is None or (nic.name, nic.mac) != (old.name, old.mac):
            self._look_soon(f"{nic.name} changed")
        elif old.fault and not nic.fault:
            self._announce_on(nic)

    def _announce_on(self, nic: Nic) -> None:
        for group in self._groups.values():
            if any(self._places[vip].nic.index == nic.index
                   for vip in group.vips if vip in self._places):
                self.announce_again(group.name)

    def _missed(self) -> None:
        self._look_soon("too many changes at once")
        for vip in self._owner:
            self._guard.removed(vip)

    def _look_again(self, why: str) -> None:
        before = self.withdrawal_messages(), self.macs()
        try:
            self._look()
            self._blind = ""
        except OSError as error:
            self._look_soon(why)
            if str(error) != self._blind:
                self._blind = str(error)
                logger.error("%s, and the interfaces cannot be read: %s; trying again", why, error)
        if (self.withdrawal_messages(), self.macs()) != before:
            self._interfaces_changed()

    def _look(self) -> None:
        """Find the interfaces anew, and follow them. Raises OSError."""
        self._nics, addresses = self._kernel.look()
        own = [presence for presence in addresses if presence.packed not in self._vips]
        moved = [vip for group in self._groups.values() for vip in self._place(group, own)]
        self._links.see_all(self._nics)
        held = [vip for vip in moved if self._holder(vip) is not None]
        if held:
            self._note(self._hold(held))
            self._kernel.remove_strays(held)
        self._lan.follow(self._places, self._nics)

    def _place(self, group: _Group, own: list[Presence]) -> list[Vip]:
        """Find the places of a group's VIPs; return those that have moved to another interface."""
        moved = []
        group.missing = ""
        for vip in group.vips:
            old, found = self._places.pop(vip, None), place_for(vip, self._nics, own)
            if isinstance(found, str):
                group.missing = group.missing or found
            place = settle(old, found, self._nics, group.state is not _State.IDLE)
            if place is not None:
                self._places[vip] = place
            if place != old:
                self._kernel.place(vip, place)
            if place is not None and (old is None or old.nic.index != place.nic.index):
                moved.append(vip)
        nics = {self._places[vip].nic for vip in group.vips if vip in self._places}
        self._links.need(group.name, {nic.index: nic.name for nic in nics}, group.missing)
        return moved
