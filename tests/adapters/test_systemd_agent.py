"""The real agent under a real systemd with the units as shipped, with a real ZooKeeper beside it.

One node, the only one of its cluster: what it holds, it holds by its own vote.
"""

import json

import pytest

from tests.adapters.systemd_node import SystemdNode, skip_unless_it_runs
from tests.agent.machine import zookeeper
from tests.netns import eventually

pytestmark = pytest.mark.real
slow = pytest.mark.slow

VIP = "10.0.0.100"
CONFIG = f"""\
[cluster]
name = "solo"
zookeeper = ["127.0.0.1:2181"]
key_file = "/etc/hamgr/cluster.key"

[node.node]
addresses = ["10.0.0.1"]

[group.crm]
nodes = ["node"]
vips = ["{VIP}/24"]

[[group.crm.service]]
name = "app"
promote = ["/bin/sh", "-c", "env > /run/promoted; grep CapBnd /proc/self/status >> /run/promoted"]
demote = ["/bin/true"]
"""
FASTER = "[Service]\nWatchdogSec=1\nTimeoutAbortSec=1\nRestartSec=100ms\n"
BOOT_S = 60


@pytest.fixture
def booted(tmp_path):
    """A node with everything installed, and no agent yet."""
    skip_unless_it_runs()
    with SystemdNode(tmp_path) as made, zookeeper(made, "node", tmp_path / "zookeeper"):
        made.install("-m hamgr", FASTER)
        settings = made.root / "etc/hamgr"
        settings.mkdir(exist_ok=True)
        (settings / "hamgr.toml").write_text(CONFIG)
        (settings / "cluster.key").write_text("00" * 32 + "\n")
        (settings / "cluster.key").chmod(0o600)
        made.boot()
        made.do("systemctl", "enable", "--now", "hamgr-deadman.socket")
        yield made


@pytest.fixture
def node(booted):
    booted.do("systemctl", "start", "hamgr.service")
    until_active(booted)
    return booted


def show(node, what: str) -> str:
    return node.do("systemctl", "show", "--value", f"--property={what}", "hamgr.service")


def until_active(node) -> None:
    def active() -> bool:
        return node.has("node", VIP) and "active" in show(node, "StatusText")

    eventually(active, within_s=BOOT_S)


def log(node, *which: str) -> str:
    return node.do("journalctl", "--quiet", "-o", "cat", *which)


def test_it_is_ready_with_its_switch_in_a_unit_of_its_own(node):
    assert show(node, "ActiveState") == "active"
    assert "own unit" in log(node, "-u", "hamgr.service")
    started = json.loads(node.do("journalctl", "-o", "json", "-n", "1", "HAMGR_REASON=ACTIVE"))
    assert started["HAMGR_GROUP"] == "crm"
    assert started["HAMGR_EPOCH"].isdigit()
    assert "deadline, switch, lifetime" in node.do("/opt/hamgr/bin/hamgr", "status")


@slow
def test_without_the_socket_unit_status_says_that_the_switch_ends_with_the_agent(node):
    node.do("systemctl", "stop", "hamgr.service", "hamgr-deadman.socket")
    node.do("rm", "-f", "/run/hamgr/deadman.sock")
    node.do("sed", "-i", "s/ hamgr-deadman.socket//", "/etc/systemd/system/hamgr.service")
    node.do("systemctl", "daemon-reload")
    node.do("systemctl", "start", "hamgr.service")
    until_active(node)
    said = node.do("/opt/hamgr/bin/hamgr", "status")
    assert "deadline, switch (child), lifetime" in said
    assert "is a child of the agent, and ends with it: enable hamgr-deadman.socket" in said


@slow
def test_a_node_whose_address_comes_late_comes_late(booted):
    """Its host name is none of the file's, so it is known by its address alone."""
    booted.do("sed", "-i", "s/node.node/node.n1/; s/\"node\"/\"n1\"/", "/etc/hamgr/hamgr.toml")
    booted.ip("node", "address del 10.0.0.1/24 dev eth0")
    booted.do("systemctl", "start", "hamgr.service", check=False)
    eventually(lambda: int(show(booted, "NRestarts")) > 1, within_s=BOOT_S)
    assert "hamgr.service tries again each second" in log(booted, "-u", "hamgr.service")
    booted.ip("node", "address add 10.0.0.1/24 dev eth0")
    until_active(booted)


@slow
def test_a_hook_has_neither_the_managers_socket_nor_more_capabilities_than_the_unit(node):
    promoted = node.do("cat", "/run/promoted")
    assert "HAMGR_GROUP=crm" in promoted
    assert "NOTIFY_SOCKET" not in promoted
    assert f"CapBnd:\t{1 << 12 | 1 << 13:016x}" in promoted


@pytest.mark.parametrize("whom", ["main", pytest.param("all", marks=slow)])
def test_killed_it_loses_its_address_to_the_switch_and_comes_back(node, whom):
    before = show(node, "MainPID")
    node.do("systemctl", "kill", f"--kill-whom={whom}", "--signal=KILL", "hamgr.service")
    eventually(lambda: "verified" in log(node, "-u", "hamgr-deadman@*"))
    eventually(lambda: show(node, "MainPID") not in ("0", before), within_s=BOOT_S)
    assert "nothing of cluster solo is left" in log(node, "-u", "hamgr.service"), "ExecStopPost="
    until_active(node)


