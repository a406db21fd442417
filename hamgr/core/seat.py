"""A node's own seat: joining, claiming, giving the claim up, lapsing, leaving (rules 4 to 7, 19).

    JOINING --claim answered--> CLAIMED --ten good intervals--> SETTLING --answered--> MEMBER
       ^                           |                               |                     |
       +--- all stopped --- LAPSED <--------- the lease ran out ---+---------------------+

A round that ended never comes back. Whatever an answer says and whenever it comes, what counts is
the version that ZooKeeper gave to the seat.
"""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from hamgr.core.effects import Effect, Op, Read, SetDeadline, Write
from hamgr.core.knowledge import Knowledge
from hamgr.core.lease import Lease
from hamgr.core.records import PLAN, Seat, seat_path
from hamgr.core.types import NEVER, SECOND, Duration, Instant, Life, Outcome, SeatState

LEAVE_PATIENCE: Duration = 2 * SECOND
"""An orderly stop waits so long for its seat to say `left`, and for those who need it."""
COMFORTABLE_INTERVALS = 10
"""So many intervals in a row must credits have been good before a claim is given up (rule 7)."""


class Standing(str, Enum):
    """How this node stands, by its own count."""

    JOINING = "joining"
    CLAIMED = "claimed"
    SETTLING = "settling"
    """The claim is given up here, and the seat not yet known to say `member`."""
    MEMBER = "member"
    LAPSED = "lapsed"
    LEFT = "left"


HOLDING = (Standing.CLAIMED, Standing.SETTLING, Standing.MEMBER)


class Pending(NamedTuple):
    """A write of the seat that is not answered yet."""

    write: int
    kind: str
    """claim, renew, member, reclaim or left."""
    seat: Seat
    sent: Instant


