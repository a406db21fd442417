"""One group on this node: start, promote, take the address … and back, one step at a time.

    inactive --start--> starting --all steps up--> active --stop--> stopping --verified--> inactive
                            |                         |                 |
                            +---- stop, or a step failed ---------------+ (restart: up again)

A step is an action of a service or, last, the addresses. Going up: each service in order to its
top role, then claim the addresses. Going down: the addresses leave first, so that no client
reaches a service that is going down, then each service in reverse, to where it rests. The group is
active, in the sense of the protocol, from the first step up to the last one down verified, and the
switch is armed for as long; a stop that fails is tried again and never taken for done.

What rests: replicas of promotable services, on every node of the group, and all of a group that
runs everywhere. It needs no right, no lease and no switch, and outlives them.

A configuration that changes meanwhile touches only what is new in it, or gone from it.
"""

from collections.abc import Callable

from hamgr.core import effects as fx
from hamgr.core.events import AddressesClaimed, AddressesWithdrawn, ServiceAnswered, ServiceChanged
from hamgr.core.monitors import Monitors
from hamgr.core.phase import Occasion, Phase
from hamgr.core.reasons import Reason
from hamgr.core.service import LocalService
from hamgr.core.spec import GroupSpec, ServiceSpec
from hamgr.core.types import NEVER, SECOND, Duration, Epoch, Found, Instant, OnFailure, Role

STOP_RETRY: Duration = 2 * SECOND
"""Between two attempts at a stop that failed."""
RESTART_PAUSE: Duration = 5 * SECOND
"""Before each further restart of a service that failed beyond its limit and has nowhere to go."""
CLAIM_RETRY: Duration = 1 * SECOND
"""Between two attempts at an address for which another machine answers."""
_STEADY = (Phase.INACTIVE, Phase.ACTIVE)
"""Nothing is on its way, and monitors look at what runs."""
_UPWARD = ("start", "promote")


