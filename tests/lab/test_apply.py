"""Another configuration for a running cluster: what stays notices nothing, and what cannot be
applied is refused with the reason."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from hamgr.core.reasons import Reason
from hamgr.core.types import MILLISECOND
from hamgr.lab.lab import Lab
from hamgr.lab.spec import LabSpec, vips
from tests.lab.scene import (
    HANDED_OVER,
    SOON_S,
    UNNOTICED_MS,
    Scene,
    noticed_nothing,
    operate,
    raised,
    took_over,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

DONE, REFUSED, UNUSABLE = 0, 1, 2
PLAIN = LabSpec(groups=2).group_names[1]
"""The group without hooks."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with raised("apply", nodes=4, groups=2, hooks=True) as lab:
        yield lab


@pytest.fixture(autouse=True)
def as_it_was(scene: Scene) -> Iterator[None]:
    """The cluster goes by its own file again after each test, however that has ended."""
    yield
    scene.lab.heal()
    for node in scene.lab.nodes.values():
        node.wait_agent()
    until(scene.lab, lambda: apply(scene.lab, base(scene.lab)).returncode == DONE)


def base(lab: Lab) -> str:
    return lab.nodes["n1"].configuration.read_text()


def beside(number: int) -> str:
    """An address in the clients' network that is free."""
    return f"{vips('app')[0].rpartition('.')[0]}.{200 + number}"


def written(lab: Lab, text: str) -> str:
    path = lab.directory / f"{time.monotonic_ns()}.toml"
    path.write_text(text)
    return str(path)


def apply(lab: Lab, text: str, host: str = "n1",
          *words: str) -> subprocess.CompletedProcess[str]:
    return lab.hamgr(host, "config", "apply", written(lab, text), "--yes", *words)


def done(lab: Lab, text: str, host: str = "n1") -> str:
    came = apply(lab, text, host)
    assert came.returncode == DONE, came.stdout + came.stderr
    return came.stdout


def diff(lab: Lab, text: str) -> tuple[int, dict]:
    came = lab.hamgr("n1", "config", "diff", written(lab, text), "--json")
    return came.returncode, json.loads(came.stdout)


