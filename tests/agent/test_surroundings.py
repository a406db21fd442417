"""A real agent where something around it is not as it should be: it says so, and goes on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.machine import VIP, Machine, zookeeper
from tests.netns import Segment, eventually

pytestmark = pytest.mark.real


def disk(machine: Machine, size: str) -> Path:
    """Give the machine's agent a state directory on a small disk in a mount namespace of its own,
    which outlives the agent; return the way to it from here."""
    machine.state_dir.mkdir()
    holder = machine.lan.start(
        "n1", "sh", "-c", f"mount -t tmpfs -o size={size} tmpfs {machine.state_dir} && echo && "
        "exec sleep 1000", stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"\n"
    machine.inside = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--")
    return Path(f"/proc/{holder.pid}/root{machine.state_dir}")


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def test_an_agent_does_not_start_on_a_full_disk_says_so_and_starts_when_it_has_room(
        machine: Machine) -> None:
    filler = fill(disk(machine, "1m"))
    machine.start()
    machine.until_told("STATUS=cannot begin a life: cannot write ")
    assert f"cannot write {machine.state_dir}/incarnation.json: No space left on device; free " \
        "its disk" in machine.log()
    assert not machine.has_vip() and machine.status()["snapshot"] is None
    filler.unlink()
    machine.until_active()
    assert machine.stop() == 0


def test_what_an_agent_keeps_is_kept_when_the_disk_has_room_again(machine: Machine) -> None:
    """Maintenance waits for the disk: it is on when a restart will find it, and not before."""
    folder = disk(machine, "1m")
    machine.start()
    machine.until_active()
    filler = fill(folder)
    asked = machine.hamgr("maintenance", "on", "--yes", "--timeout", "2", "--run-dir",
                          str(machine.run_dir))
    eventually(lambda: "cannot keep the maintenance of crm: cannot write " in machine.log()
               or "No space left on device" in machine.log())
    assert machine.status()["addresses"][0]["lifetime_s"] is not None, asked.stdout
    assert machine.has_vip() and machine.phase() == "active"
    filler.unlink()
    eventually(lambda: machine.status()["addresses"][0]["lifetime_s"] is None)
    assert (folder / "maintenance.json").exists()
    off = machine.hamgr("maintenance", "off", "--yes", "--run-dir", str(machine.run_dir))
    assert off.returncode == 0, off.stdout + off.stderr
    assert machine.stop() == 0


def test_a_vip_in_no_subnet_is_told_in_words_and_another_group_is_served(machine: Machine) -> None:
    machine.config.write_text(machine.config.read_text()
                              + '\n[group.lost]\nnodes = ["n1"]\nvips = ["10.9.0.100/24"]\n')
    checked = machine.hamgr("config", "check", str(machine.config))
    assert checked.returncode == 0 and "no address of n1 above lies in" in checked.stdout
    machine.start()
    eventually(lambda: machine.has_vip() and _phases(machine).get("crm") == "active")
    shown = machine.hamgr("status", "--run-dir", str(machine.run_dir))
    assert shown.returncode == 2
    said = " ".join(shown.stdout.split())
    assert "n1 cannot run lost: no interface has an address in 10.9.0.0/24: give one an address " \
        "there, or name the interface of 10.9.0.100" in said
    doctor = machine.hamgr("doctor", "--run-dir", str(machine.run_dir))
    assert "FAULT vip links: 10.9.0.100/24: no interface of this node" in " ".join(
        doctor.stdout.split())
    assert machine.has_vip() and _phases(machine)["crm"] == "active"
    assert machine.stop() == 0


def test_zookeeper_that_comes_after_the_agent_is_found(tmp_path: Path) -> None:
    with Segment("n1") as lan:
        machine = Machine(lan, tmp_path)
        try:
            machine.start()
            machine.until_told("READY=1")
            shown = machine.hamgr("status", "--run-dir", str(machine.run_dir))
            assert shown.returncode == 2
            said = " ".join(shown.stdout.split())
            assert "no ZooKeeper server answers this node" in said
            assert not lan.has("n1", VIP)
            with zookeeper(lan, "n1", tmp_path / "data"):
                machine.until_active()
                assert machine.stop() == 0
        finally:
            machine.close()


def _phases(machine: Machine) -> dict[str, str]:
    snapshot = machine.status()["snapshot"]
    return {group["name"]: group["phase"] for group in snapshot["groups"]} if snapshot else {}


FILES = {
    "a node twice": ('[node.n1]\naddresses = ["10.0.0.1"]\n', "this table is given twice"),
    "two nodes with one address": ('[node.n2]\naddresses = ["10.0.0.1"]\n',
                                   'node.n2.addresses[0]: "10.0.0.1" is an address of n1 already'),
}


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Machine]:
    """A machine without ZooKeeper: what is tested ends before it is missed."""
    with Segment("n1") as lan:
        machine = Machine(lan, tmp_path)
        yield machine
        machine.close()


@pytest.mark.parametrize("mistake", FILES)
def test_a_file_that_cannot_be_is_refused_with_the_line_and_the_running_agent_keeps_its_own(
        bare: Machine, mistake: str) -> None:
    more, words = FILES[mistake]
    good = bare.config.read_text()
    bare.config.write_text(good + more)
    checked = bare.hamgr("config", "check", str(bare.config))
    assert checked.returncode == 1
    bare.start()
    assert bare.ends() == 78
    for said in (checked.stdout, bare.log()):
        assert words in said and f"{bare.config}:" in said
    bare.config.write_text(good)
    agent = bare.start()
    bare.until_told("READY=1")
    bare.config.write_text(good + more)
    agent.send_signal(1)
    eventually(lambda: "the configuration cannot be used; the one in use stays" in bare.log())
    assert bare.status()["snapshot"] is not None
