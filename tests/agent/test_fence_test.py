"""`hamgr fence --test` with a real agent: its device is a command, its record is in ZooKeeper."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.machine import Machine
from tests.netns import eventually

pytestmark = pytest.mark.real

DEVICES = """
[node.n2]
addresses = ["10.0.0.2"]
voter = false

[fence.pdu]
command = ["{folder}/device"]
nodes = {{ n2 = "4" }}
timeout = "5s"
"""


@pytest.fixture
def running(machine: Machine) -> Iterator[Machine]:
    machine.config.write_text(machine.config.read_text() + DEVICES.format(folder=machine.folder))
    device(machine, on=True)
    machine.start()
    machine.until_active()
    yield machine
    machine.stop()


def device(machine: Machine, *, on: bool) -> None:
    script = machine.folder / "device"
    script.write_text(f"#!/bin/sh\necho $HAMGR_FENCE_ACTION >> {machine.folder}/asked\n"
                      f"echo plug $HAMGR_FENCE_PLUG: no such outlet\nexit {0 if on else 1}\n")
    script.chmod(0o755)


def test_a_success_is_in_zookeeper_and_a_failure_is_said(running: Machine) -> None:
    here = ("--run-dir", str(running.run_dir))
    survey = json.loads(running.hamgr("status", "--json", *here).stdout)
    assert [node["fence_tested"] for node in survey["nodes"]] == [None, False]
    assert any("n2 can be fenced was never tested" in note for note in survey["notes"])

    tested = running.hamgr("fence", "n2", "--test", *here)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert tested.stdout.startswith("  pdu: n2 is on (")
    assert (running.folder / "asked").read_text().split() == ["monitor", "status"]
    eventually(lambda: running.status()["fence_tests"]["n2"]["by"] == "n1")
    running.stop()

    # By another life, that knows of it only from there; and by ZooKeeper alone.
    device(running, on=False)
    without = running.hamgr("status", "--json", "--config", str(running.config), *here)
    assert json.loads(without.stdout)["nodes"][1]["fence_test"]["devices"] == ["pdu"]
    running.start()
    running.until_active()
    eventually(lambda: (running.status()["fence_tests"].get("n2") or {}).get("by") == "n1")
    failed = running.hamgr("fence", "n2", "--test", "--json", *here)
    assert failed.returncode == 1
    answer = json.loads(failed.stdout)
    assert (answer["state"], answer["why"]) == (
        "failed", "pdu: exit status 1: plug 4: no such outlet")


def test_a_node_is_not_tested_by_itself(running: Machine) -> None:
    found = running.hamgr("fence", "n1", "--test", "--run-dir", str(running.run_dir))
    assert found.returncode == 3
    assert "n1 does not cut itself off" in found.stdout and "run this on n2" in found.stdout
    assert not Path(running.folder / "asked").exists()
