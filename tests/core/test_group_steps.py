"""One group on one node: every short sequence of commands and answers (rules 10, 11, 14).

A twin follows the effects alone: what was promoted and not yet demoted, what was claimed and not
yet withdrawn. Whatever happens, the group calls itself down only when the twin is.
"""

from dataclasses import dataclass, field
from itertools import count, product

import pytest

from hamgr.core.effects import (
    ArmSwitch,
    ClaimAddresses,
    DisarmSwitch,
    Effect,
    RunService,
    WithdrawAddresses,
)
from hamgr.core.events import AddressesClaimed, AddressesWithdrawn, ServiceAnswered
from hamgr.core.group import LocalGroup
from hamgr.core.phase import Occasion, Phase
from hamgr.core.spec import GroupSpec, ServiceSpec
from hamgr.core.types import NEVER, SECOND

MOVES = ("start", "stop", "good", "bad", "late", "time")
LENGTH = 7
WHY = Occasion("a test")
SERVICES = ("db", "app")


@dataclass
class Twin:
    """What really runs, by the effects and their outcomes."""

    group: LocalGroup
    now: int = 0
    epoch: int = 0
    asked: list[Effect] = field(default_factory=list)
    """Effects that have no answer yet, oldest first."""
    answered: list[object] = field(default_factory=list)
    armed: bool = False
    up: list[str] = field(default_factory=list)
    """What may be running, in the order in which it was started; "address" is one of them."""

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case ArmSwitch():
                    self.armed = True
                case DisarmSwitch():
                    assert not self.up, "the switch guards what may still run (rule 14)"
                    self.armed = False
                case RunService(action="promote", service=service):
                    self._starts(service)
                    assert "address" not in self.up, "services come first"
                    self.asked.append(effect)
                case ClaimAddresses():
                    assert set(self.up) >= set(self.services), "the address comes last"
                    self._starts("address")
                    self.asked.append(effect)
                case RunService(action="demote", service=service):
                    assert "address" not in self.up, "the address leaves before a service stops"
                    later = self.services[self.services.index(service) + 1:]
                    assert not set(later) & set(self.up), "services stop in reverse"
                    self.asked.append(effect)
                case RunService(action="monitor") | WithdrawAddresses():
                    self.asked.append(effect)
        if not self.group.is_active:
            assert not self.up, f"called down, but {self.up} may run"
            assert not self.armed
        elif self.up:
            assert self.armed

    @property
    def services(self) -> list[str]:
        return [service.spec.name for service in self.group.services]

    def _starts(self, what: str) -> None:
        assert self.armed, "the switch is armed before anything starts (rule 14)"
        if what not in self.up:
            self.up.append(what)

    # -- moves --------------------------------------------------------------------------------

    def start(self) -> None:
        if self.group.phase is Phase.INACTIVE:
            self.epoch += 1
            self.take(self.group.start(self.epoch, WHY, "before", self.now))

    def stop(self) -> None:
        if self.group.is_active:
            self.take(self.group.stop(WHY, self.now))

    def good(self) -> None:
        self._answer(ok=True)

    def bad(self) -> None:
        self._answer(ok=False)

    def _answer(self, ok: bool) -> None:
        if not self.asked:
            return
        asked = self.asked.pop(0)
        match asked:
            case RunService(run=run, service=service, action=action):
                event = ServiceAnswered(run=run, group="g", service=service, action=action, ok=ok)
                if ok and action == "demote":
                    self.up.remove(service)
                self.answered.append(event)
                self.take(self.group.service_answered(event, self.now))
            case ClaimAddresses(epoch=epoch):
                if not ok and "address" in self.up:
                    self.up.remove("address")
                claimed = AddressesClaimed(group="g", epoch=epoch, ok=ok)
                self.answered.append(claimed)
                self.take(self.group.addresses_claimed(claimed, self.now))
            case WithdrawAddresses(epoch=epoch):
                if ok and "address" in self.up:
                    self.up.remove("address")
                withdrawn = AddressesWithdrawn(group="g", epoch=epoch, ok=ok)
                self.take(self.group.addresses_withdrawn(withdrawn, self.now))

    def late(self) -> None:
        """The newest answer comes a second time, if that can be told from a first one."""
        if not self.answered:
            return
        match self.answered[-1]:
            case ServiceAnswered() as event:
                self.take(self.group.service_answered(event, self.now))
            case AddressesClaimed() as claimed if claimed.epoch != self.group.epoch:
                self.take(self.group.addresses_claimed(claimed, self.now))

    def time(self) -> None:
        self.now += 10 * SECOND
        self.take(self.group.tick(self.now))


def twin(services: tuple[str, ...], addresses: bool) -> Twin:
    numbers = count(1)
    spec = GroupSpec(name="g", nodes=("n1",), has_addresses=addresses, services=tuple(
        ServiceSpec(name=name, monitor_interval=SECOND, restarts=1) for name in services))
    return Twin(LocalGroup(spec, lambda: next(numbers)))


@pytest.mark.parametrize(("services", "addresses"), [
    ((), True), (("db",), False), (("db",), True), (SERVICES, True)],
    ids=("address", "service", "both", "two-services"))
def test_down_means_down_after_every_sequence(services: tuple[str, ...], addresses: bool) -> None:
    for moves in product(MOVES, repeat=LENGTH - 1):
        one = twin(services, addresses)
        one.start()
        for move in moves:
            getattr(one, move)()


@pytest.mark.parametrize("faults", list(product((True, False), repeat=4)))
def test_a_stop_that_fails_is_tried_until_it_is_verified(faults: tuple[bool, ...]) -> None:
    one = twin(SERVICES, addresses=True)
    one.start()
    for _ in range(3):
        one.good()
    assert one.group.phase is Phase.ACTIVE
    one.stop()
    for fault in faults:
        (one.bad if fault else one.good)()
        one.time()
    for _ in range(10):
        one.good()
        one.time()
    assert not one.group.is_active and not one.up and one.group.wake() == NEVER


def test_the_order_up_and_down() -> None:
    one = twin(SERVICES, addresses=True)
    seen: list[str] = []
    one.start()
    while one.asked:
        seen.append(_name(one.asked[0]))
        one.good()
    one.stop()
    while one.asked:
        seen.append(_name(one.asked[0]))
        one.good()
    assert seen == ["promote db", "promote app", "claim", "withdraw", "demote app", "demote db"]


def _name(effect: Effect) -> str:
    match effect:
        case RunService(action=action, service=service):
            return f"{action} {service}"
        case ClaimAddresses():
            return "claim"
        case _:
            return "withdraw"
