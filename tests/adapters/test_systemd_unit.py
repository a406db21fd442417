"""The units as shipped, under a real systemd, with a stand-in for the agent (standin.py)."""

import json
import subprocess
from pathlib import Path

import pytest

from hamgr.adapters.switch import SOCKET_NAME
from tests.adapters.systemd_node import ROOT, SystemdNode, skip_unless_it_runs
from tests.netns import eventually

pytestmark = pytest.mark.real
slow = pytest.mark.slow

STANDIN = Path(__file__).with_name("standin.py")
VIP = "10.99.0.100"
FASTER = "[Service]\nWatchdogSec=1\nTimeoutAbortSec=1\nRestartSec=100ms\n"
UNITS = sorted((ROOT / "systemd").glob("*.service")) + sorted((ROOT / "systemd").glob("*.socket"))


@pytest.fixture
def node(tmp_path):
    skip_unless_it_runs()
    with SystemdNode(tmp_path) as made:
        made.install(STANDIN, FASTER)
        made.boot()
        made.do("systemctl", "enable", "--now", "hamgr-deadman.socket")
        made.do("systemctl", "start", "hamgr.service")
        yield made


def show(node, what: str, unit: str = "hamgr.service") -> str:
    return node.do("systemctl", "show", "--value", f"--property={what}", unit)


def switches(node) -> list[str]:
    return node.do("systemctl", "list-units", "--plain", "--no-legend", "--state=active",
                   "hamgr-deadman@*.service").split("\n")[0].split()[:1]


def log(node, unit: str) -> str:
    return node.do("journalctl", "--quiet", "-o", "cat", "-u", unit)


def cleanup_said(node, times: int) -> str:
    """Wait until the clean-up has run so many times; return what it said the last time."""
    def said() -> list[str]:
        return [line for line in log(node, "hamgr.service").splitlines() if "cleanup found" in line]

    eventually(lambda: len(said()) >= times)
    return said()[times - 1]


def test_ready_arrives_and_the_switch_has_a_control_group_of_its_own(node):
    assert show(node, "ActiveState") == "active"
    assert show(node, "StatusText") == "switch in its own unit"
    agent, [switch] = show(node, "MainPID"), switches(node)
    assert show(node, "MainPID", switch) not in ("0", agent)
    assert show(node, "ControlGroup", switch) != show(node, "ControlGroup")
    assert node.has("node", VIP)


@slow
def test_what_a_hook_mounts_is_mounted_on_the_machine(node):
    mounts = "readlink /proc/{}/ns/mnt"
    agent = show(node, "MainPID")
    assert (node.do(*mounts.format(agent).split()) == node.do(*mounts.format(1).split()))


def test_the_agent_has_two_capabilities_and_the_switch_one(node):
    bits = {"agent": show(node, "MainPID"), "switch": show(node, "MainPID", switches(node)[0])}
    have = {name: int(node.do("grep", "CapEff", f"/proc/{pid}/status").split()[1], 16)
            for name, pid in bits.items()}
    assert have == {"agent": 1 << 12 | 1 << 13, "switch": 1 << 12}


@pytest.mark.parametrize("whom", ["main", "all"])
def test_the_switch_outlives_a_kill_of_the_agent_or_of_its_whole_group(node, whom):
    node.do("systemctl", "kill", f"--kill-whom={whom}", "--signal=KILL", "hamgr.service")
    assert "the address: False, a switch: False" in cleanup_said(node, 1)
    eventually(lambda: "deadline, agent gone" in log(node, "hamgr-deadman@*"))
    assert "verified" in log(node, "hamgr-deadman@*")
    eventually(lambda: show(node, "ActiveState") == "active")
    assert switches(node)


