"""One group on this node: start, promote, take the address … and back, one step at a time.

    inactive --start--> starting --all steps up--> active --stop--> stopping --verified--> inactive
                            |                         |                 |
                            +---- stop, or a step failed ---------------+ (restart: up again)

A step is a service or, last, the addresses. Going up: promote each service in order, then
claim the addresses. Going down: the addresses leave first, so that no client reaches a
service that is going down, then demote in reverse. The group is active, in the sense of the
protocol, from the first start action to the last stop verified, and the switch is armed for as
long; a stop that fails is tried again and never taken for done.

A configuration that changes meanwhile touches only what is new in it, or gone from it.
"""

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from hamgr.core import effects as fx
from hamgr.core.events import AddressesClaimed, AddressesWithdrawn, ServiceAnswered
from hamgr.core.reasons import Reason
from hamgr.core.spec import GroupSpec, ServiceSpec
from hamgr.core.types import NEVER, SECOND, Duration, Epoch, Instant, NodeName, ServiceName

STOP_RETRY: Duration = 2 * SECOND
"""Between two attempts at a stop that failed."""
RESTART_PAUSE: Duration = 5 * SECOND
"""Before each further restart of a service that failed beyond its limit and has nowhere to go."""
RELEASES_MAX, RELEASE_WINDOW = 5, 60 * SECOND
"""A holder releases of its own accord at most so often in this time (rule 12): links may flap."""
FENCE_RETRY: Duration = 5 * SECOND
"""Between two attempts at a fence device that failed."""
CLAIM_RETRY: Duration = 1 * SECOND
"""Between two attempts at an address for which another machine answers."""


class Phase(str, Enum):
    """Where a group is on its way up or down."""

    INACTIVE = "inactive"
    STARTING = "starting"
    ACTIVE = "active"
    STOPPING = "stopping"


class Occasion(Struct, frozen=True):
    """Why a group starts or stops: facts for the hooks' environment and for people."""

    why: str
    planned: bool = False
    origin: NodeName = ""
    target: NodeName = ""


class ServiceState(Struct):
    """What is known of one service on this node."""

    spec: ServiceSpec
    state: str = "stopped"
    why: str = ""
    gone: bool = False
    """The configuration has it no more: only to be stopped."""
    failed_at: list[Instant] = []
    """Within the window, oldest first."""


