"""What each mistake does to plans, leaders and the shell's part: placement, fencing, groups, files.

Like hamgr.simulation.planted, from outside.
"""

from contextlib import ExitStack
from typing import Any

from msgspec.structs import replace

from hamgr.core import activity, fencers, group, knowledge, maintenance, rights
from hamgr.core.doubts import Doubts
from hamgr.core.effects import Effect, KeepMaintenance, LoosenAddresses
from hamgr.core.fencing import Fencing, Want
from hamgr.core.knowledge import Knowledge
from hamgr.core.liveness import Liveness
from hamgr.core.records import GroupPlan, Voters
from hamgr.core.seat import SeatKeeper, Standing
from hamgr.core.spec import GroupSpec
from hamgr.core.timing import Timing
from hamgr.core.types import Instant
from hamgr.leader import draft, leadership, placement, planner, requests, situation
from hamgr.leader.leadership import Leadership
from hamgr.simulation import scenario as scenarios
from hamgr.simulation.planted import put
from hamgr.times import times_for


def next_heir_beside_a_leaving_one(stack: ExitStack) -> None:
    """(e) The leader names the next heir beside one that is leaving (rule 18)."""
    right = planner._care_for_heir

    def care(draft: Any, spec: Any, plan: GroupPlan, wanted: str, frozen: bool) -> None:
        right(draft, spec, replace(plan, leaving=()), wanted, frozen)
        after = draft.plan.groups.get(spec.name)
        if plan.leaving and after is not None and not set(plan.leaving) <= set(after.leaving):
            kept = (*plan.leaving, *after.leaving)
            draft.plan = replace(draft.plan, groups={
                **draft.plan.groups, spec.name: replace(after, leaving=kept)})
    put(stack, planner, "_care_for_heir", care)


def leaving_rights_forgotten(stack: ExitStack) -> None:
    """(f) The plan drops rights that are leaving (rule 18)."""
    right = planner._drop_out

    def drop_out(draft: Any, spec: Any, plan: GroupPlan) -> GroupPlan:
        return right(draft, spec, replace(plan, leaving=()))
    put(stack, planner, "_drop_out", drop_out)


def seats_unchecked(stack: ExitStack) -> None:
    """(l) A node is declared dead without checking its accusers' seats (rule 17)."""
    right = draft.Draft.declare_dead

    def declare_dead(self: Any, node: str) -> bool:
        before = dict(self.checks)
        found = right(self, node)
        self.checks = before
        return found
    put(stack, draft.Draft, "declare_dead", declare_dead)


def no_room_for_drift(stack: ExitStack) -> None:
    """(v) Detection is as long as the lease, which clocks that drift do not forgive."""
    def times(interval: int) -> Timing:
        right = times_for(interval)
        return replace(right, detection=right.lease)
    put(stack, scenarios, "times_for", times)
    put(stack, Liveness, "_detection", lambda self, heartbeat: self.timing.detection)
    put(stack, knowledge, "_unsafe", lambda plan: "")


def woken_goes_on(stack: ExitStack) -> None:
    """(w) Who hears a higher epoch, or its own round blocked, goes on (rule 11)."""
    right = rights.must_stop

    def must_stop(*args: Any) -> str:
        why = right(*args)
        heard = why.endswith("is in use") or why.startswith("own round is blocked")
        return "" if heard else why
    put(stack, activity, "must_stop", must_stop)


def lateness_not_forgiven(stack: ExitStack) -> None:
    """(x) A late loop adds nothing to anybody's allowance (rule 8)."""
    put(stack, Liveness, "forgive", lambda self, lateness: None)


def one_accuser_takes_the_lead(stack: ExitStack) -> None:
    """(z) Whoever accuses the leader takes the record (rule 15)."""
    right = Leadership._vacancy

    def vacancy(self: Any, now: Instant) -> str:
        leader = self._knowledge.leader
        peer = self._knowledge.liveness.peers.get(leader.node) if leader is not None else None
        accused = "accused by one" if peer is not None and peer.is_accused else ""
        return right(self, now) or accused
    put(stack, Leadership, "_vacancy", vacancy)


def deaf_leader_stays(stack: ExitStack) -> None:
    """(z) A leader that hears no majority keeps the record (rule 15)."""
    put(stack, Leadership, "_hears_quorum", lambda self, now: True)


def lost_answer_to_member(stack: ExitStack) -> None:
    """(z) `member` is written once, and a lost answer never made up for (rule 7)."""
    right, act = SeatKeeper._own_seat_read, SeatKeeper.act

    def read(self: Any, seen: Any) -> None:
        if self.standing is not Standing.SETTLING:
            right(self, seen)

    def act_once(self: Any, now: Instant, **how: Any) -> list[Effect]:
        asked = getattr(self, "_asked_member", None)
        if self.standing is Standing.SETTLING and asked == self.round and not self.renewed_to():
            return []
        effects = act(self, now, **how)
        if self._pending is not None and self._pending.kind == "member":
            self._asked_member = self.round
        return effects
    put(stack, SeatKeeper, "_own_seat_read", read)
    put(stack, SeatKeeper, "act", act_once)


def standby_overlooked(stack: ExitStack) -> None:
    """A group is given to nodes in standby."""
    right = placement.unfitness

    def unfitness(node: Any, spec: Any, known: Any, says: Any, standby: Any) -> str:
        return right(node, spec, known, says, ())
    put(stack, planner, "unfitness", unfitness)
    of_node = placement.node_unfitness

    def node_unfitness(node: Any, known: Any, says: Any, standby: Any) -> str:
        return of_node(node, known, says, ())
    put(stack, situation, "node_unfitness", node_unfitness)


