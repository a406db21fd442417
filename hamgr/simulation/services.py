"""The services of one host: children of nobody, which go on when the agent is frozen or dead."""

import random
from collections.abc import Callable

from hamgr.core.effects import RunService
from hamgr.core.types import MILLISECOND, Duration, GroupName, ServiceName
from hamgr.simulation.clock import Scheduler

Key = tuple[GroupName, ServiceName]
Answer = Callable[[RunService, bool, str], None]

QUICK: Duration = 40 * MILLISECOND
SLOW: Duration = 400 * MILLISECOND
STOPPED, PROMOTED, UNSURE = "stopped", "promoted", "unsure"
"""Unsure: between the two, or an action failed; it must be taken for running."""


class Luck:
    """How often actions fail or hang just now; faults change it."""

    def __init__(self) -> None:
        self.promote_fails = 0.0
        self.demote_fails = 0.0
        self.monitor_fails = 0.0
        self.hangs = 0.0
        self.demote_hangs = 0.0
        self.slow = 0.0
        """Share of actions that take most of their timeout."""


class Services:
    """States of the services, and the actions that are under way."""

    def __init__(self, scheduler: Scheduler, rng: random.Random,
                 changed: Callable[[GroupName], None],
                 when_awake: Callable[..., None]) -> None:
        self.luck = Luck()
        self.takes: dict[tuple[GroupName, ServiceName, str], Duration] = {}
        """How long an action takes, where that is known: by group, service and action."""
        self._scheduler = scheduler
        self._rng = rng
        self._changed = changed
        self._when_awake = when_awake
        self._states: dict[Key, str] = {}
        self._runs: dict[int, tuple[RunService, Answer]] = {}
        """Actions under way by a number of their own: those of a dead agent go on."""
        self._numbers = 0

    def running(self, group: GroupName) -> bool:
        """Whether any service of the group may be at work, a started promotion included."""
        return (any(state != STOPPED for key, state in self._states.items() if key[0] == group)
                or any(run.group == group and run.action == "promote"
                       for run, _ in self._runs.values()))

    def promoted(self, group: GroupName, service: ServiceName) -> bool:
        """Whether one service is promoted for certain."""
        return self._states.get((group, service)) == PROMOTED

    def run(self, effect: RunService, answer: Answer) -> None:
        """Start an action; it is answered once, at the latest at its timeout."""
        self._numbers += 1
        number = self._numbers
        self._runs[number] = (effect, answer)
        key = (effect.group, effect.service)
        if effect.action == "promote" or (effect.action == "demote"
                                          and self._states.get(key, STOPPED) != STOPPED):
            self._states[key] = UNSURE
        self._changed(effect.group)
        hangs = self.luck.hangs + self.luck.demote_hangs * (effect.action == "demote")
        if self._rng.random() < hangs:
            return_at, ok, why = effect.timeout, False, "no answer in time"
        else:
            spread = SLOW if self._rng.random() < 0.05 else QUICK
            if self.luck.slow and self._rng.random() < self.luck.slow:
                spread = effect.timeout * 9 // 10
            drawn = MILLISECOND + int(self._rng.random() * spread)
            return_at = self.takes.get((*key, effect.action), drawn)
            ok = self._rng.random() >= self._chance(effect.action)
            why = "" if ok else "exit status 1"
        self._scheduler.after(return_at, self._when_awake, self._finish, number, ok, why)

    def cancel(self, run: int, answer: Answer) -> None:
        """Kill the newest action that this agent started under this number."""
        for number in sorted(self._runs, reverse=True):
            effect, its_answer = self._runs[number]
            if effect.run == run and its_answer == answer:
                self._finish(number, False, "cancelled")
                return

    def kill(self, group: GroupName) -> None:
        """End everything of a group: actions under way and services alike."""
        for number in [n for n, (run, _) in self._runs.items() if run.group == group]:
            self._states[self._key(number)] = STOPPED
            self._finish(number, False, "killed")
        for key in [key for key in self._states if key[0] == group]:
            self._states[key] = STOPPED
        self._changed(group)

    def power_off(self) -> None:
        """Everything is gone, and nothing answers."""
        self._runs.clear()
        groups = sorted({group for group, _ in self._states})
        self._states.clear()
        for group in groups:
            self._changed(group)

    def _chance(self, action: str) -> float:
        return {"promote": self.luck.promote_fails, "demote": self.luck.demote_fails,
                "monitor": self.luck.monitor_fails}[action]

    def _key(self, number: int) -> Key:
        effect, _ = self._runs[number]
        return effect.group, effect.service

    def _finish(self, number: int, ok: bool, why: str) -> None:
        if number not in self._runs:
            return
        key = self._key(number)
        effect, answer = self._runs.pop(number)
        if effect.action == "promote" and ok:
            self._states[key] = PROMOTED
        elif effect.action == "demote" and ok:
            self._states[key] = STOPPED
        elif effect.action == "monitor" and ok and not self.promoted(*key):
            ok, why = False, "not running"
        self._changed(effect.group)
        answer(effect, ok, why)
