"""The dead-man's switch: a real one, fed by a stand-in agent, in a network namespace of its own.

Addresses here live for ever, so that only the switch can be what removes them.
"""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hamgr import deadman
from tests.adapters.switch_host import Agent, Node
from tests.netns import PATIENCE_S

pytestmark = pytest.mark.real

DEBIANS = "/usr/bin/python3"
UNIT = Path(deadman.__file__).parents[1] / "systemd/hamgr-deadman@.service"
V4, V6 = "10.99.0.100/24", "fd00:99::100/64"


@pytest.fixture
def node():
    with Node() as made:
        yield made


@pytest.fixture
def agents(node, tmp_path):
    made = []

    def start(*groups: str, begin: bool = True) -> Agent:
        agent = Agent(node, tmp_path, *(groups or (f"crm={V4}@eth0", f"crm={V6}@eth0")))
        made.append(agent)
        return agent.begin() if begin else agent

    yield start
    for agent in made:
        agent.close()


@pytest.fixture
def armed(node, agents):
    """An agent with both addresses on and armed, half a second before its deadline."""
    agent = agents()
    agent.ask("deadline", 60_000, False)
    agent.ask("arm", "crm")
    node.add(V4)
    node.add(V6)
    agent.deadline = agent.ask("deadline", 500, False)
    return agent


def ended(process: int, within: float = PATIENCE_S) -> None:
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(process)
        try:
            assert select.select([pidfd], [], [], within)[0], f"process {process} did not end"
        finally:
            os.close(pidfd)


def status_kib(process: int, field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1])


def act_is_over(agent: Agent) -> None:
    """Return when the switch has verified its act and said so; until then it deletes what it finds.

    It answers for a new deadline only afterwards, over the same socket.
    """
    agent.ask("deadline", 60_000, True)
    agent.wait("event", "DeadlineSet")


def ran(process: int) -> tuple[int, int]:
    """Return how long a process has run, in nanoseconds, and how often it was woken."""
    time_ns, _, times = Path(f"/proc/{process}/schedstat").read_text().split()
    return int(time_ns), int(times)


def idle(agent: Agent, *meanwhile) -> None:
    """The switch sleeps for half a second (but for the question whether it is alive)."""
    before = ran(agent.switch)
    agent.ask(*meanwhile)
    agent.ask("overrun", 0.5)
    time_ns, times = (now - then for now, then in zip(ran(agent.switch), before, strict=True))
    assert times <= 5
    assert time_ns < 100_000_000


# The deadline passes

@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_addresses_go_at_the_deadline_when_the_agent_is_killed_or_frozen(node, armed, how):
    armed.signal(how)
    assert node.removed_at(V4) >= armed.deadline
    node.removed_at(V6)
    assert not node.holds(V4)
    assert not node.holds(V6)


def test_addresses_go_at_the_deadline_when_the_agents_loop_is_stuck(node, armed):
    armed.process.stdin.write('["overrun", 2]\n')
    assert node.removed_at(V4) >= armed.deadline


def test_the_switch_of_a_dead_agent_exits_when_it_has_acted(node, armed):
    armed.signal(signal.SIGKILL)
    ended(armed.switch)
    assert time.monotonic_ns() >= armed.deadline
    assert not node.holds(V4)


def test_a_deadline_that_moves_on_is_waited_for(node, armed):
    later = armed.ask("deadline", 1500, False)
    armed.signal(signal.SIGSTOP)
    assert node.removed_at(V4) >= later


def test_a_lowered_deadline_is_kept_though_the_switch_slept_until_the_old_one(node, armed):
    armed.ask("deadline", 60_000, False)
    armed.ask("facts")
    lowered = armed.ask("deadline", 100, False)
    armed.signal(signal.SIGSTOP)
    assert node.removed_at(V4, within=30) >= lowered


def test_a_confirmed_deadline_is_answered_by_the_switch_itself(armed):
    armed.ask("deadline", 60_000, True)
    assert "serial=5" in armed.wait("event")["event"]


def test_nothing_is_confirmed_while_the_switch_does_not_run(armed):
    os.kill(armed.switch, signal.SIGSTOP)
    armed.ask("deadline", 60_000, True)
    armed.ask("overrun", 0.3)
    armed.ask("facts")
    assert not [line for line in armed.heard if "event" in line]
    os.kill(armed.switch, signal.SIGCONT)
    assert "serial=5" in armed.wait("event")["event"]


