"""What an heir or new holder waits for, before it acts on another's silence (rules 13, 14)."""

from hamgr.core.effects import Effect, Report
from hamgr.core.fencers import Wants, want
from hamgr.core.knowledge import Knowledge
from hamgr.core.reasons import Reason
from hamgr.core.records import Right
from hamgr.core.spec import GroupSpec
from hamgr.core.types import MILLISECOND, NEVER, Epoch, Instant

NOT_FENCED = "is not fenced"
"""What is said of a node that a group waits for."""


class Doubts:
    """Of one group: earlier rights that are out without their owners' word."""

    def __init__(self) -> None:
        self._since: dict[Epoch, Instant] = {}
        """For each doubted epoch, when the evidence was first complete."""
        self.wake: Instant = NEVER
        """When a wait is over."""

    def resolve(self, spec: GroupSpec, doubted: tuple[Right, ...], knowledge: Knowledge,
                wants: Wants, now: Instant) -> tuple[list[Effect], str]:
        """Wait for `stop_within`, or for a fence: what to tell of it, and what it waits for."""
        self.wake = NEVER
        effects: list[Effect] = []
        waits_for = ""
        for right in doubted:
            if knowledge.said_done(right, spec.name) or knowledge.stopped_by_seat(right) or (
                    knowledge.is_fenced(right.node, right.life)):
                continue
            news = right.epoch not in self._since
            since = self._since.setdefault(right.epoch, now)
            if spec.fencing_required or knowledge.is_stuck(right, spec.name):
                want(wants, right, f"{spec.name} may still run there",
                     knowledge.timing.interval, knowledge, now)
                effects += [_report(spec, knowledge, Reason.WAITS_FOR_FENCE,
                                    peer=right.node)] if news else []
                waits_for = f"{right.node} {NOT_FENCED}"
            elif now < since + spec.stop_within:
                self.wake = min(self.wake, since + spec.stop_within)
                effects += [_report(spec, knowledge, Reason.WAITS_STOP_WITHIN, peer=right.node,
                                    wait_ms=spec.stop_within // MILLISECOND)] if news else []
                waits_for = waits_for or f"{right.node} may not have stopped yet"
        return effects, waits_for


def _report(spec: GroupSpec, knowledge: Knowledge, reason: Reason, **facts: str | int) -> Report:
    return Report(reason=reason, group=spec.name, node=knowledge.node, facts=facts)
