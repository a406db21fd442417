"""What must cost nothing on real nodes: foreign datagrams, a newer plan, no ZooKeeper at a start,
a full disk, a wall clock that is set back. A client writes meanwhile and notices nothing."""

import glob
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hamgr.config.key import read_keys
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.reasons import Reason
from hamgr.lab.document import KEY
from hamgr.lab.lab import Lab
from hamgr.lab.node import AGENT, Node
from hamgr.lab.spec import CLIENT, GROUP, address
from hamgr.wire import Wire
from tests.lab.apart import raised_apart, small_state_dir, start_apart
from tests.lab.scene import Scene, another, noticed_nothing, operate, raised, settled
from tests.lab.test_lab import wait

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SEND = """
import json, socket, sys
count, *datagrams = json.load(open(sys.argv[1]))
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[2], 0))
for _ in range(count):
    for datagram in datagrams:
        sock.sendto(bytes.fromhex(datagram), (sys.argv[3], 7410))
"""
RECORDS = """
import json, sys
from kazoo.client import KazooClient
path, change = sys.argv[1], json.loads(sys.argv[2])
client = KazooClient(sys.argv[3])
client.start()
data = json.loads(client.get(path)[0])
client.set(path, json.dumps({**data, **change}).encode())
print(json.dumps(data))
client.stop()
"""
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with raised("bad") as whole:
        yield whole


@pytest.fixture
def scene(lab: Lab) -> Iterator[Scene]:
    with settled(lab) as found:
        yield found


def owner(lab: Lab) -> str:
    return str(survey(lab, "n1")["groups"][0]["active"][0])


def survey(lab: Lab, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.hamgr(node, "status", "--json").stdout)
    return found


def another_of(lab: Lab, *than: str) -> str:
    return next(name for name in lab.nodes if name not in than)


def log(lab: Lab, node: str) -> str:
    return lab.nodes[node].log(AGENT).read_text()


def nobody_was_accused(scene: Scene) -> None:
    assert scene.told(0, Reason.ACCUSED, Reason.LAPSED) == []


def heartbeat(sender: str) -> Heartbeat:
    return Heartbeat(
        cluster="", sender=sender, incarnation=1, round=1, sequence=1, sent=1, answer=False,
        seat="member", lapsed=False, lease=1, revision=1, voters=1, lateness=0, echo=None)


def test_datagrams_that_are_no_heartbeats_are_counted_and_told_and_cost_nothing(
        lab: Lab, scene: Scene) -> None:
    """From a peer's own address: garbage, cut short, huge, of another cluster, format or key."""
    serving = owner(lab)
    peer = another(scene, serving)
    keys = read_keys(lab.directory / KEY)
    good = Wire(lab.spec.name, keys).encode(heartbeat(peer), serving)
    bad = {"foreign": (b"\0", b"noise" * 50, b"x" * 65_507, good[:20], b"hamg" + bytes(1300)),
           "mac": (good[:-1], good[:-1] + bytes(1), good + b"\0",
                   Wire(lab.spec.name, keys).encode(heartbeat(peer), "another")),
           "cluster": (Wire("foreign", keys).encode(heartbeat(peer), serving),),
           "key": (Wire(lab.spec.name, [bytes(32)]).encode(heartbeat(peer), serving),),
           "format": (good[:4] + b"\x63" + good[5:],)}
    count = 300
    datagrams = [datagram.hex() for those in bad.values() for datagram in those]
    order = lab.directory / "order"
    order.write_text(json.dumps([count, *datagrams]))
    for host in (peer, CLIENT):  # the client's address is no node's
        lab.output(host, ["python3", "-c", SEND, str(order), address(host, 1), address(serving, 1)])
    seen = survey(lab, serving)
    counted = seen["counters"]["dropped_last_minute"]
    # A flood may overflow the socket: the kernel drops then, and the heartbeats come on ring 2.
    assert {reason for reason in bad if counted.get(f"{reason}.{peer}", 0) > count / 4} == {*bad}
    assert counted["source"] > count
    told = "\n".join([*(one["text"] for one in seen["problems"]), *seen["notes"]])
    for words in ("meant for a cluster of another name", "in a format that version",
                  f"signed with a key that {serving} does not have", "not in hamgr's format",
                  "damaged, forged, or meant for another node", "from addresses of no node"):
        assert words in told
    nobody_was_accused(scene)
    noticed_nothing(scene, serving)


