"""Random situations, their commands (tests/leader/placing.py), and what is left of them when parts
go that do not matter."""

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

from msgspec.structs import replace

from hamgr.core.spec import FORBIDDEN, MANDATORY, Tie
from hamgr.core.types import GroupName, NodeName
from hamgr.leader.place import place
from hamgr.leader.policy import NOWHERE, Bar, GroupState, NodeState, Policy, Situation
from hamgr.leader.policy_check import faults
from tests.leader.placing import FAILED, NOW, applied

NAMES = ("app", "batch", "cache", "db", "edge", "front")
BARRED = Bar("a condition is not met")
DOWN, STANDBY = Bar("not heard"), Bar("in standby")
ROUNDS_MAX = 40
Value = TypeVar("Value")


def situation(dice: Random, *, last_resorts: bool = True) -> Situation:
    """Return a situation without faults, of two to five nodes and one to six groups."""
    nodes = tuple(f"n{number}" for number in range(1, dice.randint(2, 5) + 1))
    names = NAMES[:dice.randint(1, len(NAMES))]
    policies: tuple[Policy, ...] = ()
    for name in names:
        found = _policy(dice, name, nodes, policies)
        policies += (found if not faults((*policies, found)) else
                     replace(found, beside=(), apart=(), requires=()),)
    made = Situation(now=NOW, policies=policies, nodes={node: _node(dice) for node in nodes})
    groups = {policy.name: _group(dice, policy, made, last_resorts) for policy in policies}
    return _with_everywhere_up(replace(made, groups=groups))


def settled(now: Situation) -> Situation:
    """Return what is so when everything that `place` says is done, however long it takes."""
    for _ in range(ROUNDS_MAX):
        after = applied(now, place(now))
        if after == now:
            return now
        now = after
    raise AssertionError(f"no end of moves: {script(now)}")


def _policy(dice: Random, name: GroupName, nodes: tuple[NodeName, ...],
            others: tuple[Policy, ...]) -> Policy:
    some = dice.sample(nodes, dice.randint(1, len(nodes)) if dice.random() < .3 else len(nodes))
    everywhere = dice.random() < .12
    prefer = {node: FORBIDDEN if dice.random() < .1 else dice.choice((-50, -10, 10, 50, 100))
              for node in some if dice.random() < .35}
    ties: dict[str, tuple[Tie, ...]] = {"beside": (), "apart": ()}
    for other in others:
        kind, score = dice.random(), MANDATORY if dice.random() < .7 else dice.choice((20, 60))
        if kind < .4:
            key = "beside" if kind < .25 else "apart"
            ties[key] = (*ties[key], Tie(other.name, score))
    return Policy(
        name=name, nodes=tuple(some), prefer=prefer, everywhere=everywhere,
        stickiness=0 if everywhere else dice.choice((0, 0, 15, 70)),
        failback=0 if not everywhere and dice.random() < .4 else None,
        priority=dice.choice((0, 0, 0, 5, 10)), beside=ties["beside"], apart=ties["apart"],
        requires=tuple(other.name for other in others if dice.random() < .12))


def _node(dice: Random) -> NodeState:
    return NodeState(bar=dice.choice((None, None, None, None, None, DOWN, STANDBY)))


def _group(dice: Random, policy: Policy, made: Situation, last_resorts: bool) -> GroupState:
    bars = {node: FAILED if last_resorts and dice.random() < .5 else BARRED
            for node in policy.nodes if dice.random() < .1}
    alive = [node for node in policy.nodes
             if made.nodes[node].bar is not DOWN and policy.prefer.get(node, 0) > FORBIDDEN]
    if policy.everywhere or not alive or dice.random() < .35:
        return GroupState(bars=bars)
    holder = dice.choice(alive)
    promotable = dice.random() < .15
    scores = {node: dice.choice((-1, 5, 10, 100)) for node in policy.nodes if promotable}
    return GroupState(holder=holder, up=(holder,), bars=bars, scores=scores)


def _with_everywhere_up(made: Situation) -> Situation:
    spots = place(made).spots
    return replace(made, groups={
        policy.name: replace(made.groups[policy.name], up=spots[policy.name].nodes)
        if policy.everywhere else made.groups[policy.name] for policy in made.policies})


