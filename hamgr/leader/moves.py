"""Groups go where their policies want them, though the nodes that have them are well."""

from msgspec.structs import replace

from hamgr.core.records import UNPLANNED
from hamgr.core.spec import GroupSpec
from hamgr.core.types import Epoch, GroupName, Instant, Maintenance, NodeName
from hamgr.leader.account import headline
from hamgr.leader.draft import Draft
from hamgr.leader.planner import best_heir, planned_groups, unfit, withdraw_heir
from hamgr.leader.situation import FitSince

HEIR_PATIENCE = 10
"""An heir is replaced by a node that has been a better one for so many `detection`."""


class Moves:
    """Remembers since when which node could have which group: for failback alone."""

    def __init__(self) -> None:
        self.fit_since: FitSince = {}
        self._better_since: dict[GroupName, tuple[NodeName, Instant]] = {}
        """Which node would be a better heir of each group, and since when."""
        self._compared_at: Instant = 0
        self._epochs: dict[GroupName, Epoch] = {}
        """Under which each group was held when fitness was noted last."""

    def by_policy(self, draft: Draft, moves: dict[GroupName, NodeName]) -> None:
        """Add to `moves` whatever its policy sends to another node; have stop what can be nowhere.

        `moves`: by operators. A group whose node cannot have it any more is not ours: its node
        releases it, or it was emptied.
        """
        draft.places.decide_anew(dict(moves), self.fit_since)
        specs = [spec for spec in draft.knowledge.spec.groups
                 if spec.may_be_moved and not spec.everywhere]
        if not specs:
            return
        self._note_fitness(draft, specs)
        for spec in specs:
            group, spot = draft.plan.groups.get(spec.name, UNPLANNED), draft.places.spot(spec.name)
            holder = group.holder.node if group.holder is not None else ""
            if not holder or spec.name in moves or holder in spot.nodes or (
                    group.maintenance is not Maintenance.OFF or unfit(draft, spec, holder)):
                continue
            if spot.node:
                moves[spec.name] = spot.node
            else:
                _stop_nowhere(draft, spec)
        draft.wake_at(draft.places.wake)

    def better_heirs(self, draft: Draft, moves: dict[GroupName, NodeName]) -> None:
        """Replace an heir by one that has long been better: nothing moves for that (rule 18)."""
        detection = draft.knowledge.timing.detection
        if draft.now < self._compared_at + detection:
            if self._better_since:
                draft.wake_at(self._compared_at + detection)
            return
        self._compared_at = draft.now
        before, self._better_since = self._better_since, {}
        for spec in planned_groups(draft):
            better = "" if spec.name in moves else _better_heir(draft, spec)
            if not better:
                continue
            since = before.get(spec.name, ("", 0))
            if since[0] != better:
                since = better, draft.now
            self._better_since[spec.name] = since
            if draft.now - since[1] >= HEIR_PATIENCE * detection:
                withdraw_heir(draft, spec, f"{better} would be a better one")
            draft.wake_at(self._compared_at + detection)

    def _note_fitness(self, draft: Draft, specs: list[GroupSpec]) -> None:
        """Since when each node could have each group, counted from the group's last move at the
        earliest: what an operator has moved is not moved back at once."""
        before, self.fit_since = self.fit_since, {}
        epochs, self._epochs = self._epochs, {}
        for spec in specs:
            holder = draft.plan.groups.get(spec.name, UNPLANNED).holder
            self._epochs[spec.name] = epoch = holder.epoch if holder is not None else 0
            if epochs.get(spec.name) != epoch:
                before = {key: since for key, since in before.items() if key[0] != spec.name}
            for node in spec.nodes if spec.failback is not None else ():
                if not unfit(draft, spec, node):
                    self.fit_since[spec.name, node] = before.get((spec.name, node), draft.now)
        draft.places.decide_anew(draft.places.wanted, self.fit_since)


def _stop_nowhere(draft: Draft, spec: GroupSpec) -> None:
    """Have a group stop that can be nowhere any more: its holder hands over, and to nobody."""
    group = draft.plan.groups[spec.name]
    account = draft.places.account(spec.name)
    assert group.holder is not None and account is not None
    if group.heir is None and not group.leaving and not group.handover and (
            draft.has_read(group.holder.node)):
        draft.set_group(spec.name, replace(group, handover=True), headline(account))


def _better_heir(draft: Draft, spec: GroupSpec) -> NodeName:
    """Return who should be heir in place of one that is well, or nothing."""
    group = draft.plan.groups.get(spec.name, UNPLANNED)
    holder, heir = group.holder, group.heir
    if holder is None or heir is None or group.handover or group.leaving or (
            group.maintenance is not Maintenance.OFF):
        return ""
    others = [node for node in spec.nodes if node != holder.node]
    if others and others[0] == heir.node and not spec.may_be_moved and not spec.prefer and (
            not any(service.promotable for service in spec.services)):
        return ""  # spares a thousand groups the question
    best = best_heir(draft, spec, holder.node, "")
    return best if best != heir.node else ""
