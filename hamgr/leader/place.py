"""Where every group of a cluster shall be: a pure function of its policies and of what is so.

Groups are decided one after another (see `decision_order`), each with regard to those that are
decided already, to those that must be beside it, and to those that must be apart from it. What is
decided stays decided, so that everyone can follow why. Pacemaker decides the same way; docs/
placement.md says where its answers differ.
"""

from collections.abc import Collection

from hamgr.core.types import NEVER, GroupName, Instant, NodeName
from hamgr.leader.choice import Choice
from hamgr.leader.heirs import heirs
from hamgr.leader.policy import (
    MAINTAINED,
    Account,
    Candidate,
    Placement,
    Policy,
    Situation,
    Spot,
)
from hamgr.leader.terms import LAST_RESORT, YES, Terms, fitness_by

FORESIGHT_MAX = 5
"""How often all is decided again with what came of it in view; once is nearly always enough."""


def place(situation: Situation, account_for: Collection[GroupName] = ()) -> Placement:
    """Decide where every group shall be, with an account for each group that is asked for."""
    placer = _Placer(situation, account_for)
    terms = placer.terms
    placer.decide_all()
    for _ in range(FORESIGHT_MAX):
        if not terms.begin_again():
            break
        placer.decide_all()
    spots: dict[GroupName, Spot] = {}
    for name in terms.order:
        spots[name] = Spot(nodes=terms.spots[name], heirs=heirs(terms, terms.policies[name], spots),
                           waits=_waits(terms, terms.policies[name]))
    return Placement(spots=spots, wake=placer.wake, accounts={
        name: Account(group=name, spot=spots[name], holder=terms.state(name).holder,
                      everywhere=terms.policies[name].everywhere,
                      candidates=tuple(candidates), why=why)
        for name, (candidates, why) in placer.accounts.items()})


class _Placer:
    def __init__(self, situation: Situation, account_for: Collection[GroupName]) -> None:
        self.terms = Terms(situation)
        self.wake: Instant = NEVER
        self.accounts: dict[GroupName, tuple[list[Candidate], str]] = {}
        self._account_for = account_for

    def decide_all(self) -> None:
        """Decide about every group that is not decided yet, maintained ones first."""
        terms = self.terms
        maintained = [name for name in terms.order if terms.state(name).maintenance]
        for name in maintained:
            state = terms.state(name)
            terms.decide(name, (state.holder,) if state.holder else state.up)
        for name in terms.order:
            if name not in terms.spots or name in maintained:
                self.decide(terms.policies[name])

    def decide(self, policy: Policy) -> None:
        """Fix the spot of one group; those that it must be beside are fixed already."""
        terms, choice = self.terms, Choice(self.terms, policy)
        asked = policy.name in self._account_for
        bars = {node: terms.bar(policy, node) for node in policy.nodes} if asked else {}
        if policy.name in terms.spots:
            spot, choice.why = terms.spots[policy.name], MAINTAINED
        elif policy.everywhere:
            spot, choice.why = self._everywhere(policy), "wherever it can"
        else:
            node = choice.make()
            spot = (node,) if node else ()
            self.wake = min(self.wake, choice.wake)
        if asked:
            candidates = [Candidate(node=node, bar=bars[node], lost=choice.lost.get(node, ""),
                                    parts=tuple(choice.parts(node))) for node in policy.nodes]
            candidates.sort(key=lambda one: _rank(one, spot))
            self.accounts[policy.name] = candidates, choice.why
        terms.decide(policy.name, spot)

    def _everywhere(self, policy: Policy) -> tuple[NodeName, ...]:
        fitness = {node: fitness_by(self.terms.bar(policy, node)) for node in policy.nodes}
        wanted = YES if YES in fitness.values() else LAST_RESORT
        return tuple(node for node in policy.nodes if fitness[node] == wanted)


def _rank(candidate: Candidate, spot: tuple[NodeName, ...]) -> tuple[bool, int, bool, int]:
    return (candidate.node not in spot, -fitness_by(candidate.bar), bool(candidate.lost),
            -candidate.score)


def _waits(terms: Terms, policy: Policy) -> str:
    """Say what a group is not started without, though it has a place, or nothing.

    Groups that run already are not asked: a failover of what they require does not stop them.
    """
    if not policy.requires and not policy.beside:
        return ""
    up, spot = terms.state(policy.name).up, terms.spots[policy.name]
    if not [node for node in spot if node not in up]:
        return ""
    for required in policy.requires:
        if required not in terms.policies:
            return f"{required} is not configured"
        if not terms.state(required).up:
            there = terms.spots[required]
            return f"{required} is not active" + ("" if there else ", and can run nowhere")
    for target in terms.targets(policy, everywhere=True):
        lacking = [node for node in spot if node not in terms.state(target).up]
        if lacking:
            return f"{target} is not active on {' and '.join(lacking)}"
    return ""
