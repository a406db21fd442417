"""Real ZooKeeper servers that die, hang and forget: what is told is true, and told in time."""

import asyncio
import signal
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient

from hamgr.adapters.zookeeper.session import IN_FLIGHT_MAX, Session
from hamgr.core.effects import Op
from hamgr.core.events import WriteAnswered
from hamgr.core.records import Leader, Request, Root
from tests.coordinator import (
    DONE,
    REFUSED,
    TIMEOUT_S,
    UNKNOWN,
    Node,
    announced,
    create,
    lead,
    nodes,
    outage,
    story,
)
from tests.zookeeper import Server, ensemble

HERE = "127.0.0.1"

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ensemble() as (one,):
        yield one


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
async def test_a_write_that_slips_in_behind_a_lost_connection_is_refused(
        servers: list[Server]) -> None:
    """The loop has not heard of it yet; kazoo would keep the write and send it later."""
    (server,) = servers
    async with nodes(servers) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        session = n1.zk._current()
        server.kill()
        while session._client.connected:
            time.sleep(0.01)  # noqa: ASYNC251 - the loop must not run meanwhile
        assert n1.zk._connected
        assert (await n1.write(lead(2, 0))).outcome is REFUSED
        server.start()
        up = await n1.change(up=True, since=await n1.change(up=False))
        assert (await n1.read("leader", since=up)).version == 0


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
    async with nodes(servers, deadline_s=1.5) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        server.signal(signal.SIGSTOP)
        started = time.monotonic()
        assert (await n1.write(lead(2, 0))).outcome is UNKNOWN
        down = await n1.change(up=False)
        assert (await n1.write(lead(3, 0))).outcome is REFUSED
        assert time.monotonic() - started < 10 * 1.5
        server.signal(signal.SIGCONT)
        up = await n1.change(up=True, since=down)
        truth = await n1.read("leader", since=up)
        assert truth.record in (Leader(term=1), Leader(term=2))
        assert (await n1.write(lead(4, truth.version))).outcome is DONE


def test_the_last_word_of_each_server_counts_also_that_it_does_not_answer() -> None:
    """A dying server closes connections before it refuses them: nobody's certificate is wrong."""
    async def story() -> None:
        doors = [await asyncio.start_server(lambda _, writer: writer.close(), HERE)
                 for _ in range(2)]
        hosts = [f"{HERE}:{door.sockets[0].getsockname()[1]}" for door in doors]
        possible = ("it has no quorum", *hosts)
        node = Node("c", hosts)
        await node.zk.start()

        async def says(*words: str) -> None:
            async with asyncio.timeout(TIMEOUT_S):
                while {each for each in possible if each in node.zk.trouble} != set(words):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

        try:
            doors[0].close()
            await says("it has no quorum", *hosts)
            assert node.zk.trouble.startswith(hosts[1])
            assert node.zk.trouble.endswith(f"; no answer from {hosts[0]}")
            doors[1].close()
            await says()
            assert node.zk.trouble == ""
        finally:
            await node.zk.close(2)
    asyncio.run(story())


@outage(3)
async def test_a_frozen_server_is_left_for_another(servers: list[Server]) -> None:
    async with nodes(servers, deadline_s=1.5) as (n1,):
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
    async with nodes(servers) as (n1,):
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
        await n1.read("seats/n2")
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
        # A new connection that was there before the deletion reads it once more, then hears of it.
        await n2.read("requests/r", since=up, version=-1)


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
    """kazoo's thread has been seen to hang for ever; here it is made to. The loop never waits."""
    hang = threading.Event()
    over: list[bool] = []

    def select(*_: object, **__: object) -> tuple[list[object], list[object], list[object]]:
        over.append(hang.wait(30))
        return [], [], []

    async with nodes([server], deadline_s=1.5) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        n1.zk._current()._handler.select = select
        sent = [n1.send(lead(2, 0)) for _ in range(2 * IN_FLIGHT_MAX)]
        assert not over, "the loop has waited for the stuck thread"
        outcomes = [(await n1.answer(write)).outcome for write in sent]
        up = await n1.change(up=True, since=await n1.change(up=False))
        truth = await n1.read("leader", since=up)
        assert set(outcomes) == {UNKNOWN, REFUSED} and truth.version == 0
        assert not over
        await written(n1, "leader")
        hang.set()


@outage(1)
async def test_closing_does_not_wait_for_a_frozen_server(servers: list[Server]) -> None:
    async with nodes(servers) as (n1,):
        servers[0].signal(signal.SIGSTOP)
        write = n1.send(create("leader", Leader(term=1)))
        async with asyncio.timeout(5):
            await n1.zk.close(0.5)
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
        session = Session(["127.0.0.1:1"], timeout_s=1, changed=print, stalled=print,
                          failed=print)
        session.start()
        await session.close(10)
    before = set(threading.enumerate())
    asyncio.run(short())
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT_S)  # its last words are said, its end may be a moment away
        assert not thread.is_alive()
