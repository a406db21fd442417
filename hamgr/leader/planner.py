"""The next plan: a function of what the leader knows (rules 12, 16 to 19, 22).

Each step is one change that is safe by itself; the leader writes it, sees what becomes of it, and
asks again. A draft carries what its transaction must check beside the leader record and the plan.
"""

from msgspec.structs import replace

from hamgr.core.records import UNPLANNED, GroupPlan, Right
from hamgr.core.spec import GroupSpec
from hamgr.core.types import GroupName, Maintenance, NodeName, SeatState
from hamgr.leader.draft import Draft
from hamgr.leader.placement import heir_weakness, is_last_resort, node_unfitness, unfitness

SETTLING_INTERVALS = 20
"""A group that never ran waits so long for what its file prefers, and for that file to be read."""


def planned_groups(draft: Draft) -> list[GroupSpec]:
    """Return every group that needs a right, and a stand-in for each that only the plan has.

    Nobody can be given such a one: its rights go out like all others, and its epochs and doubts
    are remembered in case it comes back.
    """
    specs = [spec for spec in draft.knowledge.spec.groups if not spec.everywhere]
    names = {spec.name for spec in specs}
    return [*specs, *(GroupSpec(name=name, nodes=(), fencing_required=True)
                      for name in draft.plan.groups if name not in names)]


def plan_group(draft: Draft, spec: GroupSpec, wanted: NodeName, frozen: bool) -> None:
    """Bring one group a step further.

    `wanted`: where the group shall move, or nothing. `frozen`: no heir may stand (rules 19, 22,
    23).
    """
    group = draft.plan.groups.get(spec.name, UNPLANNED)
    if group.maintenance in (Maintenance.ON, Maintenance.ENDING):
        return
    group = _record_active(draft, spec, group)
    holder = group.holder
    if group.unverified and holder is not None and seen_active(draft, holder, spec.name):
        group = draft.set_group(spec.name, replace(group, unverified=()),
                                f"{holder.node} has waited for its predecessors")
    group = _take_word(draft, spec, _note_stuck(draft, spec, group))
    group = _drop_out(draft, spec, group)
    if group.holder is None:
        group = _name_holder(draft, spec, group)
    if group.holder is not None:
        _care_for_heir(draft, spec, group, wanted, frozen)


def _note_stuck(draft: Draft, spec: GroupSpec, group: GroupPlan) -> GroupPlan:
    """Remember who cannot get rid of the group, for those who never heard it say so (rule 13)."""
    stuck = []
    for right in (*group.rights, *group.unverified):
        said = draft.says(right.node)
        word = said.word(spec.name) if said is not None and (
            said.incarnation == right.incarnation) else None
        if word.stuck and word.epoch == right.epoch if word is not None else (
                right.epoch in group.stuck):
            stuck.append(right.epoch)
    if tuple(stuck) == group.stuck:
        return group
    draft.plan.groups[spec.name] = group = replace(group, stuck=tuple(stuck))
    named = ", ".join(right.node for right in group.rights if right.epoch in stuck)
    return draft.set_group(spec.name, group, f"{named} cannot get rid of it") if named else group


def _take_word(draft: Draft, spec: GroupSpec, group: GroupPlan) -> GroupPlan:
    """Wait no longer for nodes that are down by an operator's word."""
    gone = [right for right in group.unverified if right.node in draft.vouched]
    if not gone:
        return group
    rest = tuple(right for right in group.unverified if right not in gone)
    return draft.set_group(spec.name, replace(group, unverified=rest),
                           f"{gone[0].node} is down by an operator's word")


def _record_active(draft: Draft, spec: GroupSpec, group: GroupPlan) -> GroupPlan:
    """Rule 18: an heir, or a leaving right above the holder, that is seen active is the holder."""
    above = group.holder.epoch if group.holder is not None else 0
    for right in (group.heir, *group.leaving):
        if right is None or right.epoch <= above or not seen_active(draft, right, spec.name):
            continue
        others = tuple(one for one in group.rights if one != right)
        changed = replace(group, holder=right, heir=None, handover=False, leaving=others,
                          unverified=())
        group = draft.set_group(spec.name, changed, f"{right.node} is active under epoch "
                                                    f"{right.epoch}")
        above = right.epoch
    return group


def seen_active(draft: Draft, right: Right, group: GroupName, *, up: bool = False) -> bool:
    """Tell whether a right's own incarnation says that it is active under it; `up`: wholly."""
    own = draft.own
    mine = (right.node, right.incarnation) == (own.sender, own.incarnation)
    word = own.word(group) if mine else draft.knowledge.word(right, group)
    return word is not None and word.epoch == right.epoch and (word.up or not up)


