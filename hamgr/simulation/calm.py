"""A world without chance, for people who ask what would happen: each delay is its median.

Nothing fails by itself here, and what the observer sees is told as steps: what was reported, by
whom and why, and which group is served by whom.
"""

import random
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from hamgr.core.effects import Report
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.reasons import Reason
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import MILLISECOND, SECOND, Duration, GroupName, Instant, NodeName
from hamgr.simulation.invariants import Watch
from hamgr.simulation.present import Present
from hamgr.simulation.scenario import Scenario
from hamgr.simulation.world import World
from hamgr.simulation.zookeeper import Server

if TYPE_CHECKING:
    from hamgr.simulation.host import Host

SERVICE_ASSUMED: Duration = SECOND
"""What promoting or demoting takes where it was not measured."""
TOGETHER: Duration = 30 * MILLISECOND
"""Reports of several nodes for one reason are one step if they come this close to each other."""
UNTOLD = (Reason.HEARD, Reason.ACCUSED_BY, Reason.LOOP_LATE, Reason.CONFIGURED, Reason.ACTIVE)
"""What people need not read: the observer's own words tell who serves."""
_OWN_NUMBERS = re.compile(r" \(life \d+\.\d+\)| in (?:round|term) \d+")
"""Lives, rounds and terms are not those of the live cluster; epochs are."""
VARYING = ("silence_ms", "late_ms", "round", "incarnation")
"""Facts by which the same report of two nodes may differ."""


class Median(random.Random):
    """Random numbers that are always in the middle; a choice takes each in turn."""

    def __init__(self, domain: str) -> None:
        super().__init__(0)
        self._turn = sum(domain.encode())

    def random(self) -> float:
        """Return the middle."""
        return 0.5

    def choice(self, seq: Any) -> Any:
        """Return the next one."""
        self._turn += 1
        return seq[self._turn % len(seq)]


class Step(Struct, frozen=True, kw_only=True):
    """One thing that happens."""

    at: Instant
    nodes: tuple[NodeName, ...] = ()
    """Who says so; empty: what is seen from outside."""
    group: GroupName = ""
    kind: str
    """The name of a reason (hamgr.core.reasons) in lower case, or happens, dark or served."""
    text: str
    alike: tuple[object, ...] = ()
    """What reports of several nodes must have in common to be told as one."""


class Observer(Watch):
    """Sees who serves each group, for clients that are not cut off themselves."""

    def __init__(self, world: "Calm") -> None:
        super().__init__(world)
        self.calm = world
        self.served: dict[GroupName, NodeName] = {}
        """By whom; empty or missing: by nobody."""
        self.dark_since: dict[GroupName, Instant] = {}
        self.last_sent: dict[NodeName, Instant] = {}

    def sent(self, host: "Host", heartbeat: Heartbeat) -> None:
        """An engine sent a heartbeat."""
        super().sent(host, heartbeat)
        if not heartbeat.answer:
            self.last_sent[host.name] = self.world.now

    def changed(self, host: "Host", group: GroupName) -> None:
        """Addresses or services changed."""
        super().changed(host, group)
        self.look(group)

    def recheck(self, host: "Host") -> None:
        """Power or a process changed."""
        super().recheck(host)
        for spec in self.world.spec.groups:
            self.look(spec.name)

    def look(self, group: GroupName) -> None:
        """Note who serves a group now, and tell what is new in that."""
        able = [host.name for host in self.world.hosts.values()
                if host.powered and host.name not in self.calm.isolated and host.serving(group)]
        before, now = self.served.get(group, ""), self.world.now
        serving = before if before in able else next(iter(able), "")
        if serving == before:
            return
        self.served[group] = serving
        if not serving:
            self.dark_since[group] = now
            self.calm.tell(Step(at=now, group=group, kind="dark",
                                text=f"{group} is dark: {before} serves it no more"))
            return
        dark = now - self.dark_since.pop(group, now)
        after = f", after {dark / SECOND:.2f} s" if dark else ""
        self.calm.tell(Step(at=now, group=group, kind="served",
                            text=f"{group} is served by {serving}{after}"))


class Calm(World):
    """The world of one present state."""

    watch: Observer

    def __init__(self, present: Present) -> None:
        self.present = present
        self.isolated: list[NodeName] = []
        """Cut off from everybody, clients too."""
        self.steps: list[Step] = []
        super().__init__(Scenario(seed=0, name="what if"))
        for host in self.hosts.values():
            host.services.takes = times_of_services(present)

    def configuration(self) -> ClusterSpec:
        """Return the applied one, with the times that the plan goes by."""
        return replace(self.present.spec, timing=self.present.plan.times)

    def servers(self) -> tuple[NodeName, ...]:
        """Return where ZooKeeper's servers run."""
        return self.present.servers

    def observer(self) -> Watch:
        """Return who tells the steps."""
        return Observer(self)

    def rng(self, domain: str) -> random.Random:
        """Return the middle of everything."""
        return Median(domain)

    def is_cut_off(self, node: NodeName, server: Server, to_server: bool) -> bool:
        """Whether a node's client does not reach a server; one on itself it always does."""
        return server.host != node and super().is_cut_off(node, server, to_server)

    def report(self, host: "Host", effect: Report) -> None:
        """An engine reported something."""
        if effect.reason in UNTOLD:
            return
        facts = {"group": effect.group, "peer": effect.node, **effect.facts}
        text = (str(facts.get("why", "")) if effect.reason is Reason.PLANNED
                else effect.reason.sentence(facts))
        alike = (effect.reason, effect.group, *(
            f"{key}={value}" for key, value in sorted(facts.items())
            if key not in VARYING and not (key == "peer" and value == host.name)))
        self.tell(Step(at=self.now, nodes=(host.name,), group=effect.group, alike=alike,
                       kind=effect.reason.name.lower(), text=_OWN_NUMBERS.sub("", text)))

    def tell(self, step: Step) -> None:
        """Add a step, or a node to one that says the same."""
        for index in range(len(self.steps) - 1, -1, -1):
            other = self.steps[index]
            if self.now - other.at > TOGETHER:
                break
            if step.nodes and step.alike == other.alike and step.nodes[0] not in other.nodes:
                self.steps[index] = replace(other, nodes=(*other.nodes, *step.nodes))
                return
        self.steps.append(step)


def times_of_services(present: Present) -> dict[tuple[GroupName, str, str], Duration]:
    """Return what each action takes: as measured, or else as assumed."""
    takes = {(group.name, service.name, action): SERVICE_ASSUMED
             for group in present.spec.groups for service in group.services
             for action in service.actions}
    return takes | {(took.group, took.service, took.action): took.ms * MILLISECOND
                    for took in present.took}
