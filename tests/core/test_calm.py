"""A node in calm looks less often: what it has to do in time is done in time all the same."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from hamgr.core import effects as fx
from hamgr.core.events import HeartbeatReceived
from hamgr.core.heartbeat import Accusation
from hamgr.core.records import LEADER, PLAN, Leader, Request
from hamgr.core.types import MILLISECOND, SECOND, Instant, Outcome
from hamgr.engine import Engine
from tests.core.cluster import ANSWER_TAKES, SPEC, Cluster, settled

TIMING = SPEC.timing


class Writing(Cluster):
    """Notes when n1 writes a record; such a write can be lost on the way."""

    path = PLAN
    lost = 0

    def __init__(self, *what: object) -> None:
        super().__init__(*what)  # type: ignore[arg-type]
        self.written: list[Instant] = []

    def _write(self, node: str, engine: Engine, effect: fx.Write) -> None:
        if node == "n1" and any(op.path == self.path and op.kind == "set" for op in effect.ops):
            self.written.append(self.now)
            if self.lost:
                self.lost -= 1
                self._answer(node, engine, effect, Outcome.UNKNOWN)
                return
        super()._write(node, engine, effect)


def times_written(path: str, happens: Callable[[Writing], None], phase: int) -> list[Instant]:
    """Return when n1 writes that record within two seconds after something has happened."""
    cluster = settled(Writing(SPEC))
    cluster.advance(5 * SECOND + phase * MILLISECOND)
    cluster.path, cluster.written = path, []
    happens(cluster)
    cluster.advance(2 * SECOND)
    return cluster.written


def test_what_was_not_answered_is_tried_again_after_an_interval() -> None:
    def asked(cluster: Writing) -> None:
        cluster.lost = 2
        cluster.ask(Request(id="r1", kind="standby", node="n3"))

    first, second, third, *_ = times_written(PLAN, asked, 0)
    pause = TIMING.interval + 3 * ANSWER_TAKES
    assert second - first <= pause and third - second <= pause


@pytest.mark.parametrize("phase", range(0, 400, 40))
def test_a_leader_that_lapses_keeps_the_record_for_a_detection(phase: int) -> None:
    """Rule 15: whatever it did last, and when."""
    since: list[Instant] = []

    def cut_off(cluster: Writing) -> None:
        leader = cluster.tree[LEADER][0]
        assert isinstance(leader, Leader) and leader.node == "n1"
        since.append(cluster.now)
        cluster.cuts |= {("n1", "n2"), ("n1", "n3"), ("n2", "n1"), ("n3", "n1")}

    soonest = TIMING.lease - TIMING.interval + TIMING.detection
    assert all(at - since[0] >= soonest for at in times_written(LEADER, cut_off, phase))


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[Instant]:
    """When n1 decided anything."""
    found: list[Instant] = []
    decide = Engine._decide

    def counted(engine: Engine, now: Instant, effects: list[fx.Effect]) -> None:
        if engine.node == "n1":
            found.append(now)
        decide(engine, now, effects)

    monkeypatch.setattr(Engine, "_decide", counted)
    return found


def test_a_dead_member_costs_one_decision_an_interval(decided: list[Instant]) -> None:
    """However many heartbeats come: those of n2, and its answers."""
    cluster = settled(Cluster(SPEC))
    cluster.crash("n3")
    cluster.advance(5 * SECOND)
    decided.clear()
    cluster.advance(2 * SECOND)
    intervals = 2 * SECOND // TIMING.interval
    assert intervals // 2 < len(decided) <= intervals + 2


def test_an_accuser_that_hears_us_again_is_news_though_it_says_what_it_said(
        decided: list[Instant]) -> None:
    """Rule 9: its accusation counts for nothing while its echo is old."""
    cluster = settled(Cluster(SPEC))
    cluster.advance(5 * SECOND)
    engine, now = cluster.engines["n1"], cluster.now
    said = engine.knowledge.liveness.peers["n3"].heartbeat
    assert said is not None and said.echo is not None
    echo = said.echo

    def decides(number: int, echoed: Instant) -> bool:
        decided.clear()
        engine.handle(HeartbeatReceived(heartbeat=replace(
            said, sequence=said.sequence + number, accusations=(Accusation("n2", 1, 1),),
            echo=echo._replace(sent=echoed))), now)
        return bool(decided)

    old = now - TIMING.detection - MILLISECOND
    assert decides(1, old)
    assert decides(2, now)
    assert not decides(3, now)
