"""The arithmetic of leases and of counting voters, for any history (rules 4, 6, 9, 23, 24)."""

from collections.abc import Sequence

from hypothesis import assume, example, given
from hypothesis import strategies as st

from hamgr.core.electorate import Electorate
from hamgr.core.lease import Lease
from hamgr.core.timing import Timing, detection_for, lease_within, timing_faults
from hamgr.core.types import NEVER, SECOND, Duration, Instant

OWN = "n1"
NAMES = (OWN, "n2", "n3", "n4", "n5", "n6", "n7")
LENGTHS = st.sampled_from((100, 280, 300, 1000))
voters = st.lists(st.sampled_from(NAMES), min_size=1, max_size=7, unique=True).map(tuple)
electorates = st.builds(Electorate, voters, st.just(()) | voters)
accusers = st.lists(st.sampled_from((*NAMES, "worker")), max_size=7, unique=True)


class Credited:
    """A lease, and beside it every credit that it was given, as plainly as can be."""

    def __init__(self, length: Duration) -> None:
        self.lease, self.now = Lease(length), 1000
        self.changes: list[tuple[Instant, Duration]] = [(0, length)]
        self.credits: list[tuple[str, Instant]] = []

    def step(self, kind: str, voter: str, back: int, length: Duration) -> None:
        """Some time passes; then the length changes, the round, or a credit comes for the past."""
        self.now += back % 50
        if kind == "length":
            self.lease.set_length(length, self.now)
            self.changes.append((self.now, length))
        elif kind == "round":
            self.lease.begin_round()
            self.credits.clear()
        else:
            sent = max(0, self.now - back)
            self.lease.credit(voter, sent)
            self.credits.append((voter, sent))

    def expiry(self, voter: str) -> Instant:
        """Each heartbeat named a length: that which was in use when it was sent (rule 24)."""
        named = [sent + next(length for since, length in reversed(self.changes) if since <= sent)
                 for by, sent in self.credits if by == voter]
        return max(named, default=0)


steps = st.lists(st.tuples(st.sampled_from(("credit", "credit", "credit", "length", "round")),
                           st.sampled_from(NAMES), st.integers(0, 600), LENGTHS), max_size=25)


def _credited(length: Duration, story: Sequence[tuple[str, str, int, Duration]]) -> Credited:
    credited = Credited(length)
    for step in story:
        credited.step(*step)
    return credited


@example(100, [("length", OWN, 10, 1000), ("length", OWN, 10, 300), ("credit", "n2", 90, 100)],
         Electorate(("n1", "n2", "n3")))
@given(LENGTHS, steps, electorates)
def test_rules_4_and_24_until_the_deadline_a_majority_of_credits_is_in_force_and_not_after(
        length: Duration, story: list[tuple[str, str, int, Duration]],
        electorate: Electorate) -> None:
    """A credit lasts from the send time, for the lease that its heartbeat named, no longer."""
    credited = _credited(length, story)
    deadline = credited.lease.credit_deadline(electorate, OWN)
    at = {voter: credited.expiry(voter) for voter in electorate.names if voter != OWN}
    for instant in {0, credited.now, *at.values(), *(one - 1 for one in at.values() if one)}:
        backers = [OWN, *(voter for voter, expiry in at.items() if expiry > instant)]
        assert (instant < deadline) == electorate.is_majority(backers), instant


@given(LENGTHS, steps, electorates)
def test_rule_4_no_lease_on_credits_is_longer_than_the_longest_length_named(
        length: Duration, story: list[tuple[str, str, int, Duration]],
        electorate: Electorate) -> None:
    assume(electorate.credits_needed(OWN) > 0)
    credited = _credited(length, story)
    longest = max(length for _, length in credited.changes)
    newest = max((sent for _, sent in credited.credits), default=-longest)
    assert credited.lease.deadline(electorate, OWN) <= max(0, newest + longest)


@given(LENGTHS, steps, electorates, st.sampled_from(NAMES), st.integers(0, 600))
def test_a_credit_more_never_shortens_a_lease_nor_does_an_older_one_change_it(
        length: Duration, story: list[tuple[str, str, int, Duration]], electorate: Electorate,
        voter: str, back: int) -> None:
    credited = _credited(length, story)
    before = credited.lease.credit_deadline(electorate, OWN)
    credited.step("credit", voter, back, length)
    after = credited.lease.credit_deadline(electorate, OWN)
    assert after >= before
    credited.lease.credit(voter, max(0, credited.now - back - 1000))
    assert credited.lease.credit_deadline(electorate, OWN) == after


@given(LENGTHS, steps, electorates, electorates)
def test_rule_23_other_voters_count_from_the_moment_they_are_asked_for(
        length: Duration, story: list[tuple[str, str, int, Duration]],
        one: Electorate, other: Electorate) -> None:
    credited, fresh = _credited(length, story), _credited(length, story)
    credited.lease.credit_deadline(one, OWN)
    assert credited.lease.credit_deadline(other, OWN) == fresh.lease.credit_deadline(other, OWN)


@given(LENGTHS, steps, electorates, st.lists(st.integers(0, 2000), max_size=4))
def test_rule_6_a_claim_counts_to_the_last_answer_and_credits_count_beside_it(
        length: Duration, story: list[tuple[str, str, int, Duration]], electorate: Electorate,
        claims: list[int]) -> None:
    lease = _credited(length, story).lease
    credits = lease.credit_deadline(electorate, OWN)
    for until in claims:
        lease.claim_until(until)
    assert lease.deadline(electorate, OWN) == max(0, credits, *claims, 0)
    lease.begin_round()
    needed = electorate.credits_needed(OWN)
    assert lease.deadline(electorate, OWN) == (0 if needed > 0 else NEVER), "they die with it"


@given(electorates, st.sampled_from((*NAMES, "worker")), accusers)
def test_rule_9_whoever_is_blocked_has_no_majority_without_its_accusers(
        electorate: Electorate, node: str, accused_by: list[str]) -> None:
    """In the old set and in the new (rule 23); and whoever is not, would have one in either."""
    free = {node} | {*NAMES} - {*accused_by}
    has = [Electorate(names).is_majority(free)
           for names in (electorate.names, electorate.former) if names]
    assert electorate.blocks(node, accused_by) == (not any(has))


@given(electorates, st.sampled_from((*NAMES, "worker")), accusers, accusers)
def test_rule_9_an_accuser_more_unblocks_nobody_and_nobody_blocks_itself(
        electorate: Electorate, node: str, some: list[str], more: list[str]) -> None:
    if electorate.blocks(node, some):
        assert electorate.blocks(node, [*some, *more])
        assert electorate.blocks(node, [one for one in some if one != node])


@given(voters, accusers)
def test_two_majorities_of_one_set_share_a_voter(names: tuple[str, ...], some: list[str]) -> None:
    electorate = Electorate(names)
    others = [name for name in names if name not in some]
    assert not (electorate.is_majority(some) and electorate.is_majority(others))


@example(280_000_000)
@given(st.integers(1, 60 * SECOND))
def test_rule_24_detection_and_lease_follow_from_each_other_safely(lease: Duration) -> None:
    detection = detection_for(lease)
    assert detection * 10 >= lease * 12, "a clock that runs 8 % off on either side"
    assert lease - 2 <= lease_within(detection) <= lease
    faults = timing_faults(Timing(interval=lease // 3, lease=lease, detection=detection,
                                  claim=5 * detection))
    assert {name for name, _ in faults} <= {"interval"}
    assert timing_faults(Timing(interval=lease // 3, lease=lease, detection=detection - 1,
                                claim=5 * detection))
