"""A node's eyes on ZooKeeper, for tests: everything that the adapter told, in order."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from hamgr.adapters.zookeeper import ZooKeeper
from hamgr.core.effects import Op, Write
from hamgr.core.events import Event, RecordRead, WriteAnswered, ZooKeeperChanged
from hamgr.core.records import Leader, Record, Seat
from hamgr.core.types import Outcome, SeatState
from tests.zookeeper import Server, ensemble

TIMEOUT_S = 60
DONE, CONFLICT, UNKNOWN, REFUSED = (
    Outcome.DONE, Outcome.CONFLICT, Outcome.UNKNOWN, Outcome.REFUSED)


class Node:
    """One adapter and everything that it told, in order; can be awaited.

    It is patient, so that a busy machine does not look like an outage; tests of outages are not.
    """

    def __init__(self, cluster: str, hosts: list[str], name: str = "n1", **options: Any) -> None:
        self.told: list[Event] = []
        self._news = asyncio.Event()
        self._writes = 0
        self.zk = ZooKeeper(name, ("n1", "n2"), cluster, hosts, self._post,
                            **{"session_timeout_s": 10.0, "deadline_s": 10.0, **options})

    def _post(self, event: Event) -> None:
        self.told.append(event)
        self._news.set()

    async def until(self, seen: Callable[[Event], bool], since: int = 0) -> Event:
        """Return the first event of this kind since then, waiting for it if need be."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                for event in self.told[since:]:
                    if seen(event):
                        return event
                self._news.clear()
                await self._news.wait()

    def send(self, *ops: Op) -> int:
        self._writes += 1
        self.zk.write(Write(write=self._writes, ops=ops))
        return self._writes

    async def write(self, *ops: Op) -> WriteAnswered:
        return await self.answer(self.send(*ops))

    async def answer(self, write: int) -> WriteAnswered:
        answered = await self.until(lambda e: isinstance(e, WriteAnswered) and e.write == write)
        assert isinstance(answered, WriteAnswered)
        return answered

    async def change(self, up: bool, since: int = 0) -> int:
        """Wait until the connection is up or down; return where that is in the story."""
        return self.told.index(await self.until(
            lambda e: e == ZooKeeperChanged(connected=up), since), since)

    async def read(self, path: str, since: int = 0, version: int | None = None) -> RecordRead:
        event = await self.until(lambda e: isinstance(e, RecordRead) and e.path == path
                                 and version in (None, e.version), since)
        assert isinstance(event, RecordRead)
        return event

    def answers(self) -> list[tuple[int, Outcome]]:
        return [(e.write, e.outcome) for e in self.told if isinstance(e, WriteAnswered)]

    def reads(self, path: str) -> list[RecordRead]:
        return [e for e in self.told if isinstance(e, RecordRead) and e.path == path]


@asynccontextmanager
async def nodes(servers: list[Server], *names: str, cluster: str = "",
                **options: Any) -> AsyncIterator[list[Node]]:
    cluster = cluster or uuid.uuid4().hex
    started = [Node(cluster, [server.host for server in servers], name, **options)
               for name in names or ("n1",)]
    try:
        for node in started:
            await node.zk.start()
            await node.change(up=True)
        yield started
    finally:
        for node in started:
            await node.zk.close(2)


async def announced(node: Node, names: list[str]) -> None:
    """Wait until these nodes, and no others, have a session."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if sorted(await node.zk.tree.sessions()) == names:
                return
            await asyncio.sleep(0.01)


def create(path: str, record: Record) -> Op:
    return Op(kind="create", path=path, record=record)


def lead(term: int, version: int) -> Op:
    return Op(kind="set", path="leader", version=version, record=Leader(term=term))


SEAT = Seat(incarnation=1, round=1, state=SeatState.CLAIMED, by="n1")


def story(told: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that is a coroutine of the servers."""
    def test(server: Server) -> None:
        asyncio.run(told(server))
    test.__name__, test.__doc__ = told.__name__, told.__doc__
    return test


def outage(count: int) -> Callable[..., Callable[[], None]]:
    """Run a test with servers of its own, which it may kill and freeze."""
    def of(told: Callable[..., Coroutine[Any, Any, None]]) -> Callable[[], None]:
        def test() -> None:
            with ensemble(count) as servers:
                asyncio.run(told(servers))
        test.__name__, test.__doc__ = told.__name__, told.__doc__
        return test
    return of
