"""Which groups have a say in where others go, by what their policies say of each other."""

from hamgr.core.spec import MANDATORY, Tie
from hamgr.core.types import GroupName
from hamgr.leader.policy import Policy


class Ties:
    """Every tie between groups that are configured, as both ends see it."""

    def __init__(self, policies: dict[GroupName, Policy]) -> None:
        self.followers: dict[GroupName, list[GroupName]] = {}
        """Who must be beside a group; not those that follow them."""
        self.admirers: dict[GroupName, list[Tie]] = {}
        """Who would like to be beside a group."""
        self.foes: dict[GroupName, list[GroupName]] = {}
        """Who must be apart from a group, whichever of both says so."""
        self.shy: dict[GroupName, list[Tie]] = {}
        """Who would like to be apart from a group, whichever of both says so."""
        self.circles: dict[GroupName, int] = {}
        """Groups that are tied, directly or through others, have the same number; others none."""
        self._wishful: dict[GroupName, bool] = {}
        self._near: dict[GroupName, list[GroupName]] = {}
        for name in sorted(policies):
            self._note_beside(policies[name], policies)
        self._note_apart(policies)
        self._number_circles()

    def wishes(self, name: GroupName) -> bool:
        """Tell whether a group's score has parts that come from other groups."""
        return name in self._wishful

    def _note_beside(self, policy: Policy, policies: dict[GroupName, Policy]) -> None:
        for tie in policy.beside:
            if tie.group not in policies:
                continue
            self._join(policy.name, tie.group)
            if tie.mandatory:
                self.followers.setdefault(tie.group, []).append(policy.name)
            else:
                self.admirers.setdefault(tie.group, []).append(Tie(policy.name, tie.score))
                self._wishful[policy.name] = self._wishful[tie.group] = True

    def _note_apart(self, policies: dict[GroupName, Policy]) -> None:
        """Where both say how much they want to be apart, the stronger wish counts."""
        scores: dict[GroupName, dict[GroupName, int]] = {}
        for name in sorted(policies):
            for tie in policies[name].apart:
                if tie.group in policies and tie.group != name:
                    self._join(name, tie.group)
                    for one, other in ((name, tie.group), (tie.group, name)):
                        of_one = scores.setdefault(one, {})
                        of_one[other] = max(tie.score, of_one.get(other, 0))
        for name, of_name in scores.items():
            for other, score in of_name.items():
                if score >= MANDATORY:
                    self.foes.setdefault(name, []).append(other)
                else:
                    self.shy.setdefault(name, []).append(Tie(other, score))
                    self._wishful[name] = True

    def _join(self, one: GroupName, other: GroupName) -> None:
        self._near.setdefault(one, []).append(other)
        self._near.setdefault(other, []).append(one)

    def _number_circles(self) -> None:
        for number, first in enumerate(self._near):
            queue = [] if first in self.circles else [first]
            while queue:
                name = queue.pop()
                if name not in self.circles:
                    self.circles[name] = number
                    queue += self._near[name]
