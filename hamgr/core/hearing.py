"""What a heartbeat asks of its receiver, beside what it says: an answer, a decision."""

from hamgr.core.heartbeat import Heartbeat
from hamgr.core.records import Plan
from hamgr.core.types import NodeName

ON_A_CLAIM = ("claimed", "settling")


def wants_answer(heartbeat: Heartbeat, plan: Plan | None, own: NodeName) -> bool:
    """Tell whether a sender is answered at once: who has a right, or is about to need credits.

    So short a lease rests on fresh credits (PROTOCOL: Times). An heir needs none of its holder's
    (`own`; none while heartbeats are lost): it has to go on without them, when that is silent.
    """
    if heartbeat.seat in ON_A_CLAIM:
        return True
    for group in plan.groups.values() if plan is not None else ():
        holder, heir = (right and right.node for right in (group.holder, group.heir))
        if holder == heartbeat.sender or (heir == heartbeat.sender and holder != own):
            return True
    return False


def sets_beat(node: NodeName, plan: Plan | None) -> bool:
    """Tell whether we beat with a node: the first by name of those that hold a group."""
    holders = [group.holder.node for group in plan.groups.values() if group.holder] if plan else []
    return node == min(holders, default="")


def essence(heartbeat: Heartbeat) -> tuple[object, ...]:
    """Return what of a heartbeat a decision may rest on, beside its time and its echo."""
    return (heartbeat.incarnation, heartbeat.round, heartbeat.lapsed, heartbeat.seat,
            heartbeat.revision, heartbeat.voters, heartbeat.groups, heartbeat.accusations,
            heartbeat.relays, heartbeat.scars, heartbeat.credits, heartbeat.epochs,
            heartbeat.sound, heartbeat.leaving)
