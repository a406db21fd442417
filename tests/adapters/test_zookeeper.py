"""The records in a real ZooKeeper: written once or not at all, and always told as they are."""

import asyncio
import logging
import signal
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_acl

from hamgr.adapters.zookeeper import NotSent, ZooKeeper, connected
from hamgr.adapters.zookeeper.session import IN_FLIGHT_MAX, Session
from hamgr.core.effects import Op, Write
from hamgr.core.events import Event, RecordRead, WriteAnswered, ZooKeeperChanged
from hamgr.core.records import History, Leader, Record, Request, Root, Seat, encode
from hamgr.core.types import Outcome, SeatState
from tests.zookeeper import Server, ensemble

pytestmark = pytest.mark.real

TIMEOUT_S = 60
DONE, CONFLICT, UNKNOWN, REFUSED = (
    Outcome.DONE, Outcome.CONFLICT, Outcome.UNKNOWN, Outcome.REFUSED)


class Node:
    """One adapter and everything that it told, in order; can be awaited."""

    def __init__(self, cluster: str, hosts: list[str], name: str = "n1", **options: Any) -> None:
        self.told: list[Event] = []
        self._news = asyncio.Event()
        self._writes = 0
        self.zk = ZooKeeper(name, ("n1", "n2"), cluster, hosts, self._post,
                            **{"session_timeout_s": 2.0, **options})

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


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ensemble() as (one,):
        yield one


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


# ---- reading and writing

@story
async def test_missing_records_are_told_as_missing(server: Server) -> None:
    async with nodes([server]) as (n1,):
        for path in ("", "leader", "plan", "config", "seats/n1", "seats/n2"):
            assert await n1.read(path) == RecordRead(path=path, record=None, version=-1)
        assert n1.told[0] == ZooKeeperChanged(connected=True)


@story
async def test_what_one_node_writes_the_others_are_told(server: Server) -> None:
    async with nodes([server], "n1", "n2") as (n1, n2):
        await n2.read("leader", version=-1)
        assert (await n1.write(create("leader", Leader(term=1)))).versions == (0,)
        assert (await n2.read("leader", version=0)).record == Leader(term=1)
        for term in range(2, 6):
            assert (await n1.write(lead(term, term - 2))).versions == (term - 1,)
            assert (await n2.read("leader", version=term - 1)).record == Leader(term=term)
        assert [read.version for read in n2.reads("leader")] == [-1, 0, 1, 2, 3, 4]


@story
async def test_of_two_writers_one_is_told_conflict_and_the_truth(server: Server) -> None:
    async with nodes([server], "n1", "n2") as (n1, n2):
        await n1.write(create("leader", Leader(term=1)))
        one, two = n1.send(lead(10, 0)), n2.send(lead(20, 0))
        outcomes = [(await n1.answer(one)).outcome, (await n2.answer(two)).outcome]
        assert sorted(outcomes) == [CONFLICT, DONE]
        winner, loser = (n1, n2) if outcomes[0] is DONE else (n2, n1)
        assert (await loser.read("leader", version=1)).record == Leader(
            term=10 if winner is n1 else 20)


@story
async def test_after_a_conflict_the_paths_are_read_again(server: Server) -> None:
    async with nodes([server]) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        await n1.read("leader", version=0)
        before = len(n1.told)
        assert (await n1.write(lead(2, 7))).outcome is CONFLICT
        assert (await n1.read("leader", since=before)).version == 0


@story
async def test_a_transaction_is_written_whole_or_not_at_all(server: Server) -> None:
    async with nodes([server]) as (n1,):
        await n1.write(create("leader", Leader(term=1)), create("seats/n1", SEAT))
        stale = Op(kind="check", path="leader", version=3)
        fresh = Op(kind="check", path="leader", version=0)
        seat = Op(kind="set", path="seats/n1", version=0, record=SEAT)
        extra = create("history/1", History(revision=1, by="n1", lines=("x",)))
        assert (await n1.write(stale, seat, extra)).outcome is CONFLICT
        assert (await n1.write(seat, extra, stale)).outcome is CONFLICT
        assert await n1.zk.tree.names("history") == []
        answer = await n1.write(fresh, seat, extra)
        assert (answer.outcome, answer.versions) == (DONE, (-1, 1, 0))
        gone = await n1.write(Op(kind="delete", path="history/1", version=0))
        assert (gone.outcome, gone.versions) == (DONE, (-1,))


