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

from hamgr.adapters.errand import Errand
from hamgr.adapters.net.announcer import Announcer
from hamgr.adapters.net.guard import Guard
from hamgr.adapters.net.holding import Group, State
from hamgr.adapters.net.kernel import Found, Kernel
from hamgr.adapters.net.lan import Lan
from hamgr.adapters.net.links import LinkWatch
from hamgr.adapters.net.messages import Presence
from hamgr.adapters.net.monitor import Monitor
from hamgr.adapters.net.pace import Paced
from hamgr.adapters.net.places import Places
from hamgr.adapters.net.vip import Nic, Vip
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
        self._groups = {name: Group(name, vips) for name, vips in groups.items()}
        self._own()
        self._post, self._interfaces_changed = post, interfaces_changed
        self.renewal = Errand(renewal_s, self._renew)
        self._deadline: Instant = NEVER
        self._trouble = ""
        self._contested: dict[Vip, str] = {}
        """Who else spoke for a VIP that is coming."""
        self._kernel = Kernel(valid_lft_s)
        self._lan = Lan(heard=self._heard, rebuilt=self.announce_again)
        self._links = LinkWatch(post)
        self._places = Places(self._kernel, self._links, self._lan)
        self._announcer = Announcer(self._say)
        self._guard = Guard(self._kernel, self._lan, post, self._holder)
        self._blind = ""
        """Why the interfaces cannot be read."""
        self._look_soon = Paced(self._look_again, LOOK_AGAIN_S)
        self._monitor = Monitor(address_changed=self._address_changed,
                                link_changed=self._link_changed, missed=self._missed)
        self._settling: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Find the interfaces, open all sockets, build all frames and messages. Raises OSError.

        A group without an interface is no error of the node: it is told as ConditionChanged.
        """
        self._monitor.start()
        self._look()
        self._interfaces_changed()
        await self._lan.start()
        self.renewal.start()

    async def configure(self, groups: Mapping[GroupName, tuple[Vip, ...]], *, valid_lft_s: int,
                        renewal_s: float) -> None:
        """Have these groups and VIPs from now on. Raises OSError; then it may be tried again.

        What is held and stays is not touched. A VIP that is new in a group that is held is added
        and announced, once its frames are built and the switch can withdraw it; one that a group
        has no more, or whose group has gone, is removed.
        """
        self._kernel.live_for(valid_lft_s)
        self.renewal.every_s = renewal_s
        for name, vips in groups.items():
            group = self._groups.setdefault(name, Group(name, ()))
            group.coming = tuple(vip for vip in vips if vip not in group.vips)
        self._own()
        self._look()
        self._interfaces_changed()
        await self._lan.ready()
        await self._ask_for_coming()
        faults = [self._take_over(group, groups.get(name))
                  for name, group in list(self._groups.items())]
        self._look()
        self._interfaces_changed()
        if any(faults):
            raise OSError("; ".join(filter(None, faults)))

    async def _ask_for_coming(self) -> None:
        """Raise OSError if another machine has what a group that is held shall have besides."""
        self._contested.clear()
        coming = [vip for group in self._groups.values() if group.state is State.HELD
                  for vip in group.coming]
        if any([self._lan.ask(vip) for vip in coming]):
            await asyncio.sleep(PROBE_S)
        if taken := [f"{self._contested[vip]} answers for {vip.address}"
                     for vip in coming if vip in self._contested]:
            for group in self._groups.values():
                group.coming = ()
            self._own()
            self._look()
            raise OSError("; ".join(taken))

    def _take_over(self, group: Group, vips: tuple[Vip, ...] | None) -> str:
        """Go from a group's VIPs to these, None for no group any more. Returns what failed."""
        gone = [vip for vip in group.vips if vip not in (vips or ())]
        if vips is None:
            self._let_go(group, State.IDLE)
        fault = self._kernel.remove(gone, reset=self._may_hold()) if gone else ""
        if fault:
            return fault
        new, group.coming = group.coming, ()
        group.vips = vips or ()
        if vips is None:
            del self._groups[group.name]
            self._links.forget(group.name)
        self._places.forget(gone)
        self._own()
        if new and group.state is State.HELD:
            fault = self._hold(new)
            self._announcer.begin(group.name)
        return fault

    def _own(self) -> None:
        self._owner = {vip: group for group in self._groups.values() for vip in group.vips}
        self._vips = {vip.packed: vip for group in self._groups.values()
                      for vip in (*group.vips, *group.coming)}

    async def clean(self, keep: frozenset[GroupName]) -> None:
        """Remove every configured VIP but those of `keep`. Works before start().

        Raises OSError if one stays.
        """
        gone = [group for name, group in self._groups.items() if name not in keep]
        for group in gone:
            self._let_go(group, State.IDLE)
        fault = self._kernel.remove([vip for group in gone for vip in group.vips], reset=False)
        if fault:
            raise OSError(f"addresses that this node has no right to could not be removed: {fault}")

    async def close(self) -> None:
        """Stop renewing, close all sockets. What is there expires, except in maintenance."""
        self.renewal.stop()
        if self._settling is not None:
            self._settling.cancel()
        for group in self._groups.values():
            self._let_go(group, State.IDLE)
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
        asked = (probe != "none" and claimed.state is not State.HELD
                 and any([self._lan.ask(vip) for vip in claimed.vips]))
        if asked and probe == "before":
            claimed.enter(State.PROBING)
            claimed.timers.append(
                asyncio.get_running_loop().call_later(PROBE_S, self._take, claimed))
        else:
            self._take(claimed)
        if asked and claimed.state is not State.IDLE:
            for wait in QUESTIONS_S:
                claimed.timers.append(
                    asyncio.get_running_loop().call_later(wait, self._ask, claimed))

    def withdraw(self, group: GroupName, epoch: Epoch) -> None:
        """Remove, verify, post AddressesWithdrawn; then, as an heir waits, cut sockets left."""
        withdrawn = self._groups[group]
        if withdrawn.state is State.PROBING:
            self._post(AddressesClaimed(group=group, epoch=withdrawn.epoch, ok=False,
                                        why="withdrawn while the wire was asked"))
        self._let_go(withdrawn, State.IDLE)
        fault = self._kernel.take_off(withdrawn.vips, reset=self._may_hold())
        self._post(AddressesWithdrawn(group=group, epoch=epoch, ok=not fault, why=fault))
        asyncio.get_running_loop().call_soon(self._kernel.cut, withdrawn.vips)

    def loosen(self, group: GroupName) -> None:
        """Make the lifetimes of what is there unlimited, and leave it alone.

        What the kernel refuses is tried again at the pace of renewals, and logged.
        """
        loosened = self._groups[group]
        self._let_go(loosened, State.LOOSE)
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
            if held.state is State.HELD and group in (None, held.name):
                self._announcer.begin(held.name)

    def withdrawal_messages(self) -> dict[GroupName, tuple[bytes, ...]]:
        """Return the rtnetlink messages that remove each group's VIPs, for the switch to send.

        They ask for an acknowledgement. Valid until interfaces_changed is called again.
        """
        return {name: self._kernel.removals((*group.vips, *group.coming))
                for name, group in self._groups.items()}

    def found(self) -> dict[GroupName, list[Found]]:
        """Return which VIPs of each group the kernel has now, on any interface. Raises OSError."""
        return {name: self._kernel.found(group.vips) for name, group in self._groups.items()}

    def interfaces(self) -> dict[str, str]:
        """Return the name of the interface that each VIP belongs on, by its address."""
        return self._places.interfaces()

    def macs(self) -> tuple[str, ...]:
        """Return the MACs of those interfaces, sorted: it is they that answer for the VIPs."""
        return self._places.macs()

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

    def _loosen(self, group: Group, said: str) -> None:
        fault = self._kernel.loosen(group.vips)
        if fault and fault != said:
            logger.error("%s: lifetimes cannot be made unlimited for maintenance, trying again: %s",
                         group.name, fault)
        elif said and not fault:
            logger.info("%s: lifetimes are unlimited now", group.name)
        if fault:
            group.timers.append(asyncio.get_running_loop().call_later(
                self.renewal.every_s, self._loosen, group, fault))

    def _take(self, group: Group) -> None:
        if group.missing:
            self._fail(group, group.missing)
        elif fault := self._hold(group.vips):
            self._fail(group, fault)
        else:
            group.enter(State.HELD)
            self._announcer.begin(group.name)
            self._post(AddressesClaimed(group=group.name, epoch=group.epoch, ok=True))

    def _fail(self, group: Group, why: str) -> None:
        self._let_go(group, State.IDLE)
        left = self._kernel.remove(group.vips, reset=False)
        self._post(AddressesClaimed(group=group.name, epoch=group.epoch, ok=False,
                                    why="; ".join(filter(None, (why, left)))))

    def _let_go(self, group: Group, state: State) -> None:
        group.enter(state)
        self._announcer.stop(group.name)

    def _ask(self, group: Group) -> None:
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
        group = self._owner.get(vip)
        if group is None:
            self._contested[vip] = mac.hex(":")
        elif group.state is State.PROBING:
            self._fail(group, f"{mac.hex(':')} answers for {vip.address}")
        else:
            self._guard.rival(vip, mac)

    def _holder(self, vip: Vip) -> GroupName | None:
        group = self._owner.get(vip)
        held = group is not None and group.state is State.HELD and self._may_hold()
        return group.name if group is not None and held else None

    def _renew(self) -> None:
        held = [vip for vip, group in self._owner.items() if group.state is State.HELD]
        if held and self._may_hold():
            self._note(self._hold(held))
            self._monitor.read()  # it hears of each renewal: now, and not in another wake-up

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
        old = self._places.changed(nic, there)
        if not there or old is None or (nic.name, nic.mac) != (old.name, old.mac):
            self._look_soon(f"{nic.name} changed")
        elif old.fault and not nic.fault:
            self._announce_on(nic)

    def _announce_on(self, nic: Nic) -> None:
        for group in self._groups.values():
            if self._places.uses(group, nic):
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
        moved = self._places.look(self._groups.values(), self._vips.keys())
        held = [vip for vip in moved if self._holder(vip) is not None]
        if held:
            self._note(self._hold(held))
            self._kernel.remove_strays(held)
        self._places.follow()