def test_it_acts_again_for_the_next_deadline_of_an_agent_that_lives(node, armed):
    node.removed_at(V4)
    act_is_over(armed)
    node.add(V4)
    again = armed.ask("deadline", 200, False)
    assert node.removed_at(V4) >= again
    act_is_over(armed)
    assert armed.ask("facts")["acts"] == 2


def test_an_address_that_comes_back_past_the_deadline_goes_again(node, armed):
    armed.signal(signal.SIGSTOP)
    node.removed_at(V4)
    node.add(V4)
    node.removed_at(V4)


# What is left alone

def test_a_disarmed_group_is_never_touched(node, agents):
    other = "10.98.0.100/24"
    agent = agents(f"crm={V4}@eth0", f"web={other}@lo")
    agent.ask("deadline", 60_000, False)
    node.add(V4)
    node.add(other, "lo")
    agent.ask("arm", "crm")
    agent.ask("arm", "web")
    agent.ask("disarm", "web")
    agent.ask("deadline", 100, False)
    agent.signal(signal.SIGKILL)
    node.removed_at(V4)
    ended(agent.switch)
    assert node.holds(other)


def test_a_switch_with_nothing_armed_exits_with_its_agent_at_once(node, agents):
    agent = agents()
    node.add(V4)
    agent.ask("deadline", 600_000, False)
    agent.signal(signal.SIGKILL)
    ended(agent.switch)
    assert node.holds(V4)


def test_an_orderly_close_withdraws_what_is_armed_at_once(node, armed):
    armed.ask("deadline", 600_000, False)
    armed.ask("close")
    assert "verified" in armed.wait("closed")["closed"]
    assert not node.holds(V4)


def test_sigterm_withdraws_at_once(node, agents):
    agent = agents()
    agent.ask("deadline", 600_000, False)
    agent.ask("arm", "crm")
    node.add(V4)
    os.kill(agent.switch, signal.SIGTERM)
    node.removed_at(V4)


def test_a_keyboard_interrupt_is_the_agents_business(node, armed):
    os.kill(armed.switch, signal.SIGINT)
    os.kill(armed.switch, signal.SIGHUP)
    armed.ask("deadline", 60_000, True)
    armed.wait("event", "serial=5")
    assert node.holds(V4)


# What it verifies

def test_an_address_that_is_elsewhere_than_loaded_goes_too(node, agents):
    agent = agents(f"crm={V4}@eth0")
    agent.ask("deadline", 60_000, False)
    node.add("10.99.0.100/25", "lo")
    agent.ask("arm", "crm")
    agent.ask("deadline", 50, False)
    node.removed_at(V4)
    assert "verified" in wait_for_act(agent)


def test_an_interface_that_is_gone_counts_as_verified(node, agents):
    agent = agents(f"crm={V4}@eth0")
    agent.ask("deadline", 60_000, False)
    agent.ask("arm", "crm")
    node.add(V4)
    node.ip("node", "link del eth0")
    agent.ask("deadline", 10, False)
    assert "verified" in wait_for_act(agent)


def wait_for_act(agent: Agent) -> str:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if act := agent.ask("facts")["last_act"]:
            return act
        agent.ask("overrun", 0.01)
    raise AssertionError("the switch did not say that it acted")


def test_hundreds_of_addresses_go_together(node, agents):
    addresses = [f"10.97.{number // 200}.{number % 200 + 1}/32" for number in range(300)]
    agent = agents(*(f"crm={address}@eth0" for address in addresses))
    agent.ask("deadline", 60_000, False)
    agent.ask("arm", "crm")
    batch = "".join(f"addr add {address} dev eth0\n" for address in addresses)
    subprocess.run(["ip", "-n", node.namespace("node"), "-batch", "-"], input=batch, text=True,
                   check=True)
    agent.ask("deadline", 10, False)
    assert "verified" in wait_for_act(agent)
    assert "10.97." not in node.ip("node", "address show")


# Its own death

def test_a_killed_switch_is_noticed_and_replaced_with_the_same_state(node, armed):
    armed.ask("deadline", 60_000, False)
    os.kill(armed.switch, signal.SIGKILL)
    assert "died" in armed.wait("death")["death"]
    armed.ask("deadline", 60_000, True)
    armed.wait("event", "serial=5")
    facts = armed.ask("facts")
    assert facts["alive"]
    assert facts["deaths"] == 1
    assert facts["process"] != armed.switch
    armed.adopt(facts["process"])
    deadline = armed.ask("deadline", 50, False)
    armed.signal(signal.SIGKILL)
    assert node.removed_at(V4) >= deadline


