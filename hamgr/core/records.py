"""The records in ZooKeeper: typed here, JSON there; unknown fields of a newer version are kept.

A path is relative to the cluster's root: "" is the root itself, then "leader", "plan",
"seats/<node>", "config", "requests/<id>", "history/<plan revision>".
"""

from typing import Any

import msgspec
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


class Root(Struct, frozen=True, kw_only=True):
    """Which cluster this is: a random id, so that lost or restored data is noticed (rule 25)."""

    cluster_id: str
    follows: tuple[str, ...] = ()
    """Ids that an operator's rebuild replaced."""
    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)


class Leader(Struct, frozen=True, kw_only=True):
    """Who plans. `node` is empty when the record is vacant."""

    term: int
    node: NodeName = ""
    incarnation: int = 0
    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)


class Seat(Struct, frozen=True, kw_only=True):
    """A node's persistent record, changed only by compare-and-set on its version."""

    incarnation: int
    round: int
    state: SeatState
    by: NodeName
    """Who wrote it: the node itself, or the leader that declared it dead or renewed its round."""
    why: str = ""
    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def life(self) -> Life:
        """The incarnation and round that this seat stands for."""
        return Life(self.incarnation, self.round)


class Right(Struct, frozen=True, kw_only=True):
    """Leave to be active for a group, given to one node in one round under one epoch."""

    node: NodeName
    incarnation: int
    round: int
    epoch: Epoch

    @property
    def life(self) -> Life:
        """The incarnation and round that this right names."""
        return Life(self.incarnation, self.round)


class GroupPlan(Struct, frozen=True, kw_only=True):
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
    why: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def rights(self) -> tuple[Right, ...]:
        """Return every right that stands, the holder's first."""
        first = [right for right in (self.holder, self.heir) if right is not None]
        return (*first, *self.leaving)


class Voters(Struct, frozen=True, kw_only=True):
    """The numbered set of voters; during a change the former one too (rule 23)."""

    number: int
    names: tuple[NodeName, ...]
    former: tuple[NodeName, ...] = ()


class Plan(Struct, frozen=True, kw_only=True):
    """Who holds and who inherits every group; written by the leader only."""

    revision: int
    by: NodeName
    voters: Voters
    times: Timing
    groups: dict[GroupName, GroupPlan] = field(default_factory=dict)
    standby: tuple[NodeName, ...] = ()
    """Nodes that an operator drained: they run no group."""
    renew: NodeName = ""
    """A node that may claim in its present round, to be given a new one (rule 19)."""
    why: str = ""
    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)


class Config(Struct, frozen=True, kw_only=True):
    """The configuration document as applied."""

    revision: int
    document: str
    """The TOML text."""
    digest: str = ""
    applied_by: str = ""
    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)


class Request(Struct, frozen=True, kw_only=True):
    """What an operator asked for; the leader answers by writing `state` and `why`."""

    id: str
    kind: str
    """switchover, standby, resume, maintenance-on, maintenance-off, clear, voters, times."""
    group: GroupName = ""
    """Empty: every group (maintenance)."""
    node: NodeName = ""
    """switchover: where to (empty: the heir); standby, resume: which node."""
    voters: tuple[NodeName, ...] = ()
    times: Timing | None = None
    confirmed: bool = False
    """An operator's word that the owner is certainly down (maintenance-off)."""
    by: str = ""
    state: str = "open"
    """open, done or refused."""
    why: str = ""
    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)


class History(Struct, frozen=True, kw_only=True):
    """One change of the plan, for people. Its time is the creation time of its node."""

    revision: int
    by: NodeName
    lines: tuple[str, ...]
    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)


Record = Root | Leader | Seat | Plan | Config | Request | History

_FIXED: dict[str, type[Record]] = {ROOT: Root, LEADER: Leader, PLAN: Plan, CONFIG: Config}
_LISTED: dict[str, type[Record]] = {SEATS: Seat, REQUESTS: Request, HISTORY: History}


def seat_path(node: NodeName) -> str:
    """Return the path of a node's seat."""
    return f"{SEATS}/{node}"


def record_type(path: str) -> type[Record] | None:
    """Return the type of the record that lives at a path, or None for other nodes of the tree."""
    if path in _FIXED:
        return _FIXED[path]
    folder, slash, name = path.partition("/")
    return _LISTED.get(folder) if slash and name and "/" not in name else None


def encode(record: Record) -> bytes:
    """Return the record as JSON, with the fields of other versions that it was read with."""
    return msgspec.json.encode(_with_extra(msgspec.to_builtins(record)))


def decode(path: str, data: bytes) -> Record:
    """Return the record that a path holds.

    Raises msgspec.ValidationError or msgspec.DecodeError when the data is not such a record, and
    LookupError when no record lives at that path.
    """
    kind = record_type(path)
    if kind is None:
        raise LookupError(f"no record lives at {path!r}")
    raw = msgspec.json.decode(data, type=dict[str, Any])
    if kind is Plan and isinstance(raw.get("groups"), dict):
        raw["groups"] = {name: _split_extra(GroupPlan, group)
                         for name, group in raw["groups"].items() if isinstance(group, dict)}
    return msgspec.convert(_split_extra(kind, raw), type=kind)


def _split_extra(kind: type[Struct], raw: dict[str, Any]) -> dict[str, Any]:
    known = set(kind.__struct_fields__) - {"extra"}
    extra = {key: value for key, value in raw.items() if key not in known}
    return {**{key: raw[key] for key in raw if key in known}, "extra": extra}


def _with_extra(value: Any) -> Any:
    if isinstance(value, dict):
        extra = value.pop("extra", None)
        plain = {key: _with_extra(item) for key, item in value.items()}
        return {**(extra or {}), **plain}
    return value