def until(lab: Lab, what, within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "\n".join(
            node.tail("agent") for node in lab.nodes.values())
        time.sleep(0.05)


def digests(lab: Lab) -> set[str]:
    return {status["process"]["config_digest"] for node in lab.nodes.values()
            if (status := node.status()) is not None}


def plan(lab: Lab) -> dict:
    return lab.nodes["n1"].status()["snapshot"]["plan"]


def test_what_is_new_comes_and_the_rest_notices_nothing(scene: Scene) -> None:
    lab, owner, since = scene.lab, scene.client.served_by, time.monotonic_ns()
    vip = vips("app")[0]
    text = base(lab).replace(f'vips = ["{vip}/24"', f'vips = ["{beside(1)}/24", "{vip}/24"')
    text = text.replace('interval = "500ms"', 'interval = "300ms"')
    text += f'[group.web]\nnodes = ["n2", "n1"]\nvips = ["{beside(2)}/24"]\n'
    verdict, found = diff(lab, text)
    assert verdict == 1 and {one["key"] for one in found["differences"]} == {
        "group.app.vips", "group.app.service.diary.monitor.interval", "group.web"}
    assert [one["text"] for one in found["consequences"]] == [
        "web is new, and starts on n2", f"app: {beside(1)}/24 is added on {owner}",
        "app: diary: the changed monitor is used at once"]
    done(lab, text)
    assert len(digests(lab)) == 1
    with lab.probe(beside(1)) as first, lab.probe(beside(2)) as second:
        assert first.wait_served(SOON_S) == owner
        assert second.wait_served(SOON_S) == "n2"
        verdict, _ = diff(lab, text)
        assert verdict == 0
        gone = done(lab, base(lab))
        assert "web goes: it is stopped on n2, and its addresses are withdrawn" in gone
        first.wait_silent(SOON_S)
        second.wait_silent(SOON_S)
    assert not scene.told(since, Reason.STARTING, Reason.STOPPING, Reason.LAPSED) or {
        one.group for one in scene.told(since, Reason.STARTING, Reason.STOPPING)} == {"web"}
    noticed_nothing(scene, owner, since)


def test_what_is_said_to_move_moves_just_there_and_waits_for_no_lease(scene: Scene) -> None:
    """The group without hooks: with them it would be away for as long as they take, too."""
    lab, stays = scene.lab, scene.client.served_by
    with lab.probe(vips(PLAIN)[0]) as client:
        owner, since = client.wait_served(SOON_S), time.monotonic_ns()
        moving = scene._replace(client=client, group=PLAIN)
        heir = moving.plan["heir"]["node"]
        others, its_own = base(lab).split(f"[group.{PLAIN}]")
        text = f"{others}[group.{PLAIN}]" + re.sub(
            rf'"{owner}", |, "{owner}"', "", its_own, count=1)
        verdict, found = diff(lab, text)
        assert verdict == 1
        assert found["consequences"][0] == {
            "what": "moves", "text": f"{PLAIN} moves from {owner} to {heir}"}
        assert client.served_by == owner, "the difference changes nothing"
        done(lab, text)
        assert moving.served_elsewhere(owner) == heir
        took_over(moving, heir, owner, since, HANDED_OVER)
        seen = moving.finish()
        assert seen.nodes == [owner, heir] and seen.outage().ms < UNNOTICED_MS
    noticed_nothing(scene, stays, since)
    assert scene.shared() == 0


def test_times_shrink_and_grow_under_a_client(scene: Scene) -> None:
    lab, owner, since = scene.lab, scene.client.served_by, time.monotonic_ns()
    for interval, lease, detection in ((50, 135, 172), (100, 280, 350)):
        said = done(lab, base(lab).replace('"100ms"', f'"{interval}ms"'))
        assert f"the times become interval {interval} ms" in said
        times = plan(lab)["times"]
        assert (times["interval"], times["lease"], times["detection"]) == (
            interval * MILLISECOND, lease * MILLISECOND, detection * MILLISECOND)
        scene.look_on(1.0)
    rights = plan(lab)["groups"]["app"]
    chosen = {rights[right]["node"] for right in ("holder", "heir")}
    assert not [one for one in scene.told(since, Reason.LAPSED) if one.node in chosen]
    assert not [one for one in scene.told(since, Reason.ACCUSED) if one.facts["peer"] in chosen]
    noticed_nothing(scene, owner, since)


def test_a_voter_goes_and_comes_again(scene: Scene) -> None:
    lab, owner, since = scene.lab, scene.client.served_by, time.monotonic_ns()
    assert owner != "n4"
    text = re.sub(r"\[node\.n4\]\n.*\n\n", "", base(lab)).replace(', "n4"', "")
    if "n4" in json.dumps(plan(lab)["groups"]):
        refused = apply(lab, text)
        assert refused.returncode == UNUSABLE
        assert "put it in standby first (hamgr standby n4)" in refused.stdout
        operate(scene, "n1", "standby", "n4")
    lab.nodes["n4"].stop_agent()
    said = done(lab, text)
    assert "the voters become n1, n2, n3, now n1, n2, n3, n4" in said
    assert plan(lab)["voters"]["names"] == ["n1", "n2", "n3"]
    lab.nodes["n4"].start_agent()
    lab.nodes["n4"].wait_agent()
    until(lab, lambda: "it has no node n4" in lab.nodes["n4"].status()["process"][
        "config_refused"])
    shown = lab.hamgr("n4", "status").stdout
    assert "n4 cannot use the configuration that is applied, and goes on with the one" in shown
    said = done(lab, base(lab))
    assert "n4 is new" in said
    assert sorted(plan(lab)["voters"]["names"]) == ["n1", "n2", "n3", "n4"]
    until(lab, lambda: lab.nodes["n4"].status()["process"]["config_refused"] == "")
    operate(scene, "n1", "resume", "n4")
    noticed_nothing(scene, owner, since)


def test_what_cannot_be_applied_is_refused_and_nothing_happens(scene: Scene) -> None:
    lab, owner, since = scene.lab, scene.client.served_by, time.monotonic_ns()
    before, text = digests(lab), base(lab)
    for bad, status, why in (
            (text.replace("[heartbeat]", "[heartbet]"), UNUSABLE, "heartbet: unknown key"),
            (text.replace(f'name = "{lab.spec.name}"', 'name = "other"', 1), UNUSABLE,
             "cluster.name: another name is another cluster"),
            (text.replace("[heartbeat]", "[heartbeat]\nport = 7411"), UNUSABLE,
             "heartbeat.port: nodes that have changed"),
            (text.replace("[heartbeat]", '[zookeeper]\nclaim = "9s"\n[heartbeat]'), UNUSABLE,
             "zookeeper.claim: it cannot be changed while the cluster runs"),
            (text.replace('interface = "ring1"', 'interface = "nowhere"'), REFUSED,
             "this node cannot use it: app: there is no interface nowhere")):
        came = apply(lab, bad)
        assert came.returncode == status and why in came.stdout, came.stdout + came.stderr
    assert digests(lab) == before
    noticed_nothing(scene, owner, since)


def test_of_two_that_apply_at_once_the_later_is_refused(scene: Scene) -> None:
    lab = scene.lab
    mine, theirs = (base(lab).replace('"500ms"', f'"{span}"') for span in ("400ms", "600ms"))
    with asked(lab, "n2", written(lab, mine)) as (process, answer):
        done(lab, theirs)
        answer(b"y\n")
        told, _ = process.communicate(timeout=SOON_S)
    assert process.returncode == REFUSED
    assert re.search(r"refused: meanwhile \S+@\S+ applied another document", told.decode())
    verdict, _ = diff(lab, theirs)
    assert verdict == 0


def test_without_an_agent_it_goes_through_zookeeper(scene: Scene) -> None:
    lab, owner, since = scene.lab, scene.client.served_by, time.monotonic_ns()
    host = next(name for name in ("n3", "n2") if name != owner)
    lab.nodes[host].stop_agent()
    before = digests(lab)
    came = apply(lab, base(lab).replace('"500ms"', '"400ms"'), host)
    assert came.returncode == DONE, came.stdout + came.stderr
    assert "ZooKeeper, since" in came.stdout and "does not tell which agents" in came.stdout
    until(lab, lambda: digests(lab).isdisjoint(before))
    lab.nodes[host].start_agent()
    lab.nodes[host].wait_agent()
    until(lab, lambda: len(digests(lab)) == 1 and digests(lab).isdisjoint(before))
    noticed_nothing(scene, owner, since)


INTRUDER = """
import json, sys
from kazoo.client import KazooClient
zk = KazooClient(hosts=sys.argv[1])
zk.start(timeout=10)
path = f"/hamgr/{sys.argv[2]}/config"
data, stat = zk.get(path)
record = json.loads(data)
record["revision"] += 1
record["document"] = eval(sys.argv[3])(record["document"])
zk.set(path, json.dumps(record).encode(), stat.version)
zk.stop()
"""
"""Whoever reaches an open ensemble can write there. A configuration names what root runs."""


@pytest.mark.parametrize("change", [
    "lambda text: text.replace('500ms', '700ms')", "lambda text: text + 'x = ' + '1' * 5000",
    "lambda text: 'x = ' + '[' * 100_000", "lambda text: text"],
    ids=["another", "long number", "deep", "the same"])
def test_what_somebody_without_the_key_has_written_is_no_configuration(
        scene: Scene, change: str) -> None:
    lab, owner, since = scene.lab, scene.client.served_by, time.monotonic_ns()
    before = digests(lab)
    pids = {name: node.agent_pid() for name, node in lab.nodes.items()}
    lab.output("n1", [sys.executable, "-c", INTRUDER, "127.0.0.1:2181", lab.spec.name, change])
    until(lab, lambda: all("not sealed" in node.status()["process"]["config_refused"]
                           for node in lab.nodes.values()))
    assert digests(lab) == before
    said = lab.hamgr("n2", "status")
    assert said.returncode == 1 and "anybody may have written it" in said.stdout
    assert {name: node.agent_pid() for name, node in lab.nodes.items()} == pids, "none has died"
    done(lab, base(lab))
    until(lab, lambda: not any(node.status()["process"]["config_refused"]
                               for node in lab.nodes.values()))
    noticed_nothing(scene, owner, since)


class asked:
    """`hamgr config apply` on a terminal, waiting at its question."""

    def __init__(self, lab: Lab, host: str, path: str) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            lab._joined(host, [sys.executable, "-m", "hamgr", "config", "apply", path]),
            env=lab._environment(host), stdin=slave, stdout=subprocess.PIPE)
        os.close(slave)

    def __enter__(self):
        said = b""
        assert self._process.stdout is not None
        while b"Apply this?" not in said:
            said += os.read(self._process.stdout.fileno(), 4096)
        return self._process, lambda words: os.write(self._master, words)

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)
