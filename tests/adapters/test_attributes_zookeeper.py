"""Shared attributes in a real ZooKeeper: written once, merged, and carried after an outage."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_acl

from hamgr.adapters.services.ocf.attributes import CLUSTER, Lifetime
from hamgr.adapters.services.ocf.shared import CLUSTER_RECORD
from hamgr.adapters.zookeeper import board
from tests.access import NOBODY, access, as_user, beside, lists
from tests.adapters.test_attributes import GIVEN, Disk, Node
from tests.adapters.test_zookeeper_access import CLOSED, give
from tests.coordinator import TIMEOUT_S, outage, story
from tests.coordinator import Node as Coordinator
from tests.zookeeper import Server, ensemble

pytestmark = pytest.mark.real

REBOOT, FOREVER = Lifetime.REBOOT, Lifetime.FOREVER


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ensemble() as (one,):
        yield one


class Shared(Node):
    """A node's attributes, followed and written by its coordinator."""

    def __init__(self, name: str, server: Server, cluster: str, disk: Disk | None = None,
                 **options: Any) -> None:
        super().__init__(name, disk)
        self.news = asyncio.Event()
        self.coordinator = Coordinator(cluster, [server.host], name, attributes=self, **options)
        self.publish = self.coordinator.zk.attributes_changed

    def read(self, name: str, data: bytes | None) -> None:
        """Take in a record, and let tests know."""
        super().read(name, data)
        self.news.set()

    async def until(self, seen: Callable[[], object]) -> None:
        """Return when it is so by what was read."""
        async with asyncio.timeout(TIMEOUT_S):
            while not seen():
                self.news.clear()
                await self.news.wait()

    async def knows(self, node: str, name: str, value: str | None,
                    lifetime: Lifetime = REBOOT) -> None:
        await self.until(lambda: self.get(node, name, lifetime) == value)

    async def carried(self) -> None:
        """Return when nothing waits to be written."""
        await self.until(lambda: not self._pending)

    async def version(self, record: str) -> int:
        _, stat = await self.coordinator.zk.tree._get(f"attributes/{record}")
        return int(stat.version)


@asynccontextmanager
async def shared(server: Server, *names: str, cluster: str = "",
                 **options: Any) -> AsyncIterator[list[Shared]]:
    cluster = cluster or uuid.uuid4().hex
    nodes = [Shared(name, server, cluster, **options) for name in names]
    try:
        for node in nodes:
            await node.coordinator.zk.start()
            await node.coordinator.change(up=True)
        yield nodes
    finally:
        for node in nodes:
            await node.coordinator.zk.close(2)


@story
async def test_what_one_sets_the_other_reads_and_a_burst_is_one_write(server: Server) -> None:
    async with shared(server, "n1", "n2") as (n1, n2):
        for number in range(50):
            n1.set("n2", f"a{number}", "1", REBOOT)
        n1.set(CLUSTER, "info", "n1", FOREVER)
        await n2.knows("n2", "a49", "1")
        await n2.knows(CLUSTER, "info", "n1", FOREVER)
        assert len(n2.of("n2")) == 50
        await n1.until(lambda: n1._read["n2"].boot == "n2.monday")
        assert await n1.version("n2") == 1, "written by n1, and taken for its own by n2"
        assert await n1.version(CLUSTER_RECORD) == 0
        for number in range(50):
            n2.set("n2", f"a{number}", None, REBOOT)
        await n1.knows("n2", "a49", None)
        assert await n1.version("n2") == 2


@story
async def test_of_what_many_set_at_once_nothing_is_lost(server: Server) -> None:
    async with shared(server, *GIVEN) as nodes:
        for number in range(20):
            for node in nodes:
                node.set("n1", f"{node.coordinator.zk._announcing._node}-{number}", "1", FOREVER)
            await asyncio.sleep(0.01)  # so that some of it is written meanwhile
        for node in nodes:
            await node.until(lambda node=node: len(node.of("n1")) == 61)  # type: ignore[misc]


@story
async def test_who_comes_later_reads_it_all_and_takes_nothing_away(server: Server) -> None:
    cluster = uuid.uuid4().hex
    async with shared(server, "n1", cluster=cluster) as (n1,):
        n1.set("n1", "kept", "1", FOREVER)
        await n1.carried()
    async with shared(server, "n2", cluster=cluster) as (n2,):
        await n2.knows("n1", "kept", "1", FOREVER)
        assert n2.merged("n1", None) is None


@outage(1)
async def test_what_is_set_in_an_outage_is_carried_after_it(servers: list[Server]) -> None:
    (server,) = servers
    async with shared(server, "n1", "n2", session_timeout_s=2.0, deadline_s=1.0) as (n1, n2):
        n1.set("n1", "before", "1", REBOOT)
        await n2.knows("n1", "before", "1")
        server.kill()
        await n1.coordinator.change(up=False)
        for number in range(9):
            n1.set("n2", "meanwhile", str(number), REBOOT)
            n2.set("n1", "too", str(number), REBOOT)
        assert n1.get("n2", "meanwhile", REBOOT) == "8", "at once"
        server.start()
        await n2.knows("n2", "meanwhile", "8")
        await n1.knows("n1", "too", "8")
        assert n1.get("n1", "before", REBOOT) == "1"
        assert await n1.version("n1") == 1, "one write before, and one after"


@story
async def test_what_an_operator_removes_by_hand_is_given_back(server: Server) -> None:
    cluster = uuid.uuid4().hex
    async with shared(server, "n1", "n2", cluster=cluster) as (n1, n2):
        n1.set("n1", "kept", "1", FOREVER)
        await n2.knows("n1", "kept", "1", FOREVER)
        client = KazooClient(server.host)
        await asyncio.to_thread(client.start)
        await asyncio.to_thread(client.delete, f"/hamgr/{cluster}/attributes/n1")
        await n2.knows("n1", "kept", None, FOREVER)
        await n2.knows("n1", "kept", "1", FOREVER)
        await asyncio.to_thread(client.stop)
        await asyncio.to_thread(client.close)


def test_attributes_are_closed_too_and_who_may_not_write_them_keeps_its_own(
        caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "DENIED_S", 0.2)
    cluster = uuid.uuid4().hex

    async def story(server: Server) -> None:
        async with shared(server, "n1", cluster=cluster, access=access(server)) as (n1,):
            n1.set("n1", "a", "1", Lifetime.FOREVER)
            await n1.carried()
            async with shared(server, "n2", cluster=cluster,
                              access=access(server, **NOBODY)) as (n2,):
                await n2.knows("n1", "a", "1", Lifetime.FOREVER)
                n2.set("n1", "b", "2", Lifetime.FOREVER)
                n2.set("n2", "c", "3", Lifetime.REBOOT)
                async with beside(server, **as_user(server)) as zk:
                    found = await asyncio.to_thread(lists, zk, f"/hamgr/{cluster}/attributes")
                    assert {path: acl for path, acl in found.items() if set(acl) != CLOSED} == {}
                    await asyncio.sleep(0.5)  # it tries again, twice
                    assert n2.get("n2", "c", Lifetime.REBOOT) == "3"
                    assert n1.get("n1", "b", Lifetime.FOREVER) is None
                    await asyncio.to_thread(
                        give, zk, cluster, [make_acl("world", "anyone", all=True)])
                await n1.knows("n1", "b", "2", Lifetime.FOREVER)
                await n1.until(lambda: n1._read.get("n2"))

    with ensemble(secure=True) as (server,):
        asyncio.run(story(server))
    said = [one.getMessage() for one in caplog.records if "may not be written" in one.message]
    assert len(said) == 1
