"""What this node may use: which right, from when, and until when (rules 4, 5, 10 to 14, 22).

A right is used under its epoch. `given_up` remembers rights that this node will never use (again);
`done` is what it says aloud once stopping is verified. Both only grow.
"""

from typing import NamedTuple

from hamgr.core.events import ServiceScored
from hamgr.core.group import LocalGroup
from hamgr.core.knowledge import Knowledge
from hamgr.core.phase import Occasion, Phase
from hamgr.core.records import GroupPlan, Right
from hamgr.core.seat import SeatKeeper, Standing
from hamgr.core.types import SECOND, Epoch, GroupName, Instant, Maintenance, Role

RELEASES_MAX, RELEASE_WINDOW = 5, 60 * SECOND
"""A holder releases of its own accord at most so often in this time (rule 12): links may flap."""

HANDS_OVER = "told to hand over"
FAILED_HERE = "a service failed here beyond its limit"


class Grant(NamedTuple):
    """A right that may be used now."""

    right: Right
    occasion: Occasion
    probe: str
    """How the address is to be probed for a conflict."""
    doubts: tuple[Right, ...] = ()
    """Earlier rights that are out without their owners' word: rules 13 and 14 apply."""


class GroupRights:
    """The rights of this node in one group."""

    def __init__(self, local: LocalGroup) -> None:
        self.local = local
        self.given_up: Epoch = 0
        self.done: Epoch = 0
        self.condition_why = ""
        """Why this node's own conditions for the group fail; empty while they hold."""
        self.unfit_until: Instant = 0
        """A service failed here beyond its limit: not again before then."""
        self.unfit_why = ""
        self.gate_why = ""
        """What of its attributes keeps this node from the group."""
        self.health = 0
        """What this node's health adds to its score."""
        self.waits_for = ""
        """What of other groups keeps this one from starting here, though its right is granted."""
        self.primary: Right | None = None
        """Under which right others have promoted their replicas, as ours were told."""
        self.doubted = ""
        """Of whom it is not certain yet that it does not run there."""
        self.releases: list[Instant] = []
        self.maintained: Epoch = 0
        """The epoch that maintenance keeps in place here; 0 outside of maintenance."""
        self.keeping = False
        """A step into or out of maintenance is under way on this node."""
        self.is_required = False
        """Another group is not started before this one is active."""
        self.told = (True, False)
        """Whether this node is fit, and the group up here if it is required: as others knew it."""

    @property
    def name(self) -> GroupName:
        """The group's name."""
        return self.local.spec.name

    @property
    def declined(self) -> bool:
        """Tell whether the file of this node does not give it the group."""
        return not self.local.spec.nodes

    def is_fit(self, now: Instant) -> bool:
        """Tell whether this node's own conditions for the group hold."""
        return not self.unfitness(now)

    def unfitness(self, now: Instant) -> str:
        """Say which of this node's own conditions for the group fails, or nothing."""
        if self.declined:
            return "the file of this node does not give it the group"
        return self.condition_why or self.gate_why or self.weakness() or (
            self.unfit_why or FAILED_HERE if now < self.unfit_until else "")

    def wants_release(self, now: Instant) -> str:
        """Say why the group shall leave this node, or nothing (rule 12).

        A failure beyond the limit is forgotten when it has aged and there was nowhere to go.
        """
        if self.local.released_unfit and now >= self.fit_again_at():
            self.local.released_unfit = ""
        return self.condition_why or self.gate_why or self.local.released_unfit

    def failed_lately(self, now: Instant) -> bool:
        """Tell whether it is not fit for one reason alone: a service failed beyond its limit."""
        return now < self.unfit_until and not (
            self.condition_why or self.gate_why or self.declined or self.weakness())

    def weakness(self) -> str:
        """Say why this node would do badly as the active one, by what rests here; or nothing."""
        for one in self.local.services if not self.local.is_active else ():
            if self.local.held and one.spec.promotable and one.spec.tells and one.known:
                return f"{one.spec.name} is not looked at in maintenance"
            if one.spec.promotable and not one.is_in(Role.STARTED):
                state = one.state if one.state == "failed" else f"is {one.state}"
                return f"{one.spec.name} {state}" + (f": {one.why}" if one.why else "")
        for one in self.local.services:
            if one.score < 0:
                return f"{one.spec.name} gives this node a score of {one.score}"
        return ""

    def trouble(self) -> str:
        """Say what does not go on by itself here, or nothing."""
        if self.waits_for or self.doubted:
            return f"waits: {self.waits_for or self.doubted}"
        for one in self.local.services if self.local.is_active else ():
            if one.blocked:
                state = "is blocked" if not self.local.stuck else "asks for its node to be fenced"
                return f"{one.spec.name} {state}: {one.why}"
            if one.state == "failed" and self.local.phase is not Phase.ACTIVE:
                goes = "stop" if self.local.phase is Phase.STOPPING else "start"
                return f"{one.spec.name} does not {goes}: {one.why}"
        on_its_way = self.local.phase in (Phase.STARTING, Phase.STOPPING)
        return self.local.released_unfit if on_its_way else ""

    def is_up(self) -> bool:
        """Tell whether all of it is started here, as the active node's or as rests here."""
        if not self.local.spec.everywhere:
            return self.local.phase is Phase.ACTIVE
        return all(one.is_in(one.top) or one.blocked for one in self.local.services)

    def fit_again_at(self) -> Instant:
        """Return when the failures that made this node unfit will have aged."""
        return max((one.aged_at() for one in self.local.services), default=0)

    @property
    def score(self) -> int:
        """Return how well this node would do, by the word of its services and its health."""
        return self.health + sum(one.score for one in self.local.services)

    def scored(self, event: ServiceScored) -> None:
        """Take in what a service says of this node."""
        for service in self.local.services:
            if service.spec.name == event.service:
                service.score = event.score

    def has_rest(self) -> bool:
        """Tell whether anything may still run here, or is being stopped, that we may stop."""
        return not self.local.held and not self.maintained and any(
            one.acting or one.role is not Role.STOPPED for one in self.local.services)

    def is_news(self, now: Instant) -> bool:
        """Tell, once, whether others must know at once that this node became fit, or unfit, or
        that what another group waits for is up.

        All else can wait for the next heartbeat: of a thousand groups each comes up on its own.
        """
        before, self.told = self.told, (self.is_fit(now), self.is_required and self.is_up())
        return before != self.told

    def give_up(self, epoch: Epoch) -> None:
        """Never use a right up to this epoch (again)."""
        self.given_up = max(self.given_up, epoch)

    def settle(self) -> bool:
        """Say `done` for what is given up and verified to be stopped; True if that is news."""
        if self.local.is_active:
            # A later right may be given up while an earlier one is in use, and the other way
            # round: only what lies below the epoch in use is certainly over.
            settled = min(self.given_up, self.local.epoch - 1)
        else:
            settled = self.given_up
        if settled <= self.done:
            return False
        self.done = settled
        return True


