"""Mistakes planted on purpose: a simulator that does not find them does not test their rule.

Each patches the core (or, where the mistake is the shell's, the modelled agent) from outside; the
engine itself has no switches. The letters are those of the protocol's list.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest.mock import patch

from msgspec.structs import replace

from hamgr.core import changes, electorate, knowledge, planner, rights, seat, voice
from hamgr.core.effects import Effect, SetDeadline
from hamgr.core.engine import Engine
from hamgr.core.knowledge import Knowledge
from hamgr.core.lease import Lease
from hamgr.core.liveness import Liveness
from hamgr.core.records import GroupPlan, Right
from hamgr.core.timing import Timing
from hamgr.core.types import NO_LIFE, Outcome, SeatState
from hamgr.simulation import scenario as scenarios
from hamgr.simulation.agent import Agent
from hamgr.simulation.invariants import Verdict
from hamgr.simulation.swarm import scenario_for
from hamgr.simulation.world import World
from hamgr.times import times_for

Say = Callable[[str], None]
Plant = Callable[[ExitStack], None]


class Mistake(NamedTuple):
    """One mistake: what is wrong, how it is planted, and where to look for it."""

    what: str
    plant: Plant
    incidents: tuple[str, ...] = ()
    """Incidents that are aimed at it; empty: schedules of all generators."""
    seeds: int = 60
    """So many schedules must be enough."""
    breaks: tuple[str, ...] = ("two active", "lease", "epoch twice", "epoch order", "fence")
    """The kinds of violation that count as finding it: safety, or else what it costs."""

    def found_in(self, verdict: Verdict) -> bool:
        """Tell whether a run shows the mistake."""
        return any(violation.kind in self.breaks for violation in verdict.violations)


def _put(stack: ExitStack, owner: Any, name: str, wrong: Any) -> None:
    stack.enter_context(patch.object(owner, name, wrong))


def _acts_on_own_accusation(stack: ExitStack) -> None:
    def blocked(self: Knowledge, node: str, life: Any, now: int) -> tuple[str, ...]:
        accusers = self.liveness.accusers(node, life, now)
        return accusers if self.node in accusers else ()
    _put(stack, Knowledge, "blocked", blocked)


def _one_accusation_less(stack: ExitStack) -> None:
    def blocks(voters: tuple[str, ...], node: str, accusers: Any) -> bool:
        needed = len(voters) - electorate.majority(voters)
        return sum(voter in accusers and voter != node for voter in voters) >= needed
    _put(stack, electorate, "_blocks", blocks)


def _forgets_the_heir(stack: ExitStack) -> None:
    right = planner._drop_out

    def drop_out(draft: Any, spec: Any, group: GroupPlan) -> GroupPlan:
        holder = group.holder
        if holder is not None and draft.is_out(holder, spec.name, group.maintenance):
            group = replace(group, heir=None)
        return right(draft, spec, group)
    _put(stack, planner, "_drop_out", drop_out)


def _good_claim_overruled(stack: ExitStack) -> None:
    _put(stack, Timing, "claim_abandoned", property(lambda self: 0))


def _heir_replaced_without_done(stack: ExitStack) -> None:
    right = planner._care_for_heir

    def care(draft: Any, spec: Any, group: GroupPlan, wanted: str, frozen: bool) -> None:
        right(draft, spec, group, wanted, frozen)
        after = draft.plan.groups.get(spec.name)
        if after is not None and after.leaving:
            draft.plan = replace(draft.plan, groups={
                **draft.plan.groups, spec.name: replace(after, leaving=())})
    _put(stack, planner, "_care_for_heir", care)


def _detection_below_lease(stack: ExitStack) -> None:
    def times(interval: int) -> Timing:
        right = times_for(interval)
        return replace(right, lease=right.detection, detection=right.lease * 8 // 10)
    _put(stack, scenarios, "times_for", times)
    _put(stack, Liveness, "_detection", lambda self, heartbeat: self.timing.detection)
    _put(stack, knowledge, "_unsafe", lambda plan: "")


def _credits_after_lapse(stack: ExitStack) -> None:
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
    _put(stack, voice.Voice, "credits", credits)


def _accusations_withdrawn(stack: ExitStack) -> None:
    right = Liveness.hear

    def hear(self: Liveness, heartbeat: Any, ring: int, now: int) -> bool:
        is_news = right(self, heartbeat, ring, now)
        if is_news:
            self.peers[heartbeat.sender].accused = NO_LIFE
        return is_news
    _put(stack, Liveness, "hear", hear)


def _restarted_voter_credits(stack: ExitStack) -> None:
    _put(stack, voice.Voice, "is_warm", lambda self, now: True)


def _stale_accusations(stack: ExitStack) -> None:
    _put(stack, Liveness, "is_fresh", lambda self, peer, now: True)


def _dead_voters_at_once(stack: ExitStack) -> None:
    def is_gone(self: Knowledge, node: str, now: int) -> bool:
        seen = self.seats.get(node)
        return seen is not None and seen.seat.state in (SeatState.DEAD, SeatState.LEFT)
    _put(stack, Knowledge, "is_gone", is_gone)


def _switch_told_too_late(stack: ExitStack) -> None:
    right = Engine.handle

    def handle(self: Engine, event: Any, now: int) -> list[Effect]:
        effects = right(self, event, now)
        raised = max(getattr(self, "_raised", 0), *(
            one.deadline for one in effects if isinstance(one, SetDeadline)), 0)
        self._raised = raised  # type: ignore[attr-defined]
        return [replace(one, deadline=raised) if isinstance(one, SetDeadline) else one
                for one in effects]
    _put(stack, Engine, "handle", handle)


def _lapse_is_not_final(stack: ExitStack) -> None:
    _put(stack, Engine, "_check_lease", lambda self, now, effects: None)
    _put(stack, rights, "_usable", lambda own, right, knowledge: True)


def _claim_dated_from_answer(stack: ExitStack) -> None:
    right = seat.SeatKeeper.answered

    def answered(self: Any, write: int, outcome: Outcome, versions: Any, now: int) -> bool:
        if self._pending is not None and self._pending.write == write:
            self._pending = replace(self._pending, sent=now)
        return right(self, write, outcome, versions, now)
    _put(stack, seat.SeatKeeper, "answered", answered)


def _heir_beside_a_claim(stack: ExitStack) -> None:
    right = planner._name_heir

    def name_heir(draft: Any, spec: Any, group: GroupPlan, node: str) -> None:
        seats = dict(draft.knowledge.seats)
        for name, seen in seats.items():
            if seen.seat.state is SeatState.CLAIMED:
                draft.knowledge.seats[name] = seen._replace(
                    seat=replace(seen.seat, state=SeatState.MEMBER))
        try:
            right(draft, spec, group, node)
        finally:
            draft.knowledge.seats.update(seats)
    _put(stack, planner, "_name_heir", name_heir)
    _put(stack, planner, "_weakness", lambda draft, node, holder: "")


def _claim_renewed_by_reading(stack: ExitStack) -> None:
    right = seat.SeatKeeper.seat_read

    def seat_read(self: Any, now: int) -> None:
        right(self, now)
        seen = self.seat
        if self.standing is seat.Standing.CLAIMED and seen is not None and (
                seen.state is SeatState.CLAIMED):
            self.lease.claim_until(now + self._knowledge.timing.claim_good)
    _put(stack, seat.SeatKeeper, "seat_read", seat_read)

    handle = Engine.handle

    def handle_and_read(self: Any, event: Any, now: int) -> list[Effect]:
        if self.seat.standing is seat.Standing.CLAIMED and self.knowledge.connected:
            self.seat.seat_read(now)
        return handle(self, event, now)
    _put(stack, Engine, "handle", handle_and_read)


def _done_when_stopping_begins(stack: ExitStack) -> None:
    def settle(self: Any) -> bool:
        news = self.given_up > self.done
        self.done = max(self.done, self.given_up)
        return bool(news)
    _put(stack, rights.GroupRights, "settle", settle)


def _renewed_for_one_group(stack: ExitStack) -> None:
    right = changes._carry_over

    def carry_over(draft: Any, node: str, owned: dict[str, GroupPlan]) -> None:
        right(draft, node, dict(list(owned.items())[:1]))
    _put(stack, changes, "_carry_over", carry_over)


def _accuses_one_round_only(stack: ExitStack) -> None:
    right = voice.Voice.credits

    def credits(self: Any, peer: Any, now: int) -> bool:
        accused = peer.accused
        if peer.heartbeat is not None and accused > peer.heartbeat.life:
            peer.accused = NO_LIFE
        try:
            return right(self, peer, now)
        finally:
            peer.accused = accused
    _put(stack, voice.Voice, "credits", credits)


def _leftovers_stay(stack: ExitStack) -> None:
    _put(stack, Agent, "_clean", lambda self: self._begin_life())


def _acts_on_its_old_round(stack: ExitStack) -> None:
    def has_ended(self: Any, life: Any) -> bool:
        return bool(life.incarnation != self._knowledge.incarnation)
    _put(stack, seat.SeatKeeper, "has_ended", has_ended)
    _put(stack, rights, "_mine", lambda right, knowledge, keeper: (
        right.node == knowledge.node and right.incarnation == knowledge.incarnation))


def _credits_from_their_arrival(stack: ExitStack) -> None:
    right = Lease.credit
    heard = Engine._heard

    def hear(self: Any, heartbeat: Any, ring: int, now: int, effects: Any) -> None:
        self.seat.lease.__dict__["now"] = now
        heard(self, heartbeat, ring, now, effects)

    def credit(self: Any, voter: str, sent: int) -> None:
        right(self, voter, max(sent, self.__dict__.get("now", sent)))
    _put(stack, Engine, "_heard", hear)
    _put(stack, Lease, "credit", credit)


def _never_heard_never_accused(stack: ExitStack) -> None:
    right = Liveness.accuse_silent

    def accuse(self: Liveness, now: int) -> Any:
        for peer in self.peers.values():
            if peer.heartbeat is None:
                peer.suspect_at = now + self.timing.detection
        return right(self, now)
    _put(stack, Liveness, "accuse_silent", accuse)


def _scars_stay(stack: ExitStack) -> None:
    _put(stack, voice.Voice, "scars", lambda self, now: ())


def _epochs_given_twice(stack: ExitStack) -> None:
    def new_right(draft: Any, node: str, group: GroupPlan) -> Right:
        life = draft.knowledge.seats[node].seat.life
        return Right(node=node, incarnation=life.incarnation, round=life.round,
                     epoch=max(1, group.top_epoch))
    _put(stack, planner, "_new_right", new_right)


MISTAKES: dict[str, Mistake] = {
    "a": Mistake("an heir acts on its own accusation alone", _acts_on_own_accusation),
    "b": Mistake("one accusation less than the blocking set", _one_accusation_less),
    "c": Mistake("the leader forgets an heir that may have acted", _forgets_the_heir),
    "d": Mistake("a node is declared dead while its claim is good", _good_claim_overruled),
    "e": Mistake("a healthy heir is replaced without its done, and forgotten (f)",
                 _heir_replaced_without_done, ("heir-replaced-unawares",)),
    "g": Mistake("detection below the lease", _detection_below_lease),
    "h": Mistake("credits from a node whose own lease has lapsed", _credits_after_lapse,
                 seeds=600),
    "i": Mistake("accusations withdrawn when the node is heard again", _accusations_withdrawn,
                 ("accuser-hears-again",), seeds=200),
    "j": Mistake("a restarted voter credits at once", _restarted_voter_credits,
                 ("voter-restarts",), seeds=400),
    "k": Mistake("accusations counted without freshness", _stale_accusations,
                 ("voter-restarts-later", "voter-restarts"), seeds=200),
    "l": Mistake("dead and left voters count at once", _dead_voters_at_once,
                 ("heir-cut-from-three", "heir-alone-with-the-dead"), seeds=400),
    "m": Mistake("the switch's deadline is never lowered", _switch_told_too_late,
                 ("stall-after-member", "stall-all-but-switch")),
    "n": Mistake("a lapsed round is revived by new credits", _lapse_is_not_final,
                 ("lapse-without-accusation",), seeds=200),
    "o": Mistake("a claim dated from its answer", _claim_dated_from_answer,
                 ("claims-answered-late", "late-answers-to-claims"), seeds=200),
    "p": Mistake("an heir named while the holder lives on a claim", _heir_beside_a_claim,
                 ("everybody-on-claims",), seeds=200),
    "q": Mistake("a claim renewed by reading", _claim_renewed_by_reading,
                 ("claim-behind-a-stale-server",), seeds=100),
    "r": Mistake("done said when stopping begins", _done_when_stopping_begins,
                 ("switchover-with-slow-stop",)),
    "s": Mistake("a round renewed for one group only", _renewed_for_one_group,
                 ("scarred-owner-of-two",)),
    "t": Mistake("an accusation does not cover earlier rounds", _accuses_one_round_only,
                 ("renewed-unawares",), seeds=200),
    "u": Mistake("a life begins before leftovers are gone", _leftovers_stay, ("leftovers",)),
    "y": Mistake("nobody accuses what it never heard", _never_heard_never_accused,
                 ("voter-never-heard-owner",), breaks=("dark",)),
    "z": Mistake("scars are never healed", _scars_stay, ("scarred-owner-of-two", "swizzle"),
                 breaks=("dark", "scarred")),
    "aa": Mistake("an heir that has claimed acts on its old round", _acts_on_its_old_round,
                  ("heir-claims-as-owner-dies",), seeds=200),
    "credit": Mistake("a lease dated from the credit's arrival", _credits_from_their_arrival),
    "epoch": Mistake("an epoch given twice", _epochs_given_twice, seeds=5),
}


def hunt(mistake: Mistake, first: int = 0) -> Iterator[Verdict]:
    """Run schedules with the mistake planted, until one breaks an invariant."""
    with ExitStack() as stack:
        mistake.plant(stack)
        for seed in range(first, first + mistake.seeds):
            names = mistake.incidents
            incident = names[seed % len(names)] if names else ""
            verdict = World(scenario_for(seed, incident=incident)).run()
            yield verdict
            if mistake.found_in(verdict):
                return


def report_mistakes(say: Say, only: str = "") -> int:
    """Plant each mistake and say after how many schedules it was found; 1 if one was not."""
    missed = 0
    for letter, mistake in MISTAKES.items():
        if only and letter not in only.split(","):
            continue
        verdicts = list(hunt(mistake))
        last = verdicts[-1]
        what = f"({letter}) {mistake.what}"
        if mistake.found_in(last):
            say(f"found after {len(verdicts):3}  {what}: {last.violations[0].kind} at seed "
                f"{last.seed} ({last.name})")
        else:
            missed += 1
            say(f"MISSED in {len(verdicts)}  {what}")
    return 1 if missed else 0
