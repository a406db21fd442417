"""The services of one host: children of nobody, which go on when the agent is frozen or dead."""

import random
from collections.abc import Callable

from hamgr.core.effects import RunService
from hamgr.core.spec import GroupSpec
from hamgr.core.types import MILLISECOND, Duration, Found, GroupName, Instant, Role, ServiceName
from hamgr.simulation.clock import Scheduler

Key = tuple[GroupName, ServiceName]
Answer = Callable[[RunService, bool, str, Found], None]

QUICK: Duration = 40 * MILLISECOND
SLOW: Duration = 400 * MILLISECOND
REACHES = {"start": Role.STARTED, "promote": Role.PROMOTED, "demote": Role.STARTED,
           "stop": Role.STOPPED}
UPWARD = ("start", "promote")
LOOKS = ("monitor", "probe")
FOUND = {Role.STOPPED: Found.STOPPED, Role.STARTED: Found.STARTED, Role.PROMOTED: Found.PROMOTED}


class Luck:
    """How often actions fail or hang just now; faults change it."""

    def __init__(self) -> None:
        self.start_fails = 0.0
        self.promote_fails = 0.0
        self.demote_fails = 0.0
        self.stop_fails = 0.0
        self.monitor_fails = 0.0
        self.probe_fails = 0.0
        self.hangs = 0.0
        self.demote_hangs = 0.0
        self.slow = 0.0
        """Share of actions that take most of their timeout."""
        self.lies = 0.0
        """Share of monitors that are content with whatever there is."""


