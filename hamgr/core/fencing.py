"""Cutting nodes off by their fence devices: who does it, levels, retries, verification (rule 13).

    wanted --ours to do--> off, by every device of a level --> status says off --> confirmed --> on
                                   | a device failed beyond its retries
                                   +--> the next level; none left: failed, and begun anew later

Two nodes that wait for the same fence do not race: the first of those who may take over does it,
and says in its heartbeats that it is at it; another begins only if nobody has said so for
`detection`. What a device has confirmed counts for all who hear of it. It is of one life of a
node: one that boots again has another.
"""

from collections.abc import Callable

from msgspec import Struct, field

from hamgr.core.effects import Effect, Report, RunDevice
from hamgr.core.events import DeviceAnswered
from hamgr.core.heartbeat import FENCES_MAX, FenceWord
from hamgr.core.knowledge import Knowledge
from hamgr.core.reasons import Reason
from hamgr.core.records import UNPLANNED
from hamgr.core.spec import DeviceSpec
from hamgr.core.types import (
    NEVER,
    SECOND,
    DeviceName,
    Duration,
    Instant,
    Life,
    NodeName,
    Power,
)

FENCE_RETRY: Duration = 5 * SECOND
"""Between two attempts of which every level failed."""
HOUR: Duration = 3600 * SECOND


class Want(Struct):
    """That a node be cut off."""

    life: Life
    ours: bool
    """We are the one who does it, unless we do not come to it."""
    why: str
    after: Duration = 0
    """So long it has to be wanted first: a machine that was paused wakes to old words (rule 11)."""


class Job(Struct):
    """A node that is being cut off by us."""

    life: Life
    level: int = 0
    asked: dict[int, tuple[DeviceSpec, str]] = field(default_factory=dict)
    """What devices of this level are doing, by run: the device and the action."""
    failures: dict[DeviceName, int] = field(default_factory=dict)
    off: list[DeviceName] = field(default_factory=list)
    """Devices of this level that are done."""
    why: str = ""
    """What the last device that failed said."""