@story
async def test_a_record_that_exists_or_is_missing_is_a_conflict(server: Server) -> None:
    async with nodes([server]) as (n1,):
        assert (await n1.write(lead(1, 0))).outcome is CONFLICT
        await n1.write(create("leader", Leader(term=1)))
        assert (await n1.write(create("leader", Leader(term=1)))).outcome is CONFLICT
        gone = Op(kind="delete", path="plan", version=0)
        assert (await n1.write(gone)).outcome is CONFLICT


@story
async def test_the_root_is_created_once_though_its_folder_is_there(server: Server) -> None:
    async with nodes([server], "n1", "n2") as (n1, n2):
        assert (await n1.write(create("", Root(cluster_id="a")))).outcome is DONE
        assert (await n2.write(create("", Root(cluster_id="b")))).outcome is CONFLICT
        told = await n2.read("", version=1)
        assert told.record == Root(cluster_id="a")
        checked = Op(kind="check", path="", version=told.version)
        assert (await n2.write(checked, create("leader", Leader(term=1)))).outcome is DONE


@story
async def test_a_write_of_any_version_is_refused_as_a_mistake(server: Server) -> None:
    async with nodes([server]) as (n1,):
        with pytest.raises(AssertionError):
            n1.send(lead(1, -1))


@story
async def test_requests_are_told_when_they_appear_and_when_they_go(server: Server) -> None:
    async with nodes([server]) as (n1,):
        asked = Request(id="r1", kind="standby", node="n2")
        await n1.zk.tree.create("requests/r1", asked)
        assert (await n1.read("requests/r1")).record == asked
        await n1.write(Op(kind="delete", path="requests/r1", version=0))
        assert (await n1.read("requests/r1", version=-1)).record is None
        await n1.zk.tree.create("requests/r1", asked)
        await n1.until(lambda e: len(n1.reads("requests/r1")) == 3)
        assert n1.reads("requests/r1")[-1].record == asked


@story
async def test_the_same_version_of_another_record_is_news(server: Server) -> None:
    """Deleted and created anew, a record has the version of the old one."""
    async with nodes([server]) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        gone = Op(kind="delete", path="leader", version=0)
        await n1.write(gone, create("leader", Leader(term=9)))
        await n1.until(lambda e: isinstance(e, RecordRead) and e.record == Leader(term=9))


@story
async def test_only_news_is_told_unless_it_is_asked_for(server: Server) -> None:
    async with nodes([server]) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        await n1.read("leader", version=0)
        told = len(n1.reads("leader"))
        n1.zk._children_changed(type("Event", (), {"path": n1.zk.tree.at("")}))  # needless news
        n1.zk._read("leader")
        n1.zk.read(("leader",))
        await n1.until(lambda e: len(n1.reads("leader")) == told + 1)
        assert (await n1.write(lead(2, 0))).outcome is DONE
        await n1.read("leader", version=1)
        assert len(n1.reads("leader")) == told + 2


@story
async def test_what_cannot_be_read_is_logged_once_and_counts_as_unread(server: Server) -> None:
    cluster = uuid.uuid4().hex
    logged: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("hamgr.adapters.zookeeper").addHandler(handler)
    try:
        async with nodes([server], cluster=cluster) as (n1,):
            await n1.read("plan")
            await n1.write(create("leader", Leader(term=1)))
            await n1.read("leader", version=0)
            submit = n1.zk._current().submit
            await submit(lambda zk: zk.set_async(n1.zk.tree.at("leader"), b'{"term": "one"}'))
            n1.zk.read(("leader", "plan"))
            await n1.until(lambda e: len(n1.reads("plan")) == 2)
            assert n1.reads("leader")[-1].version == 0
            assert len(logged) == 1 and "'leader'" in logged[0]
            repaired = await submit(
                lambda zk: zk.set_async(n1.zk.tree.at("leader"), encode(Leader(term=3))))
            assert (await n1.read("leader", version=repaired.version)).record == Leader(term=3)
    finally:
        logging.getLogger("hamgr.adapters.zookeeper").removeHandler(handler)


