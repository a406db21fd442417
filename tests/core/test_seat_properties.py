"""The seat under any answers, reads, delays and leaders: it goes only along its table (5 to 7, 19).

What ZooKeeper does with each write is chosen freely: written or not, answered or not, written late;
a leader carries the node into a new round, or declares it dead, when it likes. At the end of every
story comes peace, and the node's own state and its seat must agree (rule 7).
"""

from enum import Enum

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from hamgr.core.effects import Effect, Op, Read, SetDeadline, Write
from hamgr.core.knowledge import Knowledge
from hamgr.core.records import LEADER, PLAN, ROOT, Root, Seat, seat_path
from hamgr.core.seat import HOLDING, SeatKeeper, Standing
from hamgr.core.timing import Timing
from hamgr.core.types import MILLISECOND, Instant, Life, Outcome, SeatState
from tests.core.cluster import SPEC

TIMING = Timing()
ANY_HELD = frozenset({Standing.LAPSED, Standing.LEFT})
TABLE: dict[Standing, frozenset[Standing]] = {
    Standing.JOINING: frozenset({Standing.CLAIMED, Standing.LEFT}),
    Standing.CLAIMED: ANY_HELD | {Standing.SETTLING},
    # Back to a claim only as a leader asks, into its new round (rule 19).
    Standing.SETTLING: ANY_HELD | {Standing.MEMBER, Standing.CLAIMED},
    # To a claim in the same round as the plan lets it; settling if the answer to that was lost.
    Standing.MEMBER: ANY_HELD | {Standing.CLAIMED, Standing.SETTLING},
    Standing.LAPSED: frozenset({Standing.JOINING, Standing.LEFT}),
    # A claim that was on its way is answered; the engine leaves again in the same moment.
    Standing.LEFT: frozenset({Standing.CLAIMED}),
}


class Fate(Enum):
    """What becomes of a write."""

    DONE = "written and answered"
    SILENT = "written, and the answer is lost"
    LOST = "not written, and nobody knows"
    LATE = "said to be unknown, and written later"
    REFUSED = "never sent"


