"""The records in ZooKeeper: typed here, JSON there (`hamgr.coding`).

A path is relative to the cluster's root: "" is the root itself, then "leader", "plan",
"seats/<node>", "config", "requests/<id>", "history/<plan revision>".
"""

from functools import cached_property
from typing import Any

from msgspec import Struct, field

from hamgr.core.timing import Timing
from hamgr.core.types import Epoch, GroupName, Life, Maintenance, NodeName, SeatState

FORMAT = 1

ROOT = ""
LEADER = "leader"
PLAN = "plan"
CONFIG = "config"
SEATS = "seats"
REQUESTS = "requests"
HISTORY = "history"

EPOCHS_SKIPPED = 1 << 20
"""By a rebuild: more than any cluster can have given after the copy was made."""


class Stored(Struct, frozen=True, kw_only=True, dict=True):
    """What every record has: the fields of other versions are kept in `extra`."""

    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)


class Root(Stored, frozen=True, kw_only=True):
    """Which cluster this is: a random id, so that lost or restored data is noticed (rule 25)."""

    cluster_id: str
    follows: tuple[str, ...] = ()
    """Ids that an operator's rebuild replaced."""


class Leader(Stored, frozen=True, kw_only=True):
    """Who plans. `node` is empty when the record is vacant."""

    term: int
    node: NodeName = ""
    incarnation: int = 0


class Seat(Stored, frozen=True, kw_only=True):
    """A node's persistent record, changed only by compare-and-set on its version."""

    incarnation: int
    round: int
    state: SeatState
    by: NodeName
    """Who wrote it: the node itself, or the leader that declared it dead or renewed its round."""
    why: str = ""

    @cached_property
    def life(self) -> Life:
        """The incarnation and round that this seat stands for."""
        return Life(self.incarnation, self.round)


class Right(Struct, frozen=True, kw_only=True, dict=True):
    """Leave to be active for a group, given to one node in one round under one epoch."""

    node: NodeName
    incarnation: int
    round: int
    epoch: Epoch

    @cached_property
    def life(self) -> Life:
        """The incarnation and round that this right names."""
        return Life(self.incarnation, self.round)


class GroupPlan(Struct, frozen=True, kw_only=True, dict=True):
    """What the plan says of one group."""

    holder: Right | None = None
    heir: Right | None = None
    leaving: tuple[Right, ...] = ()
    handover: bool = False
    """The holder is told to release, and the heir to take over on its word (rule 12)."""
    maintenance: Maintenance = Maintenance.OFF
    top_epoch: Epoch = 0
    """The greatest epoch ever given."""
    unverified: tuple[Right, ...] = ()
    """Rights that went out without their owner's word, where that matters (rules 13, 14): whoever
    becomes active next waits for `stop_within`, or fences their nodes."""
    stuck: tuple[Epoch, ...] = ()
    """Rights whose nodes cannot get rid of the group: they are waited for until they are fenced, or
    somebody vouches for them (rule 13)."""
    why: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def rights(self) -> tuple[Right, ...]:
        """Return every right that stands, the holder's first."""
        first = [right for right in (self.holder, self.heir) if right is not None]
        return (*first, *self.leaving)


UNPLANNED = GroupPlan()
"""What a plan that does not name a group says of it."""


class Voters(Struct, frozen=True, kw_only=True, dict=True):
    """The numbered set of voters; around a change also the next and the former one (rule 23)."""

    number: int
    names: tuple[NodeName, ...]
    former: tuple[NodeName, ...] = ()
    """These count beside the present ones when it is asked whether a round is blocked."""
    coming: tuple[NodeName, ...] = ()
    """These credit already, and do not count yet."""

    @cached_property
    def voting(self) -> tuple[NodeName, ...]:
        """Return all who credit and accuse."""
        return (*self.names, *self.former, *self.coming)


class Plan(Stored, frozen=True, kw_only=True):
    """Who holds and who inherits every group; written by the leader only."""

    revision: int
    by: NodeName
    voters: Voters
    times: Timing
    groups: dict[GroupName, GroupPlan] = field(default_factory=dict)
    standby: tuple[NodeName, ...] = ()
    """Nodes that an operator drained: they run no group."""
    fenced: dict[NodeName, int] = {}
    """The last incarnation of each node that fencing ended, as the plan has taken note of it."""
    renew: NodeName = ""
    """A node that may claim in its present round, to be given a new one (rule 19)."""
    why: str = ""


class Config(Stored, frozen=True, kw_only=True):
    """The configuration document as applied."""

    revision: int
    document: str
    """The TOML text."""
    digest: str = ""
    applied_by: str = ""
    seal: str = ""
    """By the cluster's key: see hamgr.config.seal."""


class Request(Stored, frozen=True, kw_only=True):
    """What an operator asked for; the leader answers by writing `state` and `why`."""

    id: str
    kind: str
    """switchover, standby, resume, maintenance-on, maintenance-off, clear, voters, times, fence,
    down."""
    group: GroupName = ""
    """Empty: every group (maintenance)."""
    node: NodeName = ""
    """switchover: where to (empty: the heir); standby, resume, fence, down: which node."""
    incarnation: int = 0
    """fence: which life of the node is meant, by the leader's word; a later one is not cut off."""
    voters: tuple[NodeName, ...] = ()
    times: Timing | None = None
    confirmed: bool = False
    """An operator's word that the owner is certainly down (maintenance-off)."""
    by: str = ""
    state: str = "open"
    """open, done or refused."""
    staying: tuple[GroupName, ...] = ()
    """standby, done: what still runs on the node."""
    why: str = ""


class History(Stored, frozen=True, kw_only=True):
    """One change of the plan, for people. Its time is the creation time of its node."""

    revision: int
    by: NodeName
    lines: tuple[str, ...]


Record = Root | Leader | Seat | Plan | Config | Request | History


def seat_path(node: NodeName) -> str:
    """Return the path of a node's seat."""
    return f"{SEATS}/{node}"
