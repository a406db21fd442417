"""One service on one node: how much of it runs for certain, and the next step to where it shall be.

    stopped --start--> started --promote--> promoted
            <--stop---         <--demote---

What an action that failed, or a monitor, has left in doubt is taken for running until a step down
has succeeded: only then does a step up follow. A step for which the driver has no action is taken
at once.
"""

from hamgr.core.spec import ServiceSpec
from hamgr.core.types import NEVER, Found, Instant, Role

_UP = {Role.STOPPED: "start", Role.STARTED: "promote"}
_DOWN = {Role.PROMOTED: "demote", Role.STARTED: "stop"}
_REACHES = {"start": Role.STARTED, "promote": Role.PROMOTED, "demote": Role.STARTED,
            "stop": Role.STOPPED}
_DOING = {"start": "starting", "promote": "promoting", "demote": "demoting", "stop": "stopping",
          "probe": "probing"}
_FOUND = {Found.UNKNOWN: Role.STOPPED, Found.STOPPED: Role.STOPPED, Found.STARTED: Role.STARTED,
          Found.PROMOTED: Role.PROMOTED}
"""What a probe says of a service. Where nothing can tell, starting what runs already must do."""


class LocalService:
    """What is known of one service on this node."""

    def __init__(self, spec: ServiceSpec, known: bool) -> None:
        """Known: it is stopped; else it has to be probed first."""
        self.spec = spec
        self.role = Role.STOPPED
        """The highest that it may be in."""
        self.sure = True
        """It certainly is in that role, and works."""
        self.known = known
        self.acting = ""
        """The action under way, other than a monitor."""
        self.why = ""
        """What was last said against it."""
        self.gone = False
        """The configuration has it no more: only to be stopped."""
        self.blocked = False
        """It failed beyond its limit, and waits for an operator."""
        self.score = 0
        """How well this node would do as its active one, by its own word."""
        self.failed_at: list[Instant] = []
        """Within the window, oldest first."""
        self.retry_at: Instant = 0
        """A replica that failed is left alone until then."""
        self._demoted_in_vain = False

    @property
    def top(self) -> Role:
        """Return the role that it has where its group is active."""
        return Role.PROMOTED if "promote" in self.spec.actions else Role.STARTED

    @property
    def state(self) -> str:
        """Return in a word what it does, or is."""
        if self.acting:
            return _DOING[self.acting]
        if not self.known:
            return "unknown"
        if not self.sure or self.blocked:
            return "failed"
        bare = self.role is Role.STARTED and "start" not in self.spec.actions
        return "stopped" if bare else self.role.name.lower()

    def is_in(self, role: Role) -> bool:
        """Tell whether it certainly is in this role, and nothing is under way."""
        return self.known and self.sure and not self.acting and self.role is role

    def step(self, to: Role) -> str:
        """Return the next action on the way to a role; nothing if it is there."""
        if not self.known:
            return "probe"
        while not self.sure or self.role is not to:
            up = self.sure and self.role < to
            if not up and self.role is Role.STOPPED:
                self.sure = True
                continue
            action = (_UP if up else _DOWN)[self.role]
            if action == "demote" and self._demoted_in_vain and "stop" in self.spec.actions:
                return "stop"
            if action in self.spec.actions:
                return action
            self._reached(_REACHES[action])
        return ""

    def begin(self, action: str) -> None:
        """An action is under way."""
        self.acting = action
        if action != "probe":
            self.sure = False
            self.role = max(self.role, _REACHES[action])

    def end(self, ok: bool, why: str, found: Found) -> None:
        """The action is over."""
        action, self.acting = self.acting, ""
        if action == "probe":
            self.known, self.sure = True, ok and found in _FOUND
            self.role = _FOUND[found] if self.sure else self.top
        elif ok:
            self._reached(_REACHES[action])
        else:
            self._demoted_in_vain |= action == "demote"
        if not ok or action in ("start", "promote"):
            self.why = "" if ok else why

    def _reached(self, role: Role) -> None:
        self.role, self.sure, self._demoted_in_vain = role, True, False
        self.retry_at = 0

    def take_over(self, role: Role) -> None:
        """It was found, or left, in this role."""
        self.known = True
        self._reached(role)

    def broke(self, why: str) -> None:
        """It does not work any more, whatever is left of it."""
        self.sure, self.why = False, why

    def failed(self, now: Instant) -> int:
        """Count a failure; return how many there are within the window."""
        self.failed_at = [at for at in self.failed_at if now - at < self.spec.window] + [now]
        return self.failures(now)

    def failures(self, now: Instant) -> int:
        """Return how many there are within the window."""
        return sum(now - at < self.spec.window for at in self.failed_at)

    @property
    def is_over_limit(self) -> bool:
        """Tell whether it has failed more often than is mended here."""
        return len(self.failed_at) > self.spec.restarts

    def aged_at(self) -> Instant:
        """Return when it may be tried here again that failed beyond its limit; 0 if it did not."""
        return self.failed_at[-1] + self.spec.window if self.is_over_limit else 0

    def rests_in(self, hosting: bool, everywhere: bool) -> Role:
        """Return in which role it is where its group is not active."""
        if not hosting or self.gone:
            return Role.STOPPED
        if everywhere:
            return self.top
        return Role.STARTED if self.spec.promotable else Role.STOPPED

    def goes_down_to(self, again: bool) -> Role:
        """Return in which role it ends as its group stops, or for once to be started again.

        Never up: one that could not be demoted was stopped.
        """
        rests = self.spec.promotable and not self.gone and not again
        return min(Role.STARTED if rests else Role.STOPPED, self.role)

    @property
    def is_over(self) -> bool:
        """Tell whether the configuration has it no more, and it is stopped."""
        return self.gone and self.is_in(Role.STOPPED)

    def is_left(self, to: Role) -> bool:
        """Tell whether it is not touched: it is blocked, and need not be stopped."""
        return self.blocked and to is not Role.STOPPED

    def clear(self) -> None:
        """An operator has seen to it: forget its failures."""
        self.failed_at, self.blocked, self.retry_at = [], False, 0

    def retry(self) -> Instant:
        """Return when something shall be tried again; NEVER if nothing waits for that."""
        return self.retry_at if self.retry_at else NEVER