def own_rights(knowledge: Knowledge, plan: GroupPlan) -> list[Right]:
    """Return the rights of this node's incarnation in a group."""
    return [right for right in plan.rights if right.node == knowledge.node
            and right.incarnation == knowledge.incarnation]


def forfeit(rights: GroupRights, plan: GroupPlan, knowledge: Knowledge, seat: SeatKeeper) -> None:
    """Give up every right that names a round that is over (rules 4, 5), or is leaving (rule 11)."""
    if plan.maintenance is Maintenance.ON:
        return
    if plan.maintenance is Maintenance.ENDING:
        if plan.holder is not None and plan.holder.node == knowledge.node and (
                not rights.local.is_active):
            rights.give_up(plan.holder.epoch)
        return
    for right in own_rights(knowledge, plan):
        unused = not rights.local.is_active or rights.local.epoch != right.epoch
        # An owner that is not active says so when its right leaves or it is told to hand over:
        # there is nothing to stop, and others wait for its word.
        told = right in plan.leaving or (plan.handover and right == plan.holder)
        if (told and unused) or rights.declined or seat.has_ended(right.life):
            rights.give_up(right.epoch)


def grant(rights: GroupRights, plan: GroupPlan, knowledge: Knowledge, seat: SeatKeeper,
          now: Instant) -> Grant | None:
    """Return the right that this node may become active under now (rule 10)."""
    if not seat.holds(now) or plan.maintenance in (Maintenance.ON, Maintenance.ENDING):
        return None
    holder, heir = plan.holder, plan.heir
    if seat.standing is not Standing.CLAIMED and knowledge.blocked(knowledge.node, seat.life, now):
        return None
    if holder is not None and _mine(holder, knowledge, seat) and (
            _usable(rights, holder, knowledge)):
        if plan.handover:
            return None
        occasion = Occasion(plan.why or "holder by plan", target=holder.node)
        # The first owner ever probes before it claims; later the former one is known to be out.
        probe = "before" if holder.epoch == 1 else "beside"
        return Grant(holder, occasion, probe, plan.unverified)
    if heir is None or holder is None or not _mine(heir, knowledge, seat):
        return None
    if not _usable(rights, heir, knowledge) or not seat.is_member():
        return None
    if knowledge.said_done(holder, rights.name):
        occasion = Occasion(f"{holder.node} released", planned=plan.handover, origin=holder.node,
                            target=heir.node)
        return Grant(heir, occasion, "none", plan.unverified)
    accusers = knowledge.blocked(holder.node, holder.life, now)
    if accusers:
        why = f"{holder.node} is blocked, accused by {', '.join(accusers)}"
        occasion = Occasion(why, origin=holder.node, target=heir.node)
        return Grant(heir, occasion, "beside", (*plan.unverified, holder))
    return None


