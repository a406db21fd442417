"""`hamgr fence --test` by a real agent with Debian's fence_ipmilan, against a board that speaks
IPMI: what that says is what the machine is, and nothing is switched."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hamgr.adapters.fence import AGENTS
from tests.agent.machine import Machine, zookeeper
from tests.netns import Segment, eventually

pytest.importorskip("pyghmi", reason="the board needs pyghmi")
from tests import bmc  # noqa: E402 # only with pyghmi

pytestmark = [pytest.mark.real, pytest.mark.skipif(
    not (AGENTS / "fence_ipmilan").exists(),
    reason="fence-agents is not installed (.ci/setup --tests)")]
PASSWORD = "c0rrect-h0rse"
BOARD = """
[node.n2]
addresses = ["{address}"]
voter = false

[fence.ipmi-n2]
agent = "fence_ipmilan"
nodes = ["n2"]
options = {{ ip = "{address}", username = "hamgr", lanplus = "1", cipher = "3" }}
secrets = {{ password = "{password}" }}
timeout = "20s"
"""


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Segment]:
    with Segment("n1", "board") as made, zookeeper(made, "n1", tmp_path / "zk"):
        yield made


def test_the_board_is_asked_and_switches_nothing(lan: Segment, tmp_path: Path) -> None:
    password, group = tmp_path / "password", bmc.machine()
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    machine = Machine(lan, tmp_path)
    machine.config.write_text(machine.config.read_text() + BOARD.format(
        address=lan.address("board"), password=password))
    start = group.joined(lan.namespace("board"), ["sleep", "10000"])
    order = ("fence", "n2", "--test", "--run-dir", str(machine.run_dir))
    try:
        with bmc.listening(lan.namespace("board"), lan.address("board"), "hamgr", password, group,
                           start) as board:
            machine.start()
            machine.until_active()
            off = machine.hamgr(*order)
            assert (off.returncode, off.stdout.partition(" (")[0]) == (0, "  ipmi-n2: n2 is off")
            with subprocess.Popen(start) as running:
                eventually(lambda: group.populated)
                on = machine.hamgr(*order)
                running.kill()
            assert (on.returncode, on.stdout.partition(" (")[0]) == (0, "  ipmi-n2: n2 is on")
            assert board.orders() == [] and PASSWORD not in machine.log() + on.stdout
        machine.stop()
    finally:
        machine.close()
        group.remove()
