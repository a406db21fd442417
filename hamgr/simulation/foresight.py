"""What would happen to a cluster, from its present state on, if something happened to it."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from hamgr.core.types import (
    MILLISECOND,
    SECOND,
    Duration,
    GroupName,
    Instant,
    Maintenance,
    NodeName,
)
from hamgr.simulation.calm import SERVICE_ASSUMED, Calm, Step, times_of_services
from hamgr.simulation.invariants import Violated
from hamgr.simulation.present import Present
from hamgr.simulation.staging import seen, stage, strike

QUIET: Duration = 8 * SECOND
"""Nothing new for so long: longer than ZooKeeper elects, a claim stands, or a retry pauses."""
WATCHED_MAX: Duration = 180 * SECOND
TICK: Duration = 1 * MILLISECOND

HAPPENINGS = {
    "crash": ("crash", "{node} loses its power"),
    "isolate": ("isolate", "{node} is cut off from everybody, its clients too"),
    "stop": ("stop_agent", "the agent of {node} is stopped in order"),
    "standby": ("standby", "an operator puts {node} into standby"),
    "zookeeper-down": ("zk_down", "all servers of ZooKeeper stop"),
}
"""Kind → the fault's name in faults.KINDS, and what is said of it."""


class Happening(Struct, frozen=True, kw_only=True):
    """One thing that happens to the cluster."""

    kind: str
    node: NodeName = ""

    @property
    def text(self) -> str:
        """What it is, in words."""
        return HAPPENINGS[self.kind][1].format(node=self.node)


class Fate(Struct, frozen=True, kw_only=True):
    """What becomes of one group."""

    name: GroupName
    before: NodeName
    """Who served it; empty: nobody did."""
    after: NodeName
    heir: NodeName = ""
    dark: Duration = 0
    """For how long nobody served it who did before; what stays dark is not counted to an end."""
    why: str = ""
    """Why nobody serves it afterwards."""

    @property
    def stays(self) -> bool:
        """Whether clients notice nothing."""
        return bool(self.before) and self.before == self.after and not self.dark


class Round(Struct, frozen=True, kw_only=True):
    """What happens at once, and the steps that follow; their instants count from there."""

    happenings: tuple[Happening, ...]
    steps: tuple[Step, ...]


class Foresight(Struct, frozen=True, kw_only=True):
    """The answer."""

    differences: tuple[str, ...]
    """Where the simulated cluster was not as the live one is; nothing: it was the same."""
    rounds: tuple[Round, ...]
    fates: tuple[Fate, ...]
    assumptions: tuple[str, ...]
    broken: str = ""
    """A rule of the protocol that was broken on the way: a bug of hamgr."""

    @property
    def verdict(self) -> str:
        """Return stays, moves, down, or unknown."""
        if self.broken or self.differences:
            return "unknown"
        if any(not fate.after for fate in self.fates):
            return "down"
        return "stays" if all(fate.stays for fate in self.fates) else "moves"


def foresee(present: Present, rounds: Sequence[Sequence[Happening]]) -> Foresight:
    """Simulate it: each round at once, and the next when the cluster has come to rest."""
    try:
        world, differences = stage(present)
    except (Violated, AssertionError) as error:
        return Foresight(differences=(), rounds=(), fates=(), assumptions=(),
                         broken=str(error) or type(error).__name__)
    before, told, dark, broken = dict(world.watch.served), [], _Dark(world), ""
    try:
        for happenings in rounds:
            told.append(_play(world, happenings))
    except (Violated, AssertionError) as error:
        broken = str(error) or type(error).__name__
    fates = tuple(_fate(world, group.name, before.get(group.name, ""), dark)
                  for group in world.spec.groups)
    return Foresight(differences=differences, rounds=tuple(told), fates=fates, broken=broken,
                     assumptions=tuple(_assumptions(world, rounds)))


class _Dark:
    """Adds up for how long each group was dark since now."""

    def __init__(self, world: Calm) -> None:
        self._world, self._first, self._since = world, len(world.steps), world.now

    def of(self, group: GroupName) -> Duration:
        total, since = 0, None if self._world.watch.served.get(group) else self._world.now
        for step in self._world.steps[self._first:]:
            if step.group == group and step.kind == "dark":
                since = step.at
            elif step.group == group and step.kind == "served" and since is not None:
                total, since = total + step.at - since, None
        return total


def _play(world: Calm, happenings: Sequence[Happening]) -> Round:
    _in_the_middle_of_a_beat(world, happenings)
    began, first = world.now, len(world.steps)
    for happening in happenings:
        _strike(world, happening)
    longest = max(times_of_services(world.present).values(), default=0)
    _rest(world, began, QUIET + longest)
    return Round(happenings=tuple(happenings), steps=tuple(
        Step(at=step.at - began, nodes=tuple(name for name in world.hosts if name in step.nodes),
             group=step.group, kind=step.kind, text=step.text) for step in world.steps[first:]))


