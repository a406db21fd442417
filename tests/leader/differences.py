"""Where hamgr's answer is meant to differ from Pacemaker's (docs/placement.md has the table).

Each class says by which part of a situation it can be known, and how to take that part out. A
difference belongs to a class if both agree once the part is gone.
"""

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from hamgr.core.types import GroupName
from hamgr.leader.policy import NOWHERE, Policy, Situation, Tie
from hamgr.leader.terms import decision_order
from tests.leader.dice import settled
from tests.leader.pacemaker import Places, is_promotable, simulate


RUNS_MORE = "hamgr runs groups that Pacemaker leaves down"
MOVES_FEWER = "hamgr moves fewer running groups"
FREE_CHOICE = "who is decided first chooses freely"
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
    verdict = _verdict(situation)
    if verdict is not None:
        return verdict
    for kind in CLASSES:
        without = kind.without(situation)
        if without != situation:
            if _verdict(without) is not None:
                return kind.name
            situation = without
    return UNEXPLAINED


def _verdict(situation: Situation) -> str | None:
    """Return nothing if both agree, what hamgr does better, or None if it is another answer."""
    here, there = ours(situation), simulate(situation)
    if here == there:
        return ""
    more = {name for name in here if here[name]}
    fewer = {name for name in there if there[name]}
    if more != fewer:
        return RUNS_MORE if more > fewer else None
    if _moved(situation, here) < _moved(situation, there):
        return MOVES_FEWER
    return FREE_CHOICE if here == simulate(situation, influence=False) else None


def _moved(situation: Situation, places: Places) -> set[GroupName]:
    """Return the groups that run and shall be elsewhere, or run on fewer nodes."""
    return {name for name, state in situation.groups.items() if not {*state.up} <= {*places[name]}}


def _policies(situation: Situation, change: Callable[[Policy], Policy]) -> Situation:
    return replace(situation, policies=tuple(change(one) for one in situation.policies))


def _running_requires_nothing(situation: Situation) -> Situation:
    return _policies(situation, lambda policy: replace(policy, requires=())
                     if situation.groups.get(policy.name, NOWHERE).up else policy)


def _nothing_broken(situation: Situation) -> Situation:
    """Stop the one that is decided later of each two that break a rule where they are."""
    policies = {policy.name: policy for policy in situation.policies}
    groups = dict(situation.groups)
    for name in decision_order(policies, situation.groups):
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


CLASSES = (
    Class("requires: who runs is not stopped", _running_requires_nothing),
    Class("advice: wishes of those decided later", _no_advice),
    Class("promotable and tied", _not_promotable),
    Class("two targets", _one_target),
    Class("broken at the start", _nothing_broken),
)
