"""A version of hamgr that is newer than this one, as far as an older one meets it.

It says one thing more in its heartbeats, at their end, and keeps something more in the plan and in
each group of it. An older version must pass over the one and keep the other (hamgr.wire,
hamgr.coding): a cluster is upgraded one agent after the other, and any of them may lead meanwhile.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import asdict, replace

from hamgr.core.effects import Op, Write
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.records import Plan
from hamgr.core.types import NodeName
from hamgr.simulation.zookeeper import Commit
from hamgr.wire import Wire

KEY = b"the key of a simulated cluster.."
THIS, NEWER = 1, 2
FIELD = "since_2"
"""What only the newer version knows, in plan and groups."""


class NewerHeartbeat(Heartbeat, frozen=True, kw_only=True, array_like=True):
    """A heartbeat with one field more."""

    load: int = 0


class NewerWire(Wire):
    """What the newer version sends and understands."""

    def __init__(self, cluster: str, keys: Sequence[bytes]) -> None:
        super().__init__(cluster, keys)
        self._decoder = msgspec.msgpack.Decoder(NewerHeartbeat)

    def encode(self, heartbeat: Heartbeat, to: NodeName) -> bytes:
        """Return the datagram, which says more than this version does."""
        return super().encode(NewerHeartbeat(**{**asdict(heartbeat), "load": 7}), to)


def as_newer(write: Write) -> Write:
    """Return a transaction as the newer version writes it."""
    return replace(write, ops=tuple(_with_field(op) for op in write.ops))


def lost_fields(before: Plan | None, commit: Commit, plan: Plan) -> str:
    """Say what of the newer version's a plan has lost that was written over another, if any."""
    if before is None:
        return ""
    lost = [name for name, group in before.groups.items() if FIELD in group.extra
            and FIELD not in plan.groups[name].extra]
    if FIELD in before.extra and FIELD not in plan.extra:
        lost.append("the plan")
    return f"{commit.by} dropped fields that it does not know: {', '.join(lost)}" if lost else ""


def _with_field(op: Op) -> Op:
    if not isinstance(op.record, Plan):
        return op
    groups = {name: replace(group, extra={**group.extra, FIELD: group.top_epoch})
              for name, group in op.record.groups.items()}
    extra = {**op.record.extra, FIELD: op.record.revision}
    return replace(op, record=replace(op.record, groups=groups, extra=extra))
