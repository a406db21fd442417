"""A cluster whose ZooKeeper wants certificates, a user and its password, and lets nobody else
write."""

import json
import os
import sys
import time
from collections.abc import Iterator

import pytest

from hamgr.lab import certificates, secured
from hamgr.lab.document import FILE
from hamgr.lab.lab import Lab
from hamgr.lab.spec import CLIENT, GROUP
from tests.lab.scene import (
    CUT_OFF,
    FAILOVER_MS,
    HANDED_OVER,
    UNNOTICED_MS,
    Scene,
    another,
    operate,
    raised,
    took_over,
)

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

UNAUTHENTICATED = """
import json, sys
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import OPEN_ACL_UNSAFE
hosts, files, root = sys.argv[1:]
zk = KazooClient(hosts=hosts, use_ssl=True, ca=f"{files}/ca.pem", certfile=f"{files}/client.pem",
                 keyfile=f"{files}/client.key")
zk.start()
def below(path):
    return [path, *(one for name in zk.get_children(path) for one in below(f"{path}/{name}"))]
def outcome(what, *words):
    try:
        what(*words)
        return "done"
    except NoAuthError:
        return "denied"
said = {}
for path in below(root):
    said[path] = [outcome(zk.set, path, b"{}"), outcome(zk.create, f"{path}/intruder", b"{}"),
                  outcome(zk.set_acls, path, OPEN_ACL_UNSAFE)]
    if not zk.get_children(path):
        said[path].append(outcome(zk.delete, path))
zk.stop()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with raised("sec", secure=True) as whole:
        yield whole


def test_a_crash_and_a_switchover_go_as_they_do_elsewhere(scene: Scene) -> None:
    owner, heir, since = scene.client.served_by, scene.plan["heir"]["node"], time.monotonic_ns()
    scene.lab.crash(owner)
    assert scene.served_elsewhere(owner) == heir
    took_over(scene, heir, owner, since, CUT_OFF)
    scene.lab.heal()
    crashed = scene.finish()
    assert crashed.nodes == [owner, heir]
    assert crashed.outage().ms < FAILOVER_MS
    with scene.lab.probe() as client:
        client.wait_served(10, by=[heir])
        third, again = another(scene, owner, heir), time.monotonic_ns()
        operate(scene, third, "switchover", GROUP, "--to", third)
        moved = scene._replace(client=client)
        assert moved.served_elsewhere(heir) == third
        took_over(moved, third, heir, again, HANDED_OVER)
        assert moved.finish().outage().ms < UNNOTICED_MS
    assert scene.shared() == 0


def test_commands_go_to_zookeeper_themselves_when_the_agent_is_down(scene: Scene) -> None:
    owner = scene.client.served_by
    node = another(scene, owner)
    scene.lab.stop_agent(node)
    done = scene.lab.hamgr(node, "status", "--json")
    survey = json.loads(done.stdout)
    assert (done.returncode, survey["source"], survey["groups"][0]["holder"]) == (
        1, "zookeeper", owner)
    target = another(scene, owner, node)
    answer = operate(scene, node, "switchover", GROUP, "--to", target)
    assert answer["source"] == "zookeeper"
    assert scene.served_elsewhere(owner) == target
    assert f"{owner} hands over to {target}" in scene.lab.hamgr(node, "history").stdout


def test_the_doctor_asks_zookeepers_servers_by_tls(scene: Scene) -> None:
    told = json.loads(scene.lab.hamgr("n1", "doctor", "--json").stdout)
    found = {(one["check"], one["severity"]) for one in told["findings"]}
    assert {severity for check, severity in found if check in ("servers", "leader")} == {"ok"}
    assert "fault" not in {severity for _, severity in found}


def test_who_has_no_user_reads_every_record_and_writes_none(scene: Scene) -> None:
    lab = scene.lab
    hosts = f"10.77.1.11:{secured.PORT}"
    said = json.loads(lab.output("n1", [sys.executable, "-c", UNAUTHENTICATED, hosts,
                                        str(lab.directory), "/hamgr"]))
    root = f"/hamgr/{lab.spec.name}"
    assert set(said) >= {root, f"{root}/plan", f"{root}/leader", f"{root}/seats/n1",
                         f"{root}/sessions/n2", f"{root}/history/1"}
    assert {path: words for path, words in said.items() if set(words) != {"denied"}} == {}
    assert len(said[f"{root}/plan"]) == 4, "written to, put below, opened and deleted"


def test_a_document_whose_files_are_missing_is_not_applied(scene: Scene) -> None:
    file = scene.lab.directory / "elsewhere.toml"
    text = (scene.lab.directory / FILE).read_text()
    file.write_text(text.replace(secured.PASSWORD, "nowhere"))
    done = scene.lab.hamgr("n1", "config", "apply", "--yes", str(file))
    assert done.returncode != 0
    assert "zookeeper.password_file: " in done.stdout + done.stderr
    assert "nowhere: cannot be read: No such file or directory" in done.stdout + done.stderr


def test_an_agent_with_a_wrong_password_says_so_and_nothing_moves(scene: Scene) -> None:
    owner = scene.client.served_by
    node = another(scene, owner)
    lab = scene.lab
    file = lab.directory / secured.PASSWORD
    right = file.read_text()
    lab.stop_agent(node)
    file.write_text("guess\n")
    try:
        lab.nodes[node].start_agent()
        lab.nodes[node].wait_agent()
        lab.nodes[node].wait(lambda: refusal(lab, node) != "", 15, "is let in", "agent")
        done = lab.hamgr(node, "status")
        assert "ZooKeeper refuses this node (10.77.1.1" in done.stdout
        assert "does not let user hamgr in: password_file must hold" in done.stdout
        lab.kill_agent(node)  # in order it would try to leave for a while
        done = lab.hamgr(node, "status", "--json")
        asked = json.loads(done.stdout)
        assert (done.returncode, asked["source"]) == (3, "nothing")
        assert any("does not let user hamgr in" in problem["text"] for problem in asked["problems"])
    finally:
        file.write_text(right)
    lab.start_agent(node)
    lab.wait_settled()
    assert scene.finish().nodes == [owner]


def refusal(lab: Lab, node: str) -> str:
    status = lab.nodes[node].status()
    return status["zookeeper_trouble"] if status is not None else ""


def test_nothing_listens_without_tls_and_secrets_are_root_s(scene: Scene) -> None:
    for name in scene.lab.spec.servers:
        listening = scene.lab.output(name, ["ss", "-Hltn"]).split()
        assert any(word.endswith(f":{secured.PORT}") for word in listening)
        assert not any(word.endswith(":2181") for word in listening)
    private = [path for path in scene.lab.directory.rglob("*")
               if path.suffix in (".key", ".password") or "store" in path.name
               or path.name == "jaas.conf"]
    assert len(private) == 1 + 1 + 5 + 3 + 1, "cluster key, password, 5 keys, 3 stores, users"
    assert [str(path) for path in private if path.stat().st_mode & 0o77] == []
    assert f"{certificates.CA}.pem" in (scene.lab.directory / FILE).read_text()
    assert CLIENT in scene.lab.spec.hosts