class LocalGroup:
    """The state of one group on this node; every method returns the effects it wants."""

    def __init__(self, spec: GroupSpec, number: Callable[[], int]) -> None:
        self.spec = spec
        self._number = number
        self.phase = Phase.INACTIVE
        self.epoch: Epoch = 0
        """The epoch in use; 0 when inactive."""
        self.occasion, self.armed = Occasion(""), False
        self.addresses = "absent"
        """absent, claiming, present, withdrawing."""
        self.active_since: Instant = 0
        self.released_unfit: str = ""
        """A failure beyond the limit: the group shall leave this node (rule 12)."""
        self.stuck = ""
        """Why this node cannot get rid of the group, and is to be fenced (rule 13)."""
        self.hosting = False
        """What rests may run here: no standby, no end of the agent."""
        self.held = False
        """Nothing that rests here is touched: maintenance, or no plan was read yet."""
        self.services = [self._service(one) for one in spec.services]
        self._run: tuple[int, LocalService] | None = None
        """The action under way: its run number and service."""
        self._monitors = Monitors()
        self._retry_at, self._probe = NEVER, "before"
        self._mended: LocalService | None = None  # it goes down with all after it, and up again

    def _service(self, spec: ServiceSpec) -> LocalService:
        return LocalService(spec, known=not (spec.promotable or self.spec.everywhere))

    @property
    def is_active(self) -> bool:
        """From the first start action to the last stop verified."""
        return self.phase is not Phase.INACTIVE

    def wake(self) -> Instant:
        """Return when `tick` has something to do."""
        looks = self._monitors.wake() if self.phase in _STEADY else NEVER
        again = [one.retry() for one in self.services] if not self.is_active else ()
        return min(self._retry_at, looks, *again, NEVER)

    def start(self, epoch: Epoch, occasion: Occasion, probe: str, now: Instant) -> list[fx.Effect]:
        """Become active under this epoch."""
        assert self.phase is Phase.INACTIVE and epoch > 0
        self.phase, self.epoch, self.occasion = Phase.STARTING, epoch, occasion
        self._probe, self._mended, self.released_unfit, self.stuck = probe, None, "", ""
        self._monitors.forget()
        for service in self.services:
            service.blocked = False  # else the group would be active without it
        return [*self.arm(), *self._go_up(now),
                self._report(Reason.STARTING, epoch=epoch, why=occasion.why)]

    def adopt(self, epoch: Epoch, now: Instant) -> None:
        """Take for active what maintenance left in place (rule 22)."""
        assert self.phase is Phase.INACTIVE
        self.phase, self.epoch = Phase.ACTIVE, epoch
        self.addresses = "present" if self.spec.has_addresses else "absent"
        for service in self.services:
            service.take_over(service.top)
        self._become_active(now)

    def stop(self, occasion: Occasion, now: Instant) -> list[fx.Effect]:
        """Stop all of it; also in the middle of a start or a restart."""
        assert self.is_active
        if self.phase is Phase.STOPPING and self._mended is None:
            return []
        self.phase, self.occasion, self._mended = Phase.STOPPING, occasion, None
        return [*self._go_down(now), *self._cancel_runs(),
                self._report(Reason.STOPPING, epoch=self.epoch, why=occasion.why)]

    def configure(self, spec: GroupSpec, now: Instant) -> None:
        """Go by another configuration of this group from now on, without touching what stays.

        What has gone is ours to stop until that is verified, what is new is started beside the
        rest; changed times count from the next action, those of monitors at once.
        """
        known = {one.spec.name: one for one in self.services}
        self.spec, self.services = spec, []
        for service in spec.services:
            one = known.pop(service.name, None) or self._service(service)
            one.spec, one.gone = service, False
            self.services.append(one)
        for one in known.values():
            one.gone = True
        self.services += [one for one in known.values() if one.step(Role.STOPPED) or one.acting]
        if self.is_active:
            self._retry_at = now
        for one in self.services:
            if not self._monitors.goes_on(one):
                self._monitors.watch(one, now)

    def _cancel_runs(self) -> list[fx.Effect]:
        runs = self._monitors.runs
        if self._run is not None and self._run[1].acting in _UPWARD:
            runs.append(self._run[0])
        return [fx.CancelService(run=run) for run in runs]

    def loosen(self) -> list[fx.Effect]:
        """Disarm the switch: all is down, or in maintenance (rule 22).

        What a monitor under way will find is not news any more; it is due again when all ends.
        """
        self.armed = False
        self._monitors.make_due()
        return [fx.DisarmSwitch(group=self.spec.name)]

    def arm(self) -> list[fx.Effect]:
        """Arm the switch: before anything starts, and at the end of maintenance."""
        self.armed = True
        return [fx.ArmSwitch(group=self.spec.name)]

    def _go_on(self, now: Instant) -> list[fx.Effect]:
        """Take the next step, whichever way this group is going."""
        if self.phase is Phase.INACTIVE:
            return self._rest(now)
        return self._go_down(now) if self.phase is Phase.STOPPING else self._go_up(now)

    def _go_up(self, now: Instant) -> list[fx.Effect]:
        """Also of an active group: what the configuration has no more goes, what is new comes."""
        assert self.phase in (Phase.STARTING, Phase.ACTIVE)
        if self._run is not None or self.addresses in ("claiming", "withdrawing"):
            return []
        wants, has = self.spec.has_addresses, self.addresses == "present"
        if has and not wants:
            return self._withdraw()
        gone = [service for service in self.services if service.gone]
        for service, to in (*((one, Role.STOPPED) for one in reversed(gone)),
                            *((one, one.top) for one in self.services if not one.gone)):
            if not service.is_left(to) and (action := service.step(to)):
                return [self._act(service, action)]
        self.services = [service for service in self.services if not service.gone]
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
        self._monitors.forget()
        for service in self.services:
            self._monitors.watch(service, now)

    def _go_down(self, now: Instant) -> list[fx.Effect]:
        assert self.phase is Phase.STOPPING
        if self.addresses in ("claiming", "present"):
            return self._withdraw()
        if self.addresses == "withdrawing" or self._run is not None:
            return []
        for service in reversed(self.services[self._first_down():]):
            if action := service.step(service.goes_down_to(again=service is self._mended)):
                return [self._act(service, action)]
        return self._all_down(now)

    def _first_down(self) -> int:
        """Return from which service on all go down: what comes before one that failed stays."""
        return self.services.index(self._mended) if self._mended in self.services else 0

    def _withdraw(self) -> list[fx.Effect]:
        self.addresses = "withdrawing"
        return [fx.WithdrawAddresses(group=self.spec.name, epoch=self.epoch)]

    def _all_down(self, now: Instant) -> list[fx.Effect]:
        self.stuck = ""
        if self._mended is not None:
            self._mended, self.phase, self._probe = None, Phase.STARTING, "none"
            if self.released_unfit:
                self._retry_at = now + RESTART_PAUSE
                return []
            return self._go_up(now)
        report = self._report(Reason.STOPPED, epoch=self.epoch)
        self.phase, self.epoch, self._retry_at = Phase.INACTIVE, 0, NEVER
        self._monitors.forget()
        for service in self.services:
            self._monitors.watch(service, now)
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
        self.addresses, self.stuck = "present", f"the addresses stay: {event.why}"
        self._retry_at = now + STOP_RETRY
        return [self._report(Reason.STOP_FAILED, what="the addresses", why=event.why)]

    def service_answered(self, event: ServiceAnswered, now: Instant) -> list[fx.Effect]:
        """Go on after an action of a service."""
        if (seen := self._monitors.ended(event.run)) is not None:
            if self.phase not in _STEADY or seen.gone or seen.acting:
                return []
            effects = [] if event.ok else self._failed(seen, event.why, now)
            self._monitors.watch(seen, now)
            return effects
        if self._run is None or self._run[0] != event.run:
            return []
        service, self._run = self._run[1], None
        action = service.acting
        service.end(event.ok, event.why, event.found)
        if self.phase in _STEADY:
            self._monitors.watch(service, now)
        if event.ok or action == "probe" or (action in _UPWARD and self.phase is Phase.STOPPING):
            return [*self._tell_rest(service, action), *self._go_on(now)]
        if action not in _UPWARD:
            return self._stop_failed(service, action, event.why, now)
        report = self._report(Reason.START_FAILED, what=service.spec.name, why=event.why)
        if self.phase is Phase.ACTIVE:  # it is new, and the rest works without it
            self._retry_at = now + RESTART_PAUSE
            return [report]
        return [report, *self._failed(service, event.why, now)]

    def _stop_failed(self, service: LocalService, action: str, why: str,
                     now: Instant) -> list[fx.Effect]:
        """Try it again later; what cannot be demoted may be stopped at once."""
        report = self._report(Reason.STOP_FAILED, what=service.spec.name, why=why)
        if action == "demote" and "stop" in service.spec.actions:
            return [report, *self._go_on(now)]
        self._retry_at = service.retry_at = now + STOP_RETRY
        self.stuck = f"{service.spec.name} does not stop: {why}" if self.is_active else ""
        return [report]

    def service_changed(self, event: ServiceChanged, now: Instant) -> list[fx.Effect]:
        """Go by what a driver noticed without being asked."""
        service = next((one for one in self.services if one.spec.name == event.service), None)
        if service is None or not service.known or service.acting or service.gone:
            return []
        runs = event.found in (Found.STARTED, Found.PROMOTED)
        stays = self.services.index(service) < self._first_down()
        if not runs and service.sure and service.role is not Role.STOPPED and (
                self.phase is not Phase.STOPPING or stays):
            return self._failed(service, event.why, now)
        if runs and not self.is_active and self._rests_in(service) is Role.STOPPED:
            service.take_over(Role.PROMOTED if event.found is Found.PROMOTED else Role.STARTED)
            return [self._report(Reason.INTRUDER, what=service.spec.name, why=event.why),
                    *self._rest(now)]
        return []

    def _failed(self, service: LocalService, why: str, now: Instant) -> list[fx.Effect]:
        """Mend it on the spot, up to the limit in the window; beyond it goes by its word."""
        count, spec = service.failed(now), service.spec
        report = self._report(Reason.SERVICE_FAILED, what=spec.name, why=why, count=count,
                              limit=spec.restarts)
        if spec.on_failure is OnFailure.IGNORE:
            service.take_over(service.role)
            service.why = why
            return [report, *self._go_on(now)]
        service.broke(why)
        if service.is_over_limit and self._is_left_alone(service, why):
            return [report, self._report(Reason.BLOCKED, what=spec.name), *self._go_on(now)]
        if self.phase is Phase.INACTIVE:
            service.retry_at = service.aged_at()
            return [report, *self._rest(now)]
        if service.is_over_limit:
            self.released_unfit = f"{spec.name} failed {count} times: {why}"
        self.phase, self._mended = Phase.STOPPING, service
        self._monitors.forget()
        return [report, *self._go_down(now)]

    def _is_left_alone(self, service: LocalService, why: str) -> bool:
        """Tell whether a service that failed beyond its limit is touched no more."""
        fences = service.spec.on_failure is OnFailure.FENCE and self.is_active
        self.stuck = f"{service.spec.name} failed: {why}" if fences else self.stuck
        service.blocked = fences or service.spec.on_failure is OnFailure.BLOCK
        return service.blocked

    def clear(self, maintained: bool, now: Instant) -> list[fx.Effect]:
        """An operator has seen to what failed: forget it, and try again what was given up."""
        blocked = [one for one in self.services if one.blocked]
        for service in self.services:
            service.clear()
        self.released_unfit = self.stuck = ""
        if maintained or self.held:
            for service in blocked:  # trusted, and looked at when maintenance ends
                service.take_over(service.role)
                self._monitors.watch(service, now)
            return []
        if not blocked or self.phase is not Phase.ACTIVE:
            return self._go_on(now)
        self.phase, self._mended = Phase.STOPPING, blocked[0]
        return self._go_down(now)

    def look_again(self) -> None:
        """Maintenance is over: what ended meanwhile was not told (rule 22)."""
        for service in self.services:
            self._monitors.look_now(service)

    def hold(self, held: bool) -> None:
        """Touch nothing that rests here from now on, or go on: by what is found then."""
        if held and not self.held:
            self._monitors.make_due()
        for one in self.services if self.held and not held and not self.is_active else ():
            one.known &= not one.spec.tells
        self.held = held

    def _rests_in(self, service: LocalService) -> Role:
        return service.rests_in(self.hosting, self.spec.everywhere)

    def _rest(self, now: Instant) -> list[fx.Effect]:
        """Bring what rests here to where it shall be, each service in its turn."""
        self.services = [one for one in self.services if not one.is_over]
        for service in self.services if self.hosting else reversed(self.services):
            if self.held or self._run is not None:
                break
            to = self._rests_in(service)
            if not service.is_left(to) and (action := service.step(to)):
                return [self._act(service, action)] if now >= service.retry_at else []
        return []

    def _tell_rest(self, service: LocalService, action: str) -> list[fx.Effect]:
        if self.is_active or action == "probe" or not service.is_in(self._rests_in(service)):
            return []
        return [self._report(Reason.RESTS, what=service.spec.name, state=service.state)]

    def tick(self, now: Instant) -> list[fx.Effect]:
        """Do what has become due: retries, monitors, and what rests."""
        effects: list[fx.Effect] = []
        if now >= self._retry_at or self.phase is Phase.INACTIVE:
            self._retry_at = NEVER
            effects += self._go_on(now)
        for service in self.services if self.phase in _STEADY else ():
            if now >= self._monitors.due(service) and not service.acting:
                effect = self._run_effect(service, "monitor")
                self._monitors.began(effect.run, service)
                effects.append(effect)
        return effects

    def _act(self, service: LocalService, action: str) -> fx.Effect:
        assert self._run is None
        effect = self._run_effect(service, action)
        self._run = (effect.run, service)
        service.begin(action)
        return effect

    def _run_effect(self, service: LocalService, action: str) -> fx.RunService:
        occasion = self.occasion
        return fx.RunService(run=self._number(), group=self.spec.name, service=service.spec.name,
                             action=action, epoch=self.epoch, timeout=service.spec.timeout(action),
                             active=self.is_active or self.spec.everywhere,
                             origin=occasion.origin, target=occasion.target, reason=occasion.why,
                             planned=occasion.planned)

    def _report(self, reason: Reason, **facts: str | int) -> fx.Report:
        return fx.Report(reason=reason, group=self.spec.name, facts=facts)
