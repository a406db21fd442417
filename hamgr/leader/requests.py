"""What operators asked for, turned into wishes that the planner can follow (rules 12, 22, 23, 24).

A request stays open in ZooKeeper until it is done or refused, so a new leader goes on with it.
"""

from msgspec import Struct, field
from msgspec.structs import replace

from hamgr.core.records import UNPLANNED, GroupPlan, Request
from hamgr.core.types import SECOND, Duration, GroupName, Instant, Maintenance, NodeName
from hamgr.leader.account import why_not
from hamgr.leader.changes import FREEZE, change_times, change_voters, keep_voters
from hamgr.leader.draft import LIVING, Draft
from hamgr.leader.planner import best_heir, seen_active, unfit

PATIENCE: Duration = 30 * SECOND
"""A request that is not done by then is refused, with what it waited for."""


class Wishes(Struct):
    """What the open requests and standby nodes ask of each group."""


    moves: dict[GroupName, NodeName] = field(default_factory=dict)
    """Where a group shall go."""
    waits: dict[str, str] = field(default_factory=dict)
    """For each open request, what it waits for."""
    maintenance: set[GroupName] = field(default_factory=set)
    """Groups that shall be in maintenance."""
    given_up: set[GroupName] = field(default_factory=set)
    """Groups of a request for that which was refused just now."""
    voters: bool = False
    """The voters shall change."""
    frozen: bool = False
    """No heir may stand in any group: voters change."""


def gather(draft: Draft, since: dict[str, Instant]) -> Wishes:
    """Answer what can be answered and return the wishes of the rest.

    `since`: when this leader first saw each request, for its patience.
    """
    wishes = Wishes()
    opened = sorted((since.get(name, draft.now), name, request) for name, (request, _)
                    in draft.knowledge.requests.items() if request.state == "open")
    for at, (seen, _, request) in enumerate(opened, 1):
        handler = _HANDLERS.get(request.kind)
        if any(_replaces(other, request) for _, _, other in opened[at:]):
            _refuse(draft, request, wishes, "a later request takes its place")
        elif handler is None:
            _refuse(draft, request, wishes, f"this version knows no request {request.kind!r}")
        else:
            handler(draft, request, wishes)
            _lose_patience(draft, request, wishes, seen + PATIENCE)
    if not wishes.voters:
        keep_voters(draft)
    _leave_half_way(draft, wishes)
    for name, (_, target) in _drained(draft).items():
        wishes.moves.setdefault(name, target)
    return wishes


def _lose_patience(draft: Draft, request: Request, wishes: Wishes, late: Instant) -> None:
    """Refuse what is not done by then, unless it is under way and will go on."""
    if draft.requests.get(request.id, request).state != "open" or _is_under_way(draft, request):
        return
    if draft.now < late:
        draft.wake_at(late)
        return
    waited = wishes.waits.get(request.id, "the cluster")
    _refuse(draft, request, wishes, f"not done in 30 s, it waited for {waited}")


def _is_under_way(draft: Draft, request: Request) -> bool:
    """Tell whether it cannot be taken back any more, however long a service takes to stop."""
    if request.kind == "voters":
        return bool(draft.plan.voters.former)
    if request.kind == "standby":
        return request.node in draft.plan.standby
    if request.kind == "fence":
        said = (draft.own, *draft.knowledge.liveness.heard(draft.now))
        return any(word.node == request.node and not word.confirmed
                   for one in said for word in one.fences)
    group = draft.plan.groups.get(request.group, UNPLANNED)
    return request.kind == "switchover" and group.holder is not None and (
        group.handover or group.holder.node == request.node) and (
        not seen_active(draft, group.holder, request.group, up=True))


def _refuse(draft: Draft, request: Request, wishes: Wishes, why: str) -> None:
    """Answer no, and wish no more of it: what is refused is not carried out later (rule 12)."""
    draft.answer(request, "refused", why)
    if request.kind == "voters":
        wishes.voters = wishes.frozen = False
    elif request.kind == "switchover":
        wishes.moves.pop(request.group, None)
    elif request.kind == "maintenance-on":
        names = {request.group} if request.group else set(draft.plan.groups)
        wishes.maintenance -= names
        wishes.given_up |= names