def _in_the_middle_of_a_beat(world: Calm, happenings: Sequence[Happening]) -> None:
    """Wait until half an interval after the last heartbeat of the first node: the average case."""
    node = next((one.node for one in happenings if one.node in world.watch.last_sent), "")
    interval = world.spec.timing.interval
    for _ in range(2 * interval // TICK if node else 0):
        since = world.now - world.watch.last_sent[node]
        if interval // 2 <= since < interval // 2 + 2 * TICK:
            return
        world.scheduler.run_until(world.now + TICK)


def _strike(world: Calm, happening: Happening) -> None:
    """Say what happens, and let it."""
    host = world.hosts.get(happening.node)
    gone = host is not None and (not host.powered or host.name in world.isolated)
    unasked = happening.kind == "standby" and world.ensemble.leader is None
    doubt = (": it is down, or cut off, already" if gone else
             ": nobody can be asked, since ZooKeeper does not serve" if unasked else "")
    world.tell(Step(at=world.now, kind="happens", text=happening.text + doubt))
    if doubt:
        return
    if happening.kind in ("crash", "isolate"):
        _fell_the_leader(world, happening.node)
    if happening.kind == "isolate":
        world.isolated.append(happening.node)
    strike(world, HAPPENINGS[happening.kind][0], happening.node)
    if happening.kind == "isolate":
        for group in world.spec.groups:
            world.watch.look(group.name)


def _fell_the_leader(world: Calm, node: NodeName) -> None:
    """Which server of ZooKeeper leads is not known: assume the one that falls, the slower case."""
    for server in world.ensemble.servers:
        if node and server.host == node and world.ensemble.leader is not None and server.in_quorum:
            world.ensemble.leader = server


def _rest(world: Calm, began: Instant, quiet: Duration) -> None:
    """Run until nothing new happens."""
    while world.now < began + WATCHED_MAX:
        count, since = len(world.steps), world.steps[-1].at if world.steps else began
        world.scheduler.run_until(max(since + quiet, world.now + SECOND))
        if len(world.steps) == count:
            return


def _fate(world: Calm, group: GroupName, before: NodeName, dark: _Dark) -> Fate:
    after = world.watch.served.get(group, "")
    plan = world.turmoil.plan()
    planned = plan.groups.get(group) if plan is not None else None
    heir = planned.heir.node if planned is not None and planned.heir is not None else ""
    living = [name for name in seen(world) if name not in world.isolated]
    return Fate(name=group, before=before, after=after, dark=dark.of(group),
                heir=heir if after and heir in living and heir != after else "",
                why="" if after else _why_down(world, group))


def _why_down(world: Calm, group: GroupName) -> str:
    plan, spec = world.turmoil.plan(), world.spec.group(group)
    assert plan is not None and spec is not None, f"{group} is planned"
    planned = plan.groups.get(group)
    if planned is not None and planned.maintenance is not Maintenance.OFF:
        return "it is in maintenance, and nothing takes over"
    bars = {node: _bar(world, node, group) for node in spec.nodes}
    if all(bars.values()):
        return "none of its nodes can run it: " + ", ".join(
            f"{node} {bar}" for node, bar in bars.items())
    voters = plan.voters.names
    left = [name for name in voters if not _bar(world, name)]
    serves = world.ensemble.leader is not None
    lacking = "" if serves else _zookeeper_gone(world)
    if len(left) <= len(voters) // 2 and not serves:
        return (f"no majority of voters is left ({len(left)} of {len(voters)}, "
                f"{len(voters) // 2 + 1} are needed), and {lacking}")
    if not serves:
        return f"who could take over is used up, and nobody can be named anew: {lacking}"
    last = next((step.text for step in reversed(world.steps) if step.group == group), "")
    return f"it has not come back by the end of the simulation; last: {last}"


def _zookeeper_gone(world: Calm) -> str:
    servers = world.ensemble.servers
    lost = [server for server in servers if server.host and _bar(world, server.host)]
    if len(lost) * 2 >= len(servers) and any(server.up for server in servers):
        return "ZooKeeper has lost the majority of its servers"
    return "ZooKeeper is down"


def _bar(world: Calm, node: NodeName, group: GroupName = "") -> str:
    """Say why a node cannot run a group, or without one, cannot vote; nothing if it can."""
    host, plan = world.hosts.get(node), world.turmoil.plan()
    if host is None or not host.powered:
        return "is down"
    if node in world.isolated:
        return "is cut off"
    if host.agent is None or host.agent.engine is None:
        return "has no agent"
    if not group:
        return ""
    if plan is not None and node in plan.standby:
        return "is in standby"
    view = next((one for one in seen(world)[node].groups if one.name == group), None)
    return f"is not fit ({view.unfit_why})" if view is not None and not view.fit else ""


def _assumptions(world: Calm, rounds: Sequence[Sequence[Happening]]) -> Iterator[str]:
    present, interval = world.present, world.spec.timing.interval // MILLISECOND
    yield (f"each delay is its median; what happens comes half an interval ({interval // 2} ms) "
           "after a heartbeat, and nothing else goes wrong meanwhile")
    measured = {(one.group, one.service, one.action): one for one in present.took}
    for group in world.spec.groups:
        for service in group.services:
            yield f"{service.name} of {group.name}: " + ", ".join(
                f"{action} takes {took.ms / 1000:g} s, as it last did"
                if (took := measured.get((group.name, service.name, action))) is not None else
                f"{action} is assumed to take {SERVICE_ASSUMED / SECOND:g} s"
                for action in service.actions)
    if world.spec.devices:
        yield "each fence device is assumed to do what it is told, in about a second"
    struck = [one.node for happenings in rounds for one in happenings
              if one.kind in ("crash", "isolate")]
    stands = present.zookeeper and all(
        one.kind != "zookeeper-down" for happenings in rounds for one in happenings)
    if stands and any(host in struck for host in present.servers if host):
        yield ("the server of ZooKeeper on a node that falls is the one that leads; the others "
               "need 2.5 s to elect another")
    yield from present.notes
