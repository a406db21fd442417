"""What an heir or new holder waits for, before it acts on another's silence (rules 13, 14)."""

from hamgr.core.effects import Effect, Fence, Report
from hamgr.core.knowledge import Knowledge
from hamgr.core.reasons import Reason
from hamgr.core.records import Right
from hamgr.core.spec import GroupSpec
from hamgr.core.types import MILLISECOND, NEVER, SECOND, Duration, Epoch, Instant

FENCE_RETRY: Duration = 5 * SECOND
"""Between two attempts at a fence device that failed."""


class Doubts:
    """Of one group: earlier rights that are out without their owners' word."""

    def __init__(self) -> None:
        self._since: dict[Epoch, Instant] = {}
        """For each doubted epoch, when the evidence was first complete."""
        self._fenced: dict[Epoch, bool] = {}
        """Fencing asked for: confirmed or not yet."""
        self._ask_again_at: Instant = NEVER
        self.wake: Instant = NEVER
        """When a wait is over."""

    def resolve(self, spec: GroupSpec, doubted: tuple[Right, ...], knowledge: Knowledge,
                now: Instant) -> tuple[list[Effect], bool]:
        """Wait for `stop_within`, or for the fence: what to do for it, and whether it goes on."""
        self.wake = NEVER
        if not doubted or not (spec.stop_within or spec.fencing_required):
            return [], False
        effects: list[Effect] = []
        waiting = False
        for right in doubted:
            if knowledge.said_done(right, spec.name) or knowledge.stopped_by_seat(right):
                continue
            if spec.fencing_required:
                effects += self._fence(spec, right, knowledge, now)
                waiting |= not self._fenced.get(right.epoch, False)
            else:
                effects += self._wait(spec, right, knowledge, now)
                waiting |= now < self._since[right.epoch] + spec.stop_within
        return effects, waiting

    def _wait(self, spec: GroupSpec, right: Right, knowledge: Knowledge,
              now: Instant) -> list[Effect]:
        news = right.epoch not in self._since
        since = self._since.setdefault(right.epoch, now)
        if now < since + spec.stop_within:
            self.wake = min(self.wake, since + spec.stop_within)
        return [_report(spec, knowledge, Reason.WAITS_STOP_WITHIN, peer=right.node,
                        wait_ms=spec.stop_within // MILLISECOND)] if news else []

    def _fence(self, spec: GroupSpec, right: Right, knowledge: Knowledge,
               now: Instant) -> list[Effect]:
        if right.epoch in self._fenced:
            return []
        if self._ask_again_at != NEVER and now < self._ask_again_at:
            self.wake = min(self.wake, self._ask_again_at)
            return []
        self._fenced[right.epoch] = False
        return [Fence(group=spec.name, node=right.node, epoch=right.epoch),
                _report(spec, knowledge, Reason.WAITS_FOR_FENCE, peer=right.node)]

    def fence_answered(self, epoch: Epoch, ok: bool, now: Instant) -> bool:
        """Take in what a fence device said; True if it failed, and is to be asked again."""
        if epoch not in self._fenced:
            return False
        if ok:
            self._fenced[epoch] = True
            return False
        del self._fenced[epoch]
        self._ask_again_at = now + FENCE_RETRY
        return True


def _report(spec: GroupSpec, knowledge: Knowledge, reason: Reason, **facts: str | int) -> Report:
    return Report(reason=reason, group=spec.name, node=knowledge.node, facts=facts)
