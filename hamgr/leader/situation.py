"""What decides about places, taken from what the leader knows."""

from collections.abc import Callable, Collection, Mapping

from hamgr.core.knowledge import Knowledge
from hamgr.core.records import UNPLANNED, GroupPlan, Plan
from hamgr.core.spec import GroupSpec
from hamgr.core.types import GroupName, Instant, Maintenance, NodeName
from hamgr.leader.place import place
from hamgr.leader.placement import (
    IN_STANDBY,
    Says,
    is_last_resort,
    node_unfitness,
    own_unfitness,
)
from hamgr.leader.policy import (
    Account,
    Bar,
    GroupState,
    NodeState,
    Placement,
    Policy,
    Situation,
    Spot,
)

FitSince = dict[tuple[GroupName, NodeName], Instant]
"""Since when a node could have had a group without a break."""


def policy_of(spec: GroupSpec) -> Policy:
    """Return what of a group's configuration its place depends on."""
    return Policy(
        name=spec.name, nodes=spec.nodes, prefer=spec.prefer, stickiness=spec.stickiness,
        failback=spec.failback, priority=spec.priority, everywhere=spec.everywhere,
        has_addresses=spec.has_addresses, beside=spec.beside, apart=spec.apart,
        requires=spec.requires)


class Places:
    """Where every group shall be, decided when somebody asks."""

    def __init__(self, knowledge: Knowledge, plan: Callable[[], Plan | None], says: Says,
                 now: Instant) -> None:
        self._knowledge = knowledge
        self._plan = plan
        self._says = says
        self._now = now
        self._placement: Placement | None = None
        self.wanted: Mapping[GroupName, NodeName] = {}
        """Where operators move groups: others go by that already."""
        self.fit_since: FitSince = {}

    def spot(self, group: GroupName) -> Spot:
        """Return where a group shall be; nowhere if it is not in the file."""
        return self._all.spots.get(group, Spot())

    @property
    def wake(self) -> Instant:
        """Return when a node will have been fit for long enough to be moved to."""
        return self._all.wake

    def ranked(self, spec: GroupSpec, but: NodeName) -> list[NodeName]:
        """Return the nodes that could have a group beside this one, the best first."""
        spot = self.spot(spec.name)
        return [node for node in (*spot.nodes, *spot.heirs) if node != but]

    def account(self, group: GroupName) -> Account | None:
        """Return how a group comes to its spot."""
        return self._decide((group,)).accounts.get(group)

    def if_moved(self, group: GroupName, target: NodeName) -> Account | None:
        """Return what would become of a group that an operator moves to this node."""
        other = Places(self._knowledge, self._plan, self._says, self._now)
        other.wanted = {**self.wanted, group: target}
        return other.account(group)

    @property
    def _all(self) -> Placement:
        if self._placement is None:
            self._placement = self._decide(())
        return self._placement

    def decide_anew(self, wanted: Mapping[GroupName, NodeName], fit_since: FitSince) -> None:
        """Go by these from now on."""
        self.wanted, self.fit_since, self._placement = wanted, fit_since, None

    def _decide(self, account_for: Collection[GroupName]) -> Placement:
        knowledge, plan = self._knowledge, self._plan()
        nodes: dict[NodeName, NodeState] = {}
        if plan is not None:
            for node in knowledge.spec.nodes:
                why = node_unfitness(node.name, knowledge, self._says, plan.standby)
                nodes[node.name] = NodeState(
                    bar=Bar(why, stays=why == IN_STANDBY) if why else None)
        return place(Situation(
            now=self._now, nodes=nodes,
            policies=tuple([policy_of(spec) for spec in knowledge.spec.groups]),
            groups={spec.name: self._state(spec, plan) for spec in knowledge.spec.groups}),
            account_for)

    def _state(self, spec: GroupSpec, plan: Plan | None) -> GroupState:
        group = plan.groups.get(spec.name, UNPLANNED) if plan is not None else UNPLANNED
        bars: dict[NodeName, Bar] = {}
        scores: dict[NodeName, int] = {}
        since: dict[NodeName, Instant] = {}
        for node in spec.nodes:
            said = self._says(node)
            word = said.word(spec.name) if said is not None else None
            if word is not None and word.score > 0:
                scores[node] = word.score
            if why := own_unfitness(word):
                bars[node] = Bar(why, last_resort=is_last_resort(word))
            elif word is not None and word.score < 0:
                bars[node] = Bar(f"its score is {word.score}", last_resort=True)
            if spec.failback is not None and (spec.name, node) in self.fit_since:
                since[node] = self.fit_since[spec.name, node]
        holder = self.wanted.get(spec.name, "") or (
            group.holder.node if group.holder is not None and not spec.everywhere else "")
        return GroupState(
            holder=holder, up=self._up(spec, group), bars=bars, scores=scores, fit_since=since,
            maintenance=group.maintenance in (Maintenance.ON, Maintenance.ENDING))

    def _up(self, spec: GroupSpec, group: GroupPlan) -> tuple[NodeName, ...]:
        found = []
        for node in spec.nodes if spec.everywhere else (
                [group.holder.node] if group.holder is not None else []):
            said = self._says(node)
            word = said.word(spec.name) if said is not None else None
            epoch = group.holder.epoch if group.holder is not None and not spec.everywhere else 0
            if word is not None and word.up and word.epoch == epoch:
                found.append(node)
        return tuple(found)
