"""What must hold after every step, as seen from outside: by kernels and services, not engines.

Safety, at all times: at most one node active per group (PROTOCOL: active), each epoch given once
and used in order, nobody at work beyond its lease. Where no process is left to act (agent and
switch both gone or frozen) or a whole machine was paused, the table of the four layers gives the
bound: such overlaps are counted apart and must end in time.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from hamgr.core.effects import Effect, RunDevice, Write
from hamgr.core.events import Event, HeartbeatReceived
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.records import PLAN, Config, Plan
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import MILLISECOND, Duration, Epoch, GroupName, Instant, NodeName
from hamgr.simulation.brief import brief
from hamgr.simulation.conduct import Conduct
from hamgr.simulation.documents import spec_of
from hamgr.simulation.growth import grown_records, left_over
from hamgr.simulation.peace import Peace
from hamgr.simulation.switch import LATENESS_MAX
from hamgr.simulation.twin import LeaseTwin
from hamgr.simulation.versions import lost_fields
from hamgr.simulation.zookeeper import Commit
from hamgr.snapshot import snapshot

if TYPE_CHECKING:
    from hamgr.simulation.host import Host
    from hamgr.simulation.world import World

SLACK: Duration = LATENESS_MAX + 2 * MILLISECOND
"""From the end of a lease to the end of what it allowed: the switch, late, and its netlink."""


UNNEEDED_MAX = 0
"""Failovers of a run from a node that was well."""


class Violated(Exception):
    """An invariant is broken: the run ends here."""


class Violation(Struct, frozen=True):
    """What was broken, when, in words."""

    kind: str
    at: Instant
    text: str


class Verdict(Struct, frozen=True, kw_only=True):
    """What came of one run."""

    seed: int
    name: str
    violations: tuple[Violation, ...]
    activations: int
    by_heirs: int
    """Activations under an epoch that the plan still named as the heir's."""
    overlaps: int
    """Two active where the layers say they may be, within the bound."""
    dark: Duration
    """The longest time in peace in which a group that could be served was not."""
    steps: int
    duration: Duration
    unneeded: int = 0
    """Failovers from a node that was well, in the middle of a majority that was."""
    reached: dict[str, int]
    """How often each kind of fault struck and each reason was given."""


