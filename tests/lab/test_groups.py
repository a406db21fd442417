"""Two groups that prefer different nodes, each with a client: failing over apart, and together."""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from hamgr.lab.lab import Lab
from hamgr.lab.spec import LabSpec, vips
from tests.lab.scene import (
    CUT_OFF,
    FAILOVER_MS,
    HANDED_OVER,
    SOON_S,
    Scene,
    healed,
    noticed_nothing,
    operate,
    raised,
    took_over,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

ONE, TWO = LabSpec(groups=2).group_names


class Cluster(NamedTuple):
    lab: Lab
    began: dict[str, str]
    """Where each group was at first."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with raised("group", groups=2) as lab:
        with healed(lab) as scene:
            began = {group: scene._replace(group=group).plan["holder"]["node"]
                     for group in (ONE, TWO)}
        yield Cluster(lab, began)


@pytest.fixture
def scenes(cluster: Cluster) -> Iterator[tuple[Scene, Scene]]:
    """The same cluster, seen with the eyes of either group."""
    with healed(cluster.lab) as one, cluster.lab.probe(vips(TWO)[0]) as client:
        client.wait_served(SOON_S)
        yield one, one._replace(client=client, group=TWO)


def move(scene: Scene, target: str) -> None:
    """Have a group on this node."""
    owner, since = scene.client.served_by, time.monotonic_ns()
    if owner != target:
        operate(scene, target, "switchover", scene.group, "--to", target)
        assert scene.served_elsewhere(owner) == target
        took_over(scene, target, owner, since, HANDED_OVER)
        scene.lab.wait_settled()


def test_each_starts_on_the_node_that_it_prefers(cluster: Cluster) -> None:
    assert cluster.began == {ONE: "n1", TWO: "n2"}


def test_the_crash_of_one_owner_moves_its_group_and_the_other_feels_nothing(
        scenes: tuple[Scene, Scene]) -> None:
    one, two = scenes
    move(one, "n1")
    move(two, "n2")
    with one.lab.watch() as eyes, one.lab.probe(vips(TWO)[0]) as client:
        client.wait_served(SOON_S, by=["n2"])
        heir, since = one.plan["heir"]["node"], time.monotonic_ns()
        one.lab.crash("n1")
        assert one.served_elsewhere("n1") == heir
        took_over(one, heir, "n1", since, CUT_OFF)
        one.lab.heal()
        noticed_nothing(two._replace(client=client, eyes=eyes), "n2", since)
    assert one.shared() == 0
    assert one.finish().outage(since).ms < FAILOVER_MS


def test_the_crash_of_the_owner_of_both_moves_both_each_to_its_own_heir(
        scenes: tuple[Scene, Scene]) -> None:
    one, two = scenes
    owner = one.client.served_by
    move(two, owner)
    heirs, since = [scene.plan["heir"]["node"] for scene in scenes], time.monotonic_ns()
    one.lab.crash(owner)
    assert [scene.served_elsewhere(owner) for scene in scenes] == heirs
    for scene, heir in zip(scenes, heirs, strict=True):
        took_over(scene, heir, owner, since, CUT_OFF)
        assert scene.finish().outage(since).ms < FAILOVER_MS
    assert one.shared() == 0
