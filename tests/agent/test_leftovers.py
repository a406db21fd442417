"""What an agent finds when it starts, or is left of one that is gone: removed, or left in peace."""

import signal

import pytest

from tests.agent.machine import Machine
from tests.netns import eventually

pytestmark = pytest.mark.real


def test_what_was_left_is_gone_before_the_first_heartbeat(machine: Machine) -> None:
    machine.lan.ip("n1", "address add 10.0.0.100/24 dev eth0")
    machine.demote_does("test -e $(dirname $0)/may-stop")
    machine.start(WATCHDOG_USEC="400000")
    machine.until_told("STATUS=cannot remove leftovers: crm/app does not stop: ")
    machine.until_told("EXTEND_TIMEOUT_USEC=")
    machine.until_told("WATCHDOG=1")
    assert not machine.has_vip()
    status = machine.status()
    assert status["snapshot"] is None
    assert "crm/app does not stop" in status["process"]["why"]
    assert "READY=1" not in machine.heard
    (machine.folder / "may-stop").touch()
    machine.until_told("READY=1")
    machine.until_active()
    machine.stop()


def test_a_start_that_is_tried_again_leaves_nothing_open(machine: Machine) -> None:
    """The building of frames fails until it may succeed: planted, as nothing here makes it."""
    tries, may = machine.folder / "tries", machine.folder / "may-start"
    machine.start(f"""
from pathlib import Path
from hamgr.adapters.net import lan
from hamgr.agent import life
life.RETRY_S = 0.01
right = lan.build_frames
async def wrong(requests):
    if not Path("{may}").exists():
        with open("{tries}", "a") as file:
            file.write("x")
        raise OSError("no frames")
    return await right(requests)
lan.build_frames = wrong
""")

    def tried(times: int) -> int:
        eventually(lambda: tries.exists() and tries.stat().st_size >= times)
        return tries.stat().st_size

    first = tried(2)
    before = machine.sockets()
    tried(first + 5)
    assert machine.sockets() == before
    assert machine.status()["process"]["why"] == "cannot prepare the addresses: no frames"
    may.touch()
    machine.until_active()
    machine.stop()


def test_cleanup_after_everything_was_killed(machine: Machine) -> None:
    machine.start()
    machine.until_active()
    refused = machine.hamgr("agent", "--cleanup", *machine.arguments())
    assert refused.returncode == 1 and "another agent" in refused.stderr
    machine.kill_all()
    before = machine.hooks()
    machine.forget_what_was_told()
    cleaned = machine.hamgr("agent", "--cleanup", *machine.arguments(),
                            NOTIFY_SOCKET=str(machine.folder / "notify"))
    assert cleaned.returncode == 0, cleaned.stderr
    machine.until_told("EXTEND_TIMEOUT_USEC=10000000")
    assert not machine.has_vip()
    assert machine.hooks() == [*before, "demote"]


@pytest.mark.parametrize("how", ["frozen, then awake", "killed, then started", "with its switch"])
def test_connections_end_with_an_address_that_another_layer_withdrew(
        machine: Machine, how: str) -> None:
    """The switch and the kernel take the address alone; the agent cuts what they left, as soon as
    it can: at its lapse when it wakes, before its first heartbeat when it starts.

    Of two voters one never comes, so the other's lease ends: it lives on its claim."""
    text = machine.config.read_text()
    machine.config.write_text(f'{text}[node.n2]\naddresses = ["10.0.0.9"]\n')
    agent = machine.start()
    machine.until_active()
    server_says = machine.serve_a_client()
    if how.startswith("frozen"):
        agent.send_signal(signal.SIGSTOP)
    elif how.startswith("killed"):
        agent.kill()
        agent.wait()
    else:
        machine.kill_all()
    eventually(lambda: not machine.has_vip())
    assert machine.connections() == 1, "nobody else cuts it"
    if how.startswith("frozen"):
        agent.send_signal(signal.SIGCONT)
    else:
        machine.start()
    assert "abort" in server_says()
    machine.until_active()
    assert machine.connections() == 0
    machine.stop()


def test_maintenance_outlives_the_agent_and_a_cleanup(machine: Machine) -> None:
    machine.start()
    machine.until_active()
    machine.enter_maintenance()
    machine.kill_all()
    before = machine.hooks()
    cleaned = machine.hamgr("agent", "--cleanup", *machine.arguments())
    assert cleaned.returncode == 0, cleaned.stderr
    assert machine.has_vip()
    machine.start()
    machine.until_active()
    assert machine.hooks() == before
    off = machine.hamgr("maintenance", "off", "--yes", "--run-dir", str(machine.run_dir))
    assert off.returncode == 0, off.stdout + off.stderr
    eventually(lambda: machine.status()["layers"]["crm"] == [
        "deadline", "switch (child)", "lifetime"])
    machine.stop()
    assert not machine.has_vip()


def test_services_go_on_in_maintenance_though_the_address_was_removed(machine: Machine) -> None:
    """Else nobody would ever stop them, and another node would start them beside."""
    machine.start()
    machine.until_active()
    machine.enter_maintenance()
    before = machine.hooks()
    machine.lan.ip("n1", "address flush dev eth0 to 10.0.0.100")
    machine.kill_all()
    machine.start()
    eventually(lambda: machine.phase() == "active")
    assert machine.hooks() == before
    off = machine.hamgr("maintenance", "off", "--yes", "--run-dir", str(machine.run_dir))
    assert off.returncode == 0, off.stdout + off.stderr
    machine.until_active()
    assert machine.hooks() == [*before, "demote", "promote 2"]
    machine.stop()


def test_what_is_in_maintenance_has_to_be_in_the_file(machine: Machine) -> None:
    """Neither removed, nor forgotten: whatever the file says, where that counts."""
    machine.start()
    machine.until_active()
    machine.enter_maintenance()
    text, before = machine.config.read_text(), machine.hooks()
    machine.config.write_text(text.replace("group.crm", "group.web"))
    machine.kill_all()
    machine.forget_what_is_applied()
    missing = "group.crm: is in maintenance and still on this node, with 10.0.0.100"
    machine.start()
    assert machine.ends() == 78 and missing in machine.log()
    cleaned = machine.hamgr("agent", "--cleanup", *machine.arguments())
    assert cleaned.returncode == 78 and missing in cleaned.stderr
    machine.config.write_text(text.replace("100/24", "101/24"))
    machine.start()
    assert machine.ends() == 78
    assert "group.crm.vips: 10.0.0.100 is still on this node" in machine.log()
    assert machine.has_vip() and machine.hooks() == before
    machine.config.write_text(text)
    machine.start()
    machine.until_active()
    assert machine.hooks() == before
    machine.kill_all()
    machine.lan.ip("n1", "address del 10.0.0.100/32 dev eth0")
    machine.config.write_text(text.replace("100/24", "101/24"))
    machine.forget_what_is_applied()
    machine.start()
    machine.until_told("READY=1")
