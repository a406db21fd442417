"""Puts operators' requests before the leader, and follows them to their end."""

import asyncio
from collections.abc import Callable

from hamgr.agent.answers import Answers
from hamgr.core.effects import Op, Write
from hamgr.core.events import Event, RecordRead, WriteAnswered
from hamgr.core.records import PLAN, REQUESTS, Plan, Request
from hamgr.core.types import Outcome
from hamgr.ports import Coordinator

_NOT_TAKEN = {
    Outcome.REFUSED: "this node is not connected to it",
    Outcome.CONFLICT: "the cluster has no data there yet",
}


class Requests:
    """The requests that came in at this node's control socket."""

    def __init__(self, answers: Answers, coordinator: Coordinator) -> None:
        self._answers, self._coordinator = answers, coordinator
        self._followers: list[Callable[[RecordRead], None]] = []

    def read(self, event: Event) -> None:
        """Look at an event: the leader's answer comes as a record that was read."""
        if isinstance(event, RecordRead):
            for follow in list(self._followers):
                follow(event)

    async def ask(
        self, request: Request, progress: Callable[[str], None], within_s: float
    ) -> Request | None:
        """Return the request as the leader answered it; None: no answer within that time.

        progress is told in words what happens meanwhile. Raises ConnectionError if ZooKeeper did
        not take the request. An answer to the write that was lost (UNKNOWN) is no failure: the
        record itself will tell.
        """
        answered: asyncio.Future[Request] = asyncio.get_running_loop().create_future()
        follow = _follower(request.id, answered, progress)
        self._followers.append(follow)
        try:
            outcome = await self._create(request)
            if outcome in _NOT_TAKEN:
                refused = self._coordinator.trouble if outcome is Outcome.REFUSED else ""
                raise ConnectionError("ZooKeeper did not take the request: "
                                      f"{refused or _NOT_TAKEN[outcome]}")
            progress("the request is before the leader")
            async with asyncio.timeout(within_s):
                return await answered
        except TimeoutError:
            return None
        finally:
            self._followers.remove(follow)

    async def _create(self, request: Request) -> Outcome:
        number, answer = self._answers.expect()
        op = Op(kind="create", path=f"{REQUESTS}/{request.id}", record=request)
        self._coordinator.write(Write(write=number, ops=(op,)))
        event = await answer
        assert isinstance(event, WriteAnswered), "a write was answered as a run"
        return event.outcome


def _follower(
    wanted: str, answered: asyncio.Future[Request], progress: Callable[[str], None]
) -> Callable[[RecordRead], None]:
    def follow(event: RecordRead) -> None:
        record = event.record
        if event.path == PLAN and isinstance(record, Plan):
            progress(f"plan {record.revision}: {record.why}")
        if (isinstance(record, Request) and record.id == wanted and record.state != "open"
                and not answered.done()):
            answered.set_result(record)
    return follow
