"""What bars each node from each group, and what the node scores, while places are being decided."""

from collections.abc import Collection

from hamgr.core.spec import FORBIDDEN
from hamgr.core.types import GroupName, NodeName
from hamgr.leader.policy import NOWHERE, Bar, GroupState, Policy, Situation
from hamgr.leader.ties import Ties

NEVER_THERE = Bar("its preference says never")
IN_A_CIRCLE = "must be placed after this one, in a circle"
NO, LAST_RESORT, YES = 0, 1, 2
"""How well a node can have a group."""
Parts = list[tuple[str, int]]
Spots = tuple[NodeName, ...]


class Terms:
    """The policies in the order of decisions, and the spots that are decided so far."""

    def __init__(self, situation: Situation) -> None:
        self.foreseen: dict[GroupName, Spots] = {}
        """Where groups that are not decided yet are thought to be: where they are, or where they
        were to be when all were decided before."""
        self.situation = situation
        self.states = situation.groups
        self.nodes = situation.nodes
        self.policies = {policy.name: policy for policy in situation.policies}
        self.order = decision_order(self.policies)
        self.position = {name: number for number, name in enumerate(self.order)}
        self.spots: dict[GroupName, Spots] = {}
        """What is decided."""
        self.ties = Ties(self.policies)
        self._fitness: dict[tuple[GroupName, NodeName], int] = {}
        for name in self.order:
            state = self.state(name)
            self.foreseen[name] = (state.holder,) if state.holder else state.up

    def state(self, name: GroupName) -> GroupState:
        """Return what is so of a group."""
        return self.states.get(name, NOWHERE)

    def is_tied(self, name: GroupName) -> bool:
        """Tell whether another group has a say in where this one goes."""
        return name in self.ties.circles

    def targets(self, policy: Policy, *, everywhere: bool) -> list[GroupName]:
        """Return the groups, of one mode, that a group must be beside."""
        return [tie.group for tie in policy.beside if tie.mandatory and tie.group in self.policies
                and self.policies[tie.group].everywhere is everywhere]

    def decide(self, name: GroupName, nodes: Spots) -> None:
        """Fix the spot of a group."""
        self.spots[name] = nodes
        if self._fitness and self.is_tied(name):
            self._fitness.clear()

    def bar(self, policy: Policy, node: NodeName) -> Bar | None:
        """Return what keeps a group from a node by all that is decided so far."""
        own = self.own_bar(policy, node)
        if own is not None and not own.last_resort:
            return own
        return self._tie_bar(policy, node) or own

    def own_bar(self, policy: Policy, node: NodeName) -> Bar | None:
        """Return what keeps a group from a node, whatever becomes of other groups."""
        return self._own_bar(policy, self.state(policy.name), node)

    def _own_bar(self, policy: Policy, state: GroupState, node: NodeName) -> Bar | None:
        there = self.nodes.get(node)
        of_node = there.bar if there is not None else None
        if of_node is not None:
            of_node = _as_met(of_node, state, node)
            if not of_node.last_resort:
                return of_node
        if policy.prefer.get(node, 0) <= FORBIDDEN:
            return NEVER_THERE
        of_group = state.bars.get(node)
        if of_group is not None:
            of_group = _as_met(of_group, state, node)
            if not of_group.last_resort:
                return of_group
        score = state.scores.get(node, 0)
        if score < 0:
            return Bar(f"its services score {score} there")
        return of_group or of_node

    def _tie_bar(self, policy: Policy, node: NodeName) -> Bar | None:
        for tie in policy.beside:
            if not tie.mandatory:
                continue
            if tie.group not in self.policies:
                return Bar(f"{tie.group}, which it must be with, is not configured")
            spot = self.spots.get(tie.group)
            if spot is not None and node not in spot:
                return Bar(_elsewhere(tie.group, spot))
            if spot is None and self.position[tie.group] >= self.position[policy.name]:
                return Bar(f"{tie.group} {IN_A_CIRCLE}")
        return self._foe_bar(policy, node) if policy.name in self.ties.foes else None

    def _foe_bar(self, policy: Policy, node: NodeName) -> Bar | None:
        for foe in self.ties.foes[policy.name]:
            spot = self.spots.get(foe)
            if spot is None:
                if (node in self.foreseen[foe] and node != self.state(policy.name).holder
                        and self.holds_out(foe, node, policy.priority)):
                    return Bar(f"{foe}, which it must be apart from, is to be there and can run "
                               "nowhere else")
            elif node in spot:
                return Bar(f"{foe}, which it must be apart from, is there")
        return None

    def holds_out(self, foe: GroupName, node: NodeName, priority: int) -> bool:
        """Tell whether a group that is not decided yet does not leave a node for one of this
        priority: it is as important, and would have to stop. Everywhere is more than one node."""
        policy = self.policies[foe]
        return (policy.priority >= priority and not policy.everywhere
                and self.expects(foe, node)
                and not any(self.fitness(foe, other) != NO for other in policy.nodes
                            if other != node))

    def fitness(self, name: GroupName, node: NodeName) -> int:
        """Tell how well a node can have a group, if what it must be with and is not decided yet
        goes there too."""
        known = self._fitness.get((name, node))
        if known is None:
            self._fitness[name, node] = YES  # as long as the question leads back to itself
            known = self._fitness[name, node] = self._find_fitness(self.policies[name], node)
        return known

    def only_node(self, policy: Policy) -> NodeName:
        """Return the node that can have a group if there is just one, else nothing."""
        only = ""
        for node in policy.nodes:
            if self.fitness(policy.name, node) != NO:
                if only:
                    return ""
                only = node
        return only

    def _find_fitness(self, policy: Policy, node: NodeName) -> int:
        if policy.name in self.spots:
            return YES if node in self.spots[policy.name] else NO
        if node not in policy.nodes:
            return NO
        fitness = fitness_by(self.bar(policy, node))
        for tie in policy.beside:
            if fitness and tie.mandatory and tie.group not in self.spots:
                fitness = min(fitness, self.fitness(tie.group, node))
        return fitness

    def parts(self, policy: Policy, node: NodeName, beside: Collection[GroupName] = ()) -> Parts:
        """Return what makes a group's own score of a node, in words, zeroes too.

        `beside`: who goes where it goes, so that wishes about those do not tell nodes apart.
        """
        state, there = self.state(policy.name), self.nodes.get(node)
        parts = [("prefer", policy.prefer.get(node, 0)),
                 ("stickiness", policy.stickiness if node == state.holder else 0),
                 ("service score", state.scores.get(node, 0)),
                 ("node health", there.score if there is not None else 0)]
        for tie in policy.beside:
            if not tie.mandatory and tie.group not in beside and self.is_at(tie.group, node):
                parts.append((f"with {tie.group}", tie.score))
        for tie in self.ties.admirers.get(policy.name, ()):
            if tie.group not in beside and self._could_join(tie.group, node):
                parts.append((f"{tie.group} could be with it", tie.score))
        for tie in self.ties.shy.get(policy.name, ()):
            if tie.group not in beside and self.expects(tie.group, node):
                parts.append((f"apart from {tie.group}", -tie.score))
        return parts

    def score(self, policy: Policy, node: NodeName, beside: Collection[GroupName] = ()) -> int:
        """Return a group's own score of a node: the sum of its parts."""
        if self.ties.wishes(policy.name):
            return sum([value for _, value in self.parts(policy, node, beside)])
        state, there = self.states.get(policy.name, NOWHERE), self.nodes.get(node)
        score = policy.prefer.get(node, 0) + state.scores.get(node, 0)
        if node == state.holder:
            score += policy.stickiness
        return score if there is None else score + there.score

    def is_at(self, name: GroupName, node: NodeName) -> bool:
        """Tell whether it is decided that a group shall be on a node."""
        return node in self.spots.get(name, ())

    def _could_join(self, name: GroupName, node: NodeName) -> bool:
        """Tell whether a node would fulfil the wish of a group to be with one that is decided
        before it: it runs there and stays, or is free to go there."""
        if name in self.spots:
            return self.is_at(name, node)
        stays = [there for there in self.foreseen[name] if self.expects(name, there)]
        if stays and self.policies[name].failback is None:
            return node in stays
        return self.fitness(name, node) != NO

    def expects(self, name: GroupName, node: NodeName) -> bool:
        """Tell whether a group is to be on a node or, while it is not decided, is likely to be."""
        spot = self.spots.get(name)
        if spot is not None:
            return node in spot
        return node in self.foreseen[name] and self.fitness(name, node) != NO

    def begin_again(self) -> bool:
        """Foresee what is decided now, and forget it where ties lead to what was not foreseen."""
        circles = self.ties.circles
        changed = {circles[name]: True for name, spot in self.spots.items()
                   if name in circles and spot != self.foreseen[name]}
        if not changed:
            return False
        self.foreseen = self.spots
        self.spots = {name: spot for name, spot in self.spots.items()
                      if circles.get(name) not in changed}
        self._fitness.clear()
        return True

    def follows(self, name: GroupName) -> list[GroupName]:
        """Return everyone who must be beside a group, or beside those: the higher priority
        first, then in the order of decisions."""
        found: dict[GroupName, bool] = {}
        queue = [name]
        while queue:
            for follower in self.ties.followers.get(queue.pop(), ()):
                if follower not in found and follower != name:
                    found[follower] = True
                    queue.append(follower)
        return sorted(found, key=lambda one: (-self.policies[one].priority, self.position[one]))