# The lock

def test_two_agents_exclude_each_other(agents):
    first = agents()
    second = agents(begin=False)
    _, error = second.process.communicate(timeout=PATIENCE_S)
    assert f"another agent (process {first.process.pid})" in error


def test_a_second_agent_ends_the_armed_switch_of_the_first_before_it_begins(
        node, armed, agents):
    armed.ask("deadline", 600_000, False)
    armed.signal(signal.SIGKILL)
    second = agents(begin=False)
    assert second.wait("ready")["old"] == armed.switch
    assert not node.holds(V4)


def test_a_stopped_switch_does_not_keep_the_next_agent_from_starting(armed, agents):
    os.kill(armed.switch, signal.SIGSTOP)
    armed.signal(signal.SIGKILL)
    assert agents(begin=False).wait("ready")["old"] == armed.switch


# What it costs

def test_it_is_small_and_locked_and_knows_nothing_of_hamgr(armed):
    facts = armed.ask("facts")
    assert status_kib(armed.switch, "VmRSS") <= 16 * 1024
    if facts["memory"] == "locked":
        assert status_kib(armed.switch, "VmLck") > 8 * 1024
    modules = subprocess.run(
        [sys.executable, *deadman.OPTIONS, "-c",
         f"import sys, runpy; runpy.run_path({deadman.__file__!r}); print(*sys.modules)"],
        check=True, capture_output=True, text=True, env=deadman.ENVIRONMENT).stdout.split()
    assert "asyncio" not in modules
    assert not [name for name in modules if name.startswith(("hamgr", "msgspec", "site"))]


@pytest.fixture
def as_the_unit_does(tmp_path):
    """The switch with Debian's Python, by the command of its unit; its process and its word."""
    if not Path(DEBIANS).exists():
        pytest.skip(f"{DEBIANS}: there is none")
    [command] = re.findall(r"^ExecStart=(.+)", UNIT.read_text(), re.MULTILINE)
    command = command.replace("/opt/hamgr/bin/python3", DEBIANS)
    command = command.replace("/opt/hamgr/libexec/hamgr/deadman.py", deadman.__file__)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(PATIENCE_S)
    with ours, (tmp_path / "page").open("wb+") as page, (tmp_path / "lock").open("wb") as lock:
        page.truncate(deadman.PAGE)
        with theirs:
            process = subprocess.Popen(command.split(), stdin=theirs,
                                       env={**os.environ, "PYTHONPATH": "/nowhere"})
        try:
            socket.send_fds(ours, [deadman.HELLO], [page.fileno(), lock.fileno()])
            yield process.pid, ours.recv(deadman.LARGEST).decode()
        finally:
            process.kill()
            process.wait()


def test_as_its_unit_starts_it_with_debians_python_it_is_smaller_still(as_the_unit_does):
    """16 MiB is what is promised; the rest is room for other builds of Python and libc."""
    process, word = as_the_unit_does
    if not word.endswith("\tlocked"):
        pytest.skip(f"memory cannot be locked here: {word}")
    assert status_kib(process, "VmLck") > 8 * 1024
    assert status_kib(process, "VmRSS") <= 14.5 * 1024
    began_with = dict(line.split("=", 1) for line in
                      Path(f"/proc/{process}/environ").read_text().split("\0") if line)
    assert began_with == deadman.ENVIRONMENT


def test_it_runs_above_the_agent_where_that_is_allowed(armed):
    facts = armed.ask("facts")
    if facts["scheduling"].startswith("ordinary"):
        pytest.skip(facts["scheduling"])
    assert os.sched_getscheduler(armed.switch) == os.SCHED_FIFO
    assert os.sched_getparam(armed.switch).sched_priority == deadman.PRIORITY


def test_credits_do_not_wake_it(armed):
    """Ten thousand deadlines, each later than the last: the switch wakes for none of them."""
    armed.ask("deadline", 60_000, True)
    armed.wait("event")
    idle(armed, "deadlines", 10_000)


def test_it_sleeps_while_nothing_is_armed(agents):
    agent = agents()
    agent.ask("deadline", 10, True)
    agent.wait("event")
    idle(agent, "facts")
