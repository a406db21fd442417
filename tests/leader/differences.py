"""Where hamgr's answer is meant to differ from Pacemaker's (docs/placement.md has the table).

Each class says by which part of a situation it can be known, and how to take that part out. A
difference belongs to a class if both agree once the part is gone.
"""

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from hamgr.core.spec import Tie
from hamgr.core.types import GroupName, NodeName
from hamgr.leader.place import place
from hamgr.leader.policy import NOWHERE, Policy, Situation
from hamgr.leader.terms import decision_order
from tests.leader.dice import BARRED, settled, without
from tests.leader.pacemaker import InvalidTransition, Places, is_promotable, simulate

RUNS_MORE = "hamgr runs groups that Pacemaker leaves down"
REQUIRES = "requires: who runs is not stopped"
MOVES_FEWER = "hamgr moves fewer running groups"
KEEPS = "who runs does not stop for one that is as important"
FREE_CHOICE = "who is decided first chooses freely"
INVALID = "Pacemaker finds no valid transition"
UNEXPLAINED = "unexplained"


class Class(NamedTuple):
    """A kind of difference: its name, and a situation without what makes it."""

    name: str
    without: Callable[[Situation], Situation]


def ours(situation: Situation) -> Places:
    """Return where hamgr has every group in the end."""
    groups = settled(situation).groups
    return {policy.name: tuple(sorted(groups.get(policy.name, NOWHERE).up))
            for policy in situation.policies}


def class_of(situation: Situation) -> str:
    """Return the class of a difference: what hamgr does better, or the last part that has to go
    until nothing but that is left; nothing if both agree, `unexplained` if there is no class."""
    try:
        return _class_of(situation)
    except InvalidTransition:
        return INVALID


def _class_of(situation: Situation) -> str:
    verdict = _verdict(situation)
    if verdict == RUNS_MORE and not _verdict(_running_requires_nothing(situation)):
        return REQUIRES
    if verdict is not None:
        return verdict
    for kind in CLASSES:
        smaller = kind.without(situation)
        if smaller != situation:
            if _verdict(smaller) is not None:
                return kind.name
            situation = smaller
    return UNEXPLAINED


def _verdict(situation: Situation) -> str | None:
    """Return nothing if both agree, what hamgr does better, or None if it is another answer."""
    here, there = ours(situation), simulate(situation)
    if here == there:
        return ""
    more = {name for name in here if here[name]}
    fewer = {name for name in there if there[name]}
    if more > fewer:
        return RUNS_MORE
    if len(more) >= len(fewer) and _moved(situation, here) < _moved(situation, there):
        return MOVES_FEWER
    if _moved(situation, here) < _moved(situation, there) and any(
            here[name] and not there[name] for name in _moved(situation, there)):
        return KEEPS
    return _chooses_freely(situation, here, there)


def _moved(situation: Situation, places: Places) -> set[GroupName]:
    """Return the groups that run and shall be elsewhere, or run on fewer nodes."""
    return {name for name, state in situation.groups.items() if not {*state.up} <= {*places[name]}}


def _chooses_freely(situation: Situation, here: Places, there: Places) -> str | None:
    """Tell whether Pacemaker would agree on the first group it has elsewhere if nobody were decided
    later and those before were bound to their places, and on all others if it were bound too."""
    policies = {policy.name: policy for policy in situation.policies}
    order = decision_order(policies)
    first = next(name for name in order if here[name] != there[name])
    kept = order[:order.index(first) + 1]
    kept += [name for name in order if name not in kept and _follows(policies[name], kept)]
    alone = situation
    for name in order:
        alone = alone if name in kept else without(alone, name)
    alone = _barred(alone, first, _left_for_others(situation, first))
    for name in order[:order.index(first)]:
        if not policies[name].everywhere:
            alone = _barred(alone, name, [node for node in policies[name].nodes
                                          if node not in here[name]])
    if simulate(alone)[first] != here[first] or policies[first].everywhere:
        return None
    bound = _barred(situation, first, [node for node in policies[first].nodes
                                       if node not in here[first]])
    return FREE_CHOICE if bound != situation and _verdict(bound) is not None else None


def _barred(situation: Situation, name: GroupName, nodes: list[NodeName]) -> Situation:
    state = situation.groups.get(name, NOWHERE)
    bars = {**state.bars, **dict.fromkeys(nodes, BARRED)}
    return replace(situation, groups={**situation.groups, name: replace(state, bars=bars)})


def _left_for_others(situation: Situation, name: GroupName) -> list[NodeName]:
    """Return the nodes that a group leaves to those that are decided later and must be apart."""
    account = place(situation, (name,)).accounts[name]
    return [one.node for one in account.candidates if "which must be apart" in one.lost]


