"""What is wrong with policies, in words: asked before a configuration is applied."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hamgr.core.spec import FORBIDDEN
from hamgr.core.types import GroupName, NodeName
from hamgr.leader.policy import Policy

CHAIN_MAX = 100
"""Groups that must be beside each other one after another; beyond that it is certainly an error,
and each of them is a level of recursion for who decides."""


class Fault(NamedTuple):
    """One thing that is wrong, at a key of a group as configurations name it."""

    group: GroupName
    key: str
    text: str


def faults(policies: Iterable[Policy]) -> list[Fault]:
    """Return everything that is wrong with the policies of a cluster, by the name of the group.

    `place` answers for policies with faults too, without raising; but the answer may surprise.
    """
    known = {policy.name: policy for policy in sorted(policies, key=lambda one: one.name)}
    found: list[Fault] = []
    for policy in known.values():
        found += _numbers(policy)
        found += _names(policy, known)
        found += _mode(policy)
    found += _circles(known)
    if not found:
        found = [fault for policy in known.values() for fault in _contradictions(policy, known)]
    return found


def _numbers(policy: Policy) -> list[Fault]:
    found = []
    if policy.stickiness < 0:
        found.append(("stickiness", f"{policy.stickiness} is negative; write 0 or more"))
    if policy.failback is not None and policy.failback < 0:
        found.append(("failback", "is a negative time; write 0s or more"))
    for key, ties in (("with", policy.beside), ("apart", policy.apart)):
        found += [(key, f"the score of {tie.group} is {tie.score}; write more than 0, and use "
                   f"{'apart' if key == 'with' else 'with'} for the opposite")
                  for tie in ties if tie.score <= 0]
    return [Fault(policy.name, key, text) for key, text in found]


def _names(policy: Policy, known: dict[GroupName, Policy]) -> list[Fault]:
    found = [Fault(policy.name, "prefer", f"{node} is not among the nodes of the group")
             for node in policy.prefer if node not in policy.nodes]
    for key, names in (("with", [tie.group for tie in policy.beside]),
                       ("apart", [tie.group for tie in policy.apart]),
                       ("requires", list(policy.requires))):
        for number, name in enumerate(names):
            if name in names[:number]:
                found.append(Fault(policy.name, key, f"{name} is named twice"))
            elif name == policy.name:
                found.append(Fault(policy.name, key, "names the group itself"))
            elif name not in known:
                found.append(Fault(policy.name, key, f"{name} is not configured"))
    return found


def _mode(policy: Policy) -> list[Fault]:
    if not policy.everywhere:
        return []
    found = []
    if policy.has_addresses:
        found.append(("vips", "an address can be on one node only; give it to a group of its own "
                      f'that has with = ["{policy.name}"]'))
    if policy.failback is not None or policy.stickiness:
        found.append(("failback" if policy.failback is not None else "stickiness",
                      "a group that runs everywhere never moves"))
    return [Fault(policy.name, key, text) for key, text in found]


def _circles(known: dict[GroupName, Policy]) -> list[Fault]:
    beside = {name: [tie.group for tie in policy.beside] for name, policy in known.items()}
    requires = {name: list(policy.requires) for name, policy in known.items()}
    found = []
    for key, edges in (("with", beside), ("requires", requires)):
        circle, depth = _circle(edges)
        if circle:
            found.append(Fault(circle[0], key, f"goes in a circle: {' -> '.join(circle)}"))
        elif key == "with" and depth and len(depth) > CHAIN_MAX:
            found.append(Fault(depth[0], key, f"begins a chain of {len(depth)} groups; "
                               f"{CHAIN_MAX} is the limit"))
    return found


def _circle(edges: dict[GroupName, list[GroupName]]) -> tuple[list[GroupName], list[GroupName]]:
    """Return the first circle, its first group twice, or nothing; and the longest chain."""
    longest: dict[GroupName, list[GroupName]] = {}
    for first in edges:
        path: list[GroupName] = [first]
        while path:
            group = path[-1]
            targets = [target for target in edges[group] if target in edges and target != group]
            open_ones = [target for target in targets if target not in longest]
            if not open_ones:
                longest[group] = [group, *max([longest[target] for target in targets], key=len,
                                              default=[])]
                path.pop()
            elif open_ones[0] in path:
                return [*path[path.index(open_ones[0]):], open_ones[0]], []
            else:
                path.append(open_ones[0])
    return [], max(longest.values(), key=len, default=[])


def _contradictions(policy: Policy, known: dict[GroupName, Policy]) -> list[Fault]:
    """With whom a group must be, directly or not, and whether all of them can be on one node."""
    together = _together(policy.name, known)
    if len(together) < 2:
        return []
    found = []
    for name in together:
        for tie in known[name].apart:
            if tie.mandatory and tie.group in together:
                found.append(Fault(policy.name, "with", f"{name} and {tie.group} must be apart, "
                                   f"and {policy.name} with {_both(policy.name, name, tie.group)}"))
    common = [node for node in policy.nodes if all(_may(known[name], node) for name in together)]
    if not common:
        others = " and ".join(name for name in together if name != policy.name)
        found.append(Fault(policy.name, "with", f"no node is among those of {others} too"))
    return found


def _together(name: GroupName, known: dict[GroupName, Policy]) -> Sequence[GroupName]:
    found = {name: True}
    queue = [name]
    while queue:
        for tie in known[queue.pop(0)].beside:
            if tie.mandatory and tie.group not in found:
                found[tie.group] = True
                queue.append(tie.group)
    return list(found)


def _both(name: GroupName, one: GroupName, other: GroupName) -> str:
    return " and ".join(each for each in (one, other) if each != name)


def _may(policy: Policy, node: NodeName) -> bool:
    return node in policy.nodes and policy.prefer.get(node, 0) > FORBIDDEN