@slow
def test_frozen_it_loses_its_address_and_is_replaced_by_the_watchdog(node):
    before = show(node, "MainPID")
    node.do("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "hamgr.service")
    eventually(lambda: not node.has("node", VIP))
    eventually(lambda: show(node, "MainPID") not in ("0", before), within_s=BOOT_S)
    until_active(node)


@slow
def test_the_cleanup_has_the_time_that_its_services_need(node):
    """Longer than TimeoutStopSec=, which ExecStopPost= has for itself."""
    node.do("sh", "-c", "printf '#!/bin/sh\\ntest ! -e /run/slow || sleep 12\\n' >/run/demote && "
            "chmod +x /run/demote && sed -i s,/bin/true,/run/demote, /etc/hamgr/hamgr.toml && "
            "printf '[Service]\\nTimeoutStopSec=6\\n' >/etc/systemd/system/hamgr.service.d/z.conf "
            "&& systemctl daemon-reload && touch /run/slow")
    node.do("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "hamgr.service")
    eventually(lambda: "of cluster solo is left" in log(node, "-u", "hamgr.service")
               or "timed out" in log(node, "-u", "hamgr.service"), within_s=BOOT_S)
    assert "timed out" not in log(node, "-u", "hamgr.service")
    node.do("rm", "/run/slow")
    until_active(node)


def test_a_restart_is_an_orderly_stop_and_a_start(node):
    node.do("systemctl", "restart", "hamgr.service")
    assert "left the cluster" in log(node, "-u", "hamgr.service")
    assert show(node, "NRestarts") == "0"
    until_active(node)


@slow
def test_a_reload_says_so_and_ends(node):
    node.do("systemctl", "reload", "hamgr.service")
    eventually(lambda: "has not changed" in log(node, "-u", "hamgr.service"))
    eventually(lambda: show(node, "ActiveState") == "active")
    assert node.has("node", VIP)


@pytest.mark.parametrize("how", [
    ("systemctl", "restart", "hamgr.service"),
    ("systemctl", "kill", "--kill-whom=all", "--signal=KILL", "hamgr.service")],
    ids=["restart", "kill"])
def test_in_maintenance_a_restart_and_a_crash_leave_the_address_alone(node, how):
    node.do("/opt/hamgr/bin/hamgr", "maintenance", "on", "--yes")
    before = show(node, "MainPID")
    watched = node.start("node", "ip", "monitor", "address", stdout=-1, text=True)
    node.do(*how)
    eventually(lambda: show(node, "MainPID") not in ("0", before)
               and show(node, "ActiveState") == "active", within_s=BOOT_S)
    watched.kill()
    assert "Deleted" not in watched.communicate()[0]
    assert node.has("node", VIP)


@slow
def test_the_last_words_of_an_agent_that_was_killed(node):
    node.do("sh", "-c", "mkdir -p /run/systemd/system/hamgr.service.d && printf "
            "'[Service]\\nRestart=no\\nExecStopPost=\\n' "
            ">/run/systemd/system/hamgr.service.d/z.conf && systemctl daemon-reload")
    node.do("logger", "--tag=hamgr", "--priority=user.err", "a disk\nis on fire")
    node.do("setpriv", "--reuid=65534", "logger", "--tag=hamgr", "--priority=user.err", "not root")
    node.do("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "hamgr.service")
    eventually(lambda: show(node, "ActiveState") == "failed")
    eventually(lambda: "Failed with result" in log(node, "-u", "hamgr.service"))
    text = node.do("/opt/hamgr/bin/hamgr", "status", check=False)
    assert "last words of the agent here" in text
    survey = json.loads(node.do("/opt/hamgr/bin/hamgr", "status", "--json", check=False))
    words = [(word["level"], word["by"], word["text"]) for word in survey["last_words"]]
    assert words[-1] == ("warning", "systemd", "hamgr.service: Failed with result 'signal'.")
    assert ("error", "hamgr", "a disk\nis on fire") in words
    assert all(word[2] != "not root" for word in words) and len(words) <= 6
    assert all(word["time"] in text for word in survey["last_words"])
    verdict = text.index(f"{survey['verdict']}:\n")
    assert text.index("a disk") < text.index("Failed with result") < verdict


@slow
def test_a_credential_of_systemd_reaches_the_agent_and_nobody_else(node):
    """The ZooKeeper here has no users: what it says of ours shows that the password was found."""
    (node.root / "etc/hamgr/hamgr.toml").write_text(CONFIG.replace(
        "[node.node]", '[zookeeper]\nuser = "hamgr"\npassword_file = "%d/zookeeper.password"\n\n'
                       "[node.node]"))
    node.do("sh", "-c", "umask 077; echo correct-horse-battery >/etc/hamgr/secret; "
            "mkdir -p /run/systemd/system/hamgr.service.d && printf "
            "'[Service]\\nLoadCredential=zookeeper.password:/etc/hamgr/secret\\n' "
            ">/run/systemd/system/hamgr.service.d/z.conf && systemctl daemon-reload")
    node.do("systemctl", "restart", "hamgr.service")
    eventually(lambda: "has no users for SASL" in log(node, "-u", "hamgr.service"), within_s=BOOT_S)
    pid = show(node, "MainPID").strip()
    assert node.do("readlink", f"/proc/{pid}/ns/mnt") == node.do("readlink", "/proc/1/ns/mnt"), (
        "what hooks mount is mounted on the machine")
    checked = node.do("/opt/hamgr/bin/hamgr", "config", "check", check=False)
    assert "password_file: %d/zookeeper.password: $CREDENTIALS_DIRECTORY is not set" in checked
    checked = node.do("systemd-run", "--pipe", "--wait", "--quiet", "-p",
                      "LoadCredential=zookeeper.password:/etc/hamgr/secret",
                      "/opt/hamgr/bin/hamgr", "config", "check")
    assert "/etc/hamgr/hamgr.toml: ok" in checked
