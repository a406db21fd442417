"""What the engine needs of the configuration: nodes, groups, services, in the core's own units."""

from functools import cached_property

from msgspec import Struct

from hamgr.core.timing import Timing
from hamgr.core.types import (
    SECOND,
    DeviceName,
    Duration,
    GroupName,
    NodeName,
    OnFailure,
    ServiceName,
)


class NodeSpec(Struct, frozen=True, kw_only=True):
    """One node of the cluster. A witness votes and may lead, but runs no group."""

    name: NodeName
    voter: bool = True
    witness: bool = False
    start_clean: bool = False
    """Once it was fenced it runs nothing before an operator has seen to it."""
    attributes: dict[str, str] = {}
    """What the file says of it; what is set while it runs takes its place."""


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """One service of a group. The engine knows services, the shell knows drivers."""

    name: ServiceName
    actions: tuple[str, ...] = ("promote", "demote")
    """Of start, promote, demote and stop, those that its driver has; the others are done at once.
    Every one that brings up has the one that takes down."""
    promotable: bool = False
    """Replicas are started on every node of the group, and promoted on the active one."""
    tells: bool = False
    """Its driver can tell whether it is stopped."""
    start_timeout: Duration = 30 * SECOND
    stop_timeout: Duration = 30 * SECOND
    promote_timeout: Duration = 30 * SECOND
    demote_timeout: Duration = 30 * SECOND
    monitor_interval: Duration = 0
    """0: the service is not monitored."""
    monitor_timeout: Duration = 5 * SECOND
    restarts: int = 3
    """Failures within `window` that are mended on the spot."""
    window: Duration = 60 * SECOND
    on_failure: OnFailure = OnFailure.MOVE
    """What the next one does; to move, the holder releases the group (rule 12)."""

    def timeout(self, action: str) -> Duration:
        """Return how long an action may take."""
        return {"start": self.start_timeout, "stop": self.stop_timeout,
                "promote": self.promote_timeout, "demote": self.demote_timeout,
                "monitor": self.monitor_timeout, "probe": self.monitor_timeout}[action]


class DeviceSpec(Struct, frozen=True, kw_only=True):
    """A fence device: it cuts the power of nodes, or what they need to do harm."""

    name: DeviceName
    nodes: tuple[NodeName, ...]
    """Whom it can cut off."""
    level: int = 1
    """From 1. All devices of a level must succeed, else the next level is tried."""
    timeout: Duration = 60 * SECOND
    """For each action."""
    retries: int = 1
    """How often an action that failed is tried again before the device counts as failed."""
    delay: Duration = 0
    """Before it is asked to cut off: the other side of a race goes first."""
    delay_max: Duration = 0
    """The most that chance adds to the delay."""
    tells: bool = True
    """It has the action status, by which `off` is verified."""
    reboot: bool = True
    """Whom it has cut off it switches on again."""


MANDATORY = 1_000_000
"""A score of this size is no wish but a rule, as Pacemaker's INFINITY, which is the same number."""
FORBIDDEN = -MANDATORY
"""As a preference: never on this node."""


class Tie(Struct, frozen=True):
    """What a group wants of its distance to another group."""

    group: GroupName
    score: int = MANDATORY
    """Above 0. What it is worth; MANDATORY: the group rather runs nowhere."""

    @property
    def mandatory(self) -> bool:
        """Tell whether it is a rule."""
        return self.score >= MANDATORY


class GroupSpec(Struct, frozen=True, kw_only=True):
    """What moves together: services in order, then the addresses."""

    name: GroupName
    nodes: tuple[NodeName, ...]
    """In order of preference."""
    services: tuple[ServiceSpec, ...] = ()
    everywhere: bool = False
    """It runs on all of its nodes, without a right; it has no addresses."""
    has_addresses: bool = True
    stop_within: Duration = 0
    """Time after a lapse by which everything of the group is certainly down (rule 14)."""
    fencing_required: bool = False
    """Rule 13: a fence device must confirm before another node takes over."""
    needs: dict[str, str] = {}
    """What a node's attributes must be, such as {"pingd": ">= 100"}: see core.attributes."""
    prefer: dict[NodeName, int] = {}
    """Scores of nodes; 0 for those that are not named. FORBIDDEN and less: never there."""
    stickiness: int = 0
    """The score of being there already."""
    failback: Duration | None = None
    """How long a better node must have been fit before a healthy group moves there; None: it never
    moves for a better score."""
    priority: int = 0
    """Who is placed first, where there is no room for all: the higher."""
    beside: tuple[Tie, ...] = ()
    """`with`: on the node where these groups are."""
    apart: tuple[Tie, ...] = ()
    """Never on the same node as these groups."""
    requires: tuple[GroupName, ...] = ()
    """Is not started before these are active somewhere."""

    @property
    def may_be_moved(self) -> bool:
        """Tell whether its policy may ask for a move although its node is well."""
        return bool(self.beside or self.apart or self.failback is not None)


class ClusterSpec(Struct, frozen=True, kw_only=True, dict=True):
    """The whole configuration, as far as decisions depend on it."""

    name: str
    nodes: tuple[NodeSpec, ...]
    groups: tuple[GroupSpec, ...] = ()
    devices: tuple[DeviceSpec, ...] = ()
    fences_per_hour: int = 5
    """A node that has fenced so often stops: against fencing loops."""
    timing: Timing = Timing()

    @property
    def voters(self) -> tuple[NodeName, ...]:
        """The nodes that vote from the start, in the order of the file."""
        return tuple(node.name for node in self.nodes if node.voter)

    def group(self, name: GroupName) -> GroupSpec | None:
        """Return the group of that name, if the configuration has one."""
        return self._groups.get(name)

    def node(self, name: NodeName) -> NodeSpec | None:
        """Return the node of that name, if the configuration has one."""
        return self._nodes.get(name)

    @cached_property
    def _groups(self) -> dict[GroupName, GroupSpec]:
        return {group.name: group for group in self.groups}

    @cached_property
    def _nodes(self) -> dict[NodeName, NodeSpec]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def foes(self) -> dict[GroupName, tuple[GroupName, ...]]:
        """Who must be apart from each group, whichever of both says so."""
        found: dict[GroupName, dict[GroupName, None]] = {}
        for group in self.groups:
            for tie in group.apart:
                if tie.mandatory:
                    found.setdefault(group.name, {})[tie.group] = None
                    found.setdefault(tie.group, {})[group.name] = None
        return {name: tuple(foes) for name, foes in found.items()}