class LocalGroup:
    """The state of one group on this node; every method returns the effects it wants."""

    def __init__(self, spec: GroupSpec, number: Callable[[], int]) -> None:
        self.spec = spec
        self._number = number
        self.phase = Phase.INACTIVE
        self.epoch: Epoch = 0
        """The epoch in use; 0 when inactive."""
        self.occasion = Occasion("")
        self.armed = False
        self.addresses = "absent"
        """absent, claiming, present, withdrawing."""
        self.active_since: Instant = 0
        self.released_unfit: str = ""
        """A failure beyond the limit: the group shall leave this node (rule 12)."""
        self.services = [ServiceState(service, failed_at=[]) for service in spec.services]
        self._run: tuple[int, ServiceState, str] | None = None
        """The action under way: its run number, service, action."""
        self._monitors: dict[int, ServiceState] = {}
        self._monitor_at: dict[ServiceName, Instant] = {}
        self._retry_at: Instant = NEVER
        self._probe = "before"
        self._restart = False

    @property
    def is_active(self) -> bool:
        """From the first start action to the last stop verified."""
        return self.phase is not Phase.INACTIVE

    def wake(self) -> Instant:
        """Return when `tick` has something to do."""
        monitors = self._monitor_at.values() if self.phase is Phase.ACTIVE else ()
        return min(self._retry_at, *monitors, NEVER)

    def start(self, epoch: Epoch, occasion: Occasion, probe: str, now: Instant) -> list[fx.Effect]:
        """Become active under this epoch."""
        assert self.phase is Phase.INACTIVE and epoch > 0
        self.phase, self.epoch, self.occasion = Phase.STARTING, epoch, occasion
        self._probe, self._restart, self.released_unfit = probe, False, ""
        return [*self.arm(), *self._go_up(now),
                self._report(Reason.STARTING, epoch=epoch, why=occasion.why)]

    def adopt(self, epoch: Epoch, now: Instant) -> None:
        """Take for active what maintenance left in place (rule 22)."""
        assert self.phase is Phase.INACTIVE
        self.phase, self.epoch = Phase.ACTIVE, epoch
        self.addresses = "present" if self.spec.has_addresses else "absent"
        for service in self.services:
            service.state = "promoted"
        self._become_active(now)

    def stop(self, occasion: Occasion, now: Instant) -> list[fx.Effect]:
        """Stop all of it; also in the middle of a start or a restart."""
        assert self.is_active
        if self.phase is Phase.STOPPING and not self._restart:
            return []
        self._restart = False
        self.occasion = occasion
        self.phase = Phase.STOPPING
        report = self._report(Reason.STOPPING, epoch=self.epoch, why=occasion.why)
        return [*self._go_down(now), *self._cancel_runs(), report]

    def configure(self, spec: GroupSpec, now: Instant) -> None:
        """Go by another configuration of this group from now on, without touching what stays.

        What has gone is ours to stop until that is verified, what is new is started beside the
        rest; changed times count from the next action, those of monitors at once.
        """
        known = {one.spec.name: one for one in self.services}
        self.spec, self.services = spec, []
        for service in spec.services:
            one = known.pop(service.name, ServiceState(service, failed_at=[]))
            one.spec, one.gone = service, False
            self.services.append(one)
        for one in known.values():
            one.gone = True
        self.services += [one for one in known.values() if one.state != "stopped"]
        if self.is_active:
            self._retry_at = now
            for one in self.services:
                if self._monitor_at.get(one.spec.name) != NEVER:  # one is under way, and goes on
                    self._watch(one, now)

    def _cancel_runs(self) -> list[fx.Effect]:
        runs = list(self._monitors)
        if self._run is not None and self._run[2] == "promote":
            runs.append(self._run[0])
        return [fx.CancelService(run=run) for run in runs]

    def loosen(self) -> list[fx.Effect]:
        """Disarm the switch: all is down, or in maintenance (rule 22).

        What a monitor under way will find is not news any more; it is due again when all ends.
        """
        self.armed = False
        self._monitor_at |= {service.spec.name: 0 for service in self._monitors.values()}
        self._monitors.clear()
        return [fx.DisarmSwitch(group=self.spec.name)]

    def arm(self) -> list[fx.Effect]:
        """Arm the switch: before anything starts, and at the end of maintenance."""
        self.armed = True
        return [fx.ArmSwitch(group=self.spec.name)]

    def _go_on(self, now: Instant) -> list[fx.Effect]:
        """Take the next step, whichever way this group is going."""
        if self.phase is Phase.INACTIVE:
            return []
        return self._go_down(now) if self.phase is Phase.STOPPING else self._go_up(now)

    def _go_up(self, now: Instant) -> list[fx.Effect]:
        """Also of an active group: what the configuration has no more goes, what is new comes."""
        assert self.phase in (Phase.STARTING, Phase.ACTIVE)
        if self._run is not None or self.addresses in ("claiming", "withdrawing"):
            return []
        wants, has = self.spec.has_addresses, self.addresses == "present"
        if has and not wants:
            return self._withdraw()
        for service in reversed(self.services):
            if service.gone:
                return [self._run_action(service, "demote", service.spec.demote_timeout)]
        for service in self.services:
            if service.state != "promoted":
                return [self._run_action(service, "promote", service.spec.promote_timeout)]
        if wants and not has:
            self.addresses = "claiming"
            return [fx.ClaimAddresses(group=self.spec.name, epoch=self.epoch, probe=self._probe)]
        if self.phase is Phase.ACTIVE:
            return []
        self.phase = Phase.ACTIVE
        self._become_active(now)
        return [self._report(Reason.ACTIVE, epoch=self.epoch)]

    def _become_active(self, now: Instant) -> None:
        self.active_since = now
        self._monitor_at = {}
        for service in self.services:
            self._watch(service, now)

    def _watch(self, service: ServiceState, now: Instant) -> None:
        """Have it monitored an interval from now, if at all."""
        interval = service.spec.monitor_interval
        if interval and service.state == "promoted" and not service.gone:
            self._monitor_at[service.spec.name] = now + interval
        else:
            self._monitor_at.pop(service.spec.name, None)

    def _go_down(self, now: Instant) -> list[fx.Effect]:
        assert self.phase is Phase.STOPPING
        if self.addresses in ("claiming", "present"):
            return self._withdraw()
        if self.addresses == "withdrawing" or self._run is not None:
            return []
        for service in reversed(self.services):
            if service.state != "stopped":
                return [self._run_action(service, "demote", service.spec.demote_timeout)]
        return self._all_down(now)

    def _withdraw(self) -> list[fx.Effect]:
        self.addresses = "withdrawing"
        return [fx.WithdrawAddresses(group=self.spec.name, epoch=self.epoch)]

    def _all_down(self, now: Instant) -> list[fx.Effect]:
        if self._restart:
            self._restart, self.phase, self._probe = False, Phase.STARTING, "none"
            if self.released_unfit:
                self._retry_at = now + RESTART_PAUSE
                return []
            return self._go_up(now)
        report = self._report(Reason.STOPPED, epoch=self.epoch)
        self.phase, self.epoch, self._retry_at = Phase.INACTIVE, 0, NEVER
        return [*self.loosen(), report]

    def addresses_claimed(self, event: AddressesClaimed, now: Instant) -> list[fx.Effect]:
        """Go on after a claim, or try it again later if another machine answers."""
        if event.epoch != self.epoch or self.addresses != "claiming":
            return []
        if event.ok:
            self.addresses = "present"
            return self._go_on(now)
        self.addresses = "absent"
        self._retry_at = now + CLAIM_RETRY
        return [self._report(Reason.START_FAILED, what="the addresses", why=event.why)]

    def addresses_withdrawn(self, event: AddressesWithdrawn, now: Instant) -> list[fx.Effect]:
        """Go on after a verified withdrawal, or try it again."""
        if event.epoch != self.epoch or self.addresses != "withdrawing":
            return []
        if event.ok:
            self.addresses = "absent"
            return self._go_on(now)
        self.addresses = "present"
        self._retry_at = now + STOP_RETRY
        return [self._report(Reason.STOP_FAILED, what="the addresses", why=event.why)]

    def service_answered(self, event: ServiceAnswered, now: Instant) -> list[fx.Effect]:
        """Go on after an action of a service."""
        monitored = self._monitors.pop(event.run, None)
        if monitored is not None:
            return self._monitored(monitored, event, now)
        if self._run is None or self._run[0] != event.run:
            return []
        _, service, action = self._run
        self._run = None
        if not event.ok or action == "promote":
            service.why = event.why
        if action == "promote":
            return self._promoted(service, event, now)
        return self._demoted(service, event, now)

    def _promoted(self, service: ServiceState, event: ServiceAnswered,
                  now: Instant) -> list[fx.Effect]:
        service.state = "promoted" if event.ok else "failed"
        if event.ok and self.phase is Phase.ACTIVE:
            self._watch(service, now)
        if event.ok or self.phase is Phase.STOPPING:
            return self._go_on(now)
        report = self._report(Reason.START_FAILED, what=service.spec.name, why=event.why)
        if self.phase is Phase.ACTIVE:  # it is new, and the rest works without it
            self._retry_at = now + RESTART_PAUSE
            return [report]
        return [report, *self._failed(service, event.why, now)]

    def _demoted(self, service: ServiceState, event: ServiceAnswered,
                 now: Instant) -> list[fx.Effect]:
        if event.ok:
            service.state = "stopped"
            if service.gone:
                self.services.remove(service)
            return self._go_on(now)
        service.state = "failed"
        self._retry_at = now + STOP_RETRY
        return [self._report(Reason.STOP_FAILED, what=service.spec.name, why=event.why)]

    def _monitored(self, service: ServiceState, event: ServiceAnswered,
                   now: Instant) -> list[fx.Effect]:
        if self.phase is not Phase.ACTIVE or service.gone:
            return []
        self._watch(service, now)
        if event.ok:
            return []
        service.why = event.why
        return self._failed(service, event.why, now)

    def _failed(self, service: ServiceState, why: str, now: Instant) -> list[fx.Effect]:
        """Restart on the spot, up to the limit in the window; beyond it the group shall leave."""
        spec = service.spec
        service.failed_at = [at for at in service.failed_at if now - at < spec.window] + [now]
        count = len(service.failed_at)
        report = self._report(Reason.SERVICE_FAILED, what=spec.name, why=why, count=count,
                              limit=spec.restarts)
        if count > spec.restarts:
            self.released_unfit = f"{spec.name} failed {count} times: {why}"
        self.phase, self._restart = Phase.STOPPING, True
        self._monitors.clear()
        return [report, *self._go_down(now)]

    def fit_again_at(self) -> Instant:
        """Return when the failures that made this node unfit will have aged."""
        return max((one.failed_at[-1] + one.spec.window for one in self.services
                    if len(one.failed_at) > one.spec.restarts), default=0)

    def tick(self, now: Instant) -> list[fx.Effect]:
        """Do what has become due: retries and monitors."""
        effects: list[fx.Effect] = []
        if now >= self._retry_at:
            self._retry_at = NEVER
            effects += self._go_on(now)
        if self.phase is Phase.ACTIVE:
            for service in self.services:
                if now >= self._monitor_at.get(service.spec.name, NEVER):
                    effects.append(self._monitor(service))
        return effects

    def _monitor(self, service: ServiceState) -> fx.Effect:
        self._monitor_at[service.spec.name] = NEVER
        effect = self._run_effect(service, "monitor", service.spec.monitor_timeout)
        self._monitors[effect.run] = service
        return effect

    def _run_action(self, service: ServiceState, action: str, timeout: Duration) -> fx.Effect:
        assert self._run is None
        effect = self._run_effect(service, action, timeout)
        self._run = (effect.run, service, action)
        service.state = "promoting" if action == "promote" else "demoting"
        return effect

    def _run_effect(self, service: ServiceState, action: str, timeout: Duration) -> fx.RunService:
        occasion = self.occasion
        return fx.RunService(run=self._number(), group=self.spec.name, service=service.spec.name,
                             action=action, epoch=self.epoch, timeout=timeout,
                             origin=occasion.origin, target=occasion.target, reason=occasion.why,
                             planned=occasion.planned)

    def _report(self, reason: Reason, **facts: str | int) -> fx.Report:
        return fx.Report(reason=reason, group=self.spec.name, facts=facts)
