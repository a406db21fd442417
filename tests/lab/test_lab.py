"""The lab itself: its network and faults, its client, and that nothing is left of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hamgr.lab import network, responder, sweep, watch
from hamgr.lab.cgroup import Cgroup
from hamgr.lab.lab import Lab
from hamgr.lab.netns import open_socket
from hamgr.lab.node import EXEC, Node
from hamgr.lab.report import report
from hamgr.lab.spec import CLIENT, VIP, LabError, LabSpec, Owner, address, directory
from tests.lab.traces import inhabitants, traces
from tests.netns import interrupts

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

PROBE_S = 5.0
HEARTBEAT_PORT = 7410
"""The default of the configuration, which every lab keeps."""


def name_of(purpose: str) -> str:
    return f"t{purpose}{os.getpid()}"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    name = name_of("net")
    with Lab.raised(LabSpec(name=name, agents=False)) as raised:
        yield raised
    assert traces(name) == {}


@pytest.fixture(autouse=True)
def healed(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").heal()


def entered(lab: Lab, name: str) -> int:
    return len(responder.entries(lab.nodes[name].directory / "ledger"))


def share_answered(lab: Lab, source: str, target: str, seconds: float = 0.3) -> tuple[float, int]:
    """Return which share of n writes on ring 1 was acknowledged, and how many the target saw."""
    before = entered(lab, target)
    with lab.probe(address(target, 1), host=source) as client:
        for _ in client.follow(seconds):
            pass
        seen = client.finish()
    return len(seen.writes) / seen.sent, entered(lab, target) - before


def meet(lab: Lab, *pairs: tuple[str, str]) -> None:
    """Have them know each other's hardware address: a request for it is repeated after 1 s only."""
    for source, target in pairs:
        with lab.probe(address(target, 1), host=source) as client:
            client.wait_served(PROBE_S)


def wait(reached: Callable[[], bool], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.001)


def carrier(lab: Lab, node: str, ring: int) -> bool:
    links = json.loads(lab.output(node, ["ip", "-json", "link", "show", f"ring{ring}"]))
    return "LOWER_UP" in links[0]["flags"]


def test_nodes_and_client_reach_each_other(lab: Lab) -> None:
    pairs = (("client", "n1"), ("n1", "n2"), ("n3", "n1"))
    meet(lab, *pairs)
    for source, target in pairs:
        share, _ = share_answered(lab, source, target)
        assert share > 0.9
    assert lab.exec("n1", ["true"]) == 0 and lab.exec("n1", ["false"]) == 1


