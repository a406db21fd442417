"""The parts of the engine alone: counting, leases, who is heard, records, the seat."""

from itertools import combinations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamgr import coding
from hamgr.core import records
from hamgr.core.effects import Write
from hamgr.core.electorate import Electorate, majority
from hamgr.core.events import HeartbeatReceived, RecordRead, Tick, WriteAnswered, ZooKeeperChanged
from hamgr.core.heartbeat import Accusation, Echo, Heartbeat
from hamgr.core.lease import Lease
from hamgr.core.liveness import Liveness
from hamgr.core.records import LEADER, PLAN, ROOT, Leader, Plan, Right, Root, Seat, Voters
from hamgr.core.timing import Timing, detection_for, timing_faults
from hamgr.core.types import MILLISECOND, SECOND, Life, Outcome, SeatState
from hamgr.engine import Engine
from hamgr.snapshot import snapshot
from hamgr.times import times_for
from tests.core.cluster import NODES, SPEC, Cluster, active, settled

TIMING = Timing()


def beat(sender: str, sequence: int, *, incarnation: int = 1, round_: int = 1,
         echo: Echo | None = None, accusations: tuple[Accusation, ...] = ()) -> Heartbeat:
    return Heartbeat(cluster="c1", sender=sender, incarnation=incarnation, round=round_,
                     sequence=sequence, sent=sequence, answer=False, seat="member", lapsed=False,
                     lease=TIMING.lease, revision=1, voters=1, lateness=0, echo=echo,
                     accusations=accusations)


# -- electorate (rules 9, 23) ------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 8))
def test_who_is_blocked_can_have_no_majority_of_credits(count: int) -> None:
    voters = tuple(f"v{number}" for number in range(count))
    electorate = Electorate(voters)
    for node in (*voters, "worker"):
        others = [voter for voter in voters if voter != node]
        for size in range(len(others) + 1):
            for accusers in combinations(others, size):
                credits = len(others) - size
                blocked = electorate.blocks(node, accusers)
                assert blocked == (credits < electorate.credits_needed(node))


def test_during_a_change_both_sets_must_block() -> None:
    electorate = Electorate(("a", "b", "c"), former=("a", "d", "e"))
    assert not electorate.blocks("a", ("b", "c"))
    assert not electorate.blocks("a", ("d", "e"))
    assert electorate.blocks("a", ("b", "c", "d", "e"))


@given(st.integers(1, 50))
def test_two_majorities_always_meet(count: int) -> None:
    assert 2 * majority(range(count)) > count


# -- lease (rules 4, 24) -----------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(("b", "c", "d", "e")), st.integers(0, 1000)),
                max_size=20))
def test_the_deadline_is_that_of_the_weakest_credit_needed(given_: list[tuple[str, int]]) -> None:
    lease, electorate = Lease(100), Electorate(("a", "b", "c", "d", "e"))
    newest: dict[str, int] = {}
    for voter, sent in given_:
        lease.credit(voter, sent)
        newest[voter] = max(newest.get(voter, 0), sent)
    expiries = sorted((sent + 100 for sent in newest.values()), reverse=True)
    assert lease.credit_deadline(electorate, "a") == (expiries[1] if len(expiries) > 1 else 0)


def test_a_credit_lasts_for_the_lease_that_its_heartbeat_named() -> None:
    lease, electorate = Lease(100), Electorate(("a", "b", "c"))
    lease.set_length(300, now=1000)
    lease.credit("b", 999)
    assert lease.credit_deadline(electorate, "a") == 1099
    lease.credit("b", 1000)
    assert lease.credit_deadline(electorate, "a") == 1300


def test_a_new_round_has_no_credits() -> None:
    lease, electorate = Lease(100), Electorate(("a", "b", "c"))
    lease.credit("b", 500)
    lease.begin_round()
    assert lease.deadline(electorate, "a") == 0


# -- liveness (rules 3, 8, 9) ------------------------------------------------------------------


def liveness() -> Liveness:
    return Liveness("n1", 1, ("n2", "n3"), TIMING, started=0)


def test_rule_3_an_older_heartbeat_is_not_news() -> None:
    heard = liveness()
    assert heard.hear(beat("n2", 5), 0, now=10)
    assert not heard.hear(beat("n2", 5), 1, now=11), "the same over another ring"
    assert not heard.hear(beat("n2", 4), 0, now=12)
    assert heard.hear(beat("n2", 1, incarnation=2), 0, now=13), "another life counts anew"
    assert not heard.hear(beat("n2", 99, incarnation=1), 0, now=14)
    assert heard.peers["n2"].rings == {0: 13, 1: 11}


def test_rule_8_silence_is_accused_and_hearing_takes_nothing_back() -> None:
    heard = liveness()
    heard.hear(beat("n2", 1), 0, now=10)
    assert heard.accuse_silent(10 + TIMING.detection - 1) == []
    assert heard.accuse_silent(10 + TIMING.detection) == [Accusation("n2", 1, 1)]
    heard.hear(beat("n2", 2), 0, now=10 + TIMING.detection)
    assert heard.standing_accusations() == (Accusation("n2", 1, 1),)
    heard.hear(beat("n2", 3, round_=2), 0, now=11 + TIMING.detection)
    assert heard.standing_accusations() == (), "it ends with the round"


