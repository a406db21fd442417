"""Changes of the protocol's own ground while it carries weight: rounds, voters, times (19, 23, 24).

Each function takes one step at a time and reads from the plan how far the change has come, so that
a new leader can go on with it.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from hamgr.core.electorate import Electorate
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.parts import VOTERS_MAX
from hamgr.core.records import GroupPlan, Request, Voters
from hamgr.core.timing import timing_faults
from hamgr.core.types import Life, NodeName, SeatState
from hamgr.leader.draft import LIVING, Draft

Answer = tuple[str, str]
"""("done" | "refused" | "" for not yet | FREEZE, what was done or what it waits for)."""
FREEZE = "freeze"
"""Not yet, and no heir may stand meanwhile."""


def to_be_renewed(draft: Draft) -> list[NodeName]:
    """Return the active nodes that shall claim in their rounds, one after the other (19, 21)."""
    return [draft.plan.renew] if draft.plan.renew else [
        owner.sender for owner in _owners(draft)
        if owner.scars or any(one.leaving for one in _needed(draft, owner))]


def needed_and_scarred(draft: Draft) -> NodeName:
    """Return an inactive scarred voter that an owner cannot do without, or nothing (rule 19).

    It may not end its own round (see `scars`), and is carried into a new one as an owner is.
    """
    return next((one.sender for owner in _owners(draft) for one in _needed(draft, owner)
                 if one.scars and one.sound and not any(word.epoch for word in one.groups)), "")


def _owners(draft: Draft) -> Iterator[Heartbeat]:
    """Yield what the holders in their present rounds say of themselves."""
    for node, life in dict.fromkeys((group.holder.node, group.holder.life)
                                    for group in draft.plan.groups.values()
                                    if group.holder and group.maintenance.value == "off"):
        heartbeat, seen = draft.says(node), draft.knowledge.seats.get(node)
        if heartbeat is None or seen is None or seen.seat.life != life:
            continue
        if heartbeat.life == life and heartbeat.sound and not heartbeat.lapsed:
            yield heartbeat


def _needed(draft: Draft, owner: Heartbeat) -> Iterator[Heartbeat]:
    """Yield what those say without whose credits an owner would have no majority."""
    backers = {owner.sender, *owner.credits} if owner.seat != "claimed" else set()
    for name in owner.credits if backers else ():
        said = draft.says(name)
        if said is not None and not draft.knowledge.electorate.is_majority(backers - {name}):
            yield said


def renew_round(draft: Draft, node: NodeName) -> None:
    """Carry a node into a new round, with no heir standing in its groups meanwhile (rule 19).

    The planner withdraws the heirs of its groups; then the node may claim in its present round;
    then seat and rights move on together, in one transaction.
    """
    seen, heartbeat = draft.knowledge.seats.get(node), draft.says(node)
    owned = {name: group for name, group in draft.plan.groups.items()
             if any(right.node == node for right in group.rights)}
    if seen is None or seen.seat.state not in LIVING or node in draft.seats or (
            heartbeat is None or heartbeat.lapsed or not heartbeat.sound):
        if draft.plan.renew:
            draft.lines.append(f"{draft.plan.renew} needs no new round any more")
            draft.plan = replace(draft.plan, renew="")
        return
    if any(group.heir is not None or group.leaving for group in owned.values()):
        return
    if seen.seat.state is SeatState.MEMBER:
        if draft.plan.renew != node:
            draft.plan = replace(draft.plan, renew=node)
            draft.lines.append(f"{node} may claim in its round, to be given a new one")
        return
    _carry_over(draft, node, owned)


def _carry_over(draft: Draft, node: NodeName, owned: dict[str, GroupPlan]) -> None:
    seen = draft.knowledge.seats[node]
    old = seen.seat.life
    new = Life(old.incarnation, old.round + 1)
    by = draft.knowledge.node
    seat = replace(seen.seat, round=new.round, by=by, why="accused, but heard: a new round")
    draft.seats[node] = (seat, seen.version)
    if not owned:
        draft.lines.append(f"{node} goes on in round {new.round}")
    for name, group in owned.items():
        holder = group.holder
        if holder is not None and (holder.node, holder.life) == (node, old):
            holder = replace(holder, round=new.round)
        draft.set_group(name, replace(group, holder=holder), f"{node} goes on in round {new.round}")
    draft.plan = replace(draft.plan, renew="")


def change_voters(draft: Draft, request: Request) -> Answer:
    """Take the next step to another set of voters (rule 23).

    First its voters credit without counting, until nobody's lease would run out with the change;
    then, with no heir standing and nothing leaving, they count.
    """
    voters, coming = draft.plan.voters, request.voters
    if voters.former:
        return "", "every node to read the new voters"
    if set(coming) == set(voters.names):
        return "done", f"the voters are {', '.join(voters.names)}"
    fault = _voters_fault(draft, coming)
    if fault:
        return "refused", fault
    if voters.coming != coming:
        draft.plan = replace(draft.plan, voters=replace(voters, number=voters.number + 1,
                                                        coming=coming))
        draft.lines.append(f"{', '.join(coming)} shall be the voters, and credit from now on")
        return "", "every node to read the coming voters"
    if not all_have_read(draft, voters=voters.number):
        return "", "every node to read the coming voters"
    weak = _would_lapse(draft, Electorate(coming))
    if weak:
        return "", f"{weak} to be credited by most of {', '.join(coming)}"
    for name, group in draft.plan.groups.items():
        if group.heir is not None or group.leaving:
            return FREEZE, f"{name} to have no heir"
    draft.plan = replace(draft.plan, voters=Voters(number=voters.number + 1, names=coming,
                                                   former=voters.names))
    draft.lines.append(f"voters become {', '.join(coming)}")
    return "", "every node to read the new voters"


def _voters_fault(draft: Draft, coming: tuple[NodeName, ...]) -> str:
    names = draft.plan.voters.names
    if len(set(coming)) < len(coming):
        return "a voter is named twice"
    if len({*coming, *names}) > VOTERS_MAX:
        return f"more than {VOTERS_MAX} voters, old and new: change fewer at once"
    unknown = [name for name in coming if draft.knowledge.spec.node(name) is None]
    if unknown or not coming:
        return f"there is no node {', '.join(unknown) or 'named'}"
    for name, group in draft.plan.groups.items():
        if group.holder is not None and group.holder.node in {*names} - {*coming}:
            return f"{group.holder.node} has a right in {name}; put it in standby first"
    return ""


def _would_lapse(draft: Draft, electorate: Electorate) -> NodeName:
    """Return a living node whose credits would be no lease with these voters, or nothing."""
    for node in _living(draft):
        heartbeat = draft.says(node)
        if heartbeat is not None and (
                heartbeat.seat != "claimed"
                and not electorate.is_majority({node, *heartbeat.credits})):
            return node
    return ""


def keep_voters(draft: Draft) -> None:
    """Nobody asks for the coming voters any more: they leave no trace."""
    voters = draft.plan.voters
    if voters.coming:
        draft.plan = replace(draft.plan, voters=replace(voters, number=voters.number + 1,
                                                        coming=()))
        draft.lines.append(f"the voters stay {', '.join(voters.names)}")


def note_fenced(draft: Draft) -> None:
    """Record whom fencing has ended; who shall start clean waits for an operator."""
    plan, knowledge = draft.plan, draft.knowledge
    for node, life in knowledge.fenced.items():
        spec, seen = knowledge.spec.node(node), knowledge.seats.get(node)
        if spec is None or plan.fenced.get(node, 0) >= life.incarnation or (
                seen is not None and seen.seat.life > life):
            continue
        waits = spec.start_clean and node not in plan.standby
        draft.plan = plan = replace(
            plan, fenced={**plan.fenced, node: life.incarnation},
            standby=(*plan.standby, node) if waits else plan.standby)
        draft.lines.append(f"{node} was fenced" + (
            f", and waits for `hamgr resume {node}`" if waits else ""))


def finish_voters(draft: Draft) -> None:
    """Forget the former voters once every holder and member has read the new ones (rule 23)."""
    voters = draft.plan.voters
    if voters.former and all_have_read(draft, voters=voters.number):
        draft.plan = replace(draft.plan, voters=replace(voters, former=()))
        draft.lines.append(f"voters are {', '.join(voters.names)}")


def change_times(draft: Draft, request: Request) -> Answer:
    """Take the next step from the present times to those asked for (rule 24).

    Growing: detection first, read by all, then lease. Shrinking: lease first, read by all and one
    old lease past, then detection. Detection is longer than any lease it was set beside, so it
    bounds the old lease.
    """
    target, times = request.times, draft.plan.times
    if target is None:
        return "refused", "no times given"
    faults = [sentence for _, sentence in timing_faults(target)]
    if target.claim != times.claim:
        faults.append("claim cannot be changed while the cluster runs")
    if faults:
        return "refused", "; ".join(faults)
    if times == target:
        return "done", f"lease {times.lease} ns, detection {times.detection} ns"
    if not all_have_read(draft, revision=draft.knowledge.revision):
        return "", "every node to read the times"
    if times.detection < target.detection:
        step = replace(times, detection=target.detection)
    elif (times.lease, times.interval) != (target.lease, target.interval):
        step = replace(times, lease=target.lease, interval=target.interval)
    else:
        due = draft.acked_at + times.detection
        if draft.now < due:
            draft.wake_at(due)
            return "", "the old lease to pass"
        step = target
    draft.plan = replace(draft.plan, times=step)
    draft.lines.append("times change")
    return "", "every node to read the times"


def all_have_read(draft: Draft, revision: int = 0, voters: int = 0) -> bool:
    """Tell whether every node with a living seat is heard to have read so much."""
    for node in _living(draft):
        heartbeat = draft.says(node)
        if heartbeat is None or heartbeat.revision < revision or heartbeat.voters < voters:
            return False
    return True


def _living(draft: Draft) -> list[NodeName]:
    """Return the nodes with a living seat; one that was taken out of the file has no say."""
    peers = draft.knowledge.liveness.peers
    return [node for node, seen in draft.knowledge.seats.items()
            if seen.seat.state in LIVING and (node in peers or node == draft.own.sender)]
