"""Nodes beat together: a heartbeat that follows the holder's is the answer to it."""

from collections import Counter

from hamgr.core import effects as fx
from hamgr.core.beat import Beat
from hamgr.core.spec import GroupSpec
from hamgr.core.types import MILLISECOND, SECOND, Instant
from hamgr.engine import Engine
from hamgr.snapshot import snapshot
from tests.core.cluster import NODES, SPEC, Cluster, settled

INTERVAL = SPEC.timing.interval
TWO_HOLDERS = SPEC.__class__(
    name="t", nodes=SPEC.nodes, groups=(GroupSpec(name="crm", nodes=("n1", "n2")),
                                        GroupSpec(name="erp", nodes=("n3", "n2"))))


class Counting(Cluster):
    """Counts what is sent from one node to another, and notes when each beats."""

    def __init__(self, *what: object) -> None:
        super().__init__(*what)  # type: ignore[arg-type]
        self.sent: Counter[tuple[str, str, bool]] = Counter()
        self.beats: dict[str, list[Instant]] = {node: [] for node in NODES}

    def _carry_out(self, node: str, engine: Engine, effect: fx.Effect) -> None:
        if isinstance(effect, fx.SendHeartbeat):
            answer = effect.heartbeat.answer
            self.sent[node, effect.to, answer] += 1
            if not answer and self.beats[node][-1:] != [self.now]:
                self.beats[node].append(self.now)
        super()._carry_out(node, engine, effect)

    def count(self, seconds: int) -> None:
        """Forget what was, and look on for so long."""
        self.advance(5 * SECOND)
        self.sent.clear()
        self.beats = {node: [] for node in NODES}
        self.advance(seconds * SECOND)


def leases(cluster: Cluster) -> list[int]:
    """Return how much lease each node has left, in milliseconds."""
    return [snapshot(engine, cluster.now).lease_left // MILLISECOND
            for engine in cluster.engines.values()]


def test_in_the_steady_state_nobody_answers_the_holder_but_with_its_own_heartbeat() -> None:
    cluster = settled(Counting(SPEC))
    cluster.count(10)
    for node in ("n2", "n3"):
        assert cluster.sent["n1", node, False] == 100
        assert cluster.sent[node, "n1", False] == 100
        assert cluster.sent[node, "n1", True] == 0
    assert cluster.sent["n3", "n2", True] == 100, "it is heir"
    assert cluster.sent["n1", "n2", True] == 0, "and needs nothing of the holder at once"


def test_the_heir_s_lease_is_as_fresh_as_the_holder_s_and_outlasts_its_silence() -> None:
    cluster = settled(Counting(SPEC))
    cluster.advance(5 * SECOND)
    cluster.crash("n1")
    left = []
    for _ in range(50):
        cluster.advance(7 * MILLISECOND)
        left.append(leases(cluster)[0])  # of those that are left
    assert min(left) >= (SPEC.timing.lease - INTERVAL) // MILLISECOND - 10


def test_the_holder_answers_its_heir_at_once_while_heartbeats_are_lost() -> None:
    cluster = settled(Counting(SPEC))
    cluster.advance(5 * SECOND)
    cluster.cuts |= {("n3", "n1")}
    cluster.advance(150 * MILLISECOND)
    cluster.cuts.clear()
    cluster.advance(150 * MILLISECOND)
    cluster.sent.clear()
    cluster.advance(SECOND)
    assert cluster.sent["n1", "n2", True] >= 10


def test_the_holder_answers_its_heir_at_once_where_no_voter_more_may_be_lost() -> None:
    cluster = settled(Counting(SPEC))
    cluster.advance(5 * SECOND)
    cluster.crash("n3")
    cluster.advance(SECOND)
    cluster.count(1)
    assert cluster.sent["n1", "n2", True] >= 9


def test_the_holder_s_lease_is_as_fresh_as_with_answers() -> None:
    cluster = settled(Counting(SPEC))
    cluster.advance(5 * SECOND)
    left = []
    for _ in range(300):
        cluster.advance(7 * MILLISECOND)
        left.append(leases(cluster)[0])
    assert min(left) >= (SPEC.timing.lease - INTERVAL) // MILLISECOND - 1


def test_two_holders_come_to_beat_together() -> None:
    cluster = settled(Counting(TWO_HOLDERS))
    cluster.count(10)
    for node in NODES:
        assert len(cluster.beats[node]) == 100, "and nobody waits for the other"
    answers = {(one, two) for one, two, answer in cluster.sent if answer}
    assert ("n3", "n1") not in answers and ("n2", "n1") not in answers


def test_between_two_holders_that_do_not_hear_each_other_nobody_beats_too_often() -> None:
    cluster = Counting(TWO_HOLDERS)
    for node in NODES:
        cluster.boot(node)
        cluster.advance(37 * MILLISECOND)  # so that they do not begin together
    cluster.advance(5 * SECOND)
    cluster.cuts |= {("n1", "n3"), ("n3", "n1")}
    cluster.count(10)
    beats = cluster.beats["n2"]
    assert min(two - one for one, two in zip(beats, beats[1:], strict=False)) >= INTERVAL // 2


def test_when_the_holder_is_silent_the_others_go_on_at_their_own_time() -> None:
    cluster = settled(Counting(SPEC))
    cluster.advance(2 * SECOND)
    cluster.crash("n1")
    cluster.beats = {node: [] for node in NODES}
    cluster.advance(300 * MILLISECOND)
    for node in ("n2", "n3"):
        assert len(cluster.beats[node]) >= 2


def test_one_that_beats_just_before_the_holder_falls_in_behind_it() -> None:
    beat, now = Beat(0), 0
    assert not beat.follow(now, INTERVAL)
    assert beat.next > INTERVAL, "it waits for the holder"
    assert beat.follow(INTERVAL, INTERVAL)
    beat.pass_by(INTERVAL, INTERVAL)
    assert 2 * INTERVAL < beat.next < 2 * INTERVAL + INTERVAL // 8