def fence_not_awaited(stack: ExitStack) -> None:
    """Whoever may take over does so beside the fence (rule 13)."""
    right = Doubts.resolve

    def resolve(self: Any, spec: GroupSpec, *rest: Any) -> tuple[list[Effect], str]:
        effects, waits = right(self, spec, *rest)
        return effects, "" if spec.fencing_required else waits
    put(stack, Doubts, "resolve", resolve)


def stop_within_not_awaited(stack: ExitStack) -> None:
    """Whoever may take over does so at once, whatever runs on elsewhere (rule 14)."""
    right = Doubts.resolve

    def resolve(self: Any, spec: GroupSpec, *rest: Any) -> tuple[list[Effect], str]:
        effects, waits = right(self, spec, *rest)
        return effects, waits if spec.fencing_required else ""
    put(stack, Doubts, "resolve", resolve)


def fenced_by_all(stack: ExitStack) -> None:
    """Everybody who waits for a fence begins it (rule 13)."""
    def is_first(*_: Any) -> bool:
        return True

    def other_is_at(*_: Any) -> bool:
        return False
    put(stack, fencers, "is_first", is_first)
    put(stack, Fencing, "_other_is_at", other_is_at)


def fenced_without_a_lease(stack: ExitStack) -> None:
    """Whoever has lost its lease goes on fencing the others (rule 13)."""
    def fence(self: Any, now: Instant) -> list[Effect]:
        for peer in self._knowledge.liveness.peers.values():
            if peer.is_accused and self.fencing.devices(peer.node):
                self._wants.setdefault(peer.node, Want(peer.known, True, "it is silent"))
        effects: list[Effect] = self.fencing.act(self._wants, now)
        return effects
    put(stack, activity.Activity, "_fence", fence)


def fenced_on_own_accusation(stack: ExitStack) -> None:
    """An owner is fenced on one accusation (rule 13)."""
    def blocked(self: Knowledge, node: str, life: Any, now: int) -> tuple[str, ...]:
        accusers = self.liveness.accusers(node, life, now)
        return accusers if self.node in accusers else ()
    put(stack, Knowledge, "blocked", blocked)


def failed_stop_taken_for_done(stack: ExitStack) -> None:
    """A service whose stop failed counts as stopped (PROTOCOL: done)."""
    right = group.LocalGroup.service_answered

    def answered(self: Any, event: Any, now: Instant) -> list[Effect]:
        down = event.action in ("demote", "stop")
        return right(self, replace(event, ok=event.ok or down), now)
    put(stack, group.LocalGroup, "service_answered", answered)


def group_forgotten_with_its_file(stack: ExitStack) -> None:
    """A group that goes from the file goes from mind, and runs on (rule 17)."""
    right = activity.Activity.configure

    def configure(self: Any, now: Instant) -> None:
        names = [spec.name for spec in self._knowledge.spec.groups]
        for name in [name for name in self.groups if name not in names]:
            del self.groups[name], self._doubts[name]
        right(self, now)
    put(stack, activity.Activity, "configure", configure)


def voters_change_at_once(stack: ExitStack) -> None:
    """Other voters count at once, and the former ones no more (rule 23)."""
    def change(draft: Any, request: Any) -> tuple[str, str]:
        voters = draft.plan.voters
        if set(request.voters) == set(voters.names):
            return "done", "they are"
        draft.plan = replace(draft.plan, voters=Voters(
            number=voters.number + 1, names=request.voters))
        draft.lines.append("voters change")
        return "", "the plan"
    put(stack, requests, "change_voters", change)


def times_change_at_once(stack: ExitStack) -> None:
    """All times change in one step, and nobody minds leases that peers name (rule 24)."""
    def change(draft: Any, request: Any) -> tuple[str, str]:
        if draft.plan.times == request.times:
            return "done", "they are"
        draft.plan = replace(draft.plan, times=request.times)
        draft.lines.append("times change")
        return "", "the plan"
    put(stack, requests, "change_times", change)
    put(stack, Liveness, "_detection", lambda self, heartbeat: self.timing.detection)
    put(stack, Liveness, "set_timing", lambda self, timing: setattr(self, "timing", timing))


def unknown_fields_dropped(stack: ExitStack) -> None:
    """A plan is written without the fields that its writer does not know."""
    right = Leadership._write_plan

    def write(self: Any, plan: Any, *rest: Any) -> list[Effect]:
        groups = {name: replace(one, extra={}) for name, one in plan.groups.items()}
        return right(self, replace(plan, groups=groups, extra={}), *rest)
    put(stack, leadership.Leadership, "_write_plan", write)


def lapse_stops_what_is_maintained(stack: ExitStack) -> None:
    """A lapse stops what is in maintenance (rule 22)."""
    right = rights.must_stop

    def must_stop(own: Any, *args: Any) -> str:
        maintained, own.maintained = own.maintained, 0
        try:
            return right(own, *args)
        finally:
            own.maintained = maintained
    put(stack, activity, "must_stop", must_stop)


def maintenance_before_it_is_kept(stack: ExitStack) -> None:
    """The switch is disarmed before the disk knows why (rule 22)."""
    right = maintenance.follow

    def follow(own: Any, *args: Any) -> list[Effect]:
        effects = right(own, *args)
        if any(isinstance(one, KeepMaintenance) and one.on for one in effects):
            own.keeping, own.maintained = False, own.local.epoch
            effects += [*own.local.loosen(), LoosenAddresses(group=own.name)]
        return effects
    put(stack, maintenance, "follow", follow)