def script(made: Situation) -> str:
    """Return the commands that make a situation."""
    lines = [f"nodes {' '.join(made.nodes)}"]
    lines += [f"group {policy.name} {' '.join(_words(policy))}" for policy in made.policies]
    for node, there in made.nodes.items():
        if there.bar is not None:
            lines.append(f"{'down' if there.bar == DOWN else 'standby'} {node}")
    for name, state in made.groups.items():
        lines += [f"at {name} {' '.join(state.up)}"] if state.up else []
        lines += [f"failed {name} {node}" if bar.last_resort else f"bar {name} {node} {bar.why}"
                  for node, bar in state.bars.items()]
        lines += [f"score {name} {node} {score}" for node, score in state.scores.items()]
    return "\n".join(lines)


def _words(policy: Policy) -> Iterator[str]:
    yield f"nodes={','.join(policy.nodes)}"
    if policy.prefer:
        yield "prefer=" + ",".join(f"{node}:{_number(score)}"
                                   for node, score in policy.prefer.items())
    for key, ties in (("with", policy.beside), ("apart", policy.apart)):
        if ties:
            yield f"{key}=" + ",".join(tie.group if tie.mandatory else f"{tie.group}:{tie.score}"
                                       for tie in ties)
    if policy.requires:
        yield f"requires={','.join(policy.requires)}"
    for key in ("stickiness", "priority"):
        if getattr(policy, key):
            yield f"{key}={getattr(policy, key)}"
    if policy.failback is not None:
        yield "failback=0s"
    if policy.everywhere:
        yield "everywhere"


def _number(score: int) -> str:
    return "never" if score <= FORBIDDEN else str(score)


def shrunk(made: Situation, fails: Callable[[Situation], bool]) -> Situation:
    """Return the smallest situation found, part after part, that still fails."""
    again = True
    while again:
        again = False
        for smaller in _smaller(made):
            if not faults(smaller.policies) and fails(smaller):
                made, again = smaller, True
                break
    return made


def _smaller(made: Situation) -> Iterator[Situation]:
    for policy in made.policies:
        yield without(made, policy.name)
    for node in made.nodes:
        yield _without_node(made, node)
    for number, policy in enumerate(made.policies):
        for simpler in _simpler(policy):
            yield replace(made, policies=(*made.policies[:number], simpler,
                                          *made.policies[number + 1:]))
    for name, state in made.groups.items():
        for easier in (NOWHERE, replace(state, bars={}), replace(state, scores={})):
            if easier != state:
                yield replace(made, groups={**made.groups, name: easier})
    for node, there in made.nodes.items():
        if there.bar is not None:
            yield replace(made, nodes={**made.nodes, node: NodeState()})


def without(made: Situation, name: GroupName) -> Situation:
    """Return a situation without one group."""
    kept = [replace(policy, beside=tuple(tie for tie in policy.beside if tie.group != name),
                    apart=tuple(tie for tie in policy.apart if tie.group != name),
                    requires=tuple(one for one in policy.requires if one != name))
            for policy in made.policies if policy.name != name]
    groups = {one: state for one, state in made.groups.items() if one != name}
    return replace(made, policies=tuple(kept), groups=groups)


def _without_node(made: Situation, node: NodeName) -> Situation:
    def rest(of: dict[NodeName, Value]) -> dict[NodeName, Value]:
        return {one: value for one, value in of.items() if one != node}

    policies = tuple(replace(policy, nodes=tuple(one for one in policy.nodes if one != node),
                             prefer=rest(policy.prefer)) for policy in made.policies)
    groups = {name: replace(
        state, holder="" if state.holder == node else state.holder, bars=rest(state.bars),
        up=tuple(one for one in state.up if one != node), scores=rest(state.scores))
        for name, state in made.groups.items()}
    return replace(made, policies=policies, nodes=rest(made.nodes), groups=groups)


def _simpler(policy: Policy) -> Iterator[Policy]:
    fewer: tuple[dict[str, object], ...] = (
        {"beside": policy.beside[1:]}, {"beside": policy.beside[:1]}, {"apart": policy.apart[1:]},
        {"apart": policy.apart[:1]}, {"requires": policy.requires[1:]}, {"requires": ()},
        {"stickiness": 0}, {"priority": 0}, {"failback": None}, {"prefer": {}})
    for changed in fewer:
        simpler = replace(policy, **changed)
        if simpler != policy:
            yield simpler
    for node in policy.prefer:
        yield replace(policy, prefer={one: score for one, score in policy.prefer.items()
                                      if one != node})
