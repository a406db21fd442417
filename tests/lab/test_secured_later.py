"""A running cluster whose ZooKeeper is secured step by step, as docs/zookeeper.md says: nothing
moves."""

import os
import sys
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from hamgr.lab import document, secured, zookeeper
from hamgr.lab.lab import Lab
from hamgr.lab.node import ZOOKEEPER
from tests.lab.scene import Scene, another, noticed_nothing, operate, raised, settled

pytestmark = [pytest.mark.lab, pytest.mark.slow,
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

LISTS = """
import sys
from kazoo.client import KazooClient
hosts, files = sys.argv[1:]
zk = KazooClient(hosts=hosts, use_ssl=True, ca=f"{files}/ca.pem", certfile=f"{files}/client.pem",
                 keyfile=f"{files}/client.key")
zk.start()
def below(path):
    return [path, *(one for name in zk.get_children(path) for one in below(f"{path}/{name}"))]
for path in below("/hamgr"):
    print(sorted((one.id.scheme, one.id.id, one.perms) for one in zk.get_acls(path)[0]))
zk.stop()
"""
OPEN = "[('world', 'anyone', 31)]"
CLOSED = f"[('sasl', '{secured.USER}', 31), ('world', 'anyone', 1)]"


@pytest.fixture
def scene() -> Iterator[Scene]:
    with raised("later") as lab, settled(lab) as found:
        yield found


def test_an_open_zookeeper_is_secured_under_a_running_cluster(scene: Scene) -> None:
    lab, owner = scene.lab, scene.client.served_by
    secure = replace(lab.spec, secure=True)
    zookeeper.make_secrets(secure)
    for name in lab.spec.servers:
        lab.nodes[name].spec = secure
        lines = [line for line in secured.lines(lab.directory, name) if "uorum" not in line]
        more = "\n".join((f"secureClientPort={secured.PORT}", *lines, ""))
        restart_server(scene, name, more)
    whole = document.text(secure, lab.directory)
    restart_agents(scene, whole.replace("protect = true\n", ""))
    assert set(lists(lab)) == {OPEN}
    restart_agents(scene, whole)
    assert set(lists(lab)) == {CLOSED}
    for name in lab.spec.servers:
        restart_server(scene, name, without=f"\nclientPort={zookeeper.PORT}")
    assert lab.hamgr(owner, "status").returncode == 0
    noticed_nothing(scene, owner)
    target = another(scene, owner)
    operate(scene, owner, "switchover", "app", "--to", target)
    lab.wait_settled()
    assert scene.shared() == 0


def restart_server(scene: Scene, name: str, more: str = "", without: str = "") -> None:
    """Change lines of a server's configuration, and have it back before going on."""
    node = scene.lab.nodes[name]
    node.kill_zookeeper()
    file = node.directory / ZOOKEEPER / "zoo.cfg"
    assert without in file.read_text()
    file.write_text(file.read_text().replace(without, "") + more)
    node.start_zookeeper()
    node.wait_zookeeper()
    scene.lab.wait_settled()


def restart_agents(scene: Scene, text: str) -> None:
    """Apply a new file and restart all agents; in maintenance, so that nothing moves."""
    lab = scene.lab
    (lab.directory / document.FILE).write_text(text)
    applied = lab.hamgr(next(iter(lab.nodes)), "config", "apply", "--yes")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "counts on each node from its agent's next start on" in applied.stdout
    operate(scene, next(iter(lab.nodes)), "maintenance", "on")
    for name in lab.nodes:
        lab.stop_agent(name)
        lab.start_agent(name)
        lab.wait_status(lambda snapshot: snapshot["zookeeper"], "do not reach ZooKeeper")
    operate(scene, next(iter(lab.nodes)), "maintenance", "off")
    lab.wait_settled()


def lists(lab: Lab) -> list[str]:
    hosts = f"10.77.1.11:{secured.PORT}"
    return lab.output("n1", [sys.executable, "-c", LISTS, hosts, str(lab.directory)]).splitlines()