@story
async def test_history_comes_in_order_with_its_times(server: Server) -> None:
    async with nodes([server]) as (n1,):
        for revision in range(1, 13):
            await n1.write(create(f"history/{revision}",
                                  History(revision=revision, by="n1", lines=(f"{revision}",))))
        entries = await n1.zk.history(4)
        assert [entry.record.revision for entry in entries] == [9, 10, 11, 12]
        assert abs(entries[-1].created_ms - time.time() * 1000) < 60_000


@story
async def test_a_command_sees_records_sessions_and_may_ask(server: Server) -> None:
    cluster = uuid.uuid4().hex
    async with nodes([server], "n1", cluster=cluster) as (n1,):
        await n1.write(create("seats/n1", SEAT))
        async with connected([server.host], cluster) as tree:
            assert await tree.names("seats") == ["n1"]
            assert (await tree.record("seats/n1")).record == SEAT
            assert (await tree.record("seats/n2")).record is None
            await announced(n1, ["n1"])
            assert (await tree.sessions())["n1"]["node"] == "n1"
            asked = Request(id="r", kind="resume", node="n1")
            await tree.create("requests/r", asked)
            with pytest.raises(FileExistsError):
                await tree.create("requests/r", asked)
        assert (await n1.read("requests/r")).record == asked


def test_a_command_is_told_when_no_server_is_there() -> None:
    async def look() -> None:
        async with connected(["127.0.0.1:1"], "crm", within_s=0.3):
            raise AssertionError("connected to nothing")
    with pytest.raises(NotSent, match=r"127\.0\.0\.1:1"):
        asyncio.run(look())


@pytest.mark.parametrize("name", ["", "a/b", "..", "."])
def test_a_cluster_name_that_is_no_path_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="named"):
        ZooKeeper("n1", ("n1",), name, ["127.0.0.1:1"], print)


@story
async def test_a_session_too_short_to_be_held_is_refused(server: Server) -> None:
    with pytest.raises(ValueError, match="at least 1 s"):
        await ZooKeeper("n1", ("n1",), "crm", [server.host], print, session_timeout_s=0.5).start()


@story
async def test_a_write_that_the_server_forbids_is_refused(server: Server) -> None:
    cluster = uuid.uuid4().hex
    async with nodes([server], cluster=cluster) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        read_only = [make_acl("world", "anyone", read=True, admin=True)]
        await n1.zk._current().submit(
            lambda zk: zk.set_acls_async(n1.zk.tree.at("leader"), read_only))
        assert (await n1.write(lead(2, 0))).outcome is REFUSED


@story
async def test_the_session_record_of_an_earlier_life_is_replaced(server: Server) -> None:
    cluster = uuid.uuid4().hex
    earlier = KazooClient(hosts=server.host)
    await asyncio.to_thread(earlier.start)
    path = f"/hamgr/{cluster}/sessions/n1"
    try:
        await asyncio.to_thread(earlier.create, path, b"old", ephemeral=True, makepath=True)
        async with nodes([server], cluster=cluster) as (n1,):
            session = n1.zk._current()
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    stat = await session.submit(lambda zk: zk.exists_async(path))
                    if stat is not None and stat.ephemeralOwner == session.id:
                        break
    finally:
        await asyncio.to_thread(earlier.stop)
        await asyncio.to_thread(earlier.close)


# ---- outages

