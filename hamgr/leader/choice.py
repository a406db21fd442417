"""How one node is chosen for a group: rule after rule drops nodes, as long as any is left."""

from collections.abc import Callable

from hamgr.core.types import NEVER, GroupName, Instant, NodeName
from hamgr.leader.policy import Policy
from hamgr.leader.terms import LAST_RESORT, NO, YES, Parts, Terms, fitness_by


class Choice:
    """The choice of a node for one group, and for whom it decides by that."""

    def __init__(self, terms: Terms, policy: Policy) -> None:
        self.terms = terms
        self.policy = policy
        self.holder = terms.state(policy.name).holder
        self.nodes: list[NodeName] = []
        """What is left, in the group's order."""
        self.members = [policy]
        """Whom the node is chosen for: the group, and those that must be beside it and can."""
        self.lost: dict[NodeName, str] = {}
        self.why = ""
        self.wake: Instant = NEVER

    def make(self) -> NodeName:
        """Return the best node, or nothing if every one is barred."""
        self._drop_barred()
        if len(self.nodes) > 1 and self.terms.is_tied(self.policy.name):
            self._think_of_followers()
            self._think_of_rivals(self._give_way)
        if len(self.nodes) > 1:
            self._think_of_moves()
        if len(self.nodes) > 1 and self.terms.is_tied(self.policy.name):
            self._think_of_what_is_up()
            self._think_of_rivals(self._leave_room)
        return self._best() if self.nodes else ""

    def parts(self, node: NodeName) -> Parts:
        """Return what makes a node's score, with the parts of those that must be beside."""
        names = self._names()
        parts = self.terms.parts(self.policy, node, names)
        for member in self.members[1:]:
            parts += [(f"{member.name}'s {name}", value)
                      for name, value in self.terms.parts(member, node, names)]
        return [part for part in parts if part[1]]

    def score(self, node: NodeName) -> int:
        """Return a node's score for all members: Pacemaker adds them likewise."""
        if len(self.members) == 1:
            return self.terms.score(self.policy, node)
        names = self._names()
        return sum([self.terms.score(member, node, names) for member in self.members])

    def _names(self) -> list[GroupName]:
        return [member.name for member in self.members]

    def _keep(self, kept: list[NodeName], lost: str, why: str) -> bool:
        """Drop every other node, if any is left then: why that one is `lost`, and why one stays."""
        if not kept:
            return False
        if len(kept) < len(self.nodes):
            self.lost.update((node, lost) for node in self.nodes if node not in kept)
            self.nodes, self.why = kept, why
        return True

    def _drop_barred(self) -> None:
        """A node that is a last resort counts if there is no other."""
        classes: tuple[list[NodeName], ...] = ([], [], [])
        for node in self.policy.nodes:
            classes[fitness_by(self.terms.bar(self.policy, node))].append(node)
        self.nodes = classes[YES] or classes[LAST_RESORT]

    def _think_of_followers(self) -> None:
        """Each group that must be beside this one asks for nodes where it could be, the more
        important first; one that is less important than this one does not move it (Pacemaker has
        no such rule, but the option `influence` of a colocation, which is on by default)."""
        terms = self.terms
        for name in terms.follows(self.policy.name):
            if self._excludes(name):
                continue
            fitness = {node: NO if self._costs(node, name) else terms.fitness(name, node)
                       for node in self.nodes}
            wanted = YES if YES in fitness.values() else LAST_RESORT
            moved = fitness.get(self.holder, wanted) < wanted
            if moved and terms.policies[name].priority < self.policy.priority:
                continue
            if self._keep([node for node in self.nodes if fitness[node] >= wanted],
                          f"{name}, which must be with {self.policy.name}, could not run there",
                          f"{name} must be with it and could not run elsewhere"):
                self.members.append(terms.policies[name])
        self._add_what_followers_need()

    def _excludes(self, follower: GroupName) -> bool:
        """Tell whether a follower must be apart from one for whom the node is chosen already."""
        names = self._names()
        return any([foe in names for foe in self.terms.ties.foes.get(follower, ())])

    def _costs(self, node: NodeName, follower: GroupName) -> bool:
        """Tell whether another group would have to stop for a follower no more important."""
        terms, priority = self.terms, self.terms.policies[follower].priority
        return node != self.holder and any([
            foe not in terms.spots and terms.holds_out(foe, node, priority)
            for name in (self.policy.name, follower) for foe in terms.ties.foes.get(name, ())])

    def _add_what_followers_need(self) -> None:
        """A follower may have to be beside another group too, which is not decided yet."""
        terms, known = self.terms, {member.name: True for member in self.members}
        for member in self.members[1:]:
            for tie in member.beside:
                if tie.mandatory and tie.group not in terms.spots and tie.group not in known:
                    known[tie.group] = True
                    self.members.append(terms.policies[tie.group])

    def _think_of_moves(self) -> None:
        """Who runs on one of these nodes stays there, unless its failback lets it go."""
        for member in self.members:
            holder = self.terms.state(member.name).holder
            if len(self.nodes) < 2 or holder not in self.nodes or member.everywhere:
                continue
            itself = member is self.policy
            failback = "failback" if itself else f"{member.name}'s failback"
            if member.failback is None:
                self._keep([holder], f"{failback} is never",
                           f"{'it' if itself else member.name} runs there, and failback is never")
            else:
                self._think_of_failback(member, holder, failback)

    def _think_of_failback(self, member: Policy, holder: NodeName, failback: str) -> None:
        stays = self.score(holder)
        better = [node for node in self.nodes if self.score(node) > stays]
        self._keep([node for node in self.nodes if node == holder or node in better],
                   f"{failback} asks for a higher score",
                   "it runs there, and no node has a higher score")
        ripe = [node for node in better if node in self.nodes and self._fit_for_long(member, node)]
        self._keep([node for node in self.nodes if node == holder or node in ripe],
                   f"{failback} asks that it be fit for longer",
                   "it runs there, and no better node has been fit for long enough")

    def _fit_for_long(self, member: Policy, node: NodeName) -> bool:
        assert member.failback is not None
        now = self.terms.situation.now
        due = self.terms.state(member.name).fit_since.get(node, now) + member.failback
        if due > now:
            self.wake = min(self.wake, due)
        return due <= now

    def _think_of_what_is_up(self) -> None:
        """Where a group that runs everywhere is to be beside, it had better be up already."""
        for target in self.terms.targets(self.policy, everywhere=True):
            up = self.terms.state(target).up
            self._keep([node for node in self.nodes if node == self.holder or node in up],
                       f"{target} is not active there yet", f"{target} is active there already")

    def _think_of_rivals(self, heed: Callable[[Policy, Policy], None]) -> None:
        """Heed every group that is decided later and must be apart."""
        names = self._names()
        for member in self.members:
            for foe in self.terms.ties.foes.get(member.name, ()):
                if foe not in self.terms.spots and foe not in names:
                    heed(member, self.terms.policies[foe])

    def _give_way(self, member: Policy, rival: Policy) -> None:
        """Who runs moves for one that is as important and would have no node at all."""
        if rival.priority >= member.priority and not any([
                node != self.holder and self.terms.expects(rival.name, node)
                for node in self.terms.foreseen[rival.name]]):
            self._spare_only_node(rival, "")

    def _leave_room(self, _: Policy, rival: Policy) -> None:
        """Who need not be here does not make others leave, nor takes their last node."""
        if self.terms.foreseen[rival.name]:
            free = [node for node in self.nodes
                    if node == self.holder or not self.terms.expects(rival.name, node)]
            self._keep(free, f"{rival.name}, which must be apart, would have to leave it",
                       f"{rival.name}, which must be apart, runs elsewhere")
        self._spare_only_node(rival, self.holder)

    def _spare_only_node(self, rival: Policy, holder: NodeName) -> None:
        only = self.terms.only_node(rival)
        self._keep([node for node in self.nodes if node == holder or node != only],
                   f"{rival.name}, which must be apart, can run nowhere else",
                   f"{rival.name}, which must be apart, needs another one")

    def _best(self) -> NodeName:
        """The highest score; among equals the holder, then the first of the group's list."""
        if len(self.nodes) == 1:
            targets = self.terms.targets(self.policy, everywhere=False)
            self.why = self.why or (f"it must be with {' and '.join(targets)}" if targets else
                                    "no other node can have it")
            return self.nodes[0]
        scores = [(self.score(node), node == self.holder) for node in self.nodes]
        best = self.nodes[scores.index(max(scores))]
        equals = [node for node, (score, _) in zip(self.nodes, scores, strict=True)
                  if score == max(scores)[0]]
        self.why = ("it has the highest score" if len(equals) == 1 else
                    "it runs there, and no node has a higher score" if best == self.holder else
                    "it comes first in its list, and no node has a higher score")
        return best

