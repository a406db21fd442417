"""Nodes of a lab with a systemd of their own: units, power, what is left of it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hamgr.lab import booted, sweep, systemd
from hamgr.lab.cgroup import Cgroup
from hamgr.lab.lab import Lab
from hamgr.lab.own import home
from hamgr.lab.spec import LabError, LabSpec, directory
from tests.adapters.systemd_node import skip_unless_it_runs
from tests.lab.scene import raised
from tests.lab.traces import traces
from tests.netns import eventually

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

HERE = "ExecStart=/bin/sh -c 'echo %H > {here}/name; exec sleep 1000'"
UNITS = {"here.service": f"[Service]\n{HERE}\nExecStopPost=/bin/rm {{here}}/name\n",
         "says.service": "[Service]\nType=oneshot\nExecStart=/bin/echo spoken here\n",
         "other.service": "[Service]\nExecStart=/bin/sleep 1000\n"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    skip_unless_it_runs()
    with raised("booted", zookeeper=False, agents=False, systemd=True, units=UNITS) as whole:
        yield whole


def ctl(lab: Lab, node: str, *words: str) -> str:
    return lab.output(node, ["systemctl", *words]).strip()


def active(lab: Lab, node: str, unit: str) -> str:
    return ctl(lab, node, "show", "--value", "--property=ActiveState", unit)


def test_each_node_has_units_of_its_own_and_a_place_to_show_them(lab: Lab) -> None:
    ctl(lab, "n1", "start", "here.service")
    assert [active(lab, node, "here.service") for node in lab.nodes] == [
        "active", "inactive", "inactive"]
    kept = lab.nodes["n1"].own_dir / "name"
    eventually(lambda: kept.exists() and kept.read_text() == "n1\n")
    path = home(lab.directory) / "name"
    assert lab.output("n1", ["cat", str(path)]) == "n1\n", "what runs beside sees it there, too"
    assert not path.exists()
    assert UNITS["other.service"] in ctl(lab, "n1", "cat", "other.service") + "\n"
    ctl(lab, "n1", "stop", "here.service")
    assert list(lab.nodes["n1"].own_dir.iterdir()) == []


def test_the_journal_of_a_node_can_be_read(lab: Lab) -> None:
    ctl(lab, "n1", "start", "says.service")
    journal = f"{lab.nodes['n1'].directory}/root/var/log/journal"
    eventually(lambda: "spoken here" in lab.output(
        "n1", ["journalctl", "-q", "-D", journal, "-u", "says.service"]))


def test_units_end_with_the_power_and_a_boot_keeps_the_disk_alone(lab: Lab) -> None:
    node = lab.nodes["n2"]
    ctl(lab, "n2", "start", "here.service", "other.service")
    drop_in = "mkdir /run/systemd/system/here.service.d"
    lab.output("n2", ["sh", "-c", drop_in])
    etc = Path(f"{node.directory}/root/etc/kept")
    etc.write_text("it is\n")
    machine = (etc.parent / "machine-id").read_text()
    at = lab.crash("n2")
    assert at <= time.monotonic_ns() and node.cgroup.pids() == []
    lab.heal()
    assert active(lab, "n2", "here.service") == active(lab, "n2", "other.service") == "inactive"
    assert lab.output("n2", ["sh", "-c", "ls -d /run/systemd/system/*.d || true"]) == ""
    assert list(node.own_dir.iterdir()) == []
    assert etc.read_text() == "it is\n"
    assert (etc.parent / "machine-id").read_text() == machine != ""


def test_a_systemd_that_was_switched_off_inside_comes_back_as_the_lab_is_healed(lab: Lab) -> None:
    lab.exec("n3", ["systemctl", "--no-block", "poweroff"])  # its answer may be cut off
    eventually(lambda: not lab.nodes["n3"].cgroup.below("systemd").populated)
    lab.heal()
    assert active(lab, "n3", "other.service") == "inactive"


def test_no_systemd_is_no_lab_and_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd.shutil, "which", lambda program: None)
    spec = LabSpec(name=f"tnone{os.getpid()}", zookeeper=False, agents=False, systemd=True)
    with pytest.raises(LabError, match="no node can have a systemd of its own here: "
                       r"systemd-nspawn is not installed \(Debian: systemd-container\)"):
        Lab.up(spec)
    assert traces(spec.name) == {}


def test_a_systemd_that_does_not_boot_is_no_lab_and_its_last_words_are_said(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booted.Booted, "command",
                        lambda self, home: ["sh", "-c", "echo no room; exit 1"])
    spec = LabSpec(name=f"tsick{os.getpid()}", zookeeper=False, agents=False, systemd=True)
    with pytest.raises(LabError, match="(?s)n1: systemd has ended.*no room"):
        Lab.up(spec)
    assert traces(spec.name) == {}


@pytest.mark.parametrize("name", ["here", "a/b.service", "x.conf"])
def test_what_is_no_unit_file_is_refused(name: str) -> None:
    assert LabSpec(systemd=True, units={name: ""}).faults() == [
        f"units: {name} is not the name of a unit that has a file"]
    assert LabSpec(units={"x.service": ""}).faults() == [
        "unit files are for nodes with a systemd of their own"]


def test_what_cannot_be_read_as_a_unit_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "app.service.d").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "hamgr", "lab", "up", "--units", str(tmp_path)], check=False,
        capture_output=True, text=True)
    assert done.returncode == 1
    assert "Error: units: not all in" in done.stderr and "app.service.d" in done.stderr


def test_nothing_is_left_after_the_command_was_killed(tmp_path: Path) -> None:
    skip_unless_it_runs()
    name = f"tgone{os.getpid()}"
    (tmp_path / "mine.service").write_text(UNITS["other.service"])
    process = subprocess.Popen(
        [sys.executable, "-m", "hamgr", "lab", "up", "--no-agents", "--name", name,
         "--units", str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        group = Cgroup.of_lab(name).below("n2", "systemd")
        eventually(lambda: group.populated)
        with sweep.registry():  # no lab elsewhere sweeps meanwhile
            process.kill()
            process.wait()
            assert (directory(name) / "n2/root/etc/systemd/system/mine.service").exists()
            assert {"mounts", "groups", "processes"} <= traces(name).keys()
        subprocess.run([sys.executable, "-m", "hamgr", "lab", "down", "--name", name], check=True,
                       stdout=subprocess.DEVNULL)
    finally:
        process.kill()
        process.wait()
    assert traces(name) == {}
