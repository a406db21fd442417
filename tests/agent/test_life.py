"""The life of a real agent: start, stop, signals, bugs, a new life, what its commands tell."""

import json
import signal
from pathlib import Path

import pytest

from tests.agent.machine import Machine
from tests.netns import eventually

pytestmark = pytest.mark.real


def test_a_life_from_start_to_orderly_stop(machine: Machine) -> None:
    machine.start(WATCHDOG_USEC="400000")
    machine.until_told("READY=1")
    machine.until_active()
    machine.until_told("STATUS=leads; ")
    machine.until_told("WATCHDOG=1")
    assert machine.hooks() == ["demote", "promote 1"]
    status = machine.status()
    assert status["layers"] == {"crm": ["deadline", "switch (child)", "lifetime"]}
    assert status["process"]["switch_alive"] and status["process"]["watchdog_s"] == 0.4
    assert machine.stop() == 0
    machine.until_told("STOPPING=1")
    assert not machine.has_vip()
    assert machine.hooks() == ["demote", "promote 1", "demote"]
    assert not (machine.run_dir / "control.sock").exists()


def test_the_command_shows_the_agent_s_cluster(machine: Machine) -> None:
    machine.start(NOTIFY_SOCKET="")
    machine.until_active()
    shown = machine.hamgr("status", "--run-dir", str(machine.run_dir))
    assert shown.returncode == 0, shown.stdout
    assert "deadline, switch, lifetime" in shown.stdout, "a child that nobody kills with its parent"
    assert "no rival" in shown.stdout and "on n1" in shown.stdout
    machine.stop()
    later = machine.hamgr("status", "--run-dir", str(machine.run_dir), "--config",
                          str(machine.config))
    assert later.returncode == 2, later.stdout + later.stderr
    assert "asked: ZooKeeper, since no agent runs here" in later.stdout
    assert "n1 is left" in later.stdout


@pytest.mark.parametrize("bug", ["Engine._stop", "Engine._decide"])
def test_a_bug_stops_everything_exclusive(machine: Machine, bug: str) -> None:
    """A failing assertion is planted in the engine, where nothing else can make one fail."""
    name = bug.partition(".")[2]
    machine.start(f"""
import os
from hamgr.engine import Engine
right = Engine.{name}
def wrong(self, *arguments):
    assert not os.path.exists("{machine.folder}/wrong"), "a bug"
    return right(self, *arguments)
Engine.{name} = wrong
""")
    machine.until_active()
    (machine.folder / "wrong").touch()
    assert machine.agent is not None
    if name == "_stop":
        machine.agent.terminate()
    assert machine.ends() == 70
    assert not machine.has_vip()
    assert machine.hooks()[-1] == "demote"
    assert "AssertionError: a bug" in machine.log()


def test_a_node_that_is_declared_dead_begins_a_new_life(machine: Machine) -> None:
    machine.start()
    machine.until_active()
    first = machine.status()["snapshot"]["incarnation"]
    machine.lan.call("n1", _declare_dead, machine.cluster)

    def lives_anew() -> bool:
        snapshot = machine.status()["snapshot"]
        return snapshot is not None and snapshot["incarnation"] > first

    eventually(lives_anew)
    machine.until_active()
    assert machine.hooks().count("demote") >= 2, "cleaned between two lives"
    machine.stop()


def test_a_second_signal_does_not_wait(machine: Machine) -> None:
    machine.demote_does("test -e $(dirname $0)/slow && sleep 60; exit 0")
    agent = machine.start()
    machine.until_active()
    (machine.folder / "slow").touch()
    agent.terminate()
    eventually(lambda: machine.hooks()[-1] == "demote")
    agent.send_signal(signal.SIGINT)
    assert machine.ends() == 1, "the service may still run"
    assert not machine.has_vip()


