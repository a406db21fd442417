"""`hamgr lab` as people type it: what each command does, prints, and ends with."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hamgr.lab import sweep
from hamgr.lab.cgroup import Cgroup
from hamgr.lab.lab import Lab
from hamgr.lab.node import EXEC
from hamgr.lab.report import NodeReport, report, rows
from hamgr.lab.spec import CLIENT, VIP
from tests.lab.scene import SOON_S
from tests.lab.test_lab import wait
from tests.lab.traces import inhabitants, traces

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def hamgr_lab(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `--name` goes before what `exec` runs."""
    return subprocess.run(argv(name, *words), check=False, capture_output=True, text=True)


def argv(name: str, *words: str) -> list[str]:
    size = 2 if words[0] == "fault" else 1
    return [sys.executable, "-m", "hamgr", "lab", *words[:size], "--name", name, *words[size:]]


def said(name: str, *words: str) -> str:
    done = hamgr_lab(name, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A whole lab, with hooks, raised and taken down by commands, some of them killed meanwhile."""
    name = f"tcmd{os.getpid()}"
    try:
        told = said(name, "up", "--hooks")
        assert told.splitlines()[-1] == (
            f"lab {name} is up in /run/hamgr-lab/{name}: try hamgr lab status --name {name}")
        yield Lab.find(name)
        killed = [subprocess.Popen(argv(name, *words), stdout=subprocess.DEVNULL) for words in (
            ("exec", "n1", "--", "sleep", "1000"), ("probe", "--seconds", "1000"))]
        wait(lambda: all(Cgroup.of_lab(name).below(host, EXEC).populated
                         for host in ("n1", CLIENT)))
        for process in killed:
            process.kill()
            process.wait()
        left = inhabitants(name)
        assert said(name, "down") == f"lab {name} is down\n"
        assert traces(name) == {}
        assert [one for one in left if one.alive] == []
        gone = hamgr_lab(name, "down")
        assert (gone.returncode, gone.stderr) == (1, f"Error: there is no lab {name}\n")
    finally:
        with sweep.registry():
            sweep.remove(name)


def seen(lab: Lab, node: str) -> NodeReport:
    return next(one for one in report(lab).nodes if one.name == node)


def rows_of(lab: Lab) -> dict[str, tuple[str, ...]]:
    """Return the row of each node in `hamgr lab status`."""
    return {row[0]: row for row in rows(report(lab))}


def owner(lab: Lab) -> str:
    return next(one.name for one in report(lab).nodes if VIP in one.vips)


def fault(lab: Lab, *words: str) -> str:
    return said(lab.spec.name, "fault", *words)


def test_exec_runs_a_command_there_and_passes_its_end_on(lab: Lab) -> None:
    name = lab.spec.name
    shown = json.loads(said(name, "exec", "n2", "--", "hamgr", "status", "--json"))
    assert (shown["node"], shown["verdict"]) == ("n2", "healthy")
    assert hamgr_lab(name, "exec", CLIENT, "--", "sh", "-c", "exit 7").returncode == 7
    assert hamgr_lab(name, "exec", "n1", "--", "sh", "-c", "kill -9 $$").returncode == 128 + 9
    nowhere = hamgr_lab(name, "exec", "n9", "--", "true")
    assert (nowhere.returncode, nowhere.stderr) == (
        1, "Error: no node n9; there are n1, n2, n3\n")


def test_network_faults_say_what_they_did_status_repeats_it_and_heal_ends_it(lab: Lab) -> None:
    faults = {("cut", "n3", "--ring", "2"): "n3 has no carrier on ring 2",
              ("isolate", "n3"): "n3 is isolated", ("deaf", "n1"): "n1 is deaf",
              ("mute", "n2"): "n2 is mute",
              ("block", "n1", "n2", "--one-way"): "nothing passes from n1 to n2",
              ("loss", "7"): "7 % of the frames between nodes are lost",
              ("loss", "3", "--heartbeats"): "3 % of the heartbeats are lost",
              ("hook", "n1", "demote", "fail"): "demote fails on n1"}
    for words, told in faults.items():
        assert fault(lab, *words) == told + "\n"
    shown = said(lab.spec.name, "status").splitlines()
    assert {line.removeprefix("fault: ") for line in shown if line.startswith("fault: ")} == {
        *faults.values()}
    assert said(lab.spec.name, "heal") == "healed\n"
    assert not lab.faults
    lab.wait_settled(within_s=0)


def test_faults_of_a_nodes_power_and_processes_say_what_they_did_and_did_it(lab: Lab) -> None:
    node = next(name for name in lab.nodes if name != owner(lab))
    for word, told, agent, switch in (
            ("freeze", f"the agent of {node} stands still", "stopped", "running"),
            ("thaw", f"the agent of {node} goes on", "running", "running"),
            ("freeze-all", f"the agent of {node} and its switch stand still", "frozen", "frozen"),
            ("thaw", f"the agent of {node} goes on", "running", "running"),
            ("stop", f"the agent of {node} has stopped", "down", "down"),
            ("start", f"the agent of {node} runs", "running", "running"),
            ("kill", f"the agent of {node} is killed", "down", "down"),
            ("crash", f"{node} has no power", "down", "down"),
            ("boot", f"{node} has power again", "running", "running")):
        assert fault(lab, word, node) == told + "\n"
        wait(lambda states=(agent, switch): rows_of(lab)[node][2:4] == states)
        assert seen(lab, node).power == (word != "crash")
    lab.wait_settled()
    switch = lab.nodes[node].switch_pid()
    assert switch is not None
    assert fault(lab, "kill-switch", node) == f"the dead-man's switch of {node} is killed\n"
    wait(lambda: lab.nodes[node].switch_pid() not in (None, switch))
    lab.heal()


@pytest.mark.parametrize("words, told", [
    (("crash", "n9"), "no node n9; there are n1, n2, n3"), (("boot", "n1"), "n1 has power already"),
    (("cut", "n1", "--ring", "3"), "no ring 3; there are 2"),
    (("loss", "101"), "loss 101: from 0 to 100 percent"),
    (("zookeeper-down", "n4"), "no node n4; there are n1, n2, n3")], ids=str)
def test_a_fault_that_cannot_be_is_refused_and_nothing_is_done(
        lab: Lab, words: tuple[str, ...], told: str) -> None:
    done = hamgr_lab(lab.spec.name, "fault", *words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"Error: {told}\n")
    assert not lab.faults


def test_zookeeper_goes_and_comes(lab: Lab) -> None:
    leader = fault(lab, "zookeeper-leader").strip()
    assert seen(lab, leader).zookeeper == "leader"
    assert fault(lab, "zookeeper-down", leader) == f"ZooKeeper is killed on {leader}\n"
    assert seen(lab, leader).zookeeper == "down"
    assert fault(lab, "zookeeper-down") == "ZooKeeper is killed on n1, n2, n3\n"
    assert fault(lab, "zookeeper-leader") == "none\n"
    assert fault(lab, "zookeeper-up") == "ZooKeeper serves on n1, n2, n3\n"
    assert {one.zookeeper for one in report(lab).nodes} == {"leader", "follower"}
    lab.heal()


def test_probe_tells_of_an_outage_in_words_and_in_json(lab: Lab) -> None:
    lab.wait_settled()
    old = owner(lab)
    probe = [subprocess.Popen(argv(lab.spec.name, "probe", "--seconds", "3", *words),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
             for words in ((), ("--json",))]
    assert probe[1].stderr is not None and f"{old} answers" in probe[1].stderr.readline()
    assert fault(lab, "crash", old) == f"{old} has no power\n"
    lines = probe[0].communicate(timeout=SOON_S)[0].splitlines()
    found: dict[str, Any] = json.loads(probe[1].communicate(timeout=SOON_S)[0])
    assert [process.returncode for process in probe] == [0, 0]
    new = owner(lab)
    change = next(gap for gap in found["outages"] if gap["after"] != gap["before"])
    assert found["schema"] == 1 and found["nodes"] == [old, new]
    assert (change["before"], change["after"]) == (old, new)
    assert change["ms"] == (change["end"] - change["start"]) / 1e6 > 0
    assert 0 < found["acknowledged"] < found["sent"]
    assert f"{old} answers no more" in "\n".join(lines)
    assert any(line.startswith("outage ") and line.endswith(f" ms: {old}, then {new}")
               for line in lines)
    assert lines[-1].endswith(" acknowledged")
    lab.heal()


def test_the_demo_tells_of_three_failovers_by_phase_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "build" / "demo.json"
    done = subprocess.run([sys.executable, "-m", "hamgr", "lab", "demo", "--json", str(file)],
                          check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *_, last = done.stdout.splitlines()
    assert re.fullmatch(r"demo: ok  crash \d+ ms  switchover \d+ ms  without ZooKeeper \d+ ms"
                        r"  owners at most 1", last)
    told = json.loads(file.read_text())
    assert told["ok"] and told["owners_max"] == 1 and told["writes"]["lost"] == 0
    accused = ["detection", "evidence", "decision", "address", "first reply"]
    phases = {"crash": accused, "without_zookeeper": accused,
              "switchover": ["stop", "word", "address", "first reply"]}
    for act, names in phases.items():
        assert list(told[act]["phases"]) == names
        assert sum(told[act]["phases"].values()) == pytest.approx(told[act]["outage_ms"], abs=0.1)
        assert told[act]["timeline"][-1]["what"] == "first reply"
    name = re.match(r"lab (\w+):", first)
    assert name is not None and traces(name[1]) == {}
