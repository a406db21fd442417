"""A machine for a real agent: ZooKeeper, address, hooks and switch are real, in a network
namespace; the service manager alone is a stand-in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.machine import Machine, zookeeper
from tests.netns import Segment


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segment]:
    with Segment("n1") as made, zookeeper(made, "n1", tmp_path_factory.mktemp("zk") / "data"):
        yield made


@pytest.fixture
def machine(lan: Segment, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    made = Machine(lan, tmp_path)
    # A cluster of its own for each test: one ZooKeeper serves them all.
    text = made.config.read_text().replace('"solo"', f'"{request.node.name[:32]}"')
    made.config.write_text(text)
    try:
        yield made
    finally:
        made.close()