def _replaces(later: Request, earlier: Request) -> bool:
    """Tell whether a later request of the same matter makes an earlier one void."""
    if _MATTER.get(later.kind, later.kind) != _MATTER.get(earlier.kind, earlier.kind):
        return False
    if earlier.kind == "switchover":
        return later.group == earlier.group
    if later.kind in ("standby", "resume", "fence", "down"):
        return later.node == earlier.node
    contradicts = later.kind != earlier.kind and not earlier.group
    return later.group in ("", earlier.group) or contradicts


def _switchover(draft: Draft, request: Request, wishes: Wishes) -> None:
    spec = draft.knowledge.spec.group(request.group)
    if spec is None:
        return draft.answer(request, "refused", f"there is no group {request.group!r}")
    if spec.everywhere:
        return draft.answer(request, "refused", f"{spec.name} runs everywhere, and does not move")
    group = draft.plan.groups.get(spec.name, UNPLANNED)
    if group.holder is None:
        return draft.answer(request, "refused", f"{spec.name} has no holder to switch over from")
    if group.maintenance is not Maintenance.OFF and not group.handover:
        return draft.answer(request, "refused", f"{spec.name} is in maintenance")
    target = request.node or (group.heir.node if group.heir is not None else
                              best_heir(draft, spec, group.holder.node, ""))
    if not target:
        return draft.answer(request, "refused", "no other node can take it now")
    if group.holder.node == target:
        if seen_active(draft, group.holder, spec.name, up=True):
            draft.answer(request, "done", f"{target} is active under epoch {group.holder.epoch}")
        wishes.waits[request.id] = f"{target} to become active"
        return None
    why = unfit(draft, spec, target)
    if why and not group.handover:
        return draft.answer(request, "refused", f"{target} cannot take it: {why}")
    if spec.beside or spec.apart:
        account = draft.places.if_moved(spec.name, target)
        if account is not None and account.spot.node != target and not group.handover:
            return draft.answer(request, "refused", why_not(account, target))
    if not request.node:
        draft.requests[request.id] = replace(request, node=target)
    wishes.moves[spec.name] = target
    wishes.waits[request.id] = (
        f"{target} to become heir and to take over" if draft.has_read(group.holder.node)
        else f"{group.holder.node} to read the plan")
    return None


def _standby(draft: Draft, request: Request, wishes: Wishes) -> None:
    if draft.knowledge.spec.node(request.node) is None:
        return draft.answer(request, "refused", f"there is no node {request.node!r}")
    if request.node not in draft.plan.standby:
        draft.plan = replace(draft.plan, standby=(*draft.plan.standby, request.node))
        draft.lines.append(f"{request.node} goes to standby")
        wishes.waits[request.id] = "its groups to move"
        return None
    staying = {name: _tied(draft, name, request.node) for name, group in draft.plan.groups.items()
               if group.holder is not None and group.holder.node == request.node}
    if not all(staying.values()):
        wishes.waits[request.id] = next(f"{name} to move" for name in staying if not staying[name])
        return None
    why = [f"{request.node} is in standby"]
    why += [f"{name} stays there, {tie}" for name, tie in staying.items()]
    why += [f"{name} is not up yet on {group.holder.node}"
            for name, group in draft.plan.groups.items() if group.holder is not None
            and not seen_active(draft, group.holder, name, up=True)]
    return draft.answer(replace(request, staying=tuple(staying)), "done", "; ".join(why))


def _tied(draft: Draft, name: GroupName, node: NodeName) -> str:
    """Say why a group cannot leave a node that is in standby, or nothing if it can."""
    if draft.plan.groups[name].maintenance is not Maintenance.OFF:
        return "it is in maintenance"
    spec = draft.knowledge.spec.group(name)
    bars = {one: unfit(draft, spec, one) for one in spec.nodes} if spec is not None else {}
    told = ", ".join(f"{other}: {bar}" for other, bar in bars.items() if other != node)
    return "" if "" in bars.values() else f"no other node can take it{told and f' ({told})'}"


def _resume(draft: Draft, request: Request, wishes: Wishes) -> None:
    if draft.knowledge.spec.node(request.node) is None:
        return draft.answer(request, "refused", f"there is no node {request.node!r}")
    moves = []
    if request.node in draft.plan.standby:
        standby = tuple(node for node in draft.plan.standby if node != request.node)
        draft.plan = replace(draft.plan, standby=standby)
        draft.lines.append(f"{request.node} is back from standby")
        moves = [f"; {name} moves to {target}, since its owner {owner} is in standby"
                 for name, (owner, target) in _drained(draft).items() if target == request.node
                 and draft.plan.groups[name].maintenance is Maintenance.OFF]
    return draft.answer(request, "done", f"{request.node} may run groups{''.join(moves)}")