def _waits(draft: Draft, right: Right, group: str) -> bool:
    """Tell whether a right's node says that another group keeps it from starting there."""
    said = draft.says(right.node)
    word = said.word(group) if said is not None and said.incarnation == right.incarnation else None
    return word is not None and word.waits


def _drop_out(draft: Draft, spec: GroupSpec, group: GroupPlan) -> GroupPlan:
    """Take out of the plan what is out, and let the heir inherit (rules 17, 18)."""
    leaving = tuple(one for one in group.leaving
                    if not draft.is_out(one, spec.name, group.maintenance))
    if leaving != group.leaving:
        gone = [one for one in group.leaving if one not in leaving]
        changed = replace(_doubt(draft, spec, group, gone), leaving=leaving)
        group = draft.set_group(spec.name, changed, f"{', '.join(one.node for one in gone)} is out")
    if group.heir is not None and draft.is_out(group.heir, spec.name, group.maintenance):
        changed = replace(_doubt(draft, spec, group, [group.heir]), heir=None, handover=False)
        group = draft.set_group(spec.name, changed, f"heir {group.heir.node} is out")
    holder, heir = group.holder, group.heir
    if holder is None or not draft.is_out(holder, spec.name, group.maintenance):
        return group
    if heir is None and group.leaving:
        return group
    changed = replace(_doubt(draft, spec, group, [holder]), holder=heir, heir=None, handover=False)
    inherits = f", {heir.node} inherits" if heir is not None else ""
    return draft.set_group(spec.name, changed, f"{holder.node} is out{inherits}")


def _doubt(draft: Draft, spec: GroupSpec, group: GroupPlan, gone: list[Right]) -> GroupPlan:
    """Remember who went out without a word, where that does not mean stopped (rules 13, 14)."""
    knowledge = draft.knowledge
    silent = tuple(
        one for one in gone if not draft.is_done(one, spec.name)
        and (spec.stop_within or spec.fencing_required or one.epoch in group.stuck)
        and not knowledge.stopped_by_seat(one) and one.node not in draft.vouched
        and not knowledge.is_fenced(one.node, one.life))
    return replace(group, unverified=(*group.unverified, *silent))


def _name_holder(draft: Draft, spec: GroupSpec, group: GroupPlan) -> GroupPlan:
    """Give the group to the best node that can have it; every other right is out (rule 18)."""
    if group.heir is not None or group.leaving:
        return group
    spot = draft.places.spot(spec.name)
    bars = {node: unfit(draft, spec, node) for node in (*spot.nodes, *spot.heirs)
            if _reads(draft, node) and not _foe_is_there(draft, spec, node)}
    fit = ([node for node, bar in bars.items() if not bar]
           or [node for node in bars if _is_last_resort(draft, spec, node)])
    if not fit or draft.declare_dead(fit[0]):  # by this very transaction: another one's turn
        return group
    said = draft.says(fit[0])
    knows_it = said is not None and said.config == draft.own.config
    if group.top_epoch == 0 and not (knows_it and fit[0] == spec.nodes[0]):
        since = max(draft.led_since, draft.knowledge.configured_at)
        settled = since + SETTLING_INTERVALS * draft.knowledge.timing.interval
        if draft.now < settled:
            draft.wake_at(settled)
            return group
    right = _new_right(draft, fit[0], group)
    draft.check_seat(right.node)
    changed = replace(group, holder=right, top_epoch=right.epoch, handover=False)
    return draft.set_group(spec.name, changed, f"{right.node} is holder, epoch {right.epoch}")


def _is_last_resort(draft: Draft, spec: GroupSpec, node: NodeName) -> bool:
    said = draft.says(node)
    barred = node in draft.seats or node_unfitness(node, draft.knowledge, draft.says,
                                                   draft.plan.standby)
    return not barred and said is not None and is_last_resort(said.word(spec.name))


def unfit(draft: Draft, spec: GroupSpec, node: NodeName) -> str:
    """Say why a node cannot be given a group by this draft, or nothing if it can."""
    if node in draft.seats:
        return "declared dead"
    return unfitness(node, spec, draft.knowledge, draft.says, draft.plan.standby)


def _reads(draft: Draft, node: NodeName) -> bool:
    """Tell whether a node would read that it was given something (rule 18)."""
    said = draft.says(node)
    return said is not None and said.sound


def _foe_is_there(draft: Draft, spec: GroupSpec, node: NodeName) -> bool:
    """Tell whether a group that must be apart may still run on a node that it shall leave."""
    return any(right.node == node for foe in draft.knowledge.spec.foes.get(spec.name, ())
               for group in [draft.plan.groups.get(foe, UNPLANNED)]
               for right in (group.holder, *group.leaving) if right is not None)


def _new_right(draft: Draft, node: NodeName, group: GroupPlan) -> Right:
    life = draft.knowledge.seats[node].seat.life
    return Right(node=node, incarnation=life.incarnation, round=life.round,
                 epoch=group.top_epoch + 1)


