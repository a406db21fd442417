"""What is known of one unit, and when it has changed without our doing. Pure.

systemd sends the properties of a unit in two signals, those of its type first, whenever one of them
has changed (org.freedesktop.systemd1(5)). While a job is queued or runs, the property Job names it:
what somebody else's job does to a unit is judged when the job has ended, so that a stop and a
restart are one change each; what happens without one is judged at once.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hamgr.adapters.services.systemd import states
from hamgr.adapters.services.systemd.states import End
from hamgr.core.types import Found


class Change(NamedTuple):
    """In which state a unit is now, and why."""

    found: Found
    why: str


class Watched:
    """One unit, by its signals."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = ""
        """Its object on the bus, under its first name; empty until it was looked at."""
        self.heard = 0
        """Signals so far: whoever looks at the unit knows by it whether one came in between."""
        self.ours = 0
        """Actions of ours that are going on, which account for every change."""
        self.our_job = 0
        """The newest job that we queued."""
        self.unheard = False
        """Whether signals may have been missed since the last judgement."""
        self.invocation = b""
        """Names one start of it; another one since means that it was started again."""
        self.condition_met = True
        """Whether the newest start found its conditions met."""
        self._active = ""
        self._sub = ""
        self._restarts = 0
        self._end = End()
        self._job = 0
        self._touched = 0
        """The newest job that anybody queued since the last judgement."""
        self._told: tuple[Found, bytes] | None = None
        self._restarts_told = 0

    @property
    def known(self) -> bool:
        """Whether its state was ever looked at."""
        return self._told is not None

    @property
    def found(self) -> Found:
        """What its state comes to."""
        return states.found(self._active)

    @property
    def state(self) -> str:
        """Its state in words."""
        return f"it is {self._active} ({self._sub})" if self._active else "nothing is known of it"

    @property
    def failure(self) -> str:
        """Why it failed; empty if it did not."""
        return states.failure(self._end)

    def queued(self, job: int) -> None:
        """Note that this job is ours."""
        self.our_job = job

    def take(self, properties: Mapping[str, Any]) -> None:
        """Take over what a signal says, or a look."""
        self._active = properties.get("ActiveState", self._active)
        self._sub = properties.get("SubState", self._sub)
        self.invocation = bytes(properties.get("InvocationID", self.invocation))
        self.condition_met = properties.get("ConditionResult", self.condition_met)
        self._restarts = properties.get("NRestarts", self._restarts)
        self._end = End(properties.get("Result", self._end.result),
                        properties.get("ExecMainCode", self._end.code),
                        properties.get("ExecMainStatus", self._end.status))
        self._job = properties.get("Job", (self._job,))[0]
        self._touched = self._job or self._touched

    def settle(self) -> None:
        """What is known by now has been told, or answered."""
        self._told = self.found, self.invocation
        self._restarts_told = self._restarts
        self._touched = 0
        self.unheard = False

    def change(self) -> Change | None:
        """Return what has to be told, once."""
        if self._told is None or self.ours or self._job:
            return None
        why = self._reason() if self._differs() else ""
        self.settle()
        return Change(self.found, why) if why else None

    def _differs(self) -> bool:
        assert self._told is not None
        found, invocation = self._told
        if self.found is Found.STARTED:
            return found is not Found.STARTED or invocation != self.invocation
        return found is not self.found

    def _reason(self) -> str:
        if self.found is Found.STARTED:
            return self._started()
        if self.found is Found.STOPPED:
            if self.unheard:
                return "stopped while hamgr could not hear of it"
            if self._touched:
                return f"stopped by {self._whose()}"
            ended = states.process(self._end)
            return f"it ended by itself: {ended}" if ended else "it ended by itself"
        why = self.failure or self.state
        return f"{why}, in a job of {self._whose()}" if self._touched else why

    def _started(self) -> str:
        assert self._told is not None
        again = "restarted" if self._told[0] is Found.STARTED else "started"
        if self._restarts > self._restarts_told:
            return f"{again} by systemd (Restart=)"
        if self._touched:
            return f"{again} by {self._whose()}"
        return f"{again} while hamgr could not hear of it"

    def _whose(self) -> str:
        return "hamgr, later than it could wait" if self._touched == self.our_job \
            else "somebody else"