class Fencing:
    """What this node fences, and what came of it."""

    def __init__(self, knowledge: Knowledge, number: Callable[[], int]) -> None:
        self._knowledge = knowledge
        self._number = number
        self.jobs: dict[NodeName, Job] = {}
        self.failed: dict[NodeName, str] = {}
        """Whom every level failed to cut off, and what was said last."""
        self._wanted_since: dict[NodeName, Instant] = {}
        self._again_at: dict[NodeName, Instant] = {}
        self._told: dict[NodeName, Reason] = {}
        """What was reported of a node that waits."""
        self._cut_at: list[Instant] = []
        """When nodes were cut off by us, within the last hour."""
        self._switching_on: dict[int, tuple[DeviceName, NodeName]] = {}
        self._answers: list[DeviceAnswered] = []
        self._news = False
        self.wake: Instant = NEVER

    def devices(self, node: NodeName) -> list[DeviceSpec]:
        """Return the devices that can cut a node off, by their level."""
        found = [one for one in self._knowledge.spec.devices if node in one.nodes]
        return sorted(found, key=lambda one: one.level)

    def words(self) -> tuple[FenceWord, ...]:
        """Return what others must know: whom we are at, and whom a device of ours has confirmed."""
        seats, plan = self._knowledge.seats, self._knowledge.plan
        noted = plan.fenced if plan is not None else {}
        done = [FenceWord(node, *life, True) for node, life in self._knowledge.fenced.items()
                if noted.get(node, 0) < life.incarnation
                and (node not in seats or seats[node].seat.life <= life)]
        return (*(FenceWord(node, *job.life, False) for node, job in self.jobs.items()),
                *done)[:FENCES_MAX]

    def told(self, waits_for: str) -> str:
        """Return what a group waits for, with what keeps the node that it names from being
        fenced."""
        node = waits_for.partition(" ")[0]
        why = self.failed.get(node, "")
        if self._told.get(node) is Reason.WAITS_FOR_WORD:
            why = "no device can do it"
        elif self._told.get(node) is Reason.FENCE_CAPPED:
            why = "too many fences within an hour"
        return f"{waits_for}: {why}" if waits_for and why else waits_for

    def take_news(self) -> bool:
        """Tell, once, whether others must know at once what we fence, or have fenced."""
        news, self._news = self._news, False
        return news

    def act(self, wants: dict[NodeName, Want], now: Instant) -> list[Effect]:
        """Begin what is ours to do, and leave off what nobody wants any more."""
        self.wake, effects = NEVER, list[Effect]()
        for known in (self.jobs, self._wanted_since, self._told, self.failed, self._again_at):
            for node in [node for node in known if node not in wants]:
                del known[node]
        answers, self._answers = self._answers, []
        for event in answers:
            effects += self._take(event, now)
        for node, want in wants.items():
            if self._knowledge.is_fenced(node, want.life) or node in self.jobs:
                continue
            since = self._wanted_since.setdefault(node, now)
            effects += self._begin(node, want, since, now)
        return effects

    def _begin(self, node: NodeName, want: Want, since: Instant, now: Instant) -> list[Effect]:
        if not self.devices(node):
            return self._tell(node, Reason.WAITS_FOR_WORD)
        if now < self._again_at.get(node, 0):
            self.wake = min(self.wake, self._again_at[node])
            return []
        patience = want.after if want.ours else self._knowledge.timing.detection
        if now < since + patience:
            self.wake = min(self.wake, since + patience)
            return []
        if self._other_is_at(node, now):
            return []
        limit = self._knowledge.spec.fences_per_hour
        self._cut_at = [at for at in self._cut_at if now - at < HOUR]
        if len(self._cut_at) >= limit:
            self.wake = min(self.wake, self._cut_at[0] + HOUR)
            return self._tell(node, Reason.FENCE_CAPPED, limit=limit)
        self.jobs[node] = job = Job(want.life)
        self._told.pop(node, None)
        return self._next_level(node, job, now, want.why)

    def _other_is_at(self, node: NodeName, now: Instant) -> bool:
        return any(word.node == node and not word.confirmed and not said.lapsed
                   for said in self._knowledge.liveness.heard(now) for word in said.fences)

    def _next_level(self, node: NodeName, job: Job, now: Instant, why: str) -> list[Effect]:
        levels = [one.level for one in self.devices(node) if one.level > job.level]
        if not levels:
            return self._failed(node, job, now)
        job.level, job.asked, job.off, job.failures = levels[0], {}, [], {}
        chosen = [one for one in self.devices(node) if one.level == job.level]
        self._news = True
        told = self._report(Reason.FENCES, node, why=why,
                            devices=" and ".join(one.name for one in chosen))
        return [told, *(self._ask(node, job, one, "off") for one in chosen)]

    def _ask(self, node: NodeName, job: Job, device: DeviceSpec, action: str) -> Effect:
        first = action == "off" and device.name not in job.failures
        favour = self._knowledge.spec.priority_delay if self._is_outweighed_by(node) else 0
        run = self._run()
        job.asked[run] = device, action
        return RunDevice(run=run, device=device.name, node=node, action=action,
                         timeout=device.timeout, delay=device.delay + favour if first else 0,
                         delay_max=device.delay_max if first else 0)

    def _is_outweighed_by(self, node: NodeName) -> bool:
        """Tell whether a node has more to lose than we have, by the priority of its groups.

        Asked where two alone vote: else whoever may fence has the others on its side (Pacemaker's
        priority-fencing-delay: without a majority).
        """
        plan, weight = self._knowledge.plan, dict[NodeName, int]()
        if len(self._knowledge.voters.names) > 2:
            return False
        for group in self._knowledge.spec.groups if plan is not None else ():
            planned = plan.groups.get(group.name, UNPLANNED) if plan is not None else UNPLANNED
            for right in planned.unverified or (planned.holder,):
                if right is not None:
                    weight[right.node] = weight.get(right.node, 0) + group.priority
        return weight.get(node, 0) > weight.get(self._knowledge.node, 0)

    def answered(self, event: DeviceAnswered) -> None:
        """A device said something: it is gone by that once it is known who is still wanted."""
        self._answers.append(event)

    def _take(self, event: DeviceAnswered, now: Instant) -> list[Effect]:
        if event.run in self._switching_on:
            device, node = self._switching_on.pop(event.run)
            return [] if event.ok else [self._report(Reason.NOT_SWITCHED_ON, node, why=event.why,
                                                     device=device)]
        for node, job in self.jobs.items():
            if event.run in job.asked:
                return self._go_on(node, job, event, now)
        return []

    def _go_on(self, node: NodeName, job: Job, event: DeviceAnswered,
               now: Instant) -> list[Effect]:
        device, action = job.asked.pop(event.run)
        if event.ok and action == "off" and device.tells:
            return [self._ask(node, job, device, "status")]
        if event.ok and (action == "off" or event.power is Power.OFF):
            return self._is_off(node, job, device, now)
        job.why = f"{device.name}: " + (event.why if not event.ok else
                                        f"says after off that {node} is {event.power.value}")
        job.failures[device.name] = job.failures.get(device.name, 0) + 1
        if job.failures[device.name] <= device.retries:
            return [self._ask(node, job, device, "off")]
        return self._next_level(node, job, now, job.why)

    def _is_off(self, node: NodeName, job: Job, device: DeviceSpec,
                now: Instant) -> list[Effect]:
        job.off.append(device.name)
        if job.asked:
            return []
        self._knowledge.heard_fenced(node, job.life)
        self._cut_at.append(now)
        self._news = True
        del self.jobs[node]
        self.failed.pop(node, None)
        effects: list[Effect] = [self._report(Reason.FENCED, node, devices=" and ".join(job.off))]
        for one in self.devices(node):
            if one.name in job.off and one.reboot:
                run = self._run()
                self._switching_on[run] = one.name, node
                effects.append(RunDevice(run=run, device=one.name, node=node, action="on",
                                         timeout=one.timeout))
        return effects

    def _run(self) -> int:
        """Return a number of which no other life knows: devices are slower than lives are short."""
        return (self._knowledge.incarnation << 32) + self._number()

    def _failed(self, node: NodeName, job: Job, now: Instant) -> list[Effect]:
        del self.jobs[node]
        self.failed[node] = job.why
        self._again_at[node] = now + FENCE_RETRY
        self._news = True
        return [self._report(Reason.FENCE_FAILED, node, why=job.why)]

    def _tell(self, node: NodeName, reason: Reason, **facts: str | int) -> list[Effect]:
        if self._told.get(node) is reason:
            return []
        self._told[node] = reason
        return [self._report(reason, node, **facts)]

    def _report(self, reason: Reason, node: NodeName, **facts: str | int) -> Report:
        return Report(reason=reason, node=self._knowledge.node, facts={"peer": node, **facts})