class Services:
    """Roles of the services, and the actions that are under way."""

    def __init__(self, scheduler: Scheduler, rng: random.Random,
                 spec: Callable[[GroupName], GroupSpec | None],
                 changed: Callable[[GroupName], None],
                 when_awake: Callable[..., None]) -> None:
        self.luck = Luck()
        self.takes: dict[tuple[GroupName, ServiceName, str], Duration] = {}
        """How long an action takes, where that is known: by group, service and action."""
        self.told: dict[Key, str] = {}
        """The last action of each service that its agent was told to have succeeded."""
        self.doubted: dict[Key, None] = {}
        """Of what its agent was told that it does not work, since it was last started."""
        self.since: dict[Key, Instant] = {}
        """When each service last came into another role, or into doubt."""
        self._scheduler = scheduler
        self._rng = rng
        self._spec = spec
        self._changed = changed
        self._when_awake = when_awake
        self._roles: dict[Key, Role] = {}
        """The highest role that each may be in."""
        self._unsure: dict[Key, None] = {}
        """Between two roles, or an action failed: taken for running."""
        self._rest: dict[Key, Role] = {}
        """The highest role in which a service needs no right."""
        self._bare: dict[Key, None] = {}
        """Services that are stopped once they are demoted: there is nothing else to stop."""
        self._runs: dict[int, tuple[RunService, Answer]] = {}
        """Actions under way by a number of their own: those of a dead agent go on."""
        self._numbers = 0

    def running(self, group: GroupName) -> bool:
        """Whether any service of the group may be at work that needs a right for that."""
        return any(role > self._rest[key] for key, role in self._roles.items()
                   if key[0] == group)

    def is_in(self, group: GroupName, service: ServiceName, role: Role) -> bool:
        """Whether a service certainly is in a role, and works."""
        key = group, service
        return self._roles.get(key, Role.STOPPED) is role and key not in self._unsure

    def at_top(self, group: GroupSpec) -> bool:
        """Whether all services of a group certainly are where the active node has them."""
        return all(self.is_in(group.name, one.name, Role.PROMOTED if "promote" in one.actions
                              else Role.STARTED) for one in group.services)

    def run(self, effect: RunService, answer: Answer) -> None:
        """Start an action; it is answered once, at the latest at its timeout."""
        self._numbers += 1
        number, key = self._numbers, (effect.group, effect.service)
        self._runs[number] = (effect, answer)
        self._learn(key)
        role = self._roles.get(key, Role.STOPPED)
        if effect.action in UPWARD or (effect.action not in LOOKS and role is not Role.STOPPED):
            self._roles[key] = max(role, REACHES[effect.action])
            if key not in self._unsure:
                self._unsure[key], self.since[key] = None, self._scheduler.now
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

    def _learn(self, key: Key) -> None:
        """Remember what of a service needs a right, also when its group goes from the file."""
        group = self._spec(key[0])
        spec = next((one for one in group.services if one.name == key[1]), None) if (
            group is not None) else None
        if group is not None and spec is not None:
            self._rest[key] = (Role.PROMOTED if group.everywhere else
                               Role.STARTED if spec.promotable else Role.STOPPED)
            if "stop" not in spec.actions:
                self._bare[key] = None
        self._rest.setdefault(key, Role.STOPPED)

    def cancel(self, run: int, answer: Answer) -> None:
        """Kill the newest action that this agent started under this number."""
        for number in sorted(self._runs, reverse=True):
            effect, its_answer = self._runs[number]
            if effect.run == run and its_answer == answer:
                self._finish(number, False, "cancelled")
                return

    def kill(self, group: GroupName) -> None:
        """End everything of a group: actions under way and services alike."""
        self._end(group, everything=True)

    def sweep(self, group: GroupName) -> None:
        """Take down what needs a right, as a new agent does; actions of the former one end."""
        self._end(group, everything=False)
        self.told = {key: action for key, action in self.told.items() if key[0] != group}

    def _end(self, group: GroupName, everything: bool) -> None:
        for number in [n for n, (run, _) in self._runs.items() if run.group == group]:
            self._finish(number, False, "killed")
        for key in [key for key in self._roles if key[0] == group]:
            rest = Role.STOPPED if everything else self._rest[key]
            if everything or self._roles[key] > rest:
                self._unsure.pop(key, None)
                self._roles[key], self.since[key] = rest, self._scheduler.now
        self._changed(group)

    def die(self, group: GroupName, service: ServiceName) -> None:
        """One service ends by itself."""
        key = group, service
        if key in self._roles and key not in self._unsure:
            self.doubted[key] = None
            self._roles[key], self.since[key] = Role.STOPPED, self._scheduler.now
            self._changed(group)

    def power_off(self) -> None:
        """Everything is gone, and nothing answers."""
        self._runs.clear()
        groups = sorted({group for group, _ in self._roles})
        self._roles.clear()
        self._unsure.clear()
        self.told.clear()
        self.doubted.clear()
        self.since = dict.fromkeys(self.since, self._scheduler.now)
        for group in groups:
            self._changed(group)

    def _chance(self, action: str) -> float:
        luck = self.luck
        return {"start": luck.start_fails, "promote": luck.promote_fails,
                "demote": luck.demote_fails, "stop": luck.stop_fails,
                "monitor": luck.monitor_fails, "probe": luck.probe_fails}[action]

    def _finish(self, number: int, ok: bool, why: str) -> None:
        if number not in self._runs:
            return
        effect, answer = self._runs.pop(number)
        key, found = (effect.group, effect.service), Found.UNKNOWN
        if effect.action in LOOKS:
            role = self._roles.get(key, Role.STOPPED)
            found = Found.FAILED if key in self._unsure else FOUND[role]
            content = found in (Found.STARTED, Found.PROMOTED) or (
                self._rng.random() < self.luck.lies)
            if ok and effect.action == "monitor" and not content:
                ok, why = False, "not running"
        elif ok:
            bare = effect.action == "demote" and key in self._bare
            self._roles[key] = Role.STOPPED if bare else REACHES[effect.action]
            self._unsure.pop(key, None)
            self.told[key], self.since[key] = effect.action, self._scheduler.now
        if not ok:
            self.doubted[key] = None
        elif effect.action == "start":
            self.doubted.pop(key, None)
        self._changed(effect.group)
        answer(effect, ok, why, found)
