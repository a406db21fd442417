"""What each mistake does to the core, in leases, seats, accusations and rights: letter and rule.

Each patches from outside, until the stack ends; the engine itself has no switches.
"""

from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from hamgr.core import electorate, knowledge, rights, seat, voice
from hamgr.core.effects import Effect, SetDeadline
from hamgr.core.knowledge import Knowledge
from hamgr.core.lease import Lease
from hamgr.core.liveness import Liveness
from hamgr.core.records import GroupPlan, Right
from hamgr.core.timing import Timing
from hamgr.core.types import NO_LIFE, Outcome, SeatState
from hamgr.engine import Engine
from hamgr.leader import changes, planner
from hamgr.simulation import scenario as scenarios
from hamgr.simulation.agent import Agent
from hamgr.times import times_for


def put(stack: ExitStack, owner: Any, name: str, wrong: Any) -> None:
    """Patch, until the stack ends."""
    stack.enter_context(patch.object(owner, name, wrong))


def acts_on_own_accusation(stack: ExitStack) -> None:
    """(a) Rule 9."""
    def blocked(self: Knowledge, node: str, life: Any, now: int) -> tuple[str, ...]:
        accusers = self.liveness.accusers(node, life, now)
        return accusers if self.node in accusers else ()
    put(stack, Knowledge, "blocked", blocked)


def one_accusation_less(stack: ExitStack) -> None:
    """(b) Rule 9."""
    def blocks(voters: tuple[str, ...], node: str, accusers: Any) -> bool:
        needed = len(voters) - electorate.majority(voters)
        return sum(voter in accusers and voter != node for voter in voters) >= needed
    put(stack, electorate, "_blocks", blocks)


def forgets_the_heir(stack: ExitStack) -> None:
    """(c) Rule 18."""
    right = planner._drop_out

    def drop_out(draft: Any, spec: Any, group: GroupPlan) -> GroupPlan:
        holder = group.holder
        if holder is not None and draft.is_out(holder, spec.name, group.maintenance):
            group = replace(group, heir=None)
        return right(draft, spec, group)
    put(stack, planner, "_drop_out", drop_out)


def good_claim_overruled(stack: ExitStack) -> None:
    """(d) Rule 17."""
    put(stack, Timing, "claim_abandoned", property(lambda self: 0))