@outage(1)
async def test_nothing_is_queued_while_the_server_is_down(servers: list[Server]) -> None:
    (server,) = servers
    async with nodes(servers) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        server.kill()
        down = await n1.change(up=False)
        assert [(await n1.write(lead(term, 0))).outcome for term in range(2, 5)] == [REFUSED] * 3
        n1.zk.read(("leader",))
        server.start()
        up = await n1.change(up=True, since=down)
        told = await n1.read("leader", since=up)
        assert (told.record, told.version) == (Leader(term=1), 0)


@outage(1)
async def test_a_write_that_a_dying_server_may_have_taken_is_unknown(servers: list[Server]) -> None:
    (server,) = servers
    async with nodes(servers) as (n1,):
        await n1.write(create("leader", Leader(term=0)))
        sent: list[int] = []
        for _ in range(30):
            for _ in range(5):
                sent.append(n1.send(lead(len(sent) + 1, len(sent))))
            await n1.answer(sent[-5])
            if len(sent) == 75:
                server.kill()
        for write in sent:
            await n1.answer(write)
        answers = dict(n1.answers()[1:])
        assert len(n1.answers()) == 1 + len(sent), "exactly one answer for each"
        assert set(answers.values()) <= {DONE, UNKNOWN, REFUSED}
        assert REFUSED in answers.values() and DONE in answers.values()
        server.start()
        up = await n1.change(up=True, since=await n1.change(up=False))
        truth = await n1.read("leader", since=up)
        assert isinstance(truth.record, Leader) and truth.record.term == truth.version
        done = list(answers.values()).count(DONE)
        unknown = list(answers.values()).count(UNKNOWN)
        assert done <= truth.record.term <= done + unknown


@outage(1)
async def test_a_frozen_server_is_given_up_in_time_and_gets_nothing_late(
        servers: list[Server]) -> None:
    (server,) = servers
    async with nodes(servers, deadline_s=0.5) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        server.signal(signal.SIGSTOP)
        started = time.monotonic()
        assert (await n1.write(lead(2, 0))).outcome is UNKNOWN
        down = await n1.change(up=False)
        assert (await n1.write(lead(3, 0))).outcome is REFUSED
        assert time.monotonic() - started < 10 * 0.5
        server.signal(signal.SIGCONT)
        up = await n1.change(up=True, since=down)
        truth = await n1.read("leader", since=up)
        assert truth.record in (Leader(term=1), Leader(term=2))
        assert (await n1.write(lead(4, truth.version))).outcome is DONE


@outage(3)
async def test_a_frozen_server_is_left_for_another(servers: list[Server]) -> None:
    async with nodes(servers, deadline_s=1.0, session_timeout_s=4.0) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        mine = next(server for server in servers if server.sessions())
        mine.signal(signal.SIGSTOP)
        assert (await n1.write(create("plan/none", Leader(term=1)))).outcome is UNKNOWN
        up = await n1.change(up=True, since=await n1.change(up=False))
        told = [await n1.read(path, since=up)
                for path in ("", "leader", "plan", "config", "seats/n1", "seats/n2")]
        assert [read.version for read in told] == [-1, 0, -1, -1, -1, -1]
        await written(n1, "leader")
        mine.signal(signal.SIGCONT)


@outage(3)
async def test_when_its_server_dies_another_is_read_again(servers: list[Server]) -> None:
    async with nodes(servers, session_timeout_s=4.0) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        await n1.zk.tree.create("requests/r", Request(id="r", kind="resume"))
        await n1.read("requests/r")
        next(server for server in servers if server.sessions()).kill()
        up = await n1.change(up=True, since=await n1.change(up=False))
        for path in ("", "leader", "plan", "config", "seats/n1", "seats/n2", "requests/r"):
            await n1.read(path, since=up)
        await written(n1, "leader")


