"""ZooKeeper's data is lost, or an old copy restored: nobody moves until it is written anew."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hamgr.core.reasons import Reason
from hamgr.core.records import EPOCHS_SKIPPED
from hamgr.lab.lab import Lab
from tests.lab.scene import CUT_OFF, Scene, noticed_nothing, raised, settled, took_over
from tests.lab.test_lab import wait

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

ASKED = "n1"
LOST = "ZooKeeper's data cannot be built on"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with raised("reb") as whole:
        yield whole


def status(lab: Lab, node: str = ASKED) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(lab.hamgr(node, "status", "--json").stdout)
    return told


def problems(lab: Lab, node: str) -> str:
    return "\n".join(one["text"] for one in status(lab, node)["problems"])


def data(lab: Lab, node: str) -> Path:
    (folder,) = lab.nodes[node].directory.glob("**/version-2")
    return folder


def with_other_data(lab: Lab, change: Callable[[Path], object]) -> None:
    """Have ZooKeeper begin with other data than it ended with, on every server."""
    folders = [data(lab, node) for node in lab.nodes]
    lab.zookeeper_down()
    for folder in folders:
        change(folder)
    lab.zookeeper_up()
    for node in lab.nodes:
        wait(lambda node=node: LOST in problems(lab, node))


def rebuilt(lab: Lab, scene: Scene) -> None:
    before = scene.plan["holder"]
    done = lab.hamgr(ASKED, "rebuild", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rebuild: done: plan " in done.stdout
    lab.wait_settled()
    assert scene.plan["holder"] == before, "under its own epoch, as before"
    assert scene.plan["heir"]["epoch"] > before["epoch"]
    wait(lambda: status(lab)["verdict"] == "healthy")


def test_data_that_is_lost_moves_nothing_and_is_written_anew(lab: Lab) -> None:
    with settled(lab) as scene:
        owner, since = scene.client.served_by, time.monotonic_ns()
        with_other_data(lab, shutil.rmtree)
        assert "the cluster's root record is missing" in problems(lab, ASKED)
        assert "until `hamgr rebuild`, on one node, writes it anew" in problems(lab, ASKED)
        rebuilt(lab, scene)
        assert not scene.told(since, Reason.STARTING, Reason.STOPPING)
        noticed_nothing(scene, owner)


@pytest.mark.slow
def test_a_restored_copy_is_not_believed_and_a_node_that_died_has_to_be_vouched_for(
        lab: Lab) -> None:
    with settled(lab) as scene:
        owner, heir = scene.client.served_by, scene.plan["heir"]["node"]
        third = next(node for node in lab.nodes if node not in (owner, heir))
        copies = {}
        lab.zookeeper_down()
        for node in lab.nodes:
            copies[data(lab, node)] = lab.nodes[node].directory / "copy"
        for folder, copy in copies.items():
            shutil.copytree(folder, copy)
        lab.zookeeper_up()
        lab.wait_settled()
        moved = lab.hamgr(owner, "switchover", "app", "--to", heir, "--yes")
        assert moved.returncode == 0, moved.stdout + moved.stderr
        lab.wait_settled()
        since = time.monotonic_ns()
        lab.crash(third)

        def back(folder: Path) -> None:
            shutil.rmtree(folder)
            shutil.copytree(copies[folder], folder)

        folders = list(copies)
        lab.zookeeper_down()
        for folder in folders:
            back(folder)
        lab.zookeeper_up(*(node for node in lab.nodes if node != third))
        wait(lambda: "its plan has revision" in problems(lab, heir))
        refused = lab.hamgr(heir, "rebuild", "--yes")
        assert refused.returncode == 1
        assert f"{third} is not heard: see that it is powered off, and say so (--down {third})" in (
            refused.stdout)
        done = lab.hamgr(heir, "rebuild", "--down", third, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        lab.heal()
        assert not scene.told(since, Reason.STARTING, Reason.STOPPING)
        assert scene.client.served_by == heir
        assert scene.shared() == 0


def test_data_that_is_in_order_is_not_rebuilt(lab: Lab) -> None:
    lab.wait_settled()
    done = lab.hamgr(ASKED, "rebuild", "--yes")
    assert done.returncode == 1
    assert "ZooKeeper has this cluster's data: there is nothing to rebuild" in done.stdout
    plan = lab.nodes[ASKED].status()
    assert plan is not None and plan["snapshot"]["plan"]["revision"] > EPOCHS_SKIPPED


def test_after_a_rebuild_a_crash_is_survived_as_before(lab: Lab) -> None:
    with settled(lab) as scene:
        owner, heir = scene.client.served_by, scene.plan["heir"]["node"]
        since = time.monotonic_ns()
        lab.crash(owner)
        assert scene.served_elsewhere(owner) == heir
        took_over(scene, heir, owner, since, CUT_OFF)
        lab.heal()
        assert scene.shared() == 0
