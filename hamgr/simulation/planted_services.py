"""What each mistake does to services: how they start, rest and stop."""

from contextlib import ExitStack
from typing import Any

from hamgr.core import activity, group, rights, waits
from hamgr.core.effects import Effect
from hamgr.core.seat import HOLDING
from hamgr.core.service import LocalService
from hamgr.core.spec import GroupSpec
from hamgr.core.types import Instant, Role
from hamgr.simulation.planted import put


def started_in_reverse(stack: ExitStack) -> None:
    """What comes last in a group is started first."""
    _reversed(stack, "_go_up")


def stopped_in_order(stack: ExitStack) -> None:
    """What is started first is stopped first."""
    _reversed(stack, "_go_down")


def _reversed(stack: ExitStack, name: str) -> None:
    right = getattr(group.LocalGroup, name)

    def wrong(self: Any, now: Instant) -> list[Effect]:
        self.services = self.services[::-1]
        effects: list[Effect] = right(self, now)
        self.services = self.services[::-1]
        return effects
    put(stack, group.LocalGroup, name, wrong)


def broken_replica_inherits(stack: ExitStack) -> None:
    """Nobody asks whether a node's replica works before it is named heir."""
    def weakness(self: Any) -> str:
        return ""
    put(stack, rights.GroupRights, "weakness", weakness)


def lapse_stops_what_rests(stack: ExitStack) -> None:
    """Without a lease nothing may rest."""
    right = activity.Activity._host

    def host(self: Any, rights: Any, plan: Any, stopping: bool) -> None:
        right(self, rights, plan, stopping)
        rights.local.hosting &= self._seat.standing in HOLDING
    put(stack, activity.Activity, "_host", host)


def nothing_is_probed(stack: ExitStack) -> None:
    """A new agent takes for stopped what it has not started."""
    def service(self: Any, spec: Any) -> LocalService:
        return LocalService(spec, known=True)

    def hold(self: Any, held: bool) -> None:
        self.held = held
    put(stack, group.LocalGroup, "_service", service)
    put(stack, group.LocalGroup, "hold", hold)


def required_not_awaited(stack: ExitStack) -> None:
    """Whoever has a right starts, whatever its group requires."""
    def is_up(*_: Any) -> bool:
        return True
    put(stack, waits, "is_up", is_up)


def apart_not_looked_at(stack: ExitStack) -> None:
    """An heir does not look which other groups it has taken over already."""
    right = waits.hindrance

    def hindrance(spec: GroupSpec, *rest: Any) -> str:
        why = right(spec, *rest)
        return "" if "apart" in why else why
    put(stack, activity, "hindrance", hindrance)


def started_on_the_way_down(stack: ExitStack) -> None:
    """A replica that had to be stopped is started again before the group is down."""
    def goes_down_to(self: LocalService, again: bool) -> Role:
        rests = self.spec.promotable and not self.gone and not again
        return Role.STARTED if rests else Role.STOPPED
    put(stack, LocalService, "goes_down_to", goes_down_to)
