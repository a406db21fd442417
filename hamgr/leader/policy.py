"""What operators want of the places of their groups, what is so now, and where each shall be.

The words are Pacemaker's where it has one (Pacemaker Explained, chapter "Resource Constraints"):
a preference is its location constraint, `beside` and `apart` are its colocation with a positive and
with a negative score, `requires` is its mandatory order of starts.
"""

from msgspec import Struct

from hamgr.core.spec import Tie
from hamgr.core.types import NEVER, Duration, GroupName, Instant, NodeName


class Policy(Struct, frozen=True, kw_only=True):
    """The configuration of one group, as far as its place depends on it."""

    name: GroupName
    nodes: tuple[NodeName, ...]
    """Where it may run: in order of preference among nodes of the same score."""
    prefer: dict[NodeName, int] = {}
    """Scores of nodes; 0 for those that are not named. FORBIDDEN and less: never there."""
    stickiness: int = 0
    """At least 0. The score of being there already."""
    failback: Duration | None = None
    """How long a better node must have been fit before a healthy group moves there; None: a healthy
    group never moves for a better score."""
    priority: int = 0
    """Who is placed first, where there is no room for all: the higher."""
    everywhere: bool = False
    """It runs on every node of its list that can, at once."""
    has_addresses: bool = False
    """It has addresses of its own, which can be on one node only."""
    beside: tuple[Tie, ...] = ()
    """`with`: on the node where these groups are. They are placed first."""
    apart: tuple[Tie, ...] = ()
    """Never on the same node as these groups; it does not matter which of two says so."""
    requires: tuple[GroupName, ...] = ()
    """Is not started before these are active somewhere. It is not stopped because they are."""


class Bar(Struct, frozen=True):
    """Why a node cannot have a group, in words that follow "n1:"."""

    why: str
    last_resort: bool = False
    """The node is used if no other can have the group at all."""
    stays: bool = False
    """A group that is there stays if no other node can have it, and none comes: for standby."""


class NodeState(Struct, frozen=True, kw_only=True):
    """What is so of a node, for every group."""

    bar: Bar | None = None
    """For example: not heard; in standby."""
    score: int = 0
    """What its health adds to the score of every group there, or takes from it if less than 0."""


class GroupState(Struct, frozen=True, kw_only=True):
    """What is so of a group."""

    holder: NodeName = ""
    """The node that it belongs to now, whether it is up there or not; nothing: nowhere, or it runs
    everywhere."""
    up: tuple[NodeName, ...] = ()
    """Where it is active: completely started."""
    maintenance: bool = False
    """It stays where it is, whatever is so."""
    bars: dict[NodeName, Bar] = {}
    """Why nodes cannot have this group, beyond what bars them for every group."""
    scores: dict[NodeName, int] = {}
    """What its services say of each node, such as promotion scores. Less than 0: not there."""
    fit_since: dict[NodeName, Instant] = {}
    """Since when each node could have had it without a break; asked for `failback` only. A node
    that is missing has only become fit."""


NOWHERE = GroupState()
MAINTAINED = "it is in maintenance, and stays as it is"
"""Why a group in maintenance is where it is, as accounts say it."""


class Situation(Struct, frozen=True, kw_only=True):
    """All that decides about places, at one instant."""

    now: Instant
    policies: tuple[Policy, ...]
    """In any order: the outcome is the same."""
    nodes: dict[NodeName, NodeState] = {}
    """Nodes that are missing have no bar and no score."""
    groups: dict[GroupName, GroupState] = {}
    """Groups that are missing are nowhere."""


class Spot(Struct, frozen=True, kw_only=True):
    """Where one group shall be."""

    nodes: tuple[NodeName, ...] = ()
    """One node; all of them for a group that runs everywhere; none if no node can have it."""
    heirs: tuple[NodeName, ...] = ()
    """Who should take over if that node dies, the best first: nodes that could have the group now.
    For a group beside others they are heirs of those too."""
    waits: str = ""
    """What it waits for before it is started there, in words: "db is not active"."""

    @property
    def node(self) -> NodeName:
        """The node of a group that runs on one, or nothing."""
        return self.nodes[0] if self.nodes else ""


class Candidate(Struct, frozen=True, kw_only=True):
    """What was said for and against one node."""

    node: NodeName
    bar: Bar | None = None
    """Why it was not to be had, or only as a last resort."""
    parts: tuple[tuple[str, int], ...] = ()
    """What its score is made of: ("prefer", 100), ("stickiness", 50). Zeroes are left out."""
    lost: str = ""
    """Why the choice was made without it, though it has no bar: what would have come of it."""

    @property
    def score(self) -> int:
        """The sum of the parts."""
        return sum(value for _, value in self.parts)


class Account(Struct, frozen=True, kw_only=True):
    """How one group came to its spot."""

    group: GroupName
    spot: Spot
    holder: NodeName = ""
    """Where it was."""
    everywhere: bool = False
    candidates: tuple[Candidate, ...] = ()
    """Every node of its list, the chosen one first, then by rank."""
    why: str = ""
    """What decided, in one clause: "the highest score"."""


class Placement(Struct, frozen=True, kw_only=True):
    """Where all groups shall be."""

    spots: dict[GroupName, Spot]
    """Every group of the policies, by name."""
    wake: Instant = NEVER
    """When a node will have been fit for long enough to be moved to: ask again then."""
    accounts: dict[GroupName, Account] = {}
    """Of the groups that were asked for."""
