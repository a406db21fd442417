"""An operator's rebuild: the words in which it is refused, and what becomes of what it writes."""

import asyncio
from typing import Any

import pytest

from hamgr.agent.answers import Answers
from hamgr.agent.rebuilding import Rebuilding
from hamgr.core.effects import Write
from hamgr.core.events import WriteAnswered
from hamgr.core.records import PLAN, Plan
from hamgr.core.types import SECOND, Outcome
from hamgr.engine import Engine
from tests.core.cluster import SPEC, Cluster, settled


class Server:
    """A coordinator that answers every write alike."""

    def __init__(self, answers: Answers, outcome: Outcome) -> None:
        self._answers, self._outcome = answers, outcome
        self.written: list[Write] = []

    def write(self, effect: Write) -> None:
        self.written.append(effect)
        self._answers.take(WriteAnswered(write=effect.write, outcome=self._outcome))


def lost() -> Cluster:
    cluster = settled(Cluster(SPEC))
    for path in list(cluster.tree):
        del cluster.tree[path]
        cluster.publish(path)
    cluster.advance(SECOND)
    return cluster


def asked(engine: Engine | None, now: int, outcome: Outcome, monkeypatch: pytest.MonkeyPatch,
          down: tuple[str, ...] = ()) -> tuple[str, list[str], list[Write]]:
    """Return the answer, the progress and what was written."""
    monkeypatch.setattr("hamgr.agent.rebuilding.time.monotonic_ns", lambda: now)
    said: list[str] = []

    async def story() -> tuple[str, list[Write]]:
        answers = Answers()
        server: Any = Server(answers, outcome)
        rebuilding = Rebuilding(lambda: engine, server, answers)
        try:
            return await rebuilding.rebuild(down, said.append), server.written
        except ConnectionError as error:
            return f"refused: {error}", server.written

    answer, written = asyncio.run(story())
    return answer, said, written


def test_the_plan_that_is_known_is_written_far_above(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = lost()
    engine = cluster.engines["n2"]
    known = engine.knowledge.plan
    assert known is not None
    answer, said, (write,) = asked(engine, cluster.now, Outcome.DONE, monkeypatch)
    (plan,) = [op.record for op in write.ops if op.path == PLAN]
    assert isinstance(plan, Plan) and plan.revision > known.revision + 1000
    assert plan.groups["crm"].holder == known.groups["crm"].holder
    assert answer == f"plan {known.revision} is written anew as plan {plan.revision}"
    assert said == [f"{answer}: ZooKeeper is asked to take it"]


@pytest.mark.parametrize(("outcome", "why"), [
    (Outcome.CONFLICT, "ZooKeeper's data changed meanwhile"),
    (Outcome.UNKNOWN, "it may be done yet: see hamgr status"),
    (Outcome.REFUSED, "it may be done yet: see hamgr status"),
])
def test_what_zookeeper_does_not_take_is_told(outcome: Outcome, why: str,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = lost()
    answer, _, _ = asked(cluster.engines["n2"], cluster.now, outcome, monkeypatch)
    assert answer.startswith("refused: ") and why in answer


def test_it_is_refused_where_it_is_not_needed_or_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = settled(Cluster(SPEC))
    answer, _, written = asked(fine.engines["n1"], fine.now, Outcome.DONE, monkeypatch)
    assert answer == "refused: ZooKeeper has this cluster's data: there is nothing to rebuild"
    cluster = lost()
    cluster.crash("n3")
    cluster.advance(SECOND)
    engine = cluster.engines["n1"]
    answer, _, more = asked(engine, cluster.now, Outcome.DONE, monkeypatch)
    assert "n3 is not heard: see that it is powered off, and say so (--down n3)" in answer
    assert written == more == []
    answer, _, (write,) = asked(engine, cluster.now, Outcome.DONE, monkeypatch, down=("n3",))
    assert answer.startswith("plan ") and write.ops[-1].path == "seats/n3"
    assert asked(None, 0, Outcome.DONE, monkeypatch)[0].startswith("refused: this node is just")