class Watch:
    """The observer of one run."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.violations: list[Violation] = []
        self.activations = 0
        self.by_heirs = 0
        self.overlaps = 0
        self.peace: Peace | None = None
        self._twins: dict[NodeName, LeaseTwin] = {
            node.name: LeaseTwin(node.name, world.spec.timing) for node in world.spec.nodes}
        self._active: dict[GroupName, list[Host]] = {}
        self._stop_within: dict[GroupName, Duration] = {}
        """The longest that any document has given."""
        self._epochs: dict[tuple[GroupName, Epoch], tuple[NodeName, int]] = {}
        self._tops: dict[GroupName, Epoch] = {}
        self._loose: set[GroupName] = set()
        """Groups that were in maintenance: an agent may be replaced under their right."""
        self._plan: Plan | None = None
        self._woken_bounds: dict[NodeName, Instant] = {}
        self._told: dict[tuple[NodeName, GroupName], Instant] = {}
        """When a node that woke first heard that its group is in use elsewhere."""
        self._lease_checks: set[tuple[NodeName, GroupName]] = set()
        self.conduct = Conduct(world, self.violate)
        self._applied(world.spec)

    def groups(self) -> tuple[GroupName, ...]:
        """Return every group that any document has, or had."""
        return tuple(self._active)

    def stop_within(self, group: GroupName) -> Duration:
        """Return by when a group is down after a lapse, by any document that there was."""
        return self._stop_within[group]

    def note_violation(self, kind: str, text: str) -> None:
        """Write a violation down."""
        self.violations.append(Violation(kind, self.world.now, text))
        self.world.note("", f"VIOLATION {kind}: {text}")

    def violate(self, kind: str, text: str) -> None:
        """Write a violation down and end the run."""
        self.note_violation(kind, text)
        raise Violated(text)

    def reborn(self, host: "Host") -> None:
        """A new engine begins on a host."""
        self._twins[host.name].reborn()
        self.conduct.reborn(host)

    def sent(self, host: "Host", heartbeat: Heartbeat) -> None:
        """An engine sent a heartbeat."""
        self._twins[host.name].sent(heartbeat)
        self.conduct.sent(host, heartbeat)

    def does(self, host: "Host", effect: Effect) -> None:
        """An engine wants something done."""
        self.conduct.does(host, effect)

    def write_sent(self, host: "Host", write: Write) -> None:
        """An engine sent a transaction."""
        self._twins[host.name].write_sent(write, host.clock.now())
        self.conduct.write_sent(host, write)

    def seen(self, host: "Host", event: Event) -> None:
        """An engine is about to be handed an event."""
        self._twins[host.name].seen(event)
        if isinstance(event, HeartbeatReceived) and host.name in self._woken_bounds:
            self._told_after_waking(host, event.heartbeat)

    def _told_after_waking(self, host: "Host", heartbeat: Heartbeat) -> None:
        """Rule 11: who hears of a higher epoch stops, though its clock calls the lease valid."""
        for word in heartbeat.groups:
            rights = host.agent.engine.activity.groups.get(word.group) if host.agent else None
            if rights is None or not 0 < rights.local.epoch < word.epoch:
                continue
            if self._stop_within[word.group] == 0 and (host.name, word.group) not in self._told:
                self._told[host.name, word.group] = self.world.now
                self.world.scheduler.after(SLACK + 2, self._judge, word.group)

    def fencing(self, host: "Host", fence: RunDevice) -> None:
        """An engine wants a node fenced: it needs a lease to judge, and it is never itself."""
        self.world.note(host.name, f"FENCE {fence.node}")
        if fence.node == host.name:
            self.violate("fence", f"{host.name} fences itself")
        if not self._has_lease(host, 0):
            self.violate("fence", f"{host.name} fences {fence.node} without a lease")
        self.conduct.fencing(host, fence, self._has_lease(self.world.hosts[fence.node], 0))

    def fenced(self) -> None:
        """A fence device cut a machine's power."""
        if self.peace is not None:
            self.peace.fenced += 1

    def started(self, host: "Host", group: GroupName, epoch: Epoch) -> None:
        """A start action was executed under an epoch."""
        self.world.note(host.name, f"START {group} epoch {epoch}")
        assert host.agent is not None
        self._own_epoch(group, epoch, host.name, host.agent.incarnation)
        top = self._tops.get(group, 0)
        if epoch < top and not self._excused(host, group):
            self.violate("epoch order", f"{host.name} starts {group} under epoch {epoch} "
                                        f"after epoch {top} was in use")
        if epoch > top:
            self._tops[group] = epoch
            self.activations += 1
            self.world.turmoil.wellness.started(group, host.name)
            planned = self._plan.groups.get(group) if self._plan is not None else None
            if planned is not None and planned.heir is not None and planned.heir.epoch == epoch:
                self.by_heirs += 1
        if not self._excused(host, group) and not self._has_lease(host, 0):
            self.violate("lease", f"{host.name} starts {group} without a lease")
        self.changed(host, group)

    def changed(self, host: "Host", group: GroupName) -> None:
        """Addresses or services of a group changed on a host."""
        active, is_active = self._active[group], host.active(group)
        if is_active and host not in active:
            active.append(host)
            self.world.note(host.name, f"ACTIVE {group}")
            self._check_lease_later(host, group)
            self._judge(group)
        elif not is_active and host in active:
            active.remove(host)
            self.world.turmoil.wellness.stopped(group)
            self.world.note(host.name, f"INACTIVE {group}")
        if self.peace is not None:
            self.peace.look(group)

    def recheck(self, host: "Host") -> None:
        """Power, a pause or a process of a host changed: an excuse may begin or end."""
        if host.woken_at == self.world.now:
            twin = self._twins[host.name]
            now = host.clock.now()
            until = max(now + twin.lease, twin.deadline(self._voters()))
            self._woken_bounds[host.name] = host.clock.world(until)
            for group in self._active:
                self._told.pop((host.name, group), None)
        for group in self._active:
            if self.peace is not None:
                self.peace.look(group)
            if host in self._active[group]:
                self._check_lease_later(host, group)
                self._judge(group)

    def committed(self, commit: Commit) -> None:
        """A transaction was written."""
        if self.peace is not None:
            self.peace.committed(commit)
        self.conduct.committed(commit)
        for path, stored in commit.changed:
            if path == PLAN and isinstance(stored.record, Plan):
                self._check_plan(stored.record)
                lost = lost_fields(self._plan, commit, stored.record)
                if lost:
                    self.violate("plan", lost)
                self._plan = stored.record
            if isinstance(stored.record, Config):
                self._applied(spec_of(stored.record))
        if self.world.story is not None:
            self.world.note(commit.by, "WROTE " + ", ".join(
                f"{path or 'root'}={brief(stored.record)}" for path, stored in commit.changed))

    def _applied(self, spec: ClusterSpec) -> None:
        """Operators applied this document: from now on the cluster shall be as it says."""
        self.world.spec = spec
        self.world.known |= {group.name: group for group in spec.groups}
        for group in spec.groups:
            self._active.setdefault(group.name, [])
            self._stop_within[group.name] = max(group.stop_within,
                                                self._stop_within.get(group.name, 0))
            if self.peace is not None:
                self.peace.look(group.name)

    def begin_peace(self) -> Peace:
        """Faults end now."""
        self.peace = Peace(self.world)
        return self.peace

    def end_peace(self) -> None:
        """The run is over: everything must be served, by one node, quietly."""
        assert self.peace is not None
        for kind, text in self.peace.faults():
            self.note_violation(kind, text)
        for text in grown_records(self.world):
            self.note_violation("grown", text)
        dead = [host.name for host in self.world.hosts.values() if host.dead_for_good]
        for text in left_over(self.world, dead):
            self.note_violation("left over", text)
        if self.world.turmoil.wellness.unneeded > UNNEEDED_MAX:
            self.note_violation("unneeded", f"{self.world.turmoil.wellness.unneeded} failovers "
                                            "from nodes that were well")

    def verdict(self) -> Verdict:
        """Return what came of the run."""
        scenario = self.world.scenario
        return Verdict(
            seed=scenario.seed, name=scenario.name, violations=tuple(self.violations),
            activations=self.activations, by_heirs=self.by_heirs, overlaps=self.overlaps,
            dark=self.peace.longest_dark if self.peace is not None else 0,
            steps=self.world.scheduler.steps, duration=self.world.now,
            reached={**self.world.reached, f"incident {scenario.name}": 1})

    def on_claim(self, node: NodeName) -> bool:
        """Whether a node lives on a claim now."""
        return self._twins[node].on_claim(self.world.hosts[node].clock.now())

    def lane(self, host: "Host") -> str:
        """Return a node in a few characters: lease as letter and fifths, whom it hears, groups.

        `M####. 2 a`: a member with four fifths of its lease, that hears the second node, and is
        active for the first group. C: on a claim; -: lapsed.
        """
        names = list(self.world.hosts)
        hears = "".join(str(number) if name in self._heard(host) else "-"
                        for number, name in enumerate(names, 1) if name != host.name)
        groups = "".join(chr(ord("a") + number) if host in active else "."
                         for number, active in enumerate(self._active.values()))
        return f"{self._bar(host)} {hears} {groups}"

    def _bar(self, host: "Host") -> str:
        if not host.powered:
            return "off..."
        now, timing = host.clock.now(), self.world.spec.timing
        on_claim = self._twins[host.name].on_claim(now)
        whole = timing.claim_good if on_claim else timing.lease
        left = min(5, max(0, -(-5 * (self._deadline(host) - now) // whole)))
        letter = "C" if on_claim else "M" if left else "-"
        return letter + "#" * left + "." * (5 - left)

    def _heard(self, host: "Host") -> list[NodeName]:
        if not host.powered or host.agent is None or host.agent.engine is None:
            return []
        detection = self.world.spec.timing.detection
        return [peer.node for peer in snapshot(host.agent.engine, host.clock.now()).peers
                if peer.heard_ago is not None and peer.heard_ago < detection]

    def _voters(self) -> tuple[NodeName, ...]:
        return self._plan.voters.names if self._plan is not None else self.world.spec.voters

    def _deadline(self, host: "Host") -> Instant:
        twin = self._twins[host.name]
        former = self._plan.voters.former if self._plan is not None else ()
        deadline = twin.deadline(self._voters())
        return max(deadline, twin.deadline(former)) if former else deadline

    def _has_lease(self, host: "Host", slack: Duration) -> bool:
        return host.clock.now() <= self._deadline(host) + slack

    def _excuse_ends(self, host: "Host", group: GroupName) -> Instant:
        """World time until which no layer can be blamed for what is active on a host."""
        grace = SLACK + self._stop_within[group]
        woken = self._woken_bounds.get(host.name, -1)
        woken = min(woken, self._told.get((host.name, group), woken))
        ends = [at + grace for at in (host.helped_at, woken) if at >= 0]
        return max(ends, default=-1)

    def _excused(self, host: "Host", group: GroupName) -> bool:
        return (host.paused or host.helpless or host.condemned
                or self.world.now <= self._excuse_ends(host, group))

    def _judge(self, group: GroupName) -> None:
        active = self._active[group]
        if len(active) < 2:
            return
        culprits = [host for host in active if not self._excused(host, group)]
        names = ", ".join(host.name for host in active)
        if len(culprits) > 1:
            self.violate("two active", f"{names} are active for {group}")
        self.overlaps += 1
        for host in active:
            ends = self._excuse_ends(host, group)
            if host not in culprits and ends >= self.world.now:
                self.world.scheduler.at(ends + 1, self._judge, group)

    def _check_lease_later(self, host: "Host", group: GroupName) -> None:
        if (host.name, group) not in self._lease_checks:
            self._lease_checks.add((host.name, group))
            self._check_lease(host, group)

    def _check_lease(self, host: "Host", group: GroupName) -> None:
        if not host.active(group) or host.paused or host.helpless or host.condemned:
            self._lease_checks.discard((host.name, group))
            return
        slack = SLACK + self._stop_within[group]
        due = max(host.clock.world(self._deadline(host)) + slack,
                  self._excuse_ends(host, group))
        if due < self.world.now and group not in self._loose:
            self.violate("lease", f"{host.name} is active for {group} beyond its lease")
        self.world.scheduler.at(max(due, self.world.now) + MILLISECOND, self._check_lease, host,
                                group)

    def _own_epoch(self, group: GroupName, epoch: Epoch, node: NodeName, life: int) -> None:
        owner = self._epochs.setdefault((group, epoch), (node, life))
        if owner == (node, life) or (owner[0] == node and group in self._loose):
            return
        self.violate("epoch twice", f"epoch {epoch} of {group} is {owner[0]}'s (incarnation "
                                    f"{owner[1]}) and {node}'s (incarnation {life})")

    def _check_plan(self, plan: Plan) -> None:
        before = self._plan
        if before is not None and plan.revision != before.revision + 1:
            self.violate("plan", f"revision {plan.revision} follows {before.revision}")
        for name, group in plan.groups.items():
            if group.maintenance.value != "off":
                self._loose.add(name)
            for right in group.rights:
                self._own_epoch(name, right.epoch, right.node, right.incarnation)
                if right.epoch > group.top_epoch:
                    self.violate("plan", f"{name}: epoch {right.epoch} above the top epoch")
            former = before.groups.get(name) if before is not None else None
            if former is not None and group.top_epoch < former.top_epoch:
                self.violate("plan", f"{name}: top epoch fell to {group.top_epoch}")
