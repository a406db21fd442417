"""The address work of an agent process: claims, withdrawals and renewals, on its host's kernel."""

import random
from collections.abc import Callable

from hamgr.core.events import AddressesClaimed, AddressesDisturbed, AddressesWithdrawn, Event
from hamgr.core.types import MICROSECOND, MILLISECOND, Duration, Epoch, GroupName, Instant
from hamgr.simulation.clock import Scheduler
from hamgr.simulation.kernel import Kernel

RENEWAL: Duration = 500 * MILLISECOND
PROBE_TIME: Duration = 30 * MILLISECOND
NETLINK_TIME: Duration = 800 * MICROSECOND
CLAIM_FAILURES = 0.002
WITHDRAWAL_FAILURES = 0.001


class AddressWork:
    """Operations on one group's addresses happen in their order, and die with the process."""

    def __init__(self, scheduler: Scheduler, rng: random.Random, kernel: Kernel,
                 post: Callable[[Event], None], in_process: Callable[..., None]) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._kernel = kernel
        self._post = post
        self._in_process = in_process
        self._claims: dict[GroupName, Epoch] = {}
        self._free_at: dict[GroupName, Instant] = {}
        self._renewed: list[GroupName] = []
        self._ended = False
        scheduler.after(int(rng.random() * RENEWAL), in_process, self._renew)

    def claiming(self, group: GroupName) -> bool:
        """Whether a claim is under way."""
        return group in self._claims

    def claim(self, group: GroupName, epoch: Epoch, probe: str) -> None:
        """Put the addresses there."""
        self._claims[group] = epoch
        takes = PROBE_TIME if probe == "before" else NETLINK_TIME
        self._later(group, takes, self._claimed, group, epoch)

    def withdraw(self, group: GroupName, epoch: Epoch) -> None:
        """Take them off; a claim that is under way comes to nothing."""
        claim = self._claims.pop(group, None)
        if claim is not None:
            self._kernel.recheck(group)
            self._post(AddressesClaimed(group=group, epoch=claim, ok=False, why="withdrawn"))
        if group in self._renewed:
            self._renewed.remove(group)
        self._later(group, NETLINK_TIME, self._withdrawn, group, epoch)

    def loosen(self, group: GroupName) -> None:
        """Unlimited lifetime, no renewal."""
        if group in self._renewed:
            self._renewed.remove(group)
        if self._kernel.has(group):
            self._kernel.add(group, unlimited=True)

    def tighten(self, group: GroupName, epoch: Epoch) -> None:
        """Lifetimes and renewal again, for what is there."""
        self._later(group, NETLINK_TIME, self._tightened, group, epoch)

    def end(self) -> None:
        """The process is gone."""
        self._ended = True
        self._claims.clear()
        self._renewed.clear()

    def _later(self, group: GroupName, takes: Duration, action: Callable[..., None],
               *args: object) -> None:
        at = max(self._scheduler.now + MICROSECOND + int(self._rng.random() * takes),
                 self._free_at.get(group, 0) + 1)
        self._free_at[group] = at
        self._scheduler.at(at, self._in_process, action, *args)

    def _claimed(self, group: GroupName, epoch: Epoch) -> None:
        if self._ended or self._claims.get(group) != epoch:
            return
        ok = self._rng.random() >= CLAIM_FAILURES
        if ok:
            self._kernel.add(group)
            self._renewed.append(group)
        del self._claims[group]
        if not ok:
            self._kernel.recheck(group)
        self._post(AddressesClaimed(group=group, epoch=epoch, ok=ok,
                                    why="" if ok else "a rival answered the probe"))

    def _withdrawn(self, group: GroupName, epoch: Epoch) -> None:
        if self._ended:
            return
        ok = not self._kernel.has(group) or self._rng.random() >= WITHDRAWAL_FAILURES
        if ok:
            self._kernel.remove(group)
        self._post(AddressesWithdrawn(group=group, epoch=epoch, ok=ok,
                                      why="" if ok else "netlink: EBUSY"))

    def _tightened(self, group: GroupName, epoch: Epoch) -> None:
        if self._ended:
            return
        ok = self._kernel.has(group)
        if ok:
            self._kernel.add(group)
            if group not in self._renewed:
                self._renewed.append(group)
        self._post(AddressesClaimed(group=group, epoch=epoch, ok=ok,
                                    why="" if ok else "the address is not there"))

    def _renew(self) -> None:
        if self._ended:
            return
        for group in list(self._renewed):
            was_there = self._kernel.has(group)
            self._kernel.add(group)
            if not was_there:
                self._post(AddressesDisturbed(group=group, what="removed"))
        self._scheduler.after(RENEWAL, self._in_process, self._renew)
