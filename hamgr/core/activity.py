"""All groups on this node: from rights to what runs, and back (rules 10 to 14, 19, 21, 22)."""

from collections import deque
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from hamgr.core import events as ev
from hamgr.core import maintenance, replicas
from hamgr.core.attributes import health, illness, lacking
from hamgr.core.doubts import Doubts
from hamgr.core.effects import Effect, Report
from hamgr.core.fencers import Wants, want_asked_for, want_stuck
from hamgr.core.fencing import Fencing
from hamgr.core.group import LocalGroup
from hamgr.core.knowledge import Knowledge
from hamgr.core.phase import Occasion, Phase
from hamgr.core.reasons import Reason
from hamgr.core.records import UNPLANNED, GroupPlan
from hamgr.core.rights import (
    HANDS_OVER,
    RELEASES_MAX,
    GroupRights,
    forfeit,
    grant,
    may_release,
    must_stop,
    own_rights,
)
from hamgr.core.seat import HOLDING, SeatKeeper, Standing
from hamgr.core.spec import GroupSpec
from hamgr.core.types import NEVER, Epoch, GroupName, Instant, Maintenance, NodeName
from hamgr.core.waits import hindrance

GroupEvent = (ev.AddressesClaimed | ev.AddressesWithdrawn | ev.AddressesDisturbed
              | ev.ServiceAnswered | ev.ServiceChanged | ev.ServiceScored | ev.ConditionChanged
              | ev.MaintenanceKept)

CLEARED_KEPT = 100
"""Many more than requests that are answered stay in ZooKeeper."""


