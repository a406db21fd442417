"""Records of fence tests: what each node knows, and that none is lost; in a real ZooKeeper, too."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from hamgr.adapters.fence import ProofRecords, tested
from hamgr.adapters.fence.tested import decoded, encoded
from hamgr.ports import FenceTest
from tests.coordinator import TIMEOUT_S, Node
from tests.zookeeper import Server, ensemble

TEST = FenceTest(at="2026-11-27T18:02:11+00:00", by="n2", devices=("ipmi",))
CYCLE = FenceTest(at="2026-11-20T18:02:11+00:00", by="n3", devices=("ipmi",), cycle=True,
                  cycle_at="2026-11-20T18:02:11+00:00")


def waits(records: ProofRecords, test: FenceTest) -> None:
    """Note a test of n1 that ZooKeeper does not take."""
    async def told() -> None:
        assert await records.passed("n1", test) is False
    asyncio.run(told())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("real") is None:
        monkeypatch.setattr(tested, "RECORD_S", 0.01)


def test_what_was_not_read_is_not_known() -> None:
    records = ProofRecords(("n1", "n2"))
    records.read("n1", None)
    assert (records.names(), records.last()) == (("n1", "n2"), {"n1": None})
    records.read("n1", encoded(TEST))
    assert records.last() == {"n1": TEST}


def test_what_cannot_be_read_is_said_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    records = ProofRecords(("n1",))
    waits(records, TEST)
    for data in (b"rubbish", b'{"format": 2}', b'{"format": 1}', b"[" * 100000):
        records.read("n1", data)
        assert records.merged("n1", data) is None
    assert caplog.text.count("the fence test of n1 cannot be read") == 4


def test_a_success_is_written_once() -> None:
    records, asked = ProofRecords(("n1",)), list[str]()
    records.publish = asked.append
    waits(records, TEST)
    assert (asked, records.last()) == (["n1"], {"n1": TEST})
    data = records.merged("n1", None)
    assert data is not None and decoded(data) == TEST
    records.read("n1", data)
    assert records.merged("n1", data) is None


def test_the_last_real_cycle_is_remembered() -> None:
    records = ProofRecords(("n1",))
    waits(records, TEST)
    data = records.merged("n1", encoded(CYCLE))
    assert data is not None and decoded(data) == replace(TEST, cycle_at=CYCLE.at)
    records.read("n1", data)
    assert records.merged("n1", data) is None, "that is what was to be written"


def test_what_is_lost_with_zookeepers_data_is_given_back() -> None:
    records = ProofRecords(("n1",))
    records.read("n1", encoded(TEST))
    records.read("n1", None)
    assert records.last() == {"n1": TEST}
    data = records.merged("n1", None)
    assert data is not None and decoded(data) == TEST


def test_a_node_that_gets_a_device_is_read() -> None:
    records, asked = ProofRecords(("n1",)), list[str]()
    records.publish = asked.append
    records.read("n1", None)
    records.configure(("n1", "n2"))
    assert (asked, records.names()) == (["n2"], ("n1", "n2"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ensemble() as (one,):
        yield one


class Follower(ProofRecords):
    """The records as a node follows them."""

    def __init__(self, name: str, server: Server, cluster: str) -> None:
        super().__init__(("n1", "n2"))
        self.news_of_tests = asyncio.Event()
        self.node = Node(cluster, [server.host], name, fence_tests=self)
        self.publish = self.node.zk.fence_tests_changed

    def read(self, name: str, data: bytes | None) -> None:
        """Take in a record, and let the test know."""
        super().read(name, data)
        self.news_of_tests.set()

    async def knows(self, node: str, test: FenceTest) -> None:
        """Return when this is its last test."""
        async with asyncio.timeout(TIMEOUT_S):
            while self.last().get(node) != test:
                self.news_of_tests.clear()
                await self.news_of_tests.wait()


@pytest.mark.real
def test_every_node_knows_of_a_success(server: Server) -> None:
    async def story() -> None:
        cluster = uuid.uuid4().hex
        one, other = (Follower(name, server, cluster) for name in ("n1", "n2"))
        try:
            await one.node.zk.start()
            await one.node.change(up=True)
            assert await one.passed("n2", CYCLE)
            await other.node.zk.start()
            await other.knows("n2", CYCLE)
            assert await other.passed("n2", TEST)
            await one.knows("n2", replace(TEST, cycle_at=CYCLE.at))
            fields = (await one.node.zk.tree.fence_tests())["n2"]
            assert (fields["format"], fields["by"]) == (1, "n2")
        finally:
            for follower in (one, other):
                await follower.node.zk.close(1.0)
    asyncio.run(story())