def _mine(right: Right, knowledge: Knowledge, seat: SeatKeeper) -> bool:
    return right.node == knowledge.node and right.life == seat.life


def _usable(rights: GroupRights, right: Right, knowledge: Knowledge) -> bool:
    return (right.epoch > rights.done and right.epoch > rights.given_up
            and knowledge.epochs.get(rights.name, 0) <= right.epoch
            and not knowledge.used_by_another(rights.name, right.epoch))


def must_stop(rights: GroupRights, plan: GroupPlan | None, knowledge: Knowledge,
              seat: SeatKeeper, now: Instant) -> str:
    """Say why an active group must stop here, or nothing if it may go on (rule 11)."""
    epoch = rights.local.epoch
    if rights.maintained:
        return ""
    if not seat.holds(now):
        return "the lease ran out"
    if plan is None:
        return ""
    if plan.maintenance is Maintenance.ENDING:
        # The plan may still name the incarnation that entered maintenance (rule 22).
        return ""
    if not any(right.epoch == epoch for right in own_rights(knowledge, plan)):
        return "the plan names this right no more"
    if plan.handover and plan.holder is not None and plan.holder.epoch == epoch:
        return HANDS_OVER
    if plan.holder is not None and plan.holder.epoch > epoch:
        return f"epoch {plan.holder.epoch} is recorded as holder"
    heard = knowledge.epochs.get(rights.name, 0)
    if heard > epoch:
        return f"epoch {heard} is in use"
    # On a claim no heir stands that could act on accusations (rule 19).
    if seat.standing is not Standing.CLAIMED:
        accusers = knowledge.blocked(knowledge.node, seat.life, now)
        if accusers:
            return f"own round is blocked, accused by {', '.join(accusers)}"
    return ""


def may_release(rights: GroupRights, plan: GroupPlan, knowledge: Knowledge, now: Instant) -> bool:
    """Tell whether the holder may release of its own accord to an heir that is ready (rule 12)."""
    holder, heir = plan.holder, plan.heir
    if holder is None or heir is None or holder.epoch != rights.local.epoch:
        return False
    if len(rights.releases) == RELEASES_MAX and now - rights.releases[-1] < RELEASE_WINDOW:
        return False
    word = knowledge.word(heir, rights.name)
    peer = knowledge.liveness.peers.get(heir.node)
    heartbeat = peer.heartbeat if peer is not None else None
    if peer is None or heartbeat is None or word is None or not word.fit:
        return False
    echo = peer.echoes(knowledge.incarnation)
    young = echo is not None and now - echo.sent < knowledge.timing.lease
    return young and heartbeat.life == heir.life and not heartbeat.lapsed