class SeatKeeper:
    """The part of the engine that writes this node's seat, and knows whether its round holds."""

    def __init__(self, knowledge: Knowledge, number: Callable[[], int]) -> None:
        self._knowledge = knowledge
        self._number = number
        self._pending: Pending | None = None
        self._version: int | None = None
        """Version of our seat in ZooKeeper; -1: there is none; None: not known."""
        self._next_write: Instant = 0
        self._has_written = False
        """A write of ours has, or may have, reached the seat."""
        self._good_intervals = 0
        self._confirming = 0
        """Serial of the lowered deadline that the switch has yet to confirm; 0: none."""
        self.standing = Standing.JOINING
        self.round = 0
        """The round that we hold, or held last."""
        self.lease = Lease(knowledge.timing.lease)
        self.over = ""
        """Why this incarnation can never hold again; empty while it can."""
        self.over_above = 0
        self.seat: Seat | None = None
        self.has_left = False
        """Our seat says `left`."""
        self._leave_why = ""

    @property
    def life(self) -> Life:
        """Our incarnation and the round that we hold, or held last."""
        return Life(self._knowledge.incarnation, self.round)

    @property
    def deadline(self) -> Instant:
        """Until when the lease is valid; 0 while no round is held."""
        if self.standing not in HOLDING:
            return 0
        knowledge = self._knowledge
        return self.lease.deadline(knowledge.electorate, knowledge.node)

    def holds(self, now: Instant) -> bool:
        """Tell whether the lease is valid."""
        return now < self.deadline

    def is_member(self) -> bool:
        """Tell whether our seat, as last answered to us, is `member` in this round (rule 10)."""
        return self.standing is Standing.MEMBER

    def has_ended(self, life: Life) -> bool:
        """Tell whether a round of this incarnation is over for good (rules 4, 5)."""
        if life.incarnation != self._knowledge.incarnation:
            return True
        return life.round < self.round or (life.round == self.round
                                           and self.standing not in HOLDING)

    def lapse(self) -> None:
        """End the present round for good (rule 4)."""
        assert self.standing in HOLDING
        self.standing = Standing.LAPSED
        self.lease.begin_round()
        self._confirming = 0
        self._good_intervals = 0

    def stopped(self) -> None:
        """Everything exclusive has stopped: a new round may be claimed (rule 5)."""
        assert self.standing is Standing.LAPSED
        self.standing = Standing.JOINING

    def disconnected(self) -> None:
        """Wait for the seat to be read again over the next connection."""
        self._next_write = 0

    def forget(self) -> None:
        """What was known of the seat's record is of other data (rule 25)."""
        self._version = None

    def is_past(self, version: int) -> bool:
        """Tell whether our seat had a later version: as sessions go forward, it is old data."""
        return self._version is not None and 0 <= version < self._version

    def seat_read(self, now: Instant) -> None:
        """Take in our own seat from knowledge, or that there is none."""
        seen = self._knowledge.seats.get(self._knowledge.node)
        if seen is None:
            self._version, self.seat = -1, None
            return
        if self._version is not None and seen.version < self._version:
            return
        self._version, self.seat = seen.version, seen.seat
        incarnation = self._knowledge.incarnation
        # One that we never wrote is of a former life, also where an empty disk repeats its number.
        former = not self._has_written and self._pending is None
        if seen.seat.incarnation >= incarnation + (not former):
            self._end(f"the seat belongs to incarnation {seen.seat.incarnation}",
                      seen.seat.incarnation)
        elif seen.seat.incarnation == incarnation:
            self._own_seat_read(seen.seat)

    def _own_seat_read(self, seat: Seat) -> None:
        if seat.state is SeatState.DEAD:
            self._end(f"declared dead by {seat.by}: {seat.why}", seat.incarnation)
        elif seat.round == self.round and self.standing is Standing.SETTLING and (
                seat.state is SeatState.MEMBER):
            self.standing = Standing.MEMBER
        elif seat.round in (self.round, self.round + 1) and self.standing is Standing.MEMBER and (
                seat.state is SeatState.CLAIMED and self._pending is None):
            # A lost answer to a same-round claim: the record, not our memory, is what others see.
            self.standing = Standing.SETTLING

    def _end(self, why: str, above: int) -> None:
        if not self.over:
            self.over, self.over_above = why, above

    def renewed_to(self) -> int:
        """Return the round to which a leader has carried our claimed seat, or 0 (rule 19).

        Nobody else writes a later round while we hold one. It may find us settling: then it is
        renewed there before it is adopted, while the credits of the old round still last.
        """
        seat = self.seat
        if seat is None or self.standing not in (Standing.CLAIMED, Standing.SETTLING):
            return 0
        carried = (seat.life == Life(self._knowledge.incarnation, self.round + 1)
                   and seat.state is SeatState.CLAIMED)
        return seat.round if carried else 0

    def adopt(self, round_: int) -> None:
        """Go on in the round that a leader gave us; the claim carries it across (rule 19)."""
        assert self.standing is Standing.CLAIMED and round_ == self.round + 1
        until = self.lease.claim_deadline
        self.lease.begin_round()
        self.lease.claim_until(until)
        self.round = round_
        self._good_intervals = 0

    def interval_passed(self, now: Instant) -> None:
        """Count intervals in which credits were comfortable (rule 7)."""
        if self.standing is not Standing.CLAIMED:
            return
        knowledge = self._knowledge
        left = self.lease.credit_deadline(knowledge.electorate, knowledge.node) - now
        good = left > knowledge.timing.comfortable
        self._good_intervals = self._good_intervals + 1 if good else 0

    def answered(self, write: int, outcome: Outcome, versions: tuple[int, ...],
                 now: Instant) -> bool:
        """Take in the answer to a write; False if it was not ours."""
        pending = self._pending
        if pending is None or pending.write != write:
            return False
        self._pending = None
        self._has_written |= outcome in (Outcome.DONE, Outcome.UNKNOWN)
        timing = self._knowledge.timing
        if outcome is Outcome.DONE:
            self._done(pending, versions[0])
        elif outcome is not Outcome.REFUSED:
            if outcome is Outcome.CONFLICT:
                self._knowledge.contradicted((self._op(pending.seat),))
            # Not known, or another version is there: the coordinator reads it again.
            self._version = None
        if outcome is not Outcome.DONE:
            self._next_write = now + timing.interval // 2
        return True

    def _done(self, pending: Pending, version: int) -> None:
        if self._version is None or version > self._version:
            self._version, self.seat = version, pending.seat
        good_until = pending.sent + self._knowledge.timing.claim_good
        if pending.kind == "claim":
            self.standing, self.round = Standing.CLAIMED, pending.seat.round
            self.lease.begin_round()
            self.lease.claim_until(good_until)
        elif pending.kind == "renew" and (self.standing is Standing.CLAIMED or (
                self.standing is Standing.SETTLING and pending.seat.round > self.round)):
            # Of our round, or of the one that a leader has carried us to. A renewal that was sent
            # before the claim was given up does not bring it back.
            self.standing, self._confirming = Standing.CLAIMED, 0
            self.lease.claim_until(good_until)
        elif pending.seat.round != self.round or (
                self.standing not in HOLDING and self.standing is not Standing.LEFT):
            return
        elif pending.kind == "reclaim" and self.standing is Standing.MEMBER:
            self.standing = Standing.CLAIMED
            self.lease.claim_until(good_until)
        elif pending.kind == "member" and self.standing is Standing.SETTLING:
            self.standing = Standing.MEMBER
        elif pending.kind == "left":
            self.has_left = True

    def deadline_set(self, serial: int) -> None:
        """The switch holds the lowered deadline: `member` may be written now (rule 7)."""
        if serial == self._confirming:
            self._confirming = 0

    def act(self, now: Instant, *, may_claim: bool, may_reclaim: bool,
            vacate: Op | None, serial: Callable[[], int]) -> list[Effect]:
        """Return what the seat wants done now.

        `may_claim`: nothing exclusive is active (rule 5). `may_reclaim`: the plan lets us claim
        in the present round, with no heir and nothing leaving in our groups (rule 19). `vacate`:
        the write that gives up the leader record if it is ours, to go with `left`.
        """
        comfortable = self._good_intervals >= COMFORTABLE_INTERVALS
        if self.standing is Standing.CLAIMED and comfortable and not self.renewed_to():
            return self._give_claim_up(serial())
        if self._pending is not None or now < self._next_write or self.over:
            return []
        if self._knowledge.unsound() or self._knowledge.root is None:
            return []
        if self._version is None:
            self._next_write = now + self._knowledge.timing.interval
            return [Read(paths=(seat_path(self._knowledge.node),))]
        if self.standing is Standing.LEFT:
            return [] if self.has_left else self._write("left", SeatState.LEFT, self.round, now,
                                                        vacate, self._leave_why)
        outdated = self._version == -1 or (self.seat is not None and self.seat.life < self.life)
        if outdated and self.standing in HOLDING:
            # Only after a rebuild of lost or restored data: what is held goes on (rule 25).
            state = SeatState.MEMBER if self.is_member() else SeatState.CLAIMED
            return self._write("restore", state, self.round, now)
        if self.standing is Standing.JOINING and may_claim:
            return self._claim(now)
        if self.standing is Standing.CLAIMED and now >= self._renew_at():
            return self._renew(now)
        if self.standing is Standing.SETTLING and self.renewed_to():
            return self._renew(now)
        if self.standing is Standing.SETTLING and not self._confirming:
            return self._write("member", SeatState.MEMBER, self.round, now)
        if self.standing is Standing.MEMBER and may_reclaim:
            return self._write("reclaim", SeatState.CLAIMED, self.round, now)
        return []

    def wake(self) -> Instant:
        """Return when `act` may have something to do without any event."""
        if self._pending is not None or self.over or self.has_left:
            return NEVER
        if self.standing is Standing.CLAIMED:
            return max(self._renew_at(), self._next_write)
        return self._next_write or NEVER

    def _renew_at(self) -> Instant:
        timing = self._knowledge.timing
        return self.lease.claim_deadline - timing.claim_good + timing.claim_renewal

    def _claim(self, now: Instant) -> list[Effect]:
        seat = self.seat
        if seat is not None and seat.incarnation == self._knowledge.incarnation:
            self.round = max(self.round, seat.round)
        # From here on nothing of an older round is held, whatever the answer (rule 5).
        return self._write("claim", SeatState.CLAIMED, self.round + 1, now)

    def _renew(self, now: Instant) -> list[Effect]:
        round_ = self.seat.round if self.seat is not None else self.round
        return self._write("renew", SeatState.CLAIMED, max(round_, self.round), now)

    def _give_claim_up(self, serial: int) -> list[Effect]:
        self.standing = Standing.SETTLING
        self.lease.claim_deadline = 0
        self._good_intervals = 0
        self._confirming = serial
        return [SetDeadline(deadline=self.deadline, serial=serial, confirm=True)]

    def leave(self, why: str) -> None:
        """Hold nothing any more; `act` writes `left` (rule 21)."""
        self.standing = Standing.LEFT
        self.lease.begin_round()
        self._leave_why = why
        self._next_write = 0

    def _write(self, kind: str, state: SeatState, round_: int, now: Instant,
               beside: Op | None = None, why: str = "") -> list[Effect]:
        knowledge = self._knowledge
        seat = Seat(incarnation=knowledge.incarnation, round=round_, state=state,
                    by=knowledge.node, why=why)
        ops = [self._op(seat)] if beside is None else [self._op(seat), beside]
        if kind == "reclaim":
            # Serialised against a plan that names an heir meanwhile: that one checks this seat.
            ops.append(Op(kind="check", path=PLAN, version=knowledge.plan_version))
        self._pending = Pending(self._number(), kind, seat, now)
        return [Write(write=self._pending.write, ops=tuple(ops))]

    def _op(self, seat: Seat) -> Op:
        path = seat_path(self._knowledge.node)
        if self._version == -1:
            return Op(kind="create", path=path, record=seat)
        assert self._version is not None
        return Op(kind="set", path=path, version=self._version, record=seat)