@slow
def test_a_frozen_agent_loses_its_address_first_and_is_restarted_by_the_watchdog(node):
    before = show(node, "MainPID")
    node.do("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "hamgr.service")
    eventually(lambda: not node.has("node", VIP))
    assert show(node, "MainPID") == before
    eventually(lambda: show(node, "NRestarts") == "1" and show(node, "ActiveState") == "active",
               within_s=60)
    assert show(node, "MainPID") != before


def test_a_stop_ends_the_switch_too_and_the_next_start_finds_its_socket(node):
    node.do("systemctl", "stop", "hamgr.service")
    assert "stopping with the address: True, with a switch: True" in log(node, "hamgr.service")
    assert not node.has("node", VIP)
    eventually(lambda: not switches(node))
    node.do("test", "-S", f"/run/hamgr/{SOCKET_NAME}")
    node.do("systemctl", "start", "hamgr.service")
    assert show(node, "StatusText") == "switch in its own unit"


@slow
def test_at_shutdown_the_switch_goes_after_the_agent(node):
    journal = node.root / "var/log/journal"
    node.do("mkdir", "-p", "/var/log/journal")
    node.do("journalctl", "--flush")
    node.shut_down()
    lines = subprocess.run(["journalctl", f"--directory={journal}", "-o", "cat", "-u",
                            "hamgr.service"], check=True, capture_output=True, text=True).stdout
    assert "stopping with the address: True, with a switch: True" in lines


NO_SOCKET = ("sh", "-c", "systemctl disable --now hamgr-deadman.socket && "
             "rm /etc/systemd/system/hamgr-deadman.socket && systemctl daemon-reload")


def restart_without(node, *how_to_break: str) -> None:
    node.do("systemctl", "stop", "hamgr.service")
    node.do(*how_to_break)
    node.do("rm", "-f", "/var/lib/hamgr/lived")
    node.do("systemctl", "start", "hamgr.service")


@slow
@pytest.mark.parametrize("how_to_break", [
    NO_SOCKET, ("rm", "/opt/hamgr/bin/python3")], ids=["no socket", "broken unit"])
def test_without_its_unit_the_switch_is_the_agents_child(node, how_to_break):
    restart_without(node, *how_to_break)
    assert show(node, "StatusText") == "switch in its child"
    assert "no dead-man's switch at" in log(node, "hamgr.service") or how_to_break is NO_SOCKET


@slow
@pytest.mark.parametrize("whom", ["main", "all"])
def test_a_child_dies_with_the_agent_so_the_cleanup_finds_the_address(node, whom):
    """Why the switch has a unit of its own: what is left of this one's group systemd kills."""
    restart_without(node, *NO_SOCKET)
    assert node.has("node", VIP)
    node.do("systemctl", "kill", f"--kill-whom={whom}", "--signal=KILL", "hamgr.service")
    assert "the address: True" in cleanup_said(node, 2)


@slow
def test_reports_are_found_in_the_journal_by_their_fields(node):
    entry = json.loads(node.do("journalctl", "-o", "json", "HAMGR_GROUP=crm"))
    assert (entry["MESSAGE"], entry["HAMGR_EPOCH"], entry["HAMGR_REASON"]) == (
        "active", "7", "ACTIVE")
    assert entry["_SYSTEMD_UNIT"] == "hamgr.service"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_no_fault_in_the_units(unit, tmp_path):
    """All but one: what they start is not installed on this machine."""
    said = subprocess.run(["systemd-analyze", "verify", *map(str, UNITS)], capture_output=True,
                          text=True, check=False).stderr
    faults = [line for line in said.splitlines() if "is not executable" not in line]
    assert not [line for line in faults if unit.name.partition(".")[0] in line]


@pytest.mark.parametrize(("unit", "worst"), [("hamgr-deadman@.service", 3.0),
                                             ("hamgr.service", 6.0)])
def test_the_exposure_that_systemd_computes_stays_low(unit, worst):
    subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                    f"--threshold={worst * 10:.0f}", str(ROOT / "systemd" / unit)], check=True,
                   capture_output=True)