def _as_met(bar: Bar, state: GroupState, node: NodeName) -> Bar:
    """Return a bar as a group meets it that is there already, or is not."""
    if bar.stays and (node == state.holder or node in state.up):
        return Bar(bar.why, last_resort=True)
    return bar


def fitness_by(bar: Bar | None) -> int:
    """Return how well a node can have a group that this keeps from it."""
    if bar is None:
        return YES
    return LAST_RESORT if bar.last_resort else NO


def _elsewhere(target: GroupName, spot: Spots) -> str:
    if not spot:
        return f"{target}, which it must be with, can run nowhere"
    return f"{target}, which it must be with, is on {' and '.join(spot)}"


def decision_order(policies: dict[GroupName, Policy]) -> list[GroupName]:
    """Return who is decided after whom: what a group is to be with comes before it; then the
    higher priority, one node before everywhere, the name.

    As Pacemaker orders them, which compares the scores of their nodes before names.
    """
    def rank(policy: Policy) -> tuple[int, bool, GroupName]:
        return -policy.priority, policy.everywhere, policy.name

    order: dict[GroupName, bool] = {}
    entered: dict[GroupName, bool] = {}
    for first in sorted(policies.values(), key=rank):
        stack = [first]
        while stack:
            policy = stack[-1]
            entered[policy.name] = True
            before = [] if not policy.beside else sorted(
                (policies[tie.group] for tie in policy.beside
                 if tie.group in policies and tie.group not in entered), key=rank)
            if before:
                stack.append(before[0])
            else:
                order[stack.pop().name] = True
    return list(order)