def detection_below_lease(stack: ExitStack) -> None:
    """(g) PROTOCOL: Times."""
    def times(interval: int) -> Timing:
        right = times_for(interval)
        return replace(right, lease=right.detection, detection=right.lease * 8 // 10)
    put(stack, scenarios, "times_for", times)
    put(stack, Liveness, "_detection", lambda self, heartbeat: self.timing.detection)
    put(stack, knowledge, "_unsafe", lambda plan: "")


def credits_after_lapse(stack: ExitStack) -> None:
    """(h) Rule 2."""
    class Holds:
        def __init__(self, keeper: Any) -> None:
            self._keeper = keeper

        def __getattr__(self, name: str) -> Any:
            return (lambda now: True) if name == "holds" else getattr(self._keeper, name)

    right = voice.Voice.credits

    def credits(self: Any, peer: Any, now: int) -> bool:
        keeper = self._seat
        self._seat = Holds(keeper)
        try:
            return right(self, peer, now)
        finally:
            self._seat = keeper
    put(stack, voice.Voice, "credits", credits)


def accusations_withdrawn(stack: ExitStack) -> None:
    """(i) Rule 8."""
    right = Liveness.hear

    def hear(self: Liveness, heartbeat: Any, ring: int, now: int) -> bool:
        is_news = right(self, heartbeat, ring, now)
        if is_news:
            self.peers[heartbeat.sender].accused = NO_LIFE
        return is_news
    put(stack, Liveness, "hear", hear)


def restarted_voter_credits(stack: ExitStack) -> None:
    """(j) Rule 2."""
    put(stack, Liveness, "knows", lambda self, peer, now: True)


def credits_whom_it_just_met(stack: ExitStack) -> None:
    """(bb) Rule 2: counted from the voter's own start."""
    init, right = Liveness.__init__, Liveness.hear

    def begin(self: Any, node: Any, incarnation: int, peers: Any, timing: Any, now: int) -> None:
        init(self, node, incarnation, peers, timing, now)
        self.begun = now

    def hear(self: Any, heartbeat: Any, ring: int, now: int) -> bool:
        is_news = right(self, heartbeat, ring, now)
        self.peers[heartbeat.sender].met_at = self.begun
        return is_news
    put(stack, Liveness, "__init__", begin)
    put(stack, Liveness, "hear", hear)


def stale_accusations(stack: ExitStack) -> None:
    """(k) Rule 9."""
    put(stack, Liveness, "is_fresh", lambda self, peer, now: True)


def dead_voters_at_once(stack: ExitStack) -> None:
    """(l) Rule 17."""
    def is_gone(self: Knowledge, node: str, now: int) -> bool:
        seen = self.seats.get(node)
        return seen is not None and seen.seat.state in (SeatState.DEAD, SeatState.LEFT)
    put(stack, Knowledge, "is_gone", is_gone)


def switch_told_too_late(stack: ExitStack) -> None:
    """(m) Rule 7."""
    right = Engine.handle

    def handle(self: Engine, event: Any, now: int) -> list[Effect]:
        effects = right(self, event, now)
        raised = max(getattr(self, "_raised", 0), *(
            one.deadline for one in effects if isinstance(one, SetDeadline)), 0)
        self._raised = raised  # type: ignore[attr-defined]
        return [replace(one, deadline=raised) if isinstance(one, SetDeadline) else one
                for one in effects]
    put(stack, Engine, "handle", handle)


def lapse_is_not_final(stack: ExitStack) -> None:
    """(n) Rule 4."""
    def check(self: Any, now: int, effects: list[Effect]) -> None:
        held, holds = self.__dict__.get("held", False), self.seat.holds(now)
        self.__dict__["held"] = holds
        self._say_now |= held and not holds
    put(stack, Engine, "_check_lease", check)
    put(stack, rights, "_usable", lambda own, right, knowledge: True)


def claim_dated_from_answer(stack: ExitStack) -> None:
    """(o) Rule 6."""
    right = seat.SeatKeeper.answered

    def answered(self: Any, write: int, outcome: Outcome, versions: Any, now: int) -> bool:
        if self._pending is not None and self._pending.write == write:
            self._pending = self._pending._replace(sent=now)
        return right(self, write, outcome, versions, now)
    put(stack, seat.SeatKeeper, "answered", answered)


def heir_beside_a_claim(stack: ExitStack) -> None:
    """(p) Rule 18."""
    right = planner._care_for_heir

    def care_for_heir(draft: Any, spec: Any, group: GroupPlan, wanted: str, frozen: bool) -> None:
        seats = dict(draft.knowledge.seats)
        for name, seen in seats.items():
            if seen.seat.state is SeatState.CLAIMED:
                draft.knowledge.seats[name] = seen._replace(
                    seat=replace(seen.seat, state=SeatState.MEMBER))
        try:
            right(draft, spec, group, wanted, frozen)
        finally:
            draft.knowledge.seats.update(seats)
    put(stack, planner, "_care_for_heir", care_for_heir)


def claim_renewed_by_reading(stack: ExitStack) -> None:
    """(q) Rule 6."""
    right = seat.SeatKeeper.seat_read

    def seat_read(self: Any, now: int) -> None:
        right(self, now)
        seen = self.seat
        if self.standing is seat.Standing.CLAIMED and seen is not None and (
                seen.state is SeatState.CLAIMED):
            self.lease.claim_until(now + self._knowledge.timing.claim_good)
    put(stack, seat.SeatKeeper, "seat_read", seat_read)

    handle = Engine.handle

    def handle_and_read(self: Any, event: Any, now: int) -> list[Effect]:
        if self.seat.standing is seat.Standing.CLAIMED and self.knowledge.connected:
            self.seat.seat_read(now)
        return handle(self, event, now)
    put(stack, Engine, "handle", handle_and_read)


def done_when_stopping_begins(stack: ExitStack) -> None:
    """(r) Rule 11."""
    def settle(self: Any) -> bool:
        news = self.given_up > self.done
        self.done = max(self.done, self.given_up)
        return bool(news)
    put(stack, rights.GroupRights, "settle", settle)


def renewed_for_one_group(stack: ExitStack) -> None:
    """(s) Rule 19."""
    right = changes._carry_over

    def carry_over(draft: Any, node: str, owned: dict[str, GroupPlan]) -> None:
        right(draft, node, dict(list(owned.items())[:1]))
    put(stack, changes, "_carry_over", carry_over)


def accuses_one_round_only(stack: ExitStack) -> None:
    """(t) Rule 8."""
    right = voice.Voice.credits

    def credits(self: Any, peer: Any, now: int) -> bool:
        accused = peer.accused
        if peer.heartbeat is not None and accused > peer.heartbeat.life:
            peer.accused = NO_LIFE
        try:
            return right(self, peer, now)
        finally:
            peer.accused = accused
    put(stack, voice.Voice, "credits", credits)


def leftovers_stay(stack: ExitStack) -> None:
    """(u) Rule 21."""
    put(stack, Agent, "_clean", lambda self: self._begin_life())


def acts_on_its_old_round(stack: ExitStack) -> None:
    """(aa) Rule 5."""
    def has_ended(self: Any, life: Any) -> bool:
        return bool(life.incarnation != self._knowledge.incarnation)
    put(stack, seat.SeatKeeper, "has_ended", has_ended)
    put(stack, rights, "_mine", lambda right, knowledge, keeper: (
        right.node == knowledge.node and right.incarnation == knowledge.incarnation))


def credits_from_their_arrival(stack: ExitStack) -> None:
    """Words: a credit's time is the send time of the heartbeat."""
    right = Lease.credit
    heard = Engine._heard

    def hear(self: Any, heartbeat: Any, ring: int, now: int, effects: Any) -> None:
        self.seat.lease.__dict__["now"] = now
        heard(self, heartbeat, ring, now, effects)

    def credit(self: Any, voter: str, sent: int) -> None:
        right(self, voter, max(sent, self.__dict__.get("now", sent)))
    put(stack, Engine, "_heard", hear)
    put(stack, Lease, "credit", credit)


def never_heard_never_accused(stack: ExitStack) -> None:
    """(y) Rule 8."""
    right = Liveness.accuse_silent

    def accuse(self: Liveness, now: int) -> Any:
        for peer in self.peers.values():
            if peer.heartbeat is None:
                peer.suspect_at = now + self.timing.detection
        return right(self, now)
    put(stack, Liveness, "accuse_silent", accuse)


def scars_stay(stack: ExitStack) -> None:
    """(z) Rule 19."""
    put(stack, voice.Voice, "scars", lambda self, now: ())


def epochs_given_twice(stack: ExitStack) -> None:
    """Rule 18."""
    def new_right(draft: Any, node: str, group: GroupPlan) -> Right:
        life = draft.knowledge.seats[node].seat.life
        return Right(node=node, incarnation=life.incarnation, round=life.round,
                     epoch=max(1, group.top_epoch))
    put(stack, planner, "_new_right", new_right)
