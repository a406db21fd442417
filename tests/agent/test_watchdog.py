"""The watchdog under a real agent: what becomes of the device when agent, switch or a stop fail.

The device is a FIFO (tests.adapters.dog); real ones, and real resets, are in tests/vm.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.dog import Dog
from tests.agent.machine import Machine
from tests.netns import PATIENCE_S, eventually

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 2
PATCH = "from tests.adapters.dog import pretend\npretend()\n"
QUIET_S = TIMEOUT_S
"""Eight feedings long nothing is heard."""


@pytest.fixture
def dog(machine: Machine):
    made = Dog(machine.folder / "dog")
    machine.config.write_text(machine.config.read_text().replace(
        "[node.n1]", f'[watchdog]\ndevice = "{made.path}"\ntimeout = "{TIMEOUT_S}s"\n\n[node.n1]')
        .replace('vips = ["10.0.0.100/24"]', 'vips = ["10.0.0.100/24"]\nstop_within = "5400ms"'))
    yield made
    made.close()


def start(machine: Machine, patch: str = "") -> None:
    machine.start(PATCH + patch, PYTHONPATH=str(ROOT))
    machine.until_active()


def lapse(machine: Machine) -> None:
    """Freeze the agent until its lease has run out."""
    send(machine, signal.SIGSTOP)
    eventually(lambda: not machine.has_vip())
    send(machine, signal.SIGCONT)


@pytest.fixture
def on_a_claim(machine: Machine) -> None:
    """Have it live on its claim in ZooKeeper, which runs out: a majority of one never does."""
    machine.config.write_text(machine.config.read_text().replace(
        "[group.crm]", '[node.n2]\naddresses = ["10.0.0.99"]\n\n[group.crm]'))


def send(machine: Machine, number: signal.Signals, *, switch: bool = False) -> None:
    """Send a signal to the agent or its switch; a stop is waited for."""
    assert machine.agent is not None
    pid = machine.agent.pid
    if switch:
        pid, = (int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                if "deadman" in Path(f"/proc/{child}/cmdline").read_text())
    os.kill(pid, number)
    if number == signal.SIGSTOP:
        eventually(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text())


def test_it_is_held_while_the_group_is_active_and_closed_by_an_orderly_stop(
        machine: Machine, dog: Dog) -> None:
    start(machine)
    dog.until_fed(3)
    status = machine.status()
    assert status["layers"]["crm"][-1] == "watchdog"
    assert status["watchdog"] == {"device": str(dog.path), "identity": "stand-in",
                                  "timeout_s": TIMEOUT_S, "held": True, "trouble": ""}
    shown = machine.hamgr("status", "--run-dir", str(machine.run_dir)).stdout
    assert "lifetime, watchdog" in shown and "watchdog stand-in 2 s" in shown
    assert machine.stop() == 0
    assert dog.until_closed() == "magic"


def test_it_is_closed_in_maintenance_and_open_after_it(machine: Machine, dog: Dog) -> None:
    start(machine)
    dog.until_fed()
    machine.enter_maintenance()
    assert dog.until_closed() == "magic"
    assert machine.has_vip()
    done = machine.hamgr("maintenance", "off", "--yes", "--run-dir", str(machine.run_dir))
    assert done.returncode == 0, done.stdout + done.stderr
    dog.until_fed()


def test_a_frozen_agent_feeds_no_more_and_who_cleans_up_after_it_closes(
        machine: Machine, dog: Dog) -> None:
    start(machine)
    dog.until_fed()
    send(machine, signal.SIGSTOP)
    dog.drain()
    eventually(lambda: not machine.has_vip())
    assert not dog.hears(QUIET_S), "its switch does not feed for it"
    machine.kill_all()
    assert dog.until_closed() == "died"
    done = machine.hamgr("agent", "--cleanup", *machine.arguments())
    assert done.returncode == 0, done.stderr
    assert dog.until_closed() == "magic"


def test_a_cleanup_that_takes_its_time_feeds_it_meanwhile(machine: Machine, dog: Dog) -> None:
    start(machine)
    dog.until_fed()
    machine.kill_all()
    assert dog.until_closed() == "died"
    go = machine.folder / "go"
    machine.demote_does(f"until test -e {go}; do sleep 0.05; done")
    cleanup = machine.lan.start("n1", sys.executable, "-m", "hamgr", "agent", "--cleanup",
                                *machine.arguments(), stderr=subprocess.DEVNULL)
    dog.until_fed(3)
    go.touch()
    assert dog.until_closed() == "magic"
    assert cleanup.wait(PATIENCE_S) == 0


def test_a_cleanup_that_cannot_stop_everything_leaves_it_counting(
        machine: Machine, dog: Dog) -> None:
    start(machine)
    machine.kill_all()
    assert dog.until_closed() == "died"
    machine.demote_does("exit 1")
    assert machine.hamgr("agent", "--cleanup", *machine.arguments()).returncode != 0
    dog.drain()
    assert b"V" not in dog.heard


def test_a_lease_that_is_lost_and_a_stop_that_hangs_end_the_feeding(
        machine: Machine, dog: Dog, on_a_claim: None) -> None:
    start(machine)
    dog.until_fed()
    machine.demote_does("exec sleep 1000000")
    lapse(machine)
    eventually(lambda: machine.hooks()[-1] == "demote" and machine.phase() == "stopping")
    dog.drain()
    assert not dog.hears(QUIET_S)
    assert machine.status()["watchdog"]["held"], "and the kernel counts"


def test_a_stop_that_ends_in_time_closes_it_after_a_lost_lease(
        machine: Machine, dog: Dog, on_a_claim: None) -> None:
    start(machine)
    dog.until_fed()
    lapse(machine)
    assert dog.until_closed() == "magic"
    dog.until_fed()


def test_a_frozen_switch_is_the_agent_s_business(machine: Machine, dog: Dog) -> None:
    start(machine)
    send(machine, signal.SIGSTOP, switch=True)
    dog.until_fed(6)
    send(machine, signal.SIGCONT, switch=True)  # or the stop would wait for it
    assert machine.stop() == 0
    assert dog.until_closed() == "magic"


@pytest.mark.parametrize(("demote", "end"), [("exit 0", "magic"), ("exit 1", "died")])
def test_a_bug_resets_the_machine_only_if_something_may_run(
        machine: Machine, dog: Dog, demote: str, end: str) -> None:
    start(machine, f"""
