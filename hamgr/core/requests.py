"""What operators asked for, turned into wishes that the planner can follow (rules 12, 22, 23, 24).

A request stays open in ZooKeeper until it is done or refused, so a new leader goes on with it.
"""

from msgspec import Struct, field
from msgspec.structs import replace

from hamgr.core.changes import change_times, change_voters
from hamgr.core.placement import unfitness
from hamgr.core.planner import Draft, best_heir, seen_active
from hamgr.core.records import GroupPlan, Request
from hamgr.core.types import SECOND, Duration, GroupName, Instant, Maintenance, NodeName

PATIENCE: Duration = 30 * SECOND
"""A request that is not done by then is refused, with what it waited for."""


class Wishes(Struct):
    """What the open requests and standby nodes ask of each group."""

    moves: dict[GroupName, NodeName] = field(default_factory=dict)
    """Where a group shall go."""
    waits: dict[str, str] = field(default_factory=dict)
    """For each open request, what it waits for."""
    frozen: bool = False
    """No heir may stand in any group: voters change."""


def gather(draft: Draft, since: dict[str, Instant]) -> Wishes:
    """Answer what can be answered and return the wishes of the rest.

    `since`: when this leader first saw each request, for its patience.
    """
    wishes = Wishes()
    names = [name for name, (request, _) in draft.knowledge.requests.items()
             if request.state == "open"]
    names.sort(key=lambda name: (since.get(name, draft.now), name))
    for name in names:
        request, _ = draft.knowledge.requests[name]
        later = [draft.knowledge.requests[other][0] for other in names[names.index(name) + 1:]]
        if any(_replaces(other, request) for other in later):
            draft.answer(request, "refused", "a later request takes its place")
            continue
        handler = _HANDLERS.get(request.kind)
        if handler is None:
            draft.answer(request, "refused", f"this version knows no request {request.kind!r}")
            continue
        handler(draft, request, wishes)
        late = since.get(name, draft.now) + PATIENCE
        if name not in draft.requests or draft.requests[name].state == "open":
            if draft.now >= late:
                waited = wishes.waits.get(name, "the cluster")
                draft.answer(request, "refused", f"not done in 30 s, it waited for {waited}")
                wishes.moves.pop(request.group, None)
            draft.wake_at(late)
    _drain(draft, wishes)
    return wishes


def _replaces(later: Request, earlier: Request) -> bool:
    """Tell whether a later request of the same matter makes an earlier one void."""
    if _MATTER.get(later.kind, later.kind) != _MATTER.get(earlier.kind, earlier.kind):
        return False
    if earlier.kind == "switchover":
        return later.group == earlier.group
    if later.kind in ("standby", "resume"):
        return later.node == earlier.node
    return later.group in ("", earlier.group)


def _switchover(draft: Draft, request: Request, wishes: Wishes) -> None:
    spec = draft.knowledge.spec.group(request.group)
    if spec is None:
        return draft.answer(request, "refused", f"there is no group {request.group!r}")
    group = draft.plan.groups.get(spec.name, GroupPlan())
    if group.holder is None:
        return draft.answer(request, "refused", f"{spec.name} has no holder to switch over from")
    if group.maintenance is not Maintenance.OFF:
        return draft.answer(request, "refused", f"{spec.name} is in maintenance")
    target = request.node or (group.heir.node if group.heir is not None else
                              best_heir(draft, spec, group.holder.node, ""))
    if not target:
        return draft.answer(request, "refused", "no other node can take it now")
    if group.holder.node == target:
        if seen_active(draft, group.holder, spec.name):
            draft.answer(request, "done", f"{target} is active under epoch {group.holder.epoch}")
        wishes.waits[request.id] = f"{target} to become active"
        return None
    unfit = unfitness(target, spec, draft.knowledge, draft.says, draft.now)
    if unfit and not group.handover:
        return draft.answer(request, "refused", f"{target} cannot take it: {unfit}")
    if not request.node:
        draft.requests[request.id] = replace(request, node=target)
    wishes.moves[spec.name] = target
    wishes.waits[request.id] = f"{target} to become heir and to take over"
    return None


def _standby(draft: Draft, request: Request, wishes: Wishes) -> None:
    if request.node not in [node.name for node in draft.knowledge.spec.nodes]:
        return draft.answer(request, "refused", f"there is no node {request.node!r}")
    if request.node not in draft.plan.standby:
        standby = (*draft.plan.standby, request.node)
        draft.plan = replace(draft.plan, standby=standby)
        draft.lines.append(f"{request.node} goes to standby")
        wishes.waits[request.id] = "its groups to move"
        return None
    staying = []
    for name, group in draft.plan.groups.items():
        if group.holder is None or group.holder.node != request.node:
            continue
        if group.maintenance is not Maintenance.OFF or not _elsewhere(draft, name, request.node):
            staying.append(name)
        else:
            wishes.waits[request.id] = f"{name} to move"
            return None
    why = f"{request.node} is in standby"
    if staying:
        why += f"; {', '.join(staying)} stays there, no other node can take it"
    return draft.answer(request, "done", why)


def _elsewhere(draft: Draft, name: GroupName, node: NodeName) -> bool:
    spec = draft.knowledge.spec.group(name)
    return spec is not None and any(
        other != node and not unfitness(other, spec, draft.knowledge, draft.says, draft.now)
        for other in spec.nodes)