def _fence(draft: Draft, request: Request, wishes: Wishes) -> None:
    """Who fences does so by the request alone (hamgr.core.fencers): this answers it."""
    knowledge, node = draft.knowledge, request.node
    if knowledge.spec.node(node) is None:
        return draft.answer(request, "refused", f"there is no node {node!r}")
    if not any(node in device.nodes for device in knowledge.spec.devices):
        return draft.answer(request, "refused", f"no fence device can cut {node} off")
    seen = knowledge.seats.get(node)
    if seen is None:
        return draft.answer(request, "refused", f"{node} has never joined")
    if not request.incarnation:  # only the life that it has now, whoever reads this later
        draft.requests[request.id] = replace(request, incarnation=seen.seat.incarnation)
    elif seen.seat.incarnation > request.incarnation:
        return draft.answer(request, "refused", f"incarnation {request.incarnation} of {node} is "
                                                "over already")
    if knowledge.is_fenced(node, seen.seat.life):
        return draft.answer(request, "done", f"{node} was cut off")
    wishes.waits[request.id] = f"{node} to be cut off"
    return None


def _down(draft: Draft, request: Request, wishes: Wishes) -> None:
    """An operator vouches for a node: refused as long as anybody hears it (rule 13)."""
    knowledge, node = draft.knowledge, request.node
    if knowledge.spec.node(node) is None:
        return draft.answer(request, "refused", f"there is no node {node!r}")
    if draft.says(node) is not None:
        how = "leads" if node == draft.own.sender else f"is heard by {draft.own.sender}"
        return draft.answer(request, "refused", f"{node} is not down: it {how}")
    seat = knowledge.seats.get(node)
    accusers = knowledge.liveness.accusers(node, seat.seat.life, draft.now) if seat else ()
    hear = [voter for voter in knowledge.voters.voting if voter not in (node, *accusers)
            and draft.says(voter) is not None]
    if seat is not None and seat.seat.state in LIVING and hear:
        wishes.waits[request.id] = f"{', '.join(hear)} to hear {node} no more"
        return None
    draft.vouched[node] = None
    rights = [right for group in draft.plan.groups.values()
              if group.maintenance is Maintenance.OFF
              for right in (*group.rights, *group.unverified) if right.node == node]
    if rights:
        wishes.waits[request.id] = f"the rights of {node} to go out"
        return None
    return draft.answer(request, "done", f"{node} is down by an operator's word")


def _drained(draft: Draft) -> dict[GroupName, tuple[NodeName, NodeName]]:
    """Return each group whose owner is in standby, with that owner and who can take it, if any."""
    found = {}
    for name, group in draft.plan.groups.items():
        spec, holder = draft.knowledge.spec.group(name), group.holder
        if spec is not None and holder is not None and holder.node in draft.plan.standby:
            heir = group.heir.node if group.heir is not None else ""
            found[name] = holder.node, heir or best_heir(draft, spec, holder.node, "")
    return found


def _groups_of(draft: Draft, request: Request) -> list[GroupName]:
    names = [group.name for group in draft.knowledge.spec.groups]
    if request.group and request.group not in names:
        draft.answer(request, "refused", f"there is no group {request.group!r}")
        return []
    return [request.group] if request.group else names


def _wait_or_answer(draft: Draft, request: Request, wishes: Wishes, waits: list[str],
                    done: str) -> None:
    """Answer that it is done when it waits for nothing more, unless it was answered already."""
    if waits:
        wishes.waits[request.id] = waits[0]
    elif request.id not in draft.requests:
        draft.answer(request, "done", done)


