"""SIGHUP: what a running agent takes over, what it only checks, and what it refuses."""

import json
import signal

import pytest

from tests.agent.machine import Machine
from tests.netns import eventually

pytestmark = pytest.mark.real


def test_hangup_checks_the_file_and_changes_nothing(machine: Machine) -> None:
    agent = machine.start()
    machine.until_active()
    machine.until_told("READY=1")
    machine.forget_what_was_told()
    text = machine.config.read_text()
    machine.config.write_text(text.replace("crm", "erp"))
    agent.send_signal(signal.SIGHUP)
    machine.until_told("RELOADING=1")
    machine.until_told("MONOTONIC_USEC=")
    machine.until_told("READY=1")
    assert "differs from the configuration in use" in machine.log()
    assert machine.phase() == "active"
    machine.config.write_text("[cluster]\n")
    agent.send_signal(signal.SIGHUP)
    eventually(lambda: "the configuration cannot be used; the one in use stays" in machine.log())
    machine.stop()


def test_hangup_takes_changed_keys_over_and_says_so(machine: Machine) -> None:
    agent = machine.start()
    machine.until_active()
    (old,) = machine.status()["keys"]["n1"]
    (machine.folder / "key").write_text(f"{'00' * 32}\n{'11' * 32}\n")
    agent.send_signal(signal.SIGHUP)
    eventually(lambda: len(machine.status()["keys"]["n1"]) == 2)
    _, new = machine.status()["keys"]["n1"]
    eventually(lambda: f"key {old} signs, {new} is accepted too" in machine.log())
    (machine.folder / "key").chmod(0o640)
    agent.send_signal(signal.SIGHUP)
    eventually(lambda: "run chmod 600" in machine.log())
    assert machine.log().rstrip().endswith("says what is in use")
    assert machine.status()["keys"]["n1"] == [old, new]
    assert machine.phase() == "active"
    machine.stop()


def test_keys_are_taken_over_also_while_a_start_waits(machine: Machine) -> None:
    """No systemd is told of a reload then: its READY=1 would be taken for the start's."""
    machine.demote_does("exit 1")
    agent = machine.start()
    machine.until_told("STATUS=cannot remove leftovers")
    machine.forget_what_was_told()
    (machine.folder / "key").write_text("11" * 32 + "\n")
    (old,) = machine.status()["keys"]["n1"]
    agent.send_signal(signal.SIGHUP)
    eventually(lambda: machine.status()["keys"]["n1"] != [old])
    machine.demote_does("exit 0")
    machine.until_told("READY=1")
    assert not any(line.startswith("RELOADING") for line in machine.heard)
    machine.stop()


DEVICE = """
[fence.pdu]
command = "/bin/true"
nodes = ["n1"]
secrets = {{ password = "{folder}/password" }}
"""


def test_hangup_reads_the_secrets_of_fence_devices_again(machine: Machine) -> None:
    secret = machine.folder / "password"
    secret.write_text("secret")
    secret.chmod(0o600)
    machine.config.write_text(machine.config.read_text() + DEVICE.format(folder=machine.folder))
    agent = machine.start()
    machine.until_active()
    machine.until_applied(1)
    agent.send_signal(signal.SIGHUP)
    eventually(lambda: "says what is in use" in machine.log())
    assert "fence device pdu" not in machine.log()
    secret.chmod(0o640)
    agent.send_signal(signal.SIGHUP)
    eventually(lambda: f"fence device pdu: password: {secret}: others may read" in machine.log())
    assert machine.phase() == "active"
    machine.stop()


def test_fence_devices_come_and_go_with_what_is_applied(machine: Machine) -> None:
    """Whose secret cannot be read is known by what a hangup says."""
    secret, text = machine.folder / "password", machine.config.read_text()
    secret.write_text("secret")
    secret.chmod(0o600)
    agent = machine.start()
    machine.until_active()
    machine.until_applied(1)
    machine.config.write_text(text + DEVICE.format(folder=machine.folder))
    done = machine.apply()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fence device pdu is asked so from its next action on" in done.stdout
    machine.until_applied(2)
    secret.chmod(0o640)
    agent.send_signal(signal.SIGHUP)
    eventually(lambda: f"fence device pdu: password: {secret}: others may read" in machine.log())
    machine.config.write_text(text)
    assert machine.apply().returncode == 0
    kept = machine.state_dir / "configuration.json"
    eventually(lambda: '"revision":3' in kept.read_text().replace(" ", "")
               and not json.loads(kept.read_text())["former"])
    said = machine.log().count("fence device pdu:")
    before = machine.log().count("says what is in use")
    agent.send_signal(signal.SIGHUP)
    eventually(lambda: machine.log().count("says what is in use") > before)
    assert machine.log().count("fence device pdu:") == said
    assert machine.phase() == "active"
    machine.stop()
