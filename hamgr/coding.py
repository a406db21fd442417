"""The records as they lie in ZooKeeper: JSON, whose unknown fields are kept.

So that nodes of several versions can run together: what a newer one wrote is not lost when an older
one writes the record again. A newer version that means something else by a field that an older one
knows gives the record a higher format number, and then the older one refuses it: it believes what
it read before, and can write nothing over it, since writes rest on the version that was read.
"""

from typing import Any

import msgspec
from msgspec import Struct

from hamgr.core.records import (
    CONFIG,
    FORMAT,
    HISTORY,
    LEADER,
    PLAN,
    REQUESTS,
    ROOT,
    SEATS,
    Config,
    GroupPlan,
    History,
    Leader,
    Plan,
    Record,
    Request,
    Root,
    Seat,
)
from hamgr.core.types import NEVER

_TOO_DEEP = "its fields lie in each other too deep for a record of hamgr's"
_FIXED: dict[str, type[Record]] = {ROOT: Root, LEADER: Leader, PLAN: Plan, CONFIG: Config}
_LISTED: dict[str, type[Record]] = {SEATS: Seat, REQUESTS: Request, HISTORY: History}


DEPTH_MAX = 32
"""How deep the fields of other versions may lie in each other. What could be read only just, as
deep as the parser goes, could not be written again."""


class NewerFormatError(msgspec.ValidationError):
    """A record was written by a version of hamgr that this one does not understand."""


def record_type(path: str) -> type[Record] | None:
    """Return the type of the record that lives at a path, or None for other nodes of the tree."""
    if path in _FIXED:
        return _FIXED[path]
    folder, slash, name = path.partition("/")
    return _LISTED.get(folder) if slash and name and "/" not in name else None


def encode(record: Record) -> bytes:
    """Return the record as JSON, with the fields of other versions that it was read with."""
    raw = msgspec.to_builtins(record)
    if isinstance(record, Plan):
        raw["groups"] = {name: _with_extra(group) for name, group in raw["groups"].items()}
    return msgspec.json.encode(_with_extra(raw))


def decode(path: str, data: bytes) -> Record:
    """Return the record that a path holds.

    Raises msgspec.ValidationError or msgspec.DecodeError when the data is not such a record
    (NewerFormatError with the remedy), and LookupError when no record lives at that path.
    """
    kind = record_type(path)
    if kind is None:
        raise LookupError(f"no record lives at {path!r}")
    raw = fields_of(data)
    form = raw.get("format", FORMAT)
    if isinstance(form, int) and form > FORMAT:
        raise NewerFormatError(f"a newer version of hamgr wrote it, in format {form}, and this one "
                               f"understands formats up to {FORMAT}: upgrade hamgr on this node")
    if kind is Plan and isinstance(raw.get("groups"), dict):
        raw["groups"] = {name: _split_extra(GroupPlan, group)
                         for name, group in raw["groups"].items() if isinstance(group, dict)}
    return msgspec.convert(_split_extra(kind, raw), type=kind)


def fields_of(data: bytes) -> dict[str, Any]:
    """Return what JSON says. Raises msgspec.MsgspecError for whatever else it is."""
    try:
        raw = msgspec.json.decode(data, type=dict[str, Any])
    except RecursionError:
        raise msgspec.DecodeError(_TOO_DEEP) from None
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"its text is not UTF-8: {error.reason}") from None
    level: list[Any] = [raw]
    for _ in range(DEPTH_MAX):
        for value in level:
            if isinstance(value, int) and not 0 <= value < NEVER:
                raise msgspec.ValidationError(f"{value} is no number of hamgr's")
        level = [inner for value in level if isinstance(value, dict | list)
                 for inner in (value.values() if isinstance(value, dict) else value)]
    if level:
        raise msgspec.DecodeError(_TOO_DEEP)
    return raw


def _split_extra(kind: type[Struct], raw: dict[str, Any]) -> dict[str, Any]:
    known = set(kind.__struct_fields__) - {"extra"}
    extra = {key: value for key, value in raw.items() if key not in known}
    return {**{key: raw[key] for key in raw if key in known}, "extra": extra}


def _with_extra(raw: dict[str, Any]) -> dict[str, Any]:
    return {**raw.pop("extra"), **raw}