def test_in_a_crash_everything_stands_still_before_the_first_link_goes(
        lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner would see it go, and hand over by the second one."""
    events, unplug = lab.nodes["n2"].cgroup.path / "cgroup.events", network.unplug
    seen: list[str] = []

    def seen_unplug(spec: LabSpec, host: str) -> None:
        seen.append(events.read_text())
        unplug(spec, host)

    monkeypatch.setattr(network, "unplug", seen_unplug)
    lab.crash("n2")
    assert len(seen) == 1 and "frozen 1" in seen[0]
    lab.heal()


def test_a_command_of_the_lab_decides_itself_what_an_interrupt_means(lab: Lab) -> None:
    program = ("import os, sys; from hamgr.lab.lab import Lab; "
               f"sys.exit(Lab.find({lab.spec.name!r}).exec('n1', ['sh', '-c', "
               "'trap \"exit 7\" INT; echo up; while :; do sleep 0.1; done']))")
    with interrupts():
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE,
                                   text=True, start_new_session=True)
    with process:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 7


def test_a_command_that_ends_as_the_interrupt_comes_has_its_exit_status_kept(lab: Lab) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})  # on one core the command is gone before the lab runs
    try:
        with interrupts():
            found = {lab.exec("n1", ["sh", "-c", "kill -INT $PPID; exit 7"]) for _ in range(50)}
    finally:
        os.sched_setaffinity(0, before)
    assert found == {7}


def test_a_crash_takes_links_processes_and_addresses_and_a_boot_brings_the_disk_back(
        lab: Lab) -> None:
    lab.output("n2", ["ip", "address", "add", f"{VIP}/24", "dev", "ring1"])
    node = lab.nodes["n2"]
    disk = node.state_dir / "kept"
    disk.write_text("x")
    with lab.watch() as eyes, lab.probe(address("n2", 1)) as client:
        client.wait_served(PROBE_S)
        eyes.wait_owners(VIP, ["n2"], PROBE_S)
        lab.crash("n2")
        eyes.wait_owners(VIP, [], PROBE_S)
        client.wait_silent(PROBE_S)
        assert not node.cgroup.populated
        assert {found.name: found.power for found in report(lab).nodes} == {
            "n1": True, "n2": False, "n3": True}
        lab.boot("n2")
        client.wait_served(PROBE_S)
        assert eyes.owners(VIP) == [], "addresses do not survive a reboot"
    assert disk.exists()


def test_a_cut_link_loses_its_carrier_and_the_other_ring_goes_on(lab: Lab) -> None:
    lab.cut("n1")
    wait(lambda: not carrier(lab, "n1", 1))
    assert carrier(lab, "n1", 2)
    assert share_answered(lab, "client", "n1")[0] == 0
    with lab.probe(address("n1", 2), host="n2") as client:
        client.wait_served(PROBE_S)
    lab.heal()
    wait(lambda: carrier(lab, "n1", 1))
    meet(lab, ("client", "n1"))


def test_an_isolated_node_keeps_its_carrier_and_reaches_nobody(lab: Lab) -> None:
    lab.isolate("n1")
    assert carrier(lab, "n1", 1)
    assert share_answered(lab, "client", "n1") == (0, 0)
    with lab.probe(address("n1", 2), host="n2") as client:
        client.wait_silent(PROBE_S)
        assert client.finish().writes == []


def test_a_deaf_node_receives_nothing_and_a_mute_one_is_not_heard(lab: Lab) -> None:
    meet(lab, ("client", "n1"), ("client", "n2"))
    lab.deafen("n1")
    lab.mute("n2")
    assert share_answered(lab, "client", "n1") == (0, 0)
    share, seen = share_answered(lab, "client", "n2")
    assert share == 0 and seen > 0


def test_a_block_works_one_way_or_both_and_for_this_pair_only(lab: Lab) -> None:
    meet(lab, ("n2", "n1"), ("n3", "n1"), ("n3", "n2"))
    lab.block("n1", "n2", one_way=True)
    share, seen = share_answered(lab, "n2", "n1")
    assert share == 0 and seen > 0, "n1 hears n2, but its answers are dropped"
    assert share_answered(lab, "n3", "n1")[0] > 0.9
    lab.block("n1", "n3")
    assert share_answered(lab, "n3", "n1") == (0, 0)
    assert share_answered(lab, "n3", "n2")[0] > 0.9


def test_loss_falls_between_nodes_and_spares_the_client(lab: Lab) -> None:
    meet(lab, ("n2", "n1"), ("client", "n1"))
    lab.lose(50)
    share, _ = share_answered(lab, "n2", "n1", seconds=1.0)
    assert 0.05 < share < 0.6, "a quarter survives both ways"
    assert share_answered(lab, "client", "n1")[0] > 0.9


def heard(lab: Lab, port: int, sent: int = 200) -> int:
    """Send datagrams from n1 to n2; return how many arrive."""
    spaces = {name: lab.nodes[name].namespace for name in ("n1", "n2")}
    with (open_socket(spaces["n2"], socket.AF_INET, socket.SOCK_DGRAM) as there,
          open_socket(spaces["n1"], socket.AF_INET, socket.SOCK_DGRAM) as here):
        there.bind((address("n2", 1), port))
        there.settimeout(0.2)
        arrived = 0
        for _ in range(sent):
            here.sendto(b"x", (address("n2", 1), port))
        with suppress(TimeoutError):
            while there.recv(1):
                arrived += 1
    return arrived


def test_loss_of_heartbeats_spares_everything_else(lab: Lab) -> None:
    meet(lab, ("n1", "n2"))
    lab.lose(50, heartbeats=True)
    assert 50 < heard(lab, HEARTBEAT_PORT) < 150
    assert heard(lab, HEARTBEAT_PORT + 1) == 200
    lab.lose(0, heartbeats=True)
    assert heard(lab, HEARTBEAT_PORT) == 200


def test_the_ensemble_elects_anew_when_its_leader_is_killed(lab: Lab) -> None:
    wait(lambda: lab.zookeeper_leader() != "")
    leader = lab.zookeeper_leader()
    lab.zookeeper_down(leader)
    wait(lambda: lab.zookeeper_leader() not in ("", leader))
    lab.zookeeper_down()
    assert lab.zookeeper_leader() == ""
    lab.zookeeper_up()
    wait(lambda: lab.zookeeper_leader() != "")


def test_the_watch_sees_an_address_on_two_nodes(lab: Lab) -> None:
    add, remove = (["ip", "address", verb, f"{VIP}/24", "dev", "ring1"] for verb in ("add", "del"))
    with lab.watch() as eyes:
        lab.output("n1", add)
        eyes.wait_owners(VIP, ["n1"], PROBE_S)
        lab.output("n2", add)
        eyes.wait_owners(VIP, ["n1", "n2"], PROBE_S)
        lab.output("n1", remove)
        eyes.wait_owners(VIP, ["n2"], PROBE_S)
        lab.output("n2", remove)
        eyes.wait_owners(VIP, [], PROBE_S)
        one, two = eyes.tenures(VIP)
    assert watch.owners_at_most([one, two]) == 2
    assert watch.shared([one, two], time.monotonic_ns()) == one.end - two.earliest > 0


def test_the_client_tells_who_served_and_how_long_nobody_did(lab: Lab) -> None:
    lab.output("n1", ["ip", "address", "add", f"{VIP}/24", "dev", "ring1"])
    with lab.probe() as client:
        assert client.wait_served(PROBE_S) == "n1"
        at = lab.crash("n1")
        client.wait_silent(PROBE_S)
        lab.output("n2", ["ip", "address", "add", f"{VIP}/24", "dev", "ring1"])
        lab.output("client", ["ip", "neighbour", "flush", "to", VIP])
        assert client.wait_served(PROBE_S, other_than=["n1"]) == "n2"
        seen = client.finish()
    lab.output("n2", ["ip", "address", "del", f"{VIP}/24", "dev", "ring1"])
    gap = seen.outage(since=at)
    assert (gap.before, gap.after) == ("n1", "n2") and gap.ms >= 20
    assert seen.nodes == ["n1", "n2"]
    assert len(seen.writes) < seen.sent
    kept = {number for node in lab.nodes.values()
            for number, _ in responder.entries(node.directory / "ledger")}
    assert {write.number for write in seen.writes} <= kept


def test_labs_side_by_side_do_not_feel_each_other(lab: Lab) -> None:
    name = name_of("beside")
    with Lab.raised(LabSpec(name=name, zookeeper=False, agents=False)) as other:
        meet(lab, ("client", "n2"))
        meet(other, ("client", "n1"))
        lab.isolate("n1")
        assert share_answered(other, "client", "n1")[0] > 0.9
        other.crash("n2", "n3")
        assert share_answered(lab, "client", "n2")[0] > 0.9
        with pytest.raises(LabError, match="is up"):
            Lab.up(LabSpec(name=name, zookeeper=False, agents=False))
    assert traces(name) == {}
    assert traces(lab.spec.name)["namespaces"] != []


MOMENTS: dict[str, Callable[[str], bool]] = {
    "its record is written": lambda name: (directory(name) / "lab.json").exists(),
    "namespaces are being made": lambda name: bool(traces(name).get("namespaces")),
    "the network is there": lambda name: (directory(name) / "hamgr.toml").exists(),
    "ZooKeeper is starting": lambda name: Cgroup.of_lab(name).below("n1", "zookeeper").populated,
    "the agents are starting": lambda name: runs(name, "n1", Node.agent_pid),
    "the switches are there": lambda name: runs(name, "n3", Node.switch_pid),
}


def runs(name: str, host: str, process: Callable[[Node], int | None]) -> bool:
    return process(Node(LabSpec(name=name), host)) is not None


def start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "hamgr", "lab", *words],
                            stdout=subprocess.DEVNULL)


@contextmanager
def killed(process: subprocess.Popen[bytes], name: str) -> Iterator[list[Owner]]:
    """Kill a command, and have what of its lab runs on: no lab elsewhere sweeps that meanwhile."""
    with sweep.registry():
        process.kill()
        process.wait()
        yield inhabitants(name)


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_nothing_is_left_after_lab_up_was_killed(moment: str) -> None:
    name = name_of("killed")
    process = start("up", "--name", name)
    try:
        wait(lambda: MOMENTS[moment](name))
        with killed(process, name) as left:
            assert traces(name), "killed too early to show anything"
        done = subprocess.run([sys.executable, "-m", "hamgr", "lab", "down", "--name", name],
                              check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert traces(name) == {}
        assert [one for one in left if one.alive] == []
    finally:
        process.kill()
        process.wait()
        with sweep.registry():
            sweep.remove(name)


def test_the_next_lab_sweeps_what_a_killed_command_left_of_a_whole_one() -> None:
    """The demonstration: agents, switches, ZooKeeper, a client that writes, an eye on addresses."""
    process, following = start("demo"), name_of("next")
    name = f"demo{process.pid}"
    try:
        wait(lambda: Cgroup.of_lab(name).below(CLIENT, EXEC).populated)
        with killed(process, name) as left:
            parts = {kind: sum(kind in word for one in left for word in command_line(one))
                     for kind in ("agent", "deadman", "QuorumPeerMain", "responder")}
    finally:
        process.kill()
        process.wait()
    assert set(parts.values()) == {3}, parts
    with Lab.raised(LabSpec(name=following, zookeeper=False, agents=False)):
        assert traces(name) == {}
        assert [one for one in left if one.alive] == []
        assert traces(following)["namespaces"] != []
    assert traces(following) == {}


def command_line(process: Owner) -> list[str]:
    return Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace").split("\0")


def test_a_lab_that_is_up_outlives_its_command_and_a_sweep(tmp_path: Path) -> None:
    name = name_of("kept")
    try:
        assert start("up", "--no-agents", "--name", name).wait(60) == 0
        with sweep.registry():
            assert name not in sweep.sweep()
        found = subprocess.run([sys.executable, "-m", "hamgr", "lab", "status", "--json",
                                "--name", name], check=True, capture_output=True).stdout
        assert [node["power"] for node in json.loads(found)["nodes"]] == [True] * 3
    finally:
        with sweep.registry():
            sweep.remove(name)
    assert traces(name) == {}
