"""The records in a real ZooKeeper: written once or not at all, and always told as they are."""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_acl

from hamgr.adapters.zookeeper import NotSent, ZooKeeper, connected, deadline_for
from hamgr.coding import encode
from hamgr.core.effects import Op
from hamgr.core.events import RecordRead, ZooKeeperChanged
from hamgr.core.records import History, Leader, Request, Root
from hamgr.core.timing import Timing
from hamgr.core.types import MILLISECOND
from tests.coordinator import (
    CONFLICT,
    DONE,
    REFUSED,
    SEAT,
    TIMEOUT_S,
    announced,
    create,
    lead,
    nodes,
    story,
)
from tests.zookeeper import Server, ensemble

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ensemble() as (one,):
        yield one


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
    found = asyncio.Event()

    def note(record: logging.LogRecord) -> None:
        logged.append(record.getMessage())
        found.set()

    handler.emit = note  # type: ignore[method-assign]
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
            await asyncio.wait_for(found.wait(), 10)
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


def test_a_call_takes_half_a_claim_at_most() -> None:
    """A renewal that hangs in one server must leave time for another (rule 6)."""
    assert deadline_for(Timing()) == 1.0
    assert deadline_for(Timing(claim=400 * MILLISECOND)) == 0.2


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


@story
async def test_the_session_record_tells_the_macs_that_the_node_has_now(server: Server) -> None:
    macs: list[str] = []
    async with nodes([server], macs=lambda: macs) as (n1,):
        async def told() -> object:
            return (await n1.zk.tree.sessions()).get("n1", {}).get("macs")

        async def until_told(wanted: list[str]) -> None:
            async with asyncio.timeout(TIMEOUT_S):
                while await told() != wanted:
                    pass

        await until_told([])
        macs.append("02:00:00:00:00:01")
        n1.zk.announce_again()
        await until_told(["02:00:00:00:00:01"])
        session = n1.zk._current()
        path = n1.zk.tree.at("sessions/n1")
        before = await session.submit(lambda zk: zk.exists_async(path))
        n1.zk.announce_again()
        await n1.zk._announcing.done()
        after = await session.submit(lambda zk: zk.exists_async(path))
        assert after.version == before.version, "written although nothing had changed"
