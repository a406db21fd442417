"""What a run is a function of: the cluster, its weather and its faults, as plain data."""

from msgspec import Struct
from msgspec.structs import replace

from hamgr.core.spec import ClusterSpec, DeviceSpec, GroupSpec, NodeSpec, ServiceSpec, Tie
from hamgr.core.types import MILLISECOND, SECOND, Duration, Instant, OnFailure
from hamgr.times import times_for


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that goes wrong (or that an operator asks for) at a world time."""

    at: Instant
    kind: str
    """A name in faults.KINDS."""
    target: str = ""
    """A node by name, or by the part it plays when the fault strikes: holder, heir, leader,
    voter (neither holder nor heir), random; "@owner", "@heir", "@voter": as `cast` last found."""
    peer: str = ""
    """The other end, where a fault has one; named like the target."""
    duration: Duration = 0
    """0: it lasts until peace."""
    when: str = ""
    """Wait from `at` for a write of this record ("plan", "leader") or of a seat in this state
    ("claimed", "member", "dead", "left"; "claimed @voter": of that one's), and strike in the same
    instant."""
    amount: float = 0.0
    """What the kind makes of it: a probability, parts per million, or 1 for the graver variant."""


class Scenario(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run, complete: the same scenario always runs the same way."""

    seed: int
    name: str = "calm"
    """Which generator or incident made it."""
    nodes: int = 3
    voters: int = 0
    """So many of the nodes, from the first on, vote; 0: all."""
    witnesses: int = 0
    """So many of the nodes, from the end, run no groups."""
    rings: int = 1
    narrow: bool = False
    """Datagrams hold next to nothing, so that heartbeats go out in parts, as with many groups."""
    groups: tuple[str, ...] = ("address",)
    """Kinds of groups: see `group_of_kind`."""
    tie: str = ""
    """What the second group wants of its distance to the first: beside, apart or requires."""
    devices: bool = False
    """Every node has a fence device; always so where a group is fenced."""
    failback: Duration = 0
    """The first group goes back to its first node after so long; 0: never."""
    ensemble_inside: bool = True
    """ZooKeeper's servers run on the first three nodes, not on machines of their own."""
    drift_ppm: int = 0
    """Each node's clock runs at a rate within this of true time."""
    interval: Duration = 100 * MILLISECOND
    settle: Duration = 4 * SECOND
    """From the start of the agents to the first fault."""
    turmoil: Duration = 14 * SECOND
    """How long faults may strike; what is not over then is mended."""
    peace: Duration = 35 * SECOND
    """How long the cluster is watched afterwards, at most: see peace.SETTLED."""
    stay_dead: int = 0
    """So many crashed machines stay dead in peace (fewer, if voters would lack a majority)."""
    faults: tuple[Fault, ...] = ()

    @property
    def peace_at(self) -> Instant:
        """World time at which faults end."""
        return self.settle + self.turmoil

    @property
    def end(self) -> Instant:
        """World time at which the run ends."""
        return self.peace_at + self.peace


def cluster_spec(scenario: Scenario) -> ClusterSpec:
    """Return the configuration that a scenario's engines run with."""
    names = tuple(f"n{number}" for number in range(1, scenario.nodes + 1))
    first_witness = scenario.nodes - scenario.witnesses
    nodes = tuple(NodeSpec(name=name, witness=index >= first_witness,
                           voter=index < (scenario.voters or scenario.nodes))
                  for index, name in enumerate(names))
    groups = tuple(group_of_kind(f"g{number}", kind, _rotated(names[:first_witness], number - 1))
                   for number, kind in enumerate(scenario.groups, 1))
    fenced = scenario.devices or "fenced" in scenario.groups
    return ClusterSpec(name="simulated", nodes=nodes, groups=_with_policies(scenario, groups),
                       timing=times_for(scenario.interval), fences_per_hour=1000,
                       devices=tuple(_device(name) for name in names) if fenced else ())


def _device(name: str) -> DeviceSpec:
    return DeviceSpec(name=f"pdu-{name}", nodes=(name,), timeout=20 * SECOND)


def _with_policies(scenario: Scenario, groups: tuple[GroupSpec, ...]) -> tuple[GroupSpec, ...]:
    first, *others = groups
    if scenario.failback and not first.everywhere:
        first = replace(first, failback=scenario.failback, prefer={first.nodes[0]: 100})
    if others and scenario.tie == "requires":
        others[0] = replace(others[0], requires=(first.name,))
    elif others and scenario.tie and not (scenario.tie == "apart" and others[0].everywhere):
        others[0] = replace(others[0], **{scenario.tie: (Tie(first.name),)})
    return (first, *others)


def group_of_kind(name: str, kind: str, nodes: tuple[str, ...]) -> GroupSpec:
    """Return a group of one of the kinds that a scenario names."""
    if kind == "address":
        return GroupSpec(name=name, nodes=nodes)
    if kind == "everywhere":
        return GroupSpec(name=name, nodes=nodes, services=(_unit("lb"),), everywhere=True,
                         has_addresses=False)
    if kind == "blocking":
        return GroupSpec(name=name, nodes=nodes, stop_within=150 * MILLISECOND, services=(
            _unit("db"), replace(_unit("app"), on_failure=OnFailure.BLOCK, restarts=1),
            _unit("web")))
    if kind == "units":
        return GroupSpec(name=name, nodes=nodes, stop_within=150 * MILLISECOND,
                         services=(_unit("db"), _unit("app"), _unit("web")))
    if kind == "replicas":
        return GroupSpec(name=name, nodes=nodes, stop_within=150 * MILLISECOND,
                         services=(_REPLICATED, _unit("app")))
    assert kind in ("service", "fenced"), f"no such kind of group: {kind}"
    service = ServiceSpec(name="db", promote_timeout=2 * SECOND, demote_timeout=2 * SECOND,
                          monitor_interval=SECOND, monitor_timeout=SECOND)
    return GroupSpec(name=name, nodes=nodes, services=(service,), stop_within=150 * MILLISECOND,
                     fencing_required=kind == "fenced")


def _unit(name: str) -> ServiceSpec:
    """Nothing looks at it: its driver notices when it ends."""
    return ServiceSpec(name=name, actions=("start", "stop"), tells=True,
                       start_timeout=2 * SECOND, stop_timeout=2 * SECOND, window=10 * SECOND)


_REPLICATED = ServiceSpec(
    name="pg", actions=("start", "promote", "demote", "stop"), promotable=True, tells=True,
    start_timeout=2 * SECOND, stop_timeout=2 * SECOND, promote_timeout=2 * SECOND,
    demote_timeout=2 * SECOND, monitor_interval=SECOND, monitor_timeout=SECOND,
    window=10 * SECOND)


def _rotated(names: tuple[str, ...], by: int) -> tuple[str, ...]:
    by %= len(names)
    return names[by:] + names[:by]