def test_rule_8_own_lateness_is_forgiven() -> None:
    heard = liveness()
    heard.hear(beat("n2", 1), 0, now=0)
    heard.forgive(SECOND)
    assert heard.accuse_silent(TIMING.detection + SECOND - 1) == []


def test_rule_8_who_was_never_heard_is_accused_from_its_seat() -> None:
    heard = liveness()
    heard.learn("n3", Life(4, 2), now=0)
    assert heard.accuse_silent(TIMING.detection) == [Accusation("n3", 4, 2)]


def test_rule_9_an_accusation_counts_only_while_fresh() -> None:
    heard = liveness()
    accused = (Accusation("n3", 1, 1),)
    heard.hear(beat("n2", 1, echo=Echo(1, 1, 1000, True), accusations=accused), 0, now=2000)
    assert heard.accusers("n3", Life(1, 1), now=1000 + TIMING.detection) == ("n2",)
    assert heard.accusers("n3", Life(1, 1), now=1001 + TIMING.detection) == ()
    assert heard.accusers("n3", Life(1, 2), now=2000) == (), "a later round is not accused"
    heard.hear(beat("n2", 2, echo=Echo(9, 1, 1000, True), accusations=accused), 0, now=2000)
    assert heard.accusers("n3", Life(1, 1), now=2000) == (), "not an echo of this life of ours"


# -- timing ------------------------------------------------------------------------------------


@given(st.integers(5, 2000))
def test_times_that_follow_from_an_interval_are_safe(interval_ms: int) -> None:
    times = times_for(interval_ms * MILLISECOND)
    assert times.detection >= detection_for(times.lease)
    assert [name for name, _ in timing_faults(times) if name != "claim"] == []


def test_each_inequality_is_explained() -> None:
    wrong = Timing(interval=1, lease=1, detection=1, claim=1)
    assert {name for name, _ in timing_faults(wrong)} == {"interval", "lease", "detection", "claim"}
    (name, sentence), = timing_faults(Timing(detection=300 * MILLISECOND))
    assert name == "detection"
    assert "1.2 x lease + 10ms" in sentence


# -- records -----------------------------------------------------------------------------------

PLANNED = Plan(revision=7, by="n1", voters=Voters(number=1, names=NODES), times=TIMING, groups={
    "crm": records.GroupPlan(holder=Right(node="n1", incarnation=1, round=1, epoch=3),
                             top_epoch=3)})


def test_what_a_newer_version_wrote_is_kept() -> None:
    raw = msgspec.json.decode(coding.encode(PLANNED))
    raw["mood"] = {"today": "good"}
    raw["groups"]["crm"]["colour"] = "blue"
    plan = coding.decode(PLAN, msgspec.json.encode(raw))
    again = msgspec.json.decode(coding.encode(plan))
    assert again["mood"] == {"today": "good"}
    assert again["groups"]["crm"]["colour"] == "blue"
    assert "extra" not in again


def test_what_a_newer_version_means_otherwise_is_refused_with_the_remedy() -> None:
    raw = msgspec.json.decode(coding.encode(PLANNED))
    assert raw["format"] == records.FORMAT
    for older in ({**raw, "format": 0}, {key: raw[key] for key in raw if key != "format"}):
        assert coding.decode(PLAN, msgspec.json.encode(older)).revision == 7
    newer = msgspec.json.encode({**raw, "format": records.FORMAT + 1})
    with pytest.raises(msgspec.ValidationError, match="in format 2, .* upgrade hamgr on this node"):
        coding.decode(PLAN, newer)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"revision": "x"}', b'{"term": 1}'])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        coding.decode(PLAN, data)


def test_paths_have_their_records() -> None:
    assert coding.record_type("seats/n1") is Seat
    assert coding.record_type("seats") is None
    assert coding.record_type("sessions/n1") is None


# -- the seat (rules 5, 6, 7) ------------------------------------------------------------------


class Joined:
    """An engine that has read an empty cluster, and the last write that it sent."""

    def __init__(self) -> None:
        self.engine = Engine(SPEC, "n1", 1, 0)
        self.now = 0
        self.hand(Tick())
        self.hand(ZooKeeperChanged(connected=True))
        self.hand(RecordRead(path=ROOT, record=Root(cluster_id="c1"), version=0))
        for path in (PLAN, *(f"seats/{node}" for node in NODES)):
            self.hand(RecordRead(path=path, record=None, version=-1))
        self.hand(RecordRead(path=LEADER, record=Leader(term=1), version=0))

    def hand(self, event: object) -> None:
        effects = self.engine.handle(event, self.now)  # type: ignore[arg-type]
        for effect in effects:
            if isinstance(effect, Write) and effect.ops[0].path == "seats/n1":
                self.claim = effect

    def answer(self, outcome: Outcome, version: int = 0) -> None:
        versions = (version,) if outcome is Outcome.DONE else ()
        self.hand(WriteAnswered(write=self.claim.write, outcome=outcome, versions=versions))

    @property
    def standing(self) -> str:
        return snapshot(self.engine, self.now).lease


