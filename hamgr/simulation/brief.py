"""Records in a few words, for the story of a run."""

from hamgr.core.records import GroupPlan, Leader, Plan, Record, Request, Right, Seat
from hamgr.core.types import GroupName, Maintenance


def brief(record: Record | None) -> str:
    """Return what a record says, as short as it can be said."""
    if record is None:
        return "nothing"
    if isinstance(record, Plan):
        groups = "; ".join(_group(name, record.groups[name]) for name in sorted(record.groups))
        renew = f" renew {record.renew}" if record.renew else ""
        return f"#{record.revision} {groups}{renew} ({record.why})"
    if isinstance(record, Seat):
        return f"{record.incarnation}.{record.round} {record.state.value}"
    if isinstance(record, Leader):
        return f"{record.node or 'vacant'} term {record.term}"
    if isinstance(record, Request):
        return f"{record.kind} {record.group}{record.node} {record.state} {record.why}"
    return type(record).__name__.lower()


def _group(name: GroupName, group: GroupPlan) -> str:
    words = [name, f"{_right(group.holder)} / {_right(group.heir)}"]
    if group.leaving:
        words.append("leaving " + " ".join(_right(right) for right in group.leaving))
    if group.handover:
        words.append("handover")
    if group.maintenance is not Maintenance.OFF:
        words.append(f"maintenance {group.maintenance.value}")
    return " ".join(words)


def _right(right: Right | None) -> str:
    if right is None:
        return "-"
    return f"{right.node}({right.incarnation}.{right.round})e{right.epoch}"