def _resume(draft: Draft, request: Request, wishes: Wishes) -> None:
    if request.node not in [node.name for node in draft.knowledge.spec.nodes]:
        return draft.answer(request, "refused", f"there is no node {request.node!r}")
    if request.node in draft.plan.standby:
        standby = tuple(node for node in draft.plan.standby if node != request.node)
        draft.plan = replace(draft.plan, standby=standby)
        draft.lines.append(f"{request.node} is back from standby")
    return draft.answer(request, "done", f"{request.node} may run groups")


def _drain(draft: Draft, wishes: Wishes) -> None:
    """Move groups off nodes in standby, wherever another node can take them."""
    for name, group in draft.plan.groups.items():
        spec = draft.knowledge.spec.group(name)
        if spec is None or group.holder is None or name in wishes.moves:
            continue
        if group.holder.node in draft.plan.standby:
            heir = group.heir.node if group.heir is not None else ""
            wishes.moves[name] = heir or best_heir(draft, spec, group.holder.node, "")


def _groups_of(draft: Draft, request: Request) -> list[GroupName] | None:
    names = [group.name for group in draft.knowledge.spec.groups]
    if request.group and request.group not in names:
        draft.answer(request, "refused", f"there is no group {request.group!r}")
        return None
    return [request.group] if request.group else names


def _maintenance_on(draft: Draft, request: Request, wishes: Wishes) -> None:
    """Rule 22, entry: first nobody may inherit, then the record, then the holder disarms."""
    names = _groups_of(draft, request)
    waits = []
    for name in names or ():
        group = draft.plan.groups.get(name, GroupPlan())
        if group.maintenance in (Maintenance.OFF, Maintenance.ENDING):
            changed = replace(group, maintenance=Maintenance.ENTERING)
            group = draft.set_group(name, changed, "enters maintenance")
        if group.maintenance is Maintenance.ENTERING:
            if group.heir is None and not group.leaving and not group.handover:
                changed = replace(group, maintenance=Maintenance.ON)
                group = draft.set_group(name, changed, "is in maintenance")
            waits.append(f"{name}: heir to step back")
        elif not _disarmed(draft, group, name):
            waits.append(f"{name}: its owner to disarm")
    if names is None:
        return
    if waits:
        wishes.waits[request.id] = waits[0]
    else:
        draft.answer(request, "done", f"in maintenance: {', '.join(names)}")


def _disarmed(draft: Draft, group: GroupPlan, name: GroupName) -> bool:
    if group.holder is None:
        return True
    heartbeat = draft.says(group.holder.node)
    word = next((one for one in heartbeat.groups if one.group == name), None) if (
        heartbeat is not None) else None
    return word is not None and not word.armed


def _maintenance_off(draft: Draft, request: Request, wishes: Wishes) -> None:
    names = _groups_of(draft, request)
    waits = []
    for name in names or ():
        group = draft.plan.groups.get(name, GroupPlan())
        if group.maintenance is Maintenance.ENTERING:
            changed = replace(group, maintenance=Maintenance.OFF)
            draft.set_group(name, changed, "does not enter maintenance after all")
        elif group.maintenance is Maintenance.ON:
            group = draft.set_group(name, replace(group, maintenance=Maintenance.ENDING),
                                    "leaves maintenance")
            waits.append(f"{name}: its owner to take it back")
        elif group.maintenance is Maintenance.ENDING:
            if request.confirmed and group.holder is not None and (
                    draft.says(group.holder.node) is None):
                changed = replace(group, maintenance=Maintenance.OFF, holder=None)
                draft.set_group(name, changed, f"{group.holder.node} is down by an operator's word")
            else:
                waits.append(f"{name}: its owner to take it back")
    if names is None:
        return
    if waits:
        wishes.waits[request.id] = waits[0]
    else:
        draft.answer(request, "done", f"out of maintenance: {', '.join(names)}")


def end_maintenance(draft: Draft) -> None:
    """Rule 22, exit: the owner guards it again and says so, or says that nothing was there."""
    for name, group in draft.plan.groups.items():
        if group.maintenance is not Maintenance.ENDING:
            continue
        holder = group.holder
        if holder is None or draft.is_out(holder, name, group.maintenance):
            draft.set_group(name, replace(group, maintenance=Maintenance.OFF, holder=None),
                            "out of maintenance, nothing was in place")
            continue
        heartbeat, seen = draft.says(holder.node), draft.knowledge.seats.get(holder.node)
        word = next((one for one in heartbeat.groups if one.group == name), None) if (
            heartbeat is not None) else None
        if heartbeat is None or word is None or seen is None or heartbeat.lapsed:
            continue
        if word.armed and word.epoch == holder.epoch and seen.seat.life == heartbeat.life:
            draft.check_seat(holder.node)
            same = replace(holder, incarnation=heartbeat.incarnation, round=heartbeat.round)
            draft.set_group(name, replace(group, maintenance=Maintenance.OFF, holder=same),
                            f"out of maintenance, {holder.node} guards it")


def _voters(draft: Draft, request: Request, wishes: Wishes) -> None:
    wishes.frozen = True
    state, why = change_voters(draft, request)
    if state:
        draft.answer(request, state, why)
    else:
        wishes.waits[request.id] = why


def _times(draft: Draft, request: Request, wishes: Wishes) -> None:
    state, why = change_times(draft, request)
    if state:
        draft.answer(request, state, why)
    else:
        wishes.waits[request.id] = why


_HANDLERS = {
    "switchover": _switchover,
    "standby": _standby,
    "resume": _resume,
    "maintenance-on": _maintenance_on,
    "maintenance-off": _maintenance_off,
    "voters": _voters,
    "times": _times,
}
_MATTER = {"standby": "drain", "resume": "drain", "maintenance-on": "maintenance",
           "maintenance-off": "maintenance"}