def test_rule_5_a_claim_whose_answer_was_lost_holds_nothing() -> None:
    joined = Joined()
    first = joined.claim
    joined.answer(Outcome.UNKNOWN)
    assert joined.standing == "joining"
    joined.now += TIMING.interval
    taken = first.ops[0].record
    joined.hand(RecordRead(path="seats/n1", record=taken, version=0))
    assert isinstance(taken, Seat)
    again = joined.claim.ops[0].record
    assert isinstance(again, Seat)
    assert again.round == taken.round + 1, "what took effect unseen is left behind"
    joined.answer(Outcome.DONE, 1)
    assert joined.standing == "claimed"
    joined.hand(WriteAnswered(write=first.write, outcome=Outcome.DONE, versions=(0,)))
    assert snapshot(joined.engine, joined.now).round == again.round


def test_rule_6_a_claim_counts_from_the_request_and_reads_do_not_extend_it() -> None:
    joined = Joined()
    joined.now += 300 * MILLISECOND
    joined.answer(Outcome.DONE)
    seat = joined.claim.ops[0].record
    for version in range(1, 5):
        joined.hand(RecordRead(path="seats/n1", record=seat, version=version))
    left = snapshot(joined.engine, joined.now).lease_left
    assert left == TIMING.claim_good - 300 * MILLISECOND


def test_rule_6_an_answer_after_the_claim_has_run_out_is_no_lease() -> None:
    joined = Joined()
    joined.now += TIMING.claim_good
    joined.answer(Outcome.DONE)
    joined.hand(Tick())
    assert joined.standing in ("lapsed", "joining")


def test_a_seat_that_was_declared_dead_ends_the_life() -> None:
    joined = Joined()
    joined.answer(Outcome.DONE)
    dead = Seat(incarnation=1, round=1, state=SeatState.DEAD, by="n2", why="blocked")
    effects = joined.engine.handle(RecordRead(path="seats/n1", record=dead, version=3), joined.now)
    assert type(effects[-1]).__name__ == "BeginNewLife"
    assert joined.engine.handle(Tick(), joined.now) == []


# -- rights and plans (rules 11, 16) -----------------------------------------------------------


def test_rule_11_an_owner_stops_when_a_higher_epoch_is_in_use() -> None:
    cluster = settled(Cluster(SPEC))
    assert active(cluster) == ["n1"]
    heard = msgspec.structs.replace(beat("n2", 10**6), epochs=(("crm", 9),))
    cluster.hand("n1", HeartbeatReceived(heartbeat=heard))
    cluster.advance(10 * MILLISECOND)
    assert "n1" not in active(cluster)
    assert any("epoch 9 is in use" in line for line in cluster.lines)


def test_rule_11_an_owner_stops_when_the_plan_names_its_right_no_more() -> None:
    cluster = settled(Cluster(SPEC))
    plan, version = cluster.tree[PLAN]
    assert isinstance(plan, Plan)
    later = msgspec.structs.replace(plan, revision=plan.revision + 1, groups={})
    cluster.hand("n1", RecordRead(path=PLAN, record=later, version=version + 1))
    cluster.advance(MILLISECOND)
    assert "n1" not in active(cluster)


def test_rule_16_every_plan_is_written_under_leader_and_plan_version() -> None:
    cluster, seen = Cluster(SPEC), []
    write = cluster._write

    def watch(node: str, engine: Engine, effect: Write) -> None:
        seen.append(effect)
        write(node, engine, effect)

    cluster._write = watch  # type: ignore[method-assign]
    for node in NODES:
        cluster.boot(node)
    cluster.advance(3 * SECOND)
    cluster.crash("n1")
    cluster.advance(SECOND)
    plans = [effect.ops for effect in seen if any(op.path == PLAN for op in effect.ops)]
    assert len(plans) >= 4
    for ops in plans:
        assert (ops[0].kind, ops[0].path) == ("check", LEADER)
        assert ops[1].path == PLAN
    named = next(ops for ops in plans if any(op.path == "seats/n2" for op in ops))
    assert {op.path for op in named if op.kind == "check"} >= {"seats/n1", "seats/n2"}


def test_a_plan_under_another_leader_is_not_written() -> None:
    cluster = settled(Cluster(SPEC))
    leader, version = cluster.tree[LEADER]
    cluster.tree[LEADER] = (leader, version + 1)
    plan = cluster.tree[PLAN]
    cluster.condition("n2", "crm", "no carrier")
    cluster.advance(50 * MILLISECOND)
    assert cluster.tree[PLAN] == plan, "written by a leader whose record is another's by now"