def test_a_plan_of_a_newer_version_is_refused_in_words_and_its_unknown_fields_are_kept(
        lab: Lab, scene: Scene) -> None:
    serving = owner(lab)
    path = f"/hamgr/{lab.spec.name}/plan"

    def change(**fields: Any) -> dict[str, Any]:
        before: dict[str, Any] = json.loads(lab.output(serving, [
            "python3", "-c", RECORDS, path, json.dumps(fields), "127.0.0.1:2181"]))
        return before

    change(mood="good")
    before = change(format=2)
    for node in lab.nodes:
        wait(lambda node=node: "record 'plan' in ZooKeeper cannot be read: a newer version of "
             "hamgr wrote it, in format 2" in log(lab, node))
    scene.look_on(1)
    assert change(format=1) == {**before, "format": 2}, "nobody has written over it"
    lab.wait_settled()
    nobody_was_accused(scene)
    noticed_nothing(scene, serving)
    with settled(lab) as later:
        operate(later, serving, "switchover", GROUP)
        assert change()["mood"] == "good", "an older version keeps what it does not know"


def test_without_zookeeper_an_agent_starts_says_so_and_the_client_is_served_on(
        lab: Lab, scene: Scene) -> None:
    serving = owner(lab)
    node = another(scene, serving)
    lab.stop_agent(node)
    lab.zookeeper_down()
    try:
        lab.start_agent(node)
        wait(lambda: survey(lab, node)["source"] == "agent" and any(
            "no ZooKeeper server answers this node" in one["text"]
            for one in survey(lab, node)["problems"]))
        scene.look_on(2)
    finally:
        lab.zookeeper_up()
    lab.wait_settled()
    assert survey(lab, node)["verdict"] == "healthy"
    noticed_nothing(scene, serving)


def test_a_full_disk_under_the_state_directory_is_told_and_nothing_moves() -> None:
    with raised_apart("full", small_state_dir) as lab, settled(lab) as scene:
        serving = owner(lab)
        pid = lab.nodes[serving].agent_pid()
        disk = Path(f"/proc/{pid}/root{lab.nodes[serving].state_dir}")
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        assert os.statvfs(disk).f_bfree == 0
        wait(lambda: "cannot write the flight recorder: [Errno 28] No space left on device"
             in log(lab, serving))
        scene.look_on(3)
        nobody_was_accused(scene)
        assert survey(lab, serving)["verdict"] == "healthy"
        noticed_nothing(scene, serving)
        with settled(lab) as later:
            target = operate(later, serving, "switchover", GROUP)
            assert target["state"] == "done", "it needs nothing new on this disk"
            later.finish()


def faked(node: Node) -> Sequence[str]:
    """Give a node's agent a wall clock of its own, which a file sets; CLOCK_MONOTONIC stays.

    libfaketime 0.9.10 breaks clock_nanosleep(2) until an instant, which is how Python sleeps.
    """
    (library,) = glob.glob(FAKETIME)
    clock, patch = node.directory / "clock", node.directory / "patch"
    clock.write_text("+0")
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(
        "import select, time\ntime.sleep = lambda seconds: select.select((), (), (), seconds)\n")
    path = f"{patch}:{os.environ.get('PYTHONPATH', '')}"
    return ("env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={clock}",
            "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_CACHE_DURATION=1", f"PYTHONPATH={path}")


@pytest.mark.skipif(not glob.glob(FAKETIME), reason="needs libfaketime")
def test_a_wall_clock_set_back_an_hour_is_told_and_nothing_moves(lab: Lab) -> None:
    node = lab.nodes[another_of(lab, owner(lab))]
    lab.stop_agent(node.name)
    start_apart(node, faked)
    try:
        with settled(lab) as before:
            operate(before, node.name, "switchover", GROUP, "--to", node.name)
            before.finish()
        with settled(lab) as scene:
            (node.directory / "clock").write_text("-3600")
            wait(lambda: "the wall clock was set back by 3" in log(lab, node.name))
            scene.look_on(3)
            nobody_was_accused(scene)
            assert owner(lab) == node.name
            noticed_nothing(scene, node.name)
        told = lab.hamgr(node.name, "history", "--local", "--json", "--state-dir",
                         str(node.state_dir)).stdout.splitlines()
        at = [json.loads(line)["monotonic_ns"] for line in told]
        assert at == sorted(at), "the order of what happened does not rest on the wall clock"
        with settled(lab) as after:
            operate(after, node.name, "switchover", GROUP)
            after.finish()
    finally:
        lab.stop_agent(node.name)
        lab.start_agent(node.name)