def _follows(policy: Policy, kept: list[GroupName]) -> bool:
    return any(tie.mandatory and tie.group in kept for tie in policy.beside)


def _policies(situation: Situation, change: Callable[[Policy], Policy]) -> Situation:
    return replace(situation, policies=tuple(change(one) for one in situation.policies))


def _running_requires_nothing(situation: Situation) -> Situation:
    return _policies(situation, lambda policy: replace(policy, requires=())
                     if situation.groups.get(policy.name, NOWHERE).up else policy)


def _nothing_broken(situation: Situation) -> Situation:
    """Stop the one that is decided later of each two that break a rule where they are."""
    policies = {policy.name: policy for policy in situation.policies}
    groups = dict(situation.groups)
    for name in decision_order(policies):
        state = groups.get(name, NOWHERE)
        if state.holder and _breaks(name, policies, replace(situation, groups=groups)):
            groups[name] = replace(state, holder="", up=())
    return replace(situation, groups=groups)


def _breaks(name: GroupName, policies: dict[GroupName, Policy], now: Situation) -> bool:
    def up(group: GroupName) -> tuple[str, ...]:
        return now.groups.get(group, NOWHERE).up

    node = now.groups[name].holder
    rivals = [tie.group for tie in policies[name].apart if tie.mandatory]
    rivals += [one.name for one in policies.values() if Tie(name) in one.apart]
    return (any(node not in up(tie.group) for tie in policies[name].beside if tie.mandatory)
            or any(node in up(rival) for rival in rivals))


def _no_advice(situation: Situation) -> Situation:
    def rules(ties: tuple[Tie, ...]) -> tuple[Tie, ...]:
        return tuple(tie for tie in ties if tie.mandatory)

    return _policies(situation, lambda policy: replace(
        policy, beside=rules(policy.beside), apart=rules(policy.apart)))


def _one_target(situation: Situation) -> Situation:
    return _policies(situation, lambda policy: replace(policy, beside=policy.beside[:1]))


def _not_promotable(situation: Situation) -> Situation:
    tied = {name for policy in situation.policies for tie in (*policy.beside, *policy.apart)
            for name in (policy.name, tie.group)}
    return replace(situation, groups={
        name: replace(state, scores={}) if name in tied and is_promotable(situation, name)
        else state for name, state in situation.groups.items()})


def _followers_barred(situation: Situation) -> Situation:
    """Bar groups that must be with others from where groups that they must be apart from go."""
    places, groups = ours(situation), dict(situation.groups)
    for policy in situation.policies:
        rivals = [tie.group for tie in policy.apart if tie.mandatory]
        rivals += [one.name for one in situation.policies if Tie(policy.name) in one.apart]
        taken = {node: BARRED for rival in rivals for node in places[rival]}
        if any(tie.mandatory for tie in policy.beside):
            state = groups.get(policy.name, NOWHERE)
            groups[policy.name] = replace(state, bars={**taken, **state.bars})
    return replace(situation, groups=groups)


def _clones_not_apart(situation: Situation) -> Situation:
    everywhere = [policy.name for policy in situation.policies if policy.everywhere]
    return _policies(situation, lambda policy: policy if not policy.everywhere else replace(
        policy, apart=tuple(tie for tie in policy.apart if tie.group not in everywhere)))


def _followers_as_important(situation: Situation) -> Situation:
    priorities = {policy.name: policy.priority for policy in situation.policies}
    for name in decision_order({policy.name: policy for policy in situation.policies}):
        for policy in situation.policies:
            if policy.name == name:
                priorities[name] = max([policy.priority, *(
                    priorities[tie.group] for tie in policy.beside if tie.mandatory)])
    return _policies(situation, lambda one: replace(one, priority=priorities[one.name]))


def _followers_that_meet(situation: Situation) -> Situation:
    """Leave out who must be with groups that are elsewhere for the sake of others."""
    places, smaller = ours(situation), situation
    for policy in situation.policies:
        if not places[policy.name] and any(tie.mandatory and places[tie.group]
                                           for tie in policy.beside):
            smaller = without(smaller, policy.name)
    return smaller


CLASSES = (
    Class(REQUIRES, _running_requires_nothing),
    Class("two that run everywhere are kept apart", _clones_not_apart),
    Class("advice: wishes of those decided later", _no_advice),
    Class("promotable and tied", _not_promotable),
    Class("a less important follower moves nobody", _followers_as_important),
    Class("two targets", _one_target),
    Class("of followers that cannot meet, the more important", _followers_that_meet),
    Class("what keeps a follower away counts", _followers_barred),
    Class("broken at the start", _nothing_broken),
)
CLASS_NAMES = (RUNS_MORE, MOVES_FEWER, KEEPS, FREE_CHOICE, INVALID,
               *(kind.name for kind in CLASSES))
