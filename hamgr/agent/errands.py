"""The shell's own few requests to ZooKeeper and to services, beside those of the engine.

They are numbered downward from -1, so that their answers are never taken for an engine's.
"""

import asyncio
from collections.abc import Callable
from itertools import count

from hamgr.agent.loop import Loop
from hamgr.core.effects import Op, RunService, Write
from hamgr.core.events import Event, RecordRead, ServiceAnswered, WriteAnswered
from hamgr.core.records import PLAN, REQUESTS, Plan, Request
from hamgr.core.types import Duration, GroupName, Outcome, ServiceName
from hamgr.ports import Coordinator, Services


class Errands:
    """Asks and waits for the one answer that each port promises."""

    def __init__(self, loop: Loop, coordinator: Coordinator, services: Services) -> None:
        self._loop, self._coordinator, self._services = loop, coordinator, services
        self._numbers = count(-1, -1)

    async def write(self, ops: tuple[Op, ...]) -> WriteAnswered:
        """Write one transaction; return within the coordinator's call deadline."""
        number = next(self._numbers)
        answer = self._expect(number)
        self._coordinator.write(Write(write=number, ops=ops))
        event = await answer
        assert isinstance(event, WriteAnswered), "a write was answered as a run"
        return event

    async def demote(
        self, group: GroupName, service: ServiceName, within: Duration, reason: str
    ) -> ServiceAnswered:
        """Stop a service that may have been left running; return within that time."""
        number = next(self._numbers)
        answer = self._expect(number)
        self._services.run(RunService(run=number, group=group, service=service, action="demote",
                                      epoch=0, timeout=within, reason=reason))
        event = await answer
        assert isinstance(event, ServiceAnswered), "a run was answered as a write"
        return event

    async def ask(
        self, request: Request, progress: Callable[[str], None], within_s: float
    ) -> Request | None:
        """Put an operator's request before the leader and return it as the leader answered it.

        progress is told in words what happens meanwhile. None: no answer within that time.
        Raises ConnectionError if ZooKeeper did not take the request.
        """
        answered: asyncio.Future[Request] = asyncio.get_running_loop().create_future()
        follow = _follower(request.id, answered, progress)
        self._loop.listeners.append(follow)
        try:
            path = f"{REQUESTS}/{request.id}"
            answer = await self.write((Op(kind="create", path=path, record=request),))
            if answer.outcome in (Outcome.REFUSED, Outcome.CONFLICT):
                raise ConnectionError("ZooKeeper did not take the request: "
                                      + ("this node is not connected to it"
                                         if answer.outcome is Outcome.REFUSED
                                         else "the cluster has no data there yet"))
            progress("the request is before the leader")
            async with asyncio.timeout(within_s):
                return await answered
        except TimeoutError:
            return None
        finally:
            self._loop.listeners.remove(follow)

    def _expect(self, number: int) -> asyncio.Future[WriteAnswered | ServiceAnswered]:
        answer: asyncio.Future[WriteAnswered | ServiceAnswered]
        answer = asyncio.get_running_loop().create_future()
        self._loop.expect(
            number, lambda event: None if answer.done() else answer.set_result(event))
        return answer


def _follower(
    wanted: str, answered: asyncio.Future[Request], progress: Callable[[str], None]
) -> Callable[[Event], None]:
    """Return a listener that reports plans, and resolves the future with the leader's answer."""
    def follow(event: Event) -> None:
        if not isinstance(event, RecordRead):
            return
        if event.path == PLAN and isinstance(event.record, Plan):
            progress(f"plan {event.record.revision}: {event.record.why}")
        record = event.record
        if (isinstance(record, Request) and record.id == wanted and record.state != "open"
                and not answered.done()):
            answered.set_result(record)
    return follow
