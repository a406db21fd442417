"""The state of a cluster at one moment, as `hamgr simulate` begins with it, and keeps it in a file.

There is no secret in it: nodes, groups and services by name, the plan, seats, who is up.
"""

from msgspec import Struct

from hamgr.core.records import Plan, Seat
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import GroupName, NodeName, ServiceName

SCHEMA = 1
"""Of the file. Fields are added, never renamed or removed without raising this."""


class Unfit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A node that by its own word cannot run a group now."""

    group: GroupName
    node: NodeName
    failed: bool = False
    """Since a service failed there beyond its limit, and for nothing else."""
    why: str = ""


class Took(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an action of a service took when it last went well."""

    group: GroupName
    service: ServiceName
    action: str
    """promote or demote."""
    ms: int


class Present(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    schema: int
    cluster: str
    asked: str
    """In words, who was asked."""
    at: str
    """When, by the wall clock there (ISO 8601)."""
    spec: ClusterSpec
    """The configuration that is applied, as far as decisions depend on it."""
    plan: Plan
    leader: NodeName = ""
    up: tuple[NodeName, ...]
    """Whose agents run."""
    seats: dict[NodeName, Seat]
    active: dict[GroupName, tuple[NodeName, ...]]
    zookeeper: bool
    servers: tuple[NodeName, ...]
    """The node that each server of ZooKeeper runs on; empty for a machine of its own."""
    unfit: tuple[Unfit, ...] = ()
    took: tuple[Took, ...] = ()
    notes: tuple[str, ...] = ()
    """What is known and not simulated."""
