"""Writes ZooKeeper's data anew when an operator asks for it (rule 25)."""

import logging
import secrets
import time
from collections.abc import Callable, Sequence

from hamgr.agent.answers import Answers
from hamgr.core.effects import Write
from hamgr.core.events import WriteAnswered
from hamgr.core.types import NodeName, Outcome
from hamgr.engine import Engine
from hamgr.ports import Coordinator
from hamgr.rebuild import refusal, transaction

logger = logging.getLogger("hamgr.agent")


class Rebuilding:
    """What this node's control socket is asked for."""

    def __init__(self, engine: Callable[[], Engine | None], coordinator: Coordinator,
                 answers: Answers) -> None:
        """engine: the one that is fed now, if any."""
        self._engine, self._coordinator, self._answers = engine, coordinator, answers

    async def rebuild(self, down: Sequence[NodeName], progress: Callable[[str], None]) -> str:
        """Write the plan that this node knows anew, under a new cluster id; return what was done.

        `down`: nodes that the operator vouches for as powered off. Raises ConnectionError with the
        reason if that was not done.
        """
        engine = self._engine()
        if engine is None:
            raise ConnectionError("this node is just beginning a new life: ask again in a moment")
        knowledge = engine.knowledge
        if why := refusal(knowledge, tuple(down), time.monotonic_ns()):
            raise ConnectionError(why)
        number, answer = self._answers.expect()
        ops, said = transaction(knowledge, secrets.token_hex(16), tuple(down))
        progress(f"{said}: ZooKeeper is asked to take it")
        self._coordinator.write(Write(write=number, ops=ops))
        event = await answer
        assert isinstance(event, WriteAnswered), "a write was answered as a run"
        if event.outcome is Outcome.CONFLICT:
            raise ConnectionError("ZooKeeper's data changed meanwhile: look at hamgr status, and "
                                  "ask again if it is still needed")
        if event.outcome is not Outcome.DONE:
            raise ConnectionError("ZooKeeper did not answer; it may be done yet: see hamgr status")
        logger.warning("ZooKeeper's data is rebuilt by an operator: %s", said)
        return said
