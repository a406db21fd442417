"""What the engine needs of the configuration: nodes, groups, services, in the core's own units."""

from functools import cached_property

from msgspec import Struct

from hamgr.core.timing import Timing
from hamgr.core.types import SECOND, Duration, GroupName, NodeName, OnFailure, ServiceName


class NodeSpec(Struct, frozen=True, kw_only=True):
    """One node of the cluster. A witness votes and may lead, but runs no group."""

    name: NodeName
    voter: bool = True
    witness: bool = False


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


class ClusterSpec(Struct, frozen=True, kw_only=True, dict=True):
    """The whole configuration, as far as decisions depend on it."""

    name: str
    nodes: tuple[NodeSpec, ...]
    groups: tuple[GroupSpec, ...] = ()
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