import os
from hamgr.engine import Engine
right = Engine._decide
def wrong(self, *arguments):
    assert not os.path.exists("{machine.folder}/wrong"), "a bug"
    return right(self, *arguments)
Engine._decide = wrong
""")
    dog.until_fed()
    machine.demote_does(demote)
    (machine.folder / "wrong").touch()
    assert machine.ends() == 70
    assert dog.until_closed() == end


def test_it_comes_and_goes_with_the_configuration(machine: Machine, dog: Dog) -> None:
    with_it = machine.config.read_text()
    without = with_it.replace(f'device = "{dog.path}"\ntimeout = "{TIMEOUT_S}s"\n', "")
    machine.config.write_text(without)
    start(machine)
    machine.until_applied(1)
    assert machine.status()["watchdog"]["device"] == ""
    machine.config.write_text(with_it)
    done = machine.apply()
    assert done.returncode == 0, done.stdout + done.stderr
    dog.until_fed()
    machine.config.write_text(without)
    done = machine.apply()
    assert done.returncode == 0, done.stdout + done.stderr
    assert dog.until_closed() == "magic"
    assert machine.phase() == "active"


def test_a_start_closes_what_was_left_counting(machine: Machine, dog: Dog) -> None:
    start(machine)
    dog.until_fed()
    machine.kill_all()
    assert dog.until_closed() == "died"
    machine.start(PATCH, PYTHONPATH=str(ROOT))
    assert dog.until_closed() == "magic"
    machine.until_active()
    dog.until_fed()
