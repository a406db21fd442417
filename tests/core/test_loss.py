"""Heartbeats that are lost at random: the cluster beats faster, and nothing moves."""

import random

import pytest

from hamgr.core import effects as fx
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.liveness import LATELY_INTERVALS, Liveness
from hamgr.core.types import MILLISECOND, SECOND
from hamgr.engine import LOSSY_BEATS, Engine
from tests.core.cluster import NODES, SPEC, Cluster

INTERVAL = SPEC.timing.interval
SETTLED = 4 * SECOND


class Lossy(Cluster):
    """Loses a share of all heartbeats, drawn for each receiver."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__(SPEC)
        self.share, self.dice, self.sent = 0.0, random.Random(seed), 0
        for node in NODES:
            self.boot(node)
        self.advance(SETTLED)
        self.share, self.sent = share, 0

    def _carry_out(self, node: str, engine: Engine, effect: fx.Effect) -> None:
        if isinstance(effect, fx.SendHeartbeat):
            self.sent += 1
            if self.dice.random() < self.share:
                return
        super()._carry_out(node, engine, effect)


@pytest.mark.parametrize("seed", [0, 1, *(
    pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))])
def test_a_minute_of_20_percent_loss_moves_nothing(seed: int) -> None:
    cluster = Lossy(0.2, seed)
    before = len(cluster.lines)
    cluster.advance(60 * SECOND)
    assert [line for line in cluster.lines[before:] if "stops" in line or "lapse" in line] == []
    assert cluster.engines["n1"].activity.groups["crm"].local.is_active


def test_one_lost_heartbeat_has_all_beat_faster_for_a_while_and_then_no_more() -> None:
    cluster = Lossy(0, 0)
    cluster.advance(5 * SECOND)
    usual, cluster.sent = cluster.sent, 0
    cluster.cuts.add(("n3", "n2"))
    cluster.advance(INTERVAL)
    cluster.cuts.clear()
    cluster.advance(LATELY_INTERVALS * INTERVAL)
    faster, cluster.sent = cluster.sent, 0
    cluster.advance(INTERVAL)
    cluster.sent = 0
    cluster.advance(5 * SECOND)
    assert cluster.sent == usual
    assert faster > usual * 21 // 50 * LOSSY_BEATS * 0.6, "two of three beat faster"


def test_silence_is_no_loss() -> None:
    """A dead node must not make the others send more for ever."""
    cluster = Lossy(0, 0)
    cluster.crash("n3")
    cluster.advance(2 * SECOND)
    cluster.sent = 0
    cluster.advance(2 * SECOND)
    once, cluster.sent = cluster.sent, 0
    cluster.advance(2 * SECOND)
    assert cluster.sent == once
    beats = 2 * SECOND // INTERVAL
    assert once <= 6 * beats, "two peers each, and answers"


@pytest.mark.parametrize("phase", range(0, 100, 10))
@pytest.mark.parametrize("link", [("n3", "n1"), ("n1", "n3")], ids=" to ".join)
def test_one_heartbeat_may_be_lost_also_where_no_voter_may(
        phase: int, link: tuple[str, str]) -> None:
    """Two of three are left, and ZooKeeper is down: the lease of each rests on the other's."""
    cluster = Losing(link, phase)
    cluster.crash("n2")
    cluster.advance(5 * SECOND)
    for node in ("n1", "n3"):
        cluster.disconnect(node)
    cluster.advance(2 * SECOND)
    before = len(cluster.lines)
    cluster.loses = True
    cluster.advance(2 * SECOND)
    assert not cluster.loses
    assert [line for line in cluster.lines[before:] if "lease ran out" in line] == []


class Losing(Cluster):
    """Loses one heartbeat of a link when told so; n3 beats so many milliseconds after the others.
    """

    def __init__(self, link: tuple[str, str], phase: int) -> None:
        super().__init__(SPEC)
        self.link, self.loses = link, False
        self.boot("n1")
        self.boot("n2")
        self.advance(phase * MILLISECOND)
        self.boot("n3")
        self.advance(5 * SECOND)

    def _carry_out(self, node: str, engine: Engine, effect: fx.Effect) -> None:
        if self.loses and isinstance(effect, fx.SendHeartbeat) and (
                (node, effect.to) == self.link and not effect.heartbeat.answer):
            self.loses = False
            return
        super()._carry_out(node, engine, effect)


def _heartbeat(sequence: int, sent: int, *, answer: bool) -> Heartbeat:
    return Heartbeat(
        cluster="c", sender="n1", incarnation=1, round=1, sequence=sequence, sent=sent,
        answer=answer, seat="member", lapsed=False, lease=SPEC.timing.lease, revision=1, voters=1,
        lateness=0, echo=None)


def test_a_heartbeat_that_its_own_answer_has_overtaken_counts_for_the_echo() -> None:
    """Both are sent at the same moment where nodes beat together."""
    liveness = Liveness("n2", 1, ["n1"], SPEC.timing, 0)
    peer = liveness.peers["n1"]
    assert liveness.hear(_heartbeat(1, 100, answer=False), 0, SECOND)
    assert liveness.hear(_heartbeat(3, 201, answer=True), 0, SECOND + INTERVAL)
    assert not liveness.hear(_heartbeat(2, 200, answer=False), 0, SECOND + INTERVAL + 1)
    assert peer.echo is not None and peer.echo.sent == 200
    assert peer.heard_at == SECOND + INTERVAL + 1
    assert not liveness.hear(_heartbeat(1, 100, answer=False), 0, SECOND + 2 * INTERVAL)
    assert peer.echo.sent == 200, "what is older than that is old"
    assert peer.heard_at == SECOND + INTERVAL + 1
