"""When each service of a group is looked at, and the looks that are under way."""

from hamgr.core.service import LocalService
from hamgr.core.types import NEVER, Instant, Role, ServiceName


class Monitors:
    """At most one look at each service at a time."""

    def __init__(self) -> None:
        self._due: dict[ServiceName, Instant] = {}
        """NEVER: one is under way."""
        self._running: dict[int, LocalService] = {}

    @property
    def runs(self) -> list[int]:
        """Return the numbers of those under way."""
        return list(self._running)

    def watch(self, service: LocalService, now: Instant) -> None:
        """Look at a service an interval from now, if it runs and is looked at at all."""
        interval = service.spec.monitor_interval
        runs = service.sure and service.role is not Role.STOPPED
        if interval and runs and not service.gone and not service.blocked:
            self._due[service.spec.name] = now + interval
        else:
            self._due.pop(service.spec.name, None)

    def look_now(self, service: LocalService) -> None:
        """Look at a service at once that can be told, also if it is not looked at by itself."""
        if service.spec.tells and not service.blocked and not self.goes_on(service):
            self._due[service.spec.name] = 0

    def goes_on(self, service: LocalService) -> bool:
        """Tell whether a look at a service is under way."""
        return self._due.get(service.spec.name) == NEVER

    def due(self, service: LocalService) -> Instant:
        """Return when a service is to be looked at; NEVER if it is not, or just being."""
        return self._due.get(service.spec.name, NEVER)

    def wake(self) -> Instant:
        """Return when the next look is due."""
        return min(self._due.values(), default=NEVER)

    def began(self, run: int, service: LocalService) -> None:
        """A look is under way."""
        self._due[service.spec.name] = NEVER
        self._running[run] = service

    def ended(self, run: int) -> LocalService | None:
        """Return the service at which this run looked, if it is one of ours."""
        return self._running.pop(run, None)

    def forget(self) -> None:
        """What the looks under way will find is not news any more; begin anew."""
        self._due.clear()
        self._running.clear()

    def make_due(self) -> None:
        """Look again, as soon as that is possible, at what is being looked at now."""
        self._due |= {service.spec.name: 0 for service in self._running.values()}
        self._running.clear()
