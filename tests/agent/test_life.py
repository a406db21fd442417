"""The life of a real agent: start, stop, bugs, leftovers, maintenance. Real ZooKeeper, address,
hooks and dead-man's switch, in a network namespace; the service manager alone is a stand-in."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.machine import Machine, zookeeper
from tests.netns import Segment, eventually

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segment]:
    with Segment("n1") as made, zookeeper(made, "n1", tmp_path_factory.mktemp("zk") / "data"):
        yield made


@pytest.fixture
def machine(lan: Segment, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    made = Machine(lan, tmp_path)
    # A cluster of its own for each test: one ZooKeeper serves them all.
    text = made.config.read_text().replace('"solo"', f'"{request.node.name[:32]}"')
    made.config.write_text(text)
    try:
        yield made
    finally:
        made.close()


def test_a_life_from_start_to_orderly_stop(machine: Machine) -> None:
    machine.start(WATCHDOG_USEC="400000")
    machine.until_told("READY=1")
    machine.until_active()
    machine.until_told("STATUS=leads; ")
    machine.until_told("WATCHDOG=1")
    assert machine.hooks() == ["demote", "promote 1"]
    status = machine.status()
    assert status["layers"] == {"crm": ["deadline", "switch", "lifetime", "watchdog"]}
    assert status["process"]["switch_alive"]
    assert machine.stop() == 0
    machine.until_told("STOPPING=1")
    assert not machine.has_vip()
    assert machine.hooks() == ["demote", "promote 1", "demote"]
    assert not (machine.run_dir / "control.sock").exists()


def test_the_command_shows_the_agent_s_cluster(machine: Machine) -> None:
    machine.start()
    machine.until_active()
    shown = machine.hamgr("status", "--run-dir", str(machine.run_dir))
    assert shown.returncode == 0, shown.stdout
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
from hamgr.core.engine import Engine
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
    eventually(lambda: machine.status()["layers"]["crm"] == ["deadline", "switch", "lifetime"])
    machine.stop()
    assert not machine.has_vip()


def test_what_is_in_maintenance_has_to_be_in_the_file(machine: Machine) -> None:
    """Neither removed, nor forgotten: whatever the file says meanwhile, also under another name."""
    machine.start()
    machine.until_active()
    machine.enter_maintenance()
    text, before = machine.config.read_text(), machine.hooks()
    machine.config.write_text(text.replace("group.crm", "group.web"))
    assert machine.agent is not None
    machine.agent.send_signal(signal.SIGHUP)
    eventually(lambda: "the agent would not start with it" in machine.log())
    machine.kill_all()
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
    machine.start()
    machine.until_told("READY=1")


def test_an_address_taken_out_of_the_file_goes_by_itself(machine: Machine) -> None:
    """Nobody knows of it any more; but without maintenance its lifetime ends."""
    machine.start()
    machine.until_active()
    machine.kill_all()
    text = machine.config.read_text()
    machine.config.write_text(text.replace("100/24", "101/24"))
    assert "valid_lft forever" not in machine.lan.ip("n1", "address show to 10.0.0.100")
    machine.start()
    eventually(lambda: machine.lan.has("n1", "10.0.0.101") and not machine.has_vip())
    machine.stop()


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
    assert machine.ends() == 0
    assert not machine.has_vip()


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
