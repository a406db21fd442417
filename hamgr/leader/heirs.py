"""Who takes over if a node dies at once, while everything else stays where it shall be."""

from hamgr.core.types import GroupName, NodeName
from hamgr.leader.policy import Policy, Spot
from hamgr.leader.terms import Terms


def heirs(terms: Terms, policy: Policy, spots: dict[GroupName, Spot]) -> tuple[NodeName, ...]:
    """Return the nodes that could have a group now but for its own, the best first.

    An heir starts the group before anyone plans anything, so no last resort is among them, and no
    node of a group that it must be apart from. Who must be beside another group has the heirs of
    that one; `spots`: of the groups that were decided before.
    """
    spot = terms.spots[policy.name]
    if policy.everywhere or not spot or terms.state(policy.name).maintenance:
        return ()
    able = [node for node in policy.nodes if node != spot[0] and _able(terms, policy, node)]
    if not able:
        return ()
    if not terms.is_tied(policy.name):
        able.sort(key=lambda node: -terms.score(policy, node))
        return tuple(able)
    led = _led_by(terms, policy, spots)
    if led is not None:
        return tuple([node for node in led if node in able])
    followers = [terms.policies[name] for name in terms.follows(policy.name) if terms.spots[name]]
    able.sort(key=lambda node: (
        _lacks(terms, policy, node),
        [not _able(terms, follower, node) for follower in followers],
        -sum([terms.score(member, node) for member in (policy, *followers)])))
    return tuple(able)


def _able(terms: Terms, policy: Policy, node: NodeName) -> bool:
    if node not in policy.nodes or terms.own_bar(policy, node) is not None:
        return False
    if any([node in terms.spots[foe] for foe in terms.ties.foes.get(policy.name, ())]):
        return False
    return all([node in terms.spots[target]
                for target in terms.targets(policy, everywhere=True)])


def _led_by(terms: Terms, policy: Policy, spots: dict[GroupName, Spot]) -> list[NodeName] | None:
    """Return what is common to the heirs of all groups on one node that this one must be beside,
    or None if there is no such group."""
    targets = terms.targets(policy, everywhere=False)
    if not targets:
        return None
    first, *others = [spots[target].heirs for target in targets]
    return [node for node in first if all([node in other for other in others])]


def _lacks(terms: Terms, policy: Policy, node: NodeName) -> bool:
    """Tell whether a group that runs everywhere, and that this must be beside, is not up there."""
    return any([node not in terms.state(target).up
                for target in terms.targets(policy, everywhere=True)])
