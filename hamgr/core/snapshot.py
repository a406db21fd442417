"""What an engine shows of itself: the local half of `hamgr status`, and what tests look at."""

from msgspec import Struct

from hamgr.core.heartbeat import GroupWord
from hamgr.core.records import Leader, Plan, Request, Seat
from hamgr.core.types import Duration, Epoch, GroupName, NodeName, ServiceName


class PeerView(Struct, frozen=True, kw_only=True):
    """One other node, as this one sees it."""

    node: NodeName
    heard_ago: Duration | None = None
    """None: never heard in this incarnation of ours."""
    rings_ago: tuple[Duration | None, ...] = ()
    incarnation: int = 0
    round: int = 0
    seat: str = ""
    lapsed: bool = False
    credited: bool = False
    """We credit its newest heartbeat."""
    credits_us: bool = False
    """It has credited a heartbeat of ours that has not run out."""
    accused: bool = False
    """We have accused its present life."""
    accused_by: tuple[NodeName, ...] = ()
    blocked: bool = False
    lateness: Duration = 0
    revision: int = 0
    config: str = ""
    version: str = ""
    credits: tuple[NodeName, ...] = ()
    """The voters whose credits it says it holds."""
    words: tuple[GroupWord, ...] = ()
    """What it says of its groups in its newest heartbeat."""


class ServiceView(Struct, frozen=True, kw_only=True):
    """One service of a group on this node."""

    name: ServiceName
    state: str
    """stopped, promoting, promoted, demoting or failed."""
    failures: int = 0
    why: str = ""


class GroupView(Struct, frozen=True, kw_only=True):
    """One group on this node."""

    name: GroupName
    role: str
    """holder, heir, leaving or none: what the plan, as read here, gives this node."""
    phase: str
    """inactive, starting, active, stopping or failed."""
    epoch: Epoch = 0
    """The epoch in use, 0 when inactive."""
    done: Epoch = 0
    fit: bool = True
    unfit_why: str = ""
    armed: bool = False
    maintenance: bool = False
    active_for: Duration | None = None
    why: str = ""
    """The reason of the last change, in words."""
    services: tuple[ServiceView, ...] = ()


class Snapshot(Struct, frozen=True, kw_only=True):
    """One node's view of everything, at one instant."""

    cluster: str
    cluster_id: str
    node: NodeName
    incarnation: int
    round: int
    lease: str
    """joining, claimed, member or lapsed."""
    lease_left: Duration
    """Negative: passed so long ago."""
    zookeeper: bool
    zookeeper_why: str
    leader: Leader | None
    leading: bool
    plan: Plan | None
    seats: dict[NodeName, Seat]
    voters: tuple[NodeName, ...]
    warm: bool
    """A voter that may credit (rule 2)."""
    lateness: Duration
    peers: tuple[PeerView, ...]
    groups: tuple[GroupView, ...]
    requests: tuple[Request, ...]
    stopping: bool