def test_past_the_agent_a_command_goes_to_zookeeper(machine: Machine) -> None:
    machine.start()
    machine.until_active()
    elsewhere = ("--run-dir", str(machine.folder / "none"), "--config", str(machine.config))
    refused = machine.hamgr("switchover", "erp", "--yes", *elsewhere)
    assert refused.returncode == 1, refused.stderr
    assert "asking ZooKeeper" in refused.stdout
    assert "refused: there is no group 'erp'" in refused.stdout
    done = machine.hamgr("maintenance", "on", "--yes", *elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    told = machine.hamgr("history", "--config", str(machine.config))
    assert told.returncode == 0, told.stderr
    assert "crm: n1 is holder, epoch 1" in told.stdout
    assert "crm: is in maintenance" in told.stdout


def test_no_garbage_is_collected_between_evidence_and_address(machine: Machine) -> None:
    machine.start()
    machine.until_active()
    collections = machine.status()["process"]["collections"]
    machine.stop()
    told = machine.hamgr("history", "--local", "--json", "--state-dir", str(machine.state_dir))
    at = {entry["text"]: entry["monotonic_ns"]
          for entry in map(json.loads, told.stdout.splitlines())}
    (starts,) = (when for text, when in at.items() if text.startswith("crm: starts"))
    active = at["crm: active under epoch 1"]
    assert collections, "the start ends with one"
    assert not [(began, ended) for began, ended in collections
                if began < active and ended > starts]


def test_cleaning_that_takes_long_between_two_lives_is_no_reason_to_be_killed(
        machine: Machine) -> None:
    machine.start(WATCHDOG_USEC="400000")
    machine.until_active()
    # The engine's own demote, the second, is quick; the one after it, of the cleaning, is not.
    machine.demote_does("""cd $(dirname $0)
while test $(grep -c demote hooks) -gt 2 -a ! -e may-stop; do sleep 0.05; done""")
    machine.lan.call("n1", _declare_dead, machine.cluster)
    eventually(lambda: machine.status()["snapshot"] is None and len(machine.hooks()) == 4)
    machine.forget_what_was_told()
    machine.until_told("WATCHDOG=1")
    assert machine.status()["snapshot"] is None
    (machine.folder / "may-stop").touch()
    machine.until_active()
    machine.stop()


@pytest.mark.parametrize(("lost", "step"), [("demote", "remove leftovers"),
                                            ("monitor", "end the last life")])
def test_an_answer_that_never_comes_ends_the_agent(machine: Machine, lost: str, step: str) -> None:
    """A bug is planted: one kind of run is never answered. Without an engine nothing else ends."""
    text = machine.config.read_text()
    machine.config.write_text(f"""{text}
demote_timeout = "1s"
promote_timeout = "1s"
monitor = {{ command = "/bin/true", interval = "100ms", timeout = "1s" }}
""")
    if lost == "demote":
        (machine.folder / "wrong").touch()
    machine.start(f"""
from pathlib import Path
from hamgr.agent import life
from hamgr.adapters.services.hook import Hooks
life.GRACE = life.SECOND
right = Hooks.run
def wrong(self, effect):
    if effect.action == "{lost}" and Path("{machine.folder}/wrong").exists():
        Path("{machine.folder}/lost").touch()
    else:
        right(self, effect)
Hooks.run = wrong
""", WATCHDOG_USEC="400000")
    if lost == "monitor":
        machine.until_active()
        (machine.folder / "wrong").touch()
        eventually((machine.folder / "lost").exists)
        machine.lan.call("n1", _declare_dead, machine.cluster)
    machine.until_told("EXTEND_TIMEOUT_USEC=10000000")
    assert machine.ends() == 70
    assert f"StuckError('cannot {step}: no end of it in 2 s')" in machine.log()
    assert not machine.has_vip()


def test_the_recorder_tells_what_happened(machine: Machine) -> None:
    machine.start()
    machine.until_active()
    machine.stop()
    told = machine.hamgr("history", "--local", "--state-dir", str(machine.state_dir))
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert any("crm: active under epoch 1" in line for line in lines)
    assert any("left the cluster: SIGTERM" in line for line in lines)


def _declare_dead(cluster: str) -> None:
    import json

    from kazoo.client import KazooClient

    zk = KazooClient("127.0.0.1:2181")
    zk.start()
    path = f"/hamgr/{cluster}/seats/n1"
    while True:
        data, stat = zk.get(path)
        dead = json.dumps({**json.loads(data), "state": "dead", "by": "test"}).encode()
        try:
            zk.set(path, dead, stat.version)
        except Exception as error:  # the owner wrote it meanwhile: BadVersionError
            if type(error).__name__ != "BadVersionError":
                raise
            continue
        break
    zk.stop()


def test_what_a_life_asked_of_a_fence_device_is_given_up_with_it(machine: Machine) -> None:
    """Planted: with its first address an engine asks a device that takes for ever."""
    text = machine.config.read_text()
    pid = machine.folder / "pid"
    machine.config.write_text(f"""{text}
[fence.slow]
command = ["/bin/sh", "-c", "echo $$ > {pid}; exec sleep 1000"]
nodes = ["n1"]
""")
    machine.start("""
from hamgr.agent.dispatch import Dispatch
from hamgr.core.effects import ClaimAddresses, RunDevice
right = Dispatch.perform
asked = []
def wrong(self, effect):
    right(self, effect)
    if isinstance(effect, ClaimAddresses) and not asked:
        asked.append(RunDevice(run=1, device="slow", node="n1", action="monitor",
                               timeout=1000 * 10**9))
        right(self, asked[0])
Dispatch.perform = wrong
""")
    machine.until_active()
    eventually(lambda: pid.exists() and pid.read_text().endswith("\n"))
    number = int(pid.read_text())
    first = machine.status()["snapshot"]["incarnation"]
    machine.lan.call("n1", _declare_dead, machine.cluster)
    eventually(lambda: (machine.status()["snapshot"] or {"incarnation": 0})["incarnation"] > first)
    assert not Path(f"/proc/{number}").exists()
    machine.until_active()
    machine.stop()