def _care_for_heir(draft: Draft, spec: GroupSpec, group: GroupPlan, wanted: NodeName,
                   frozen: bool) -> None:
    holder, heir = group.holder, group.heir
    assert holder is not None
    # A thousand groups need no thousand answers.
    asked = wanted or (heir is None and _may_have_heir(draft, group))
    best = best_heir(draft, spec, holder.node, wanted) if asked and not frozen else ""
    if heir is None:
        if best and _may_have_heir(draft, group) and not draft.declare_dead(best):
            _name_heir(draft, spec, group, best)
        return
    if group.handover and wanted:
        return
    if group.handover and draft.places.spot(spec.name).nodes:
        group = draft.set_group(spec.name, replace(group, handover=False),
                                f"{holder.node} need not hand over any more")
    bars = unfit(draft, spec, heir.node) or _tied_elsewhere(draft, spec, heir.node)
    if frozen or bars or (wanted and best and best != heir.node):
        why = bars or (f"{best} shall be heir" if not frozen else "no heir may stand now")
        withdraw_heir(draft, spec, why)
    elif wanted == heir.node and _ready_to_take(draft, heir) and draft.has_read(holder.node) and (
            seen_active(draft, holder, spec.name) or _waits(draft, holder, spec.name)):
        draft.set_group(spec.name, replace(group, handover=True),
                        f"{holder.node} hands over to {heir.node}")


def withdraw_heir(draft: Draft, spec: GroupSpec, why: str) -> None:
    """Take an heir's right back: it is leaving until its node says that it will not use it."""
    group = draft.plan.groups[spec.name]
    heir = group.heir
    assert heir is not None
    draft.set_group(spec.name, replace(group, heir=None, leaving=(*group.leaving, heir)),
                    f"heir {heir.node} is withdrawn: {why}")


def _tied_elsewhere(draft: Draft, spec: GroupSpec, heir: NodeName) -> str:
    """Say why an heir must not take over, by where other groups are, or nothing."""
    if not spec.beside and not spec.apart:
        return ""
    spot = draft.places.spot(spec.name)
    able = heir in spot.nodes or heir in spot.heirs
    return "" if able else "other groups keep it from there"


def best_heir(draft: Draft, spec: GroupSpec, holder: NodeName, wanted: NodeName) -> str:
    """Return the best heir: the wanted node if it can be, else by strength, then by place."""
    fit = [node for node in draft.places.ranked(spec, holder) if not unfit(draft, spec, node)
           and _reads(draft, node) and not _foe_is_there(draft, spec, node)]
    if wanted:
        return wanted if wanted in fit and _weakness(draft, wanted, holder) != "still on a claim" \
            else ""
    strong = [node for node in fit if not _weakness(draft, node, holder)]
    return strong[0] if strong else ""


def _weakness(draft: Draft, node: NodeName, holder: NodeName) -> str:
    return heir_weakness(node, holder, draft.knowledge, draft.says, draft.now)


def _may_have_heir(draft: Draft, group: GroupPlan) -> bool:
    """Tell whether nothing is leaving, and the holder is a `member` in its round (rule 18)."""
    holder = group.holder
    held = draft.knowledge.seats.get(holder.node) if holder is not None else None
    return (not group.leaving and holder is not None and held is not None
            and held.seat.life == holder.life and held.seat.state is SeatState.MEMBER)


def _name_heir(draft: Draft, spec: GroupSpec, group: GroupPlan, node: NodeName) -> None:
    """Rule 18: holder and heir are both `member` in the rounds named, by the transaction too."""
    holder = group.holder
    assert holder is not None and not group.leaving
    if draft.knowledge.seats[node].seat.state is not SeatState.MEMBER or holder.node in draft.seats:
        return
    right = _new_right(draft, node, group)
    draft.check_seat(holder.node)
    draft.check_seat(node)
    draft.set_group(spec.name, replace(group, heir=right, top_epoch=right.epoch),
                    f"{node} is heir, epoch {right.epoch}")


def _ready_to_take(draft: Draft, heir: Right) -> bool:
    """Tell whether the heir knows that it is heir, and would be able to act on the release."""
    heartbeat = draft.says(heir.node)
    return (heartbeat is not None and draft.has_read(heir.node)
            and heartbeat.life == heir.life and not heartbeat.lapsed)


def declare_blocked_seats(draft: Draft) -> None:
    """Write blocked nodes `dead` that hold no right too, so that they count as gone (rule 17)."""
    maintained = [group.holder.node for group in draft.plan.groups.values()
                  if group.maintenance is not Maintenance.OFF and group.holder is not None]
    for node in draft.knowledge.spec.nodes:
        if node.name not in maintained and node.name != draft.own.sender:
            draft.declare_dead(node.name)
