"""What services may be told, and where they must rest: judged by what the world knows beside it.

Services of a group start in their order, and stop in reverse; what works is not stopped where
nobody asked for it, and what runs is not started again; and in peace replicas, and what runs
everywhere, run on every node of their group.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hamgr.core.effects import RunService
from hamgr.core.records import UNPLANNED, Plan
from hamgr.core.spec import GroupSpec, ServiceSpec
from hamgr.core.types import SECOND, Duration, Instant, Maintenance, NodeName, OnFailure, Role
from hamgr.simulation.services import UPWARD

if TYPE_CHECKING:
    from collections.abc import Callable

    from hamgr.simulation.host import Host
    from hamgr.simulation.world import World

LATELY: Duration = 3 * SECOND
"""An operator's word may be acted upon for so long after: it is on its way."""


class ServiceConduct:
    """Watches the services of every node."""

    def __init__(self, world: "World", violate: "Callable[[str, str], None]") -> None:
        self._world = world
        self._violate = violate
        self._emptied_at: dict[NodeName, Instant] = {}
        """When each node was last in standby, by the plan."""
        self._plan: Plan | None = None

    def planned(self, plan: Plan) -> None:
        """A plan was written."""
        for node in plan.standby:
            self._emptied_at[node] = self._world.now
        before, self._plan = self._plan, plan
        files_differ = self._world.reached["fault configure"]
        for group in self._world.spec.groups if not files_differ else ():
            heir = plan.groups.get(group.name, UNPLANNED).heir
            known = before.groups.get(group.name, UNPLANNED).top_epoch if before is not None else 0
            if heir is not None and heir.epoch > known and _long_broken(
                    self._world.hosts[heir.node], group, self._world.now):
                self._violate("misplaced", f"{heir.node} is named heir of {group.name}, and its "
                                           "replica has long been broken")

    def does(self, host: "Host", effect: RunService) -> None:
        """An engine wants an action of a service."""
        group = self._world.spec.group(effect.group)
        if group is None or self._world.reached["fault configure"]:
            return  # files differ on the nodes: what is before what is not the same for all
        names = [service.name for service in group.services]
        if effect.service not in names:
            return
        at = names.index(effect.service)
        if effect.epoch:
            self._in_order(host, effect, group, at)
        if effect.action == "stop" and group.everywhere and self._works(host, effect) and (
                not self._may_empty(host)):
            self._violate("needless", f"{host.name} stops {effect.service}, which works there")
        if effect.action == "start" and group.services[at].tells and self._runs(host, effect):
            self._violate("needless", f"{host.name} starts {effect.service}, which works there")

    def _in_order(self, host: "Host", effect: RunService, group: GroupSpec, at: int) -> None:
        told = host.services.told
        if effect.action in UPWARD:
            for one in group.services[:at]:
                if told.get((group.name, one.name)) != _top(one):
                    self._violate("order", f"{host.name} tells {effect.service} to "
                                           f"{effect.action} before {one.name} is up")
        elif effect.action in ("demote", "stop"):
            for one in group.services[at + 1:]:
                if told.get((group.name, one.name)) in _above_rest(one):
                    self._violate("order", f"{host.name} tells {effect.service} to "
                                           f"{effect.action} before {one.name} is down")

    def _works(self, host: "Host", effect: RunService) -> bool:
        """Tell whether a service certainly runs, and nothing was ever said against that."""
        return (effect.group, effect.service) in host.services.told and self._runs(host, effect)

    def _runs(self, host: "Host", effect: RunService) -> bool:
        key, services = (effect.group, effect.service), host.services
        return key not in services.doubted and (
            services.is_in(*key, Role.STARTED) or services.is_in(*key, Role.PROMOTED))

    def _may_empty(self, host: "Host") -> bool:
        lately = self._world.now - self._emptied_at.get(host.name, -LATELY) < LATELY
        plan = self._world.turmoil.plan()
        return (lately or host.agent is None or bool(host.agent.engine.stopping)
                or (plan is not None and host.name in plan.standby))

    def lacking(self) -> Iterator[str]:
        """Say what does not rest where it shall: in peace nothing may be said for long."""
        plan = self._world.turmoil.plan()
        if plan is None:
            return
        for group in self._world.spec.groups:
            planned = plan.groups.get(group.name)
            if planned is not None and planned.maintenance is not Maintenance.OFF:
                continue
            for name in group.nodes:
                host = self._world.hosts[name]
                if host.agent is None or name in plan.standby or not host.powered:
                    continue
                for service in group.services:
                    if (group.everywhere or service.promotable) and not _rests(
                            host, group, service):
                        yield f"{service.name} of {group.name} does not run on {name}"


def may_block(group: GroupSpec) -> bool:
    """Tell whether a failure can leave a group as it is, until an operator has seen to it."""
    return any(service.on_failure is OnFailure.BLOCK for service in group.services)


def broken_replica(host: "Host", group: GroupSpec) -> bool:
    """Tell whether a service that has replicas does not run on a host."""
    return any(service.promotable and not _rests(host, group, service)
               for service in group.services)


def _long_broken(host: "Host", group: GroupSpec, now: Instant) -> bool:
    return host.powered and any(
        service.promotable and not _rests(host, group, service)
        and now - host.services.since.get((group.name, service.name), now) > LATELY
        for service in group.services)


def _rests(host: "Host", group: GroupSpec, service: ServiceSpec) -> bool:
    top = Role.PROMOTED if "promote" in service.actions else Role.STARTED
    return host.services.is_in(group.name, service.name, top) or (
        service.promotable and host.services.is_in(group.name, service.name, Role.STARTED))


def _top(service: ServiceSpec) -> str:
    return "promote" if "promote" in service.actions else "start"


def _above_rest(service: ServiceSpec) -> tuple[str, ...]:
    return ("promote",) if service.promotable else UPWARD
