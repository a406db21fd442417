"""Whom this node wants cut off, and whether it is the one to do it (rule 13).

What is wanted rests on rights that are out without a word (see `doubts`), on the word of a node
that it cannot get rid of a group, and on operators.
"""

from hamgr.core.fencing import Fencing, Want
from hamgr.core.knowledge import Knowledge
from hamgr.core.records import GroupPlan, Right
from hamgr.core.types import Duration, GroupName, Instant, Maintenance, NodeName

Wants = dict[NodeName, Want]


def want(wants: Wants, right: Right, why: str, after: Duration, knowledge: Knowledge,
         now: Instant) -> None:
    """Want the node of a right cut off, if that is still so after a while."""
    known = wants.get(right.node)
    if known is None:
        wants[right.node] = Want(right.life, is_first(right.node, knowledge, now), why, after)
    else:
        known.life, known.after = max(known.life, right.life), min(known.after, after)


def is_first(node: NodeName, knowledge: Knowledge, now: Instant) -> bool:
    """Tell whether we are the first of those who take over from a node, in the plan's order."""
    plan = knowledge.plan
    for name, group in plan.groups.items() if plan is not None else ():
        successor = _successor(name, group, node, knowledge)
        if successor == knowledge.node:
            return True
        said = knowledge.liveness.says(successor, now)
        if successor and said is not None and not said.lapsed:
            return False
    return True


def _successor(name: GroupName, group: GroupPlan, node: NodeName, knowledge: Knowledge) -> NodeName:
    """Return who takes a group over from a node once that is fenced; nothing if nobody waits."""
    spec, holder, heir = knowledge.spec.group(name), group.holder, group.heir
    owned = [right for right in (holder, *group.leaving, *group.unverified)
             if right is not None and right.node == node]
    if spec is None or not owned or not (
            spec.fencing_required or any(knowledge.is_stuck(right, name) for right in owned)):
        return ""
    follows = heir if holder is not None and holder.node == node else holder
    return follows.node if follows is not None and follows.node != node else ""


def want_stuck(wants: Wants, name: GroupName, group: GroupPlan, fencing: Fencing,
               knowledge: Knowledge, now: Instant) -> None:
    """Want cut off whoever says that it cannot get rid of a group that is ours next."""
    for right in (group.holder, *group.leaving):
        word = knowledge.word(right, name) if right is not None else None
        if right is None or word is None or not word.stuck or word.epoch != right.epoch:
            continue
        if group.maintenance is Maintenance.OFF and fencing.devices(right.node) and (
                knowledge.liveness.is_heard(right.node, now)
                and _successor(name, group, right.node, knowledge) == knowledge.node):
            want(wants, right, f"it cannot get rid of {name}: {word.why}",
                 knowledge.timing.detection, knowledge, now)


def want_asked_for(wants: Wants, knowledge: Knowledge, now: Instant) -> None:
    """Want cut off whom operators want cut off: that very life, by the first voter heard."""
    for request, _ in knowledge.requests.values():
        node, seen = request.node, knowledge.seats.get(request.node)
        if request.kind != "fence" or request.state != "open" or node == knowledge.node or (
                seen is None or seen.seat.incarnation > request.incarnation):
            continue
        heard = [voter for voter in knowledge.voters.names if voter != node
                 and (voter == knowledge.node or knowledge.liveness.is_heard(voter, now))]
        if knowledge.node in heard:
            first = heard[0] == knowledge.node
            wants.setdefault(node, Want(seen.seat.life, first, "an operator asked for it"))