def _maintenance_on(draft: Draft, request: Request, wishes: Wishes) -> None:
    """Rule 22, entry: first nobody may inherit, then the record, then the holder disarms.

    The record is written only for a holder that is heard to read plans. From `ending` there is no
    way but back: what is in place at a silent owner may still run.
    """
    names = _groups_of(draft, request)
    waits = []
    for name in names:
        wishes.maintenance.add(name)
        group = draft.plan.groups.get(name, UNPLANNED)
        if group.maintenance is Maintenance.OFF:
            changed = replace(group, maintenance=Maintenance.ENTERING)
            group = draft.set_group(name, changed, "enters maintenance")
        reads = group.holder is None or draft.has_read(group.holder.node)
        bare = group.heir is None and not group.leaving and not group.handover
        if group.maintenance is Maintenance.ENDING or (
                group.maintenance is Maintenance.ENTERING and bare and reads):
            changed = replace(group, maintenance=Maintenance.ON)
            group = draft.set_group(name, changed, "is in maintenance")
        if group.maintenance is Maintenance.ENTERING:
            waits.append(f"{name}: {'its owner to read the plan' if bare else 'heir to step back'}")
        elif group.holder is not None and _armed(draft, group, name) is not False:
            waits.append(f"{name}: its owner to disarm")
    _wait_or_answer(draft, request, wishes, waits, f"in maintenance: {', '.join(names)}")


def _armed(draft: Draft, group: GroupPlan, name: GroupName) -> bool | None:
    """Return whether a group's holder says that its switch guards it; None if it is silent."""
    heartbeat = draft.says(group.holder.node) if group.holder is not None else None
    word = heartbeat.word(name) if heartbeat is not None else None
    return word.armed if word is not None else None


def _leave_half_way(draft: Draft, wishes: Wishes) -> None:
    """Rule 22: what nobody asks for any more and has not entered maintenance does not enter."""
    for name, group in draft.plan.groups.items():
        if name in wishes.maintenance:
            continue
        if group.maintenance is Maintenance.ENTERING:
            draft.set_group(name, replace(group, maintenance=Maintenance.OFF),
                            "does not enter maintenance after all")
        elif name in wishes.given_up and group.maintenance is Maintenance.ON and (
                _armed(draft, group, name)):
            draft.set_group(name, replace(group, maintenance=Maintenance.ENDING),
                            "leaves maintenance, its owner has not disarmed")


def _maintenance_off(draft: Draft, request: Request, wishes: Wishes) -> None:
    names = _groups_of(draft, request)
    waits = []
    for name in names:
        group = draft.plan.groups.get(name, UNPLANNED)
        if group.maintenance is Maintenance.ON:
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
    _wait_or_answer(draft, request, wishes, waits, f"out of maintenance: {', '.join(names)}")


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
        word = heartbeat.word(name) if heartbeat is not None else None
        if heartbeat is None or word is None or seen is None or heartbeat.lapsed:
            continue
        # One that has not read `ending` may yet disarm for the `on` before it.
        if not draft.has_read(holder.node):
            continue
        if word.armed and word.epoch == holder.epoch and seen.seat.life == heartbeat.life:
            draft.check_seat(holder.node)
            same = replace(holder, incarnation=heartbeat.incarnation, round=heartbeat.round)
            draft.set_group(name, replace(group, maintenance=Maintenance.OFF, holder=same),
                            f"out of maintenance, {holder.node} guards it")


def _clear(draft: Draft, request: Request, wishes: Wishes) -> None:
    """Each node does it by itself as it reads the request, and says so by being fit again."""
    if request.node and draft.knowledge.spec.node(request.node) is None:
        return draft.answer(request, "refused", f"there is no node {request.node!r}")
    names, waits = _groups_of(draft, request), []
    for node in draft.knowledge.spec.nodes:
        heartbeat = draft.says(node.name) if request.node in ("", node.name) else None
        words = [heartbeat.word(name) for name in names] if heartbeat is not None else []
        if any(word is not None and word.failed for word in words):
            waits.append(f"{node.name} to forget its failures")
    return _wait_or_answer(draft, request, wishes, waits, f"forgotten: {', '.join(names)}")


def _change(draft: Draft, request: Request, wishes: Wishes) -> None:
    change = change_voters if request.kind == "voters" else change_times
    state, why = change(draft, request)
    if state in ("done", "refused"):
        return draft.answer(request, state, why)
    if request.kind == "voters":
        wishes.voters, wishes.frozen = True, state == FREEZE
    wishes.waits[request.id] = why
    return None


_HANDLERS = {"switchover": _switchover, "standby": _standby, "resume": _resume,
             "maintenance-on": _maintenance_on, "maintenance-off": _maintenance_off,
             "clear": _clear, "voters": _change, "times": _change, "fence": _fence, "down": _down}
_MATTER = {"standby": "drain", "resume": "drain", "maintenance-on": "maintenance",
           "maintenance-off": "maintenance"}