async def written(node: Node, path: str) -> None:
    """Write until it is done: an ensemble that lost its leader elects first."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            version = node.reads(path)[-1].version
            term = version + 100
            if (await node.write(Op(kind="set", path=path, version=version,
                                    record=Leader(term=term)))).outcome is DONE:
                return
            await asyncio.sleep(0.05)


@story
async def test_a_session_that_expires_is_followed_by_another(server: Server) -> None:
    async with nodes([server]) as (n1,):
        session = n1.zk._current()
        double = KazooClient(hosts=server.host, client_id=session._client.client_id)
        await asyncio.to_thread(double.start)
        await asyncio.to_thread(double.stop)  # ends the session, as its expiry would
        await asyncio.to_thread(double.close)
        up = await n1.change(up=True, since=await n1.change(up=False))
        for path in ("", "leader", "plan", "config", "seats/n1", "seats/n2"):
            await n1.read(path, since=up)
        assert (await n1.write(create("leader", Leader(term=1)))).outcome is DONE
        await announced(n1, ["n1"])


@story
async def test_a_request_that_went_while_nobody_looked_is_told_as_gone(server: Server) -> None:
    async with nodes([server], "n1", "n2") as (n1, n2):
        await n1.write(create("requests/r", Request(id="r", kind="resume")))
        await n2.read("requests/r")
        n2.zk._replace()
        n2.zk._session._handler.cut()
        assert (await n1.write(Op(kind="delete", path="requests/r", version=0))).outcome is DONE
        up = await n2.change(up=True, since=await n2.change(up=False))
        assert (await n2.read("requests/r", since=up)).version == -1


@outage(1)
async def test_lost_data_is_told_as_missing(servers: list[Server]) -> None:
    """A server that lost its data refuses who has seen more than it has (rule 25 needs to know)."""
    (server,) = servers
    async with nodes(servers, session_timeout_s=1.0) as (n1,):
        await n1.write(create("", Root(cluster_id="a")), create("leader", Leader(term=1)))
        server.kill()
        server.wipe()
        server.start()
        up = await n1.change(up=True, since=await n1.change(up=False))
        assert (await n1.read("", since=up)).record is None
        assert (await n1.read("leader", since=up)).record is None


@story
async def test_a_stuck_client_is_replaced(server: Server) -> None:
    """kazoo's thread has been seen to hang for ever; here it is made to."""
    async with nodes([server], deadline_s=0.5) as (n1,):
        hang = threading.Event()
        session = n1.zk._current()
        await n1.write(create("leader", Leader(term=1)))
        session._handler.select = lambda *_, **__: hang.wait(30) and ([], [], [])
        sent = [n1.send(lead(2, 0)) for _ in range(2 * IN_FLIGHT_MAX)]
        outcomes = [(await n1.answer(write)).outcome for write in sent]
        up = await n1.change(up=True, since=await n1.change(up=False))
        truth = await n1.read("leader", since=up)
        assert set(outcomes) == {UNKNOWN, REFUSED} and truth.version == 0
        assert (await n1.write(lead(5, 0))).outcome is DONE
        hang.set()


@outage(1)
async def test_closing_does_not_wait_for_a_frozen_server(servers: list[Server]) -> None:
    async with nodes(servers) as (n1,):
        servers[0].signal(signal.SIGSTOP)
        write = n1.send(create("leader", Leader(term=1)))
        async with asyncio.timeout(5):
            await n1.zk.close(0.5)
        assert (await n1.answer(write)).outcome is UNKNOWN
        assert n1.told[-1] == WriteAnswered(write=write, outcome=UNKNOWN)


@story
async def test_an_orderly_end_takes_the_session_record_along(server: Server) -> None:
    cluster = uuid.uuid4().hex
    async with nodes([server], "n1", "n2", cluster=cluster) as (n1, n2):
        await announced(n1, ["n1", "n2"])
        await n2.zk.close(5)
        await announced(n1, ["n1"])


def test_no_thread_outlives_a_close() -> None:
    async def short() -> None:
        session = Session(["127.0.0.1:1"], timeout_s=1, changed=print, stalled=print)
        session.start()
        await session.close(10)
    before = threading.active_count()
    asyncio.run(short())
    assert threading.active_count() <= before