class Activity:
    """The groups of this node, driven by its rights."""

    def __init__(self, knowledge: Knowledge, seat: SeatKeeper, number: Callable[[], int]) -> None:
        self._knowledge = knowledge
        self._seat = seat
        self._number = number
        self.groups: dict[GroupName, GroupRights] = {}
        self._doubts: dict[GroupName, Doubts] = {}
        self.fencing = Fencing(knowledge, number)
        self._wants: Wants = {}
        """Whom to cut off, gathered anew at each decision."""
        self._news = False
        self._dependents: dict[GroupName, list[GroupName]] = {}
        """Which groups require each one."""
        self._attributes: dict[str, str | None] = {}
        """What was set while this engine runs; None: what the file says counts no more."""
        self._cleared: deque[str] = deque(maxlen=CLEARED_KEPT)
        """Requests to forget failures that were done here."""
        self.configure(0)

    def exclusive(self) -> bool:
        """Tell whether anything exclusive is active that a lapse must stop."""
        return any(one.local.is_active and not one.maintained for one in self.groups.values())

    def has_rest(self) -> bool:
        """Tell whether replicas, or what runs everywhere, still run here or are being stopped."""
        return any(one.has_rest() for one in self.groups.values())

    def may_end_round(self) -> bool:
        """Tell whether this node may give its round up: nothing is active on it (rule 19)."""
        return self._seat.standing in HOLDING and not any(
            one.local.is_active for one in self.groups.values())

    def may_reclaim(self) -> bool:
        """Tell whether the plan lets us claim in our present round (rule 19)."""
        plan = self._knowledge.plan
        if plan is None or plan.renew != self._knowledge.node:
            return False
        return not any(group.heir is not None or group.leaving for group in plan.groups.values()
                       if own_rights(self._knowledge, group))

    def is_calm(self) -> bool:
        """Tell whether every group is wholly up or down here, and fit."""
        return all(one.local.phase in (Phase.ACTIVE, Phase.INACTIVE) and not one.keeping
                   and not one.condition_why and not one.local.released_unfit
                   for one in self.groups.values())

    def awaited(self, now: Instant) -> bool:
        """Tell whether an heir of ours is still to take over (orderly stop)."""
        plan = self._knowledge.plan
        for name, group in plan.groups.items() if plan is not None else ():
            holder, heir = group.holder, group.heir
            if holder is None or heir is None or holder not in own_rights(self._knowledge, group):
                continue
            word = self._knowledge.word(heir, name)
            if (word is None or word.epoch != heir.epoch) and (
                    self._knowledge.liveness.is_heard(heir.node, now)):
                return True
        return False

    def partners(self) -> set[NodeName]:
        """Return who has rights in groups in which we have some (rule 12), or which those require,
        or which require those (rule 10)."""
        plan = self._knowledge.plan
        ours = [name for name, group in (plan.groups.items() if plan is not None else ())
                if own_rights(self._knowledge, group)]
        near = dict.fromkeys(ours)
        for spec in self._knowledge.spec.groups if ours else ():
            if spec.name in ours:
                near |= dict.fromkeys(spec.requires)
            elif any(name in ours for name in spec.requires):
                near[spec.name] = None
        return {right.node for name in near if plan is not None
                for right in plan.groups.get(name, UNPLANNED).rights}

    def take_news(self) -> bool:
        """Tell, once, whether something changed that others must know at once."""
        news, self._news = self._news, False
        return news

    def wake(self) -> Instant:
        """Return when `act` has something to do without any event."""
        times = [one.local.wake() for one in self.groups.values()
                 if not one.maintained and not one.local.held]
        return min((*times, self.fencing.wake, *(one.wake for one in self._doubts.values()),
                    *(one.unfit_until for one in self.groups.values() if one.unfit_until)),
                   default=NEVER)

    def adopt(self, in_place: Mapping[GroupName, Epoch], now: Instant) -> None:
        """Take back what maintenance left in place (rule 22)."""
        for name, epoch in in_place.items():
            if name in self.groups:
                self.groups[name].local.adopt(epoch, now)
                self.groups[name].maintained = epoch

    def configure(self, now: Instant) -> None:
        """Go by the present file: a group that it does not give us is given up in order; what is
        known of its epochs stays, in case it comes back."""
        ours = {spec.name: spec for spec in self._knowledge.spec.groups
                if self._knowledge.node in spec.nodes}
        self._dependents = {}
        for spec in self._knowledge.spec.groups:
            for name in spec.requires:
                self._dependents.setdefault(name, []).append(spec.name)
        for name, spec in ours.items():
            if name not in self.groups:
                self._add(spec)
        for name, rights in self.groups.items():
            rights.local.configure(ours.get(name) or replace(rights.local.spec, nodes=()), now)
            rights.is_required = name in self._dependents
        self._gate()
        self._news = True

    def attribute_changed(self, event: ev.AttributeChanged) -> None:
        """Take in another value of one of this node's attributes."""
        self._attributes[event.name] = event.value
        self._gate()

    def _gate(self) -> None:
        """Look anew at what this node's attributes keep from it."""
        node = self._knowledge.spec.node(self._knowledge.node)
        merged = {**(node.attributes if node is not None else {}), **self._attributes}
        known = {name: value for name, value in merged.items() if value is not None}
        for rights in self.groups.values():
            rights.gate_why = illness(known) or lacking(rights.local.spec.needs, known)
            rights.health = health(known)

    def _add(self, spec: GroupSpec) -> None:
        self.groups[spec.name] = GroupRights(LocalGroup(spec, self._number))
        self._doubts[spec.name] = Doubts()

    def take_in(self, event: GroupEvent, now: Instant) -> list[Effect]:
        """Take in what happened to one group: past the lease it goes no further up (rule 4)."""
        rights = self.groups.get(event.group)
        if rights is None:
            return []
        if rights.local.is_active and not rights.maintained and not self._seat.holds(now):
            stopped = self._keep_or_stop(rights, self._plan(rights.name), now, False)
            return [*stopped, *self._take_in(rights, event, now)]
        return self._take_in(rights, event, now)

    def _take_in(self, rights: GroupRights, event: GroupEvent, now: Instant) -> list[Effect]:
        match event:
            case ev.AddressesClaimed():
                if maintenance.tightened(rights, event):
                    return maintenance.armed_again(rights, event)
                return rights.local.addresses_claimed(event, now)
            case ev.AddressesWithdrawn():
                return rights.local.addresses_withdrawn(event, now)
            case ev.ServiceAnswered():
                return rights.local.service_answered(event, now)
            case ev.ServiceChanged():
                held = rights.maintained or rights.local.held
                return [] if held else rights.local.service_changed(event, now)
            case ev.ServiceScored():
                rights.scored(event)
                return []
            case ev.ConditionChanged():
                return self._condition_changed(rights, event)
            case ev.AddressesDisturbed():
                reason = Reason.RIVAL if event.what == "rival" else Reason.ADDRESS_RESTORED
                return [self._report(rights, reason, why=event.detail)]
            case ev.MaintenanceKept():
                self._news = True
                return maintenance.kept(rights, event)

    def _condition_changed(self, rights: GroupRights, event: ev.ConditionChanged) -> list[Effect]:
        why = "" if event.ok else event.why or "its conditions fail"
        if why == rights.condition_why:
            return []
        rights.condition_why = why
        self._news = True
        reason = Reason.CONDITION_LOST if why else Reason.CONDITION_BACK
        return [self._report(rights, reason, why=why)]

    def act(self, now: Instant, stopping: bool) -> list[Effect]:
        """Start what may run, stop what must not, say what is done."""
        self._adopt_renewed_round()
        self._decline()
        effects: list[Effect] = []
        self._wants = {}
        for rights in self.groups.values():
            plan = self._plan(rights.name)
            self._host(rights, plan, stopping)
            if not rights.maintained and not rights.local.held:
                effects += rights.local.tick(now)
            effects += maintenance.follow(rights, plan, self._knowledge, self._seat, now)
            if plan is not None:
                forfeit(rights, plan, self._knowledge, self._seat)
            if rights.local.is_active:
                effects += self._keep_or_stop(rights, plan, now, stopping)
            elif plan is not None and not stopping:
                effects += self._start_if_granted(rights, plan, now)
                want_stuck(self._wants, rights.name, plan, self.fencing, self._knowledge, now)
            if plan is not None and rights.local.hosting and not rights.local.held:
                effects += replicas.tell(rights, plan, self._knowledge)
            self._news |= rights.is_news(now) | (not rights.maintained and rights.settle())
        return [*effects, *self._fence(now), *self._clear_failures(now)]

    def _fence(self, now: Instant) -> list[Effect]:
        """Cut off who has to be, as long as our lease says that we can judge that (rule 13)."""
        node, seat = self._knowledge.node, self._seat
        may = seat.holds(now) and not (seat.standing is not Standing.CLAIMED
                                       and self._knowledge.blocked(node, seat.life, now))
        if may:
            want_asked_for(self._wants, self._knowledge, now)
        effects = self.fencing.act(self._wants if may else {}, now)
        self._news |= self.fencing.take_news()
        return effects

    def _host(self, rights: GroupRights, plan: GroupPlan | None, stopping: bool) -> None:
        """Say what may rest here: nothing in standby, and in maintenance all stays as it is."""
        known = self._knowledge.plan
        rights.local.hold(not rights.local.is_active and (
            plan is None or plan.maintenance in (Maintenance.ON, Maintenance.ENDING)))
        rights.local.hosting = not (stopping or rights.declined or known is None
                                    or self._knowledge.node in known.standby)

    def _clear_failures(self, now: Instant) -> list[Effect]:
        """Do what operators asked of this node, once each: also what is answered already, since
        the leader waits for those alone that it hears to be unfit."""
        effects: list[Effect] = []
        for name, (request, _) in self._knowledge.requests.items():
            asked = request.kind == "clear" and request.node in ("", self._knowledge.node)
            if not asked or name in self._cleared or request.state == "refused":
                continue
            self._cleared.append(name)
            for rights in self.groups.values():
                if request.group in ("", rights.name):
                    rights.unfit_until = 0
                    effects += rights.local.clear(bool(rights.maintained), now)
        return effects

    def _plan(self, name: GroupName) -> GroupPlan | None:
        plan = self._knowledge.plan
        return plan.groups.get(name, UNPLANNED) if plan is not None else None

    def _decline(self) -> None:
        """Stand in for groups that our file does not give us, and a leader by its own file did.

        Nothing of them runs here in this incarnation: all that is said of them is `done`.
        """
        plan = self._knowledge.plan
        for name, group in plan.groups.items() if plan is not None else ():
            if name not in self.groups and own_rights(self._knowledge, group):
                self._add(GroupSpec(name=name, nodes=()))

    def _adopt_renewed_round(self) -> None:
        """Go on in the round that the leader gave us, once seat and plan both say so (rule 19)."""
        round_ = self._seat.renewed_to() if self._seat.standing is Standing.CLAIMED else 0
        plan = self._knowledge.plan
        if not round_ or plan is None:
            return
        # A right under maintenance may name a life of long ago: it is never renamed (rule 22).
        if any(right.life == self._seat.life for group in plan.groups.values()
               for right in own_rights(self._knowledge, group)):
            return
        self._seat.adopt(round_)
        self._news = True

    def _keep_or_stop(self, rights: GroupRights, plan: GroupPlan | None, now: Instant,
                      stopping: bool) -> list[Effect]:
        local = rights.local
        why, planned = self._why_stop(rights, plan, now, stopping)
        if planned and self._is_needed(rights.name, now, stopping):
            return []
        release = "" if why or plan is None else self._release(rights, plan, now)
        if not why and not release:
            return []
        rights.give_up(local.epoch)
        heir = plan.heir.node if plan is not None and plan.heir is not None else ""
        effects = local.stop(Occasion(why or release, planned, self._knowledge.node, heir), now)
        if release:
            rights.releases = [now, *rights.releases][:RELEASES_MAX]
            rights.unfit_until = max(rights.unfit_until, rights.fit_again_at())
            rights.unfit_why = release
            effects.append(self._report(rights, Reason.RELEASED, why=release))
        return effects

    def _why_stop(self, rights: GroupRights, plan: GroupPlan | None, now: Instant,
                  stopping: bool) -> tuple[str, bool]:
        """Say why an active group must stop, or nothing; and whether somebody wants it so."""
        why = must_stop(rights, plan, self._knowledge, self._seat, now)
        if rights.given_up >= rights.local.epoch and not why:
            # Given up already: a restart that was under way becomes a stop.
            return "its right is given up", False
        if not why and stopping and not rights.maintained:
            return "the agent stops", True
        return why, why == HANDS_OVER

    def _is_needed(self, name: GroupName, now: Instant, stopping: bool) -> bool:
        """Tell whether a group that requires this one is active here, and has yet to stop as well:
        what is started last stops first."""
        others = (self.groups.get(other) for other in self._dependents.get(name, ()))
        return any(one is not None and one.local.is_active
                   and self._why_stop(one, self._plan(one.name), now, stopping)[0]
                   for one in others)

    def _release(self, rights: GroupRights, plan: GroupPlan, now: Instant) -> str:
        """Say why the holder releases of its own accord, or nothing (rule 12)."""
        why = rights.wants_release(now)
        if not why or rights.maintained:
            return ""
        return why if may_release(rights, plan, self._knowledge, now) else ""

    def _start_if_granted(self, rights: GroupRights, plan: GroupPlan, now: Instant) -> list[Effect]:
        granted = grant(rights, plan, self._knowledge, self._seat, now)
        doubts = self._doubts[rights.name]
        if granted is None:
            rights.waits_for = rights.doubted = ""
            if plan.heir is None or plan.heir not in own_rights(self._knowledge, plan):
                self._doubts[rights.name] = Doubts()
            return []
        spec = rights.local.spec
        effects, doubted = doubts.resolve(spec, granted.doubts, self._knowledge, self._wants, now)
        rights.doubted = self.fencing.told(doubted)
        effects += self._wait_for_others(rights, now)
        if doubted or rights.waits_for:
            return effects
        self._doubts[rights.name] = Doubts()
        self._knowledge.heard_epoch(rights.name, granted.right.epoch)
        self._news = True
        started = rights.local.start(granted.right.epoch, granted.occasion, granted.probe, now)
        return [*effects, *started]

    def _wait_for_others(self, rights: GroupRights, now: Instant) -> list[Effect]:
        """Start beside, and after, the other groups that the file wants it to."""
        why = hindrance(rights.local.spec, self.groups, self._knowledge, now)
        before, rights.waits_for = rights.waits_for, why
        return [self._report(rights, Reason.WAITS_FOR_GROUP, why=why)] if why != before and why \
            else []

    def _report(self, rights: GroupRights, reason: Reason, **facts: str | int) -> Report:
        return Report(reason=reason, group=rights.name, node=self._knowledge.node, facts=facts)
