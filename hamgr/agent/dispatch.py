"""Carries each effect out through its port; decides nothing."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from hamgr.agent.disk import Disk
from hamgr.core.effects import (
    ArmSwitch,
    BeginNewLife,
    CancelService,
    ClaimAddresses,
    DisarmSwitch,
    Effect,
    Exit,
    KeepFacts,
    KeepMaintenance,
    LoosenAddresses,
    Read,
    Report,
    RunDevice,
    RunService,
    SendHeartbeat,
    SetDeadline,
    TellReplicas,
    TightenAddresses,
    WithdrawAddresses,
    Write,
)
from hamgr.core.events import (
    DeadlineSet,
    Event,
    MaintenanceKept,
    ServiceAnswered,
    WriteAnswered,
)
from hamgr.core.reasons import Reason
from hamgr.ports import (
    Addresses,
    Coordinator,
    FenceDevices,
    Post,
    Services,
    Store,
    Switch,
    Transport,
    Watchdog,
)

logger = logging.getLogger("hamgr.engine")

_ALARMING = frozenset({
    Reason.LAPSED, Reason.NEW_LIFE, Reason.ACCUSED, Reason.LOOP_LATE,
    Reason.ZOOKEEPER_DOWN, Reason.FOREIGN_DATA, Reason.SERVICE_FAILED,
    Reason.RIVAL, Reason.ADDRESS_RESTORED, Reason.CONDITION_LOST, Reason.RELEASED,
    Reason.WAITS_FOR_FENCE, Reason.WAITS_STOP_WITHIN, Reason.SCARRED,
})
_FAILED = frozenset({Reason.STOP_FAILED, Reason.START_FAILED, Reason.FENCE_FAILED})


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Everything outside that effects are carried out by."""

    transport: Transport
    coordinator: Coordinator
    addresses: Addresses
    switch: Switch
    watchdog: Watchdog
    services: Services
    devices: FenceDevices
    store: Store


class Outstanding:
    """Numbered requests that have not been answered yet.

    A new engine numbers its own from the start again, so it may not begin before these are empty.
    What fence devices are asked has numbers of its own in each life: they may take a minute.
    """

    def __init__(self) -> None:
        self._open: set[tuple[type[Event], int]] = set()
        self.emptied: Callable[[], None] = lambda: None
        """Called when the last one has been answered."""

    def __bool__(self) -> bool:
        return bool(self._open)

    def asked(self, effect: Effect) -> None:
        """Note a request, if the effect is one."""
        match effect:
            case Write(write=number):
                self._open.add((WriteAnswered, number))
            case RunService(run=number):
                self._open.add((ServiceAnswered, number))
            case SetDeadline(serial=number, confirm=True):
                self._open.add((DeadlineSet, number))
            case _:
                pass

    def answered(self, event: Event) -> None:
        """Note an answer, if the event is one."""
        match event:
            case WriteAnswered(write=number) | ServiceAnswered(run=number):
                self._open.discard((type(event), number))
            case DeadlineSet(serial=number):
                self._open.discard((DeadlineSet, number))
            case _:
                return
        if not self._open:
            self.emptied()


class Dispatch:
    """Calls the port that an effect is for."""

    def __init__(
        self,
        ports: Ports,
        disk: Disk,
        post: Post,
        *,
        ended: Callable[[BeginNewLife | Exit], None],
    ) -> None:
        """ended is called when the engine says that its life, or all of it, is over."""
        self._ports, self._disk, self._post, self._ended = ports, disk, post, ended
        self.outstanding = Outstanding()

    def perform(self, effect: Effect) -> None:
        """Carry one effect out, or begin to; what comes of it is posted as an event."""
        if isinstance(effect, SendHeartbeat):  # most are, and nothing answers them
            self._ports.transport.send(effect.to, effect.heartbeat)
            return
        self.outstanding.asked(effect)
        match effect:
            case Report():
                report(effect)
            case Write():
                self._ports.coordinator.write(effect)
            case Read():
                self._ports.coordinator.read(effect.paths)
            case SetDeadline() | ArmSwitch() | DisarmSwitch():
                self._guard(effect)
            case ClaimAddresses() | WithdrawAddresses() | LoosenAddresses() | TightenAddresses():
                self._move(effect)
            case RunService() | CancelService() | TellReplicas():
                self._serve(effect)
            case KeepFacts() | KeepMaintenance():
                self._keep(effect)
            case RunDevice():
                self._ports.devices.run(effect)
            case BeginNewLife() | Exit():
                self._ended(effect)
            case _:
                assert_never(effect)

    def _guard(self, effect: SetDeadline | ArmSwitch | DisarmSwitch) -> None:
        switch, watchdog = self._ports.switch, self._ports.watchdog
        match effect:
            case SetDeadline(deadline=deadline):
                switch.set_deadline(deadline, effect.serial, effect.confirm)
                watchdog.set_deadline(deadline)
                self._ports.addresses.hold_until(deadline)
            case ArmSwitch(group=group):
                switch.arm(group)
                watchdog.arm(group)
            case DisarmSwitch(group=group):
                switch.disarm(group)
                watchdog.disarm(group)

    def _serve(self, effect: RunService | CancelService | TellReplicas) -> None:
        services = self._ports.services
        match effect:
            case RunService():
                services.run(effect)
            case CancelService():
                services.cancel(effect.run)
            case TellReplicas():
                services.tell(effect)

    def _move(
        self, effect: ClaimAddresses | WithdrawAddresses | LoosenAddresses | TightenAddresses
    ) -> None:
        addresses = self._ports.addresses
        match effect:
            case ClaimAddresses():
                addresses.claim(effect.group, effect.epoch, effect.probe)
            case WithdrawAddresses():
                addresses.withdraw(effect.group, effect.epoch)
            case LoosenAddresses():
                addresses.loosen(effect.group)
            case TightenAddresses():
                addresses.tighten(effect.group, effect.epoch)

    def _keep(self, effect: KeepFacts | KeepMaintenance) -> None:
        store = self._ports.store
        match effect:
            case KeepFacts(cluster_id=cluster_id, revision=revision):
                self._disk.submit("keep the plan's revision",
                                  lambda: store.keep_facts(cluster_id, revision))
            case KeepMaintenance(group=group, epoch=epoch, on=on):
                self._disk.submit(f"keep the maintenance of {group}",
                                  lambda: store.keep_maintenance(group, epoch, on),
                                  lambda: self._post(MaintenanceKept(group=group, on=on)))


def report(effect: Report) -> None:
    """Log one line, with its facts as fields for a structured journal."""
    level = (logging.ERROR if effect.reason in _FAILED
             else logging.WARNING if effect.reason in _ALARMING else logging.INFO)
    subject = ": ".join(name for name in (effect.group, effect.node) if name)
    sentence = effect.reason.sentence(effect.facts)
    logger.log(level, "%s", f"{subject}: {sentence}" if subject else sentence,
               extra={"reason": effect.reason.name, "group": effect.group, "node": effect.node,
                      "facts": effect.facts})