class Seats(RuleBasedStateMachine):
    """One keeper, the record of its seat, and whoever else may write that."""

    def __init__(self) -> None:
        super().__init__()
        self.now: Instant = 0
        self.numbers = self.serials = 0
        self.known = Knowledge(SPEC, "n1", 1, 0, "c1", 0)
        self.known.connected = True
        self.known.take(ROOT, Root(cluster_id="c1"), 0, 0)
        self.known.take(LEADER, None, -1, 0)
        self.known.take(PLAN, None, -1, 0)
        self.keeper = SeatKeeper(self.known, self._number)
        self.record: Seat | None = None
        self.version = -1
        self.sent: list[tuple[Write, Instant]] = []
        self.late: list[Op] = []
        self.unconfirmed = 0
        self.good_until = 0
        self.ended: set[Life] = set()
        self.before = (self.keeper.standing, self.keeper.round)

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    def _serial(self) -> int:
        self.serials += 1
        return self.serials

    # -- what the engine does -----------------------------------------------------------------

    def _step(self) -> None:
        """What the engine does before anything else, and what it does after all."""
        keeper = self.keeper
        if keeper.standing in HOLDING and not keeper.holds(self.now):
            keeper.lapse()
            self._look()

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Write():
                    self._check_write(effect)
                    self.sent.append((effect, self.now))
                case SetDeadline(serial=serial, confirm=True, deadline=deadline):
                    assert deadline == self.keeper.deadline
                    self.unconfirmed = serial
                case Read():
                    self.read()

    def _check_write(self, write: Write) -> None:
        assert not self.sent, "one write at a time"
        seat = write.ops[0].record
        assert isinstance(seat, Seat) and seat.incarnation == 1
        if self.keeper.standing is Standing.SETTLING and seat.state is SeatState.MEMBER:
            assert not self.unconfirmed, "rule 7: the switch has the lowered deadline first"
        if self.keeper.standing is Standing.JOINING:
            assert all(self.keeper.has_ended(Life(1, past)) for past in range(seat.round)), (
                "rule 5: from the moment the claim is sent, nothing of the old round is held")

    def _apply(self, op: Op, by_itself: bool = True) -> bool:
        """Compare and set: the only way in which anybody changes a seat."""
        if op.kind == "create" and self.record is not None or (
                op.kind == "set" and op.version != self.version):
            return False
        assert isinstance(op.record, Seat)
        if self.record is not None and by_itself:
            assert op.record.life >= self.record.life, "never back to an earlier round (rule 19)"
            assert self.record.state is not SeatState.DEAD, "dead is dead"
        self.record, self.version = op.record, self.version + 1
        return True

    def _look(self) -> None:
        """After whatever happened: along the table, and nothing that ended came back."""
        keeper, (standing, round_) = self.keeper, self.before
        assert keeper.standing is standing or keeper.standing in TABLE[standing], (
            f"{standing} to {keeper.standing}")
        assert keeper.round >= round_
        self.before = (keeper.standing, keeper.round)
        assert all(keeper.has_ended(life) for life in self.ended), "a round that ended is over"
        self.ended |= {life for past in range(keeper.round + 1)
                       if keeper.has_ended(life := Life(1, past))}
        assert keeper.lease.claim_deadline <= self.good_until, "rule 6: from the send time, 0.9"
        if keeper.standing in (Standing.SETTLING, Standing.MEMBER):
            assert keeper.lease.claim_deadline == 0, "rule 7: dropped before it is given up"
        if keeper.standing not in HOLDING:
            assert keeper.deadline == 0
        if keeper.standing is not Standing.SETTLING:
            self.unconfirmed = 0

    # -- what may happen ----------------------------------------------------------------------

    @initialize(far=st.integers(0, 4))
    def begins(self, far: int) -> None:
        """With no seat yet, or some way on from there, where all is well."""
        self.read()
        for _ in range(far):
            self.act(may_claim=True, may_reclaim=False)
            if self.sent:
                self.zookeeper_answers(Fate.DONE)
            self.is_credited(0)
            if self.keeper.standing is Standing.CLAIMED:
                self.intervals_pass(10)
            self.switch_confirms()
        assert far < 4 or self.keeper.is_member()

    @rule(ms=st.sampled_from((1, 50, 100, 270, 500, 1700, 3000)),
          credited=st.sampled_from((True, True, False)))
    def wait(self, ms: int, credited: bool) -> None:
        for _ in range(max(1, ms // 100)):
            self.now += min(ms, 100) * MILLISECOND
            if credited:
                self.is_credited(0)
            self._step()

    @rule(age=st.sampled_from((0, 50, 250)))
    def is_credited(self, age: int) -> None:
        if self.keeper.standing in HOLDING:
            for voter in ("n2", "n3"):
                self.keeper.lease.credit(voter, max(0, self.now - age * MILLISECOND))

    @rule(credited=st.sampled_from((10, 11, 4)))
    def intervals_pass(self, credited: int) -> None:
        for _ in range(credited):
            self.wait(100, False)
            self.is_credited(0)
            self.keeper.interval_passed(self.now)

    @rule(may_claim=st.booleans(), may_reclaim=st.booleans())
    def act(self, may_claim: bool, may_reclaim: bool) -> None:
        self._step()
        effects = self.keeper.act(self.now, may_claim=may_claim, may_reclaim=may_reclaim,
                                  vacate=None, serial=self._serial)
        self._carry_out(effects)
        self._look()

    @precondition(lambda self: self.keeper.standing is Standing.CLAIMED and not self.sent)
    @rule()
    def credits_become_good_while_a_renewal_is_on_its_way(self) -> None:
        self.wait(600, False)
        self.keeper.interval_passed(self.now)  # a bad one: so it renews first
        self.act(may_claim=False, may_reclaim=False)
        self.intervals_pass(11)
        self.act(may_claim=False, may_reclaim=False)

    @precondition(lambda self: self.sent)
    @rule(fate=st.sampled_from((Fate.DONE, *Fate)))
    def zookeeper_answers(self, fate: Fate) -> None:
        self._step()
        write, sent = self.sent.pop()
        op, outcome, versions = write.ops[0], Outcome.UNKNOWN, ()
        if fate is Fate.LATE:
            self.late.append(op)
        elif fate is Fate.REFUSED:
            outcome = Outcome.REFUSED
        elif fate is not Fate.LOST:
            written = self._apply(op)
            if fate is Fate.DONE:
                outcome = Outcome.DONE if written else Outcome.CONFLICT
        if outcome is Outcome.DONE:
            versions = tuple(self.version for _ in write.ops)
            assert isinstance(op.record, Seat)
            if op.record.state is SeatState.CLAIMED:
                self.good_until = max(self.good_until, sent + TIMING.claim_good)
        before = self.before
        assert self.keeper.answered(write.write, outcome, versions, self.now)
        if before[0] is Standing.SETTLING and self.keeper.standing is Standing.CLAIMED:
            assert isinstance(op.record, Seat) and op.record.round > before[1], (
                "rule 7: a renewal sent before does not bring the claim back")
        self._look()

    @precondition(lambda self: self.late)
    @rule()
    def what_was_late_is_written(self) -> None:
        self._apply(self.late.pop(0))

    @rule()
    def read(self) -> None:
        self._step()
        deadline = self.keeper.deadline
        self.known.take(seat_path("n1"), self.record, self.version, self.now)
        self.keeper.seat_read(self.now)
        assert self.keeper.deadline <= deadline, "rule 6: reads never extend it"
        self._look()

    @rule()
    def switch_confirms(self) -> None:
        self.keeper.deadline_set(self.serials)
        self.unconfirmed = 0

    @rule()
    def everything_has_stopped(self) -> None:
        if self.keeper.standing is Standing.LAPSED:
            self.keeper.stopped()
            self._look()

    @precondition(lambda self: self.record is not None and (
        self.record.state is SeatState.CLAIMED and self.record.round == self.keeper.round))
    @rule(dead=st.sampled_from((False, False, False, True)))
    def a_leader_writes(self, dead: bool) -> None:
        assert self.record is not None
        carried = (replace(self.record, state=SeatState.DEAD) if dead
                   else replace(self.record, round=self.record.round + 1))
        self._apply(Op(kind="set", path="", version=self.version, record=carried), False)

    @rule()
    def adopt(self) -> None:
        self._step()
        round_ = self.keeper.renewed_to()
        if round_ and self.keeper.standing is Standing.CLAIMED:
            deadline = self.keeper.lease.claim_deadline
            self.keeper.adopt(round_)
            assert self.keeper.lease.claim_deadline == deadline, "the claim carries it across"
            self._look()

    @precondition(lambda self: self.numbers > 6)
    @rule()
    def leave(self) -> None:
        if self.keeper.standing is not Standing.LEFT:
            self.keeper.leave("asked to")
            self._look()

    def teardown(self) -> None:
        leaving = self.keeper.standing is Standing.LEFT
        self.read()
        for _ in range(30):
            self.intervals_pass(1)
            self.everything_has_stopped()
            self.adopt()
            if leaving:
                self.leave()
            self.act(may_claim=True, may_reclaim=False)
            while self.sent:
                self.zookeeper_answers(Fate.DONE)
            while self.late:
                self.what_was_late_is_written()
                self.read()  # it is watched
            self.switch_confirms()
        self.read()
        keeper, record = self.keeper, self.record
        assert record is not None
        if record.state is SeatState.DEAD:
            assert keeper.over
        elif leaving:
            assert keeper.has_left and record.state is SeatState.LEFT
        else:
            assert (keeper.standing, record.state) == (Standing.MEMBER, SeatState.MEMBER)
            assert record.life == keeper.life


TestSeats = Seats.TestCase
TestSeats.settings = settings(max_examples=250, stateful_step_count=30)
