"""What a cluster of many nodes costs each of them: a worker always the same, a voter its share."""

import pytest

from tests.bench.scale import measure

FEW, MANY = 16, 31


@pytest.fixture(scope="module")
def costs() -> dict[tuple[str, int], tuple[float, float]]:
    """For a voter and a worker in clusters of few and many: heartbeats sent, KiB, each a second."""
    return {(kind, nodes): (sent, kib)
            for nodes in (FEW, MANY) for kind, sent, _, kib, _ in measure(nodes)}


def test_a_worker_sends_and_hears_no_more_among_many(
        costs: dict[tuple[str, int], tuple[float, float]]) -> None:
    (sent, kib), (sent_among_many, kib_among_many) = costs["worker", FEW], costs["worker", MANY]
    assert sent_among_many <= 1.05 * sent
    assert kib_among_many <= 1.05 * kib


def test_a_voter_sends_and_hears_by_the_number_of_others(
        costs: dict[tuple[str, int], tuple[float, float]]) -> None:
    by_others = [tuple(one / (nodes - 1) for one in costs["voter", nodes]) for nodes in (FEW, MANY)]
    assert all(many <= 1.2 * few for few, many in zip(*by_others, strict=True)), by_others
