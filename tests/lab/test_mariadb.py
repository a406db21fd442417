"""MariaDB with replication on three nodes, under ocf:heartbeat:mysql and ocf:heartbeat:mariadb.

Replicas learn of a new primary by a notification, and where its log is by an attribute of the whole
cluster that the primary sets. mysql scores every replica by its lag. mariadb has replicas elect one
of them when there is no primary, by attributes of all nodes, and gives none a score before that.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from hamgr.lab.lab import Lab
from tests.lab.databases import (
    NODES,
    VIP,
    Parts,
    attribute,
    disks,
    group,
    run_as,
    started,
    wait_attribute,
)
from tests.lab.five import LONG_S, said, states, wait, wait_said
from tests.lab.scene import raised

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(300),
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SCORE, WAITING = "master-app-db", "app-db-waiting-for-first-master"
USER, PASSWORD = "repl", "secret"
ADDRESSES = {name: f"10.77.1.1{name[1:]}" for name in NODES}
CONFIGURATION = """[mariadbd]
log-bin = bin
log-slave-updates
relay-log = relay
server-id = {number}
skip-name-resolve
slave-net-timeout = 5
innodb-buffer-pool-size = 8M
innodb-log-file-size = 4M
"""


def created(base: Path) -> None:
    """Make a database with a user for replication on each disk, the same on all of them.

    That it has the user is in its log; the copies know by GTID how far they are in it.
    """
    disk, *others = (base / name for name in NODES)
    shutil.chown(disk, "nobody", "nogroup")
    subprocess.run(["mariadb-install-db", "--no-defaults", "--user=nobody", "--skip-test-db",
                    "--auth-root-authentication-method=normal", f"--datadir={disk}/data"],
                   check=True, capture_output=True)
    (base / "users").write_text("".join(
        f"create user {USER}@'{host}' identified by '{PASSWORD}';\n"
        f"grant all on *.* to {USER}@'{host}';\n" for host in ("%", "localhost"))
        + "set global gtid_slave_pos = @@global.gtid_binlog_pos;\nshutdown;\n")
    subprocess.run(["mariadbd", "--no-defaults", "--user=nobody", f"--datadir={disk}/data",
                    "--log-bin=bin", "--server-id=1", "--skip-networking",
                    f"--socket={disk}/socket", f"--pid-file={disk}/pid",
                    f"--init-file={base}/users"], check=True, capture_output=True)
    for other in others:
        other.rmdir()
        run_as("root", "cp", "-a", disk, other)
    for number, name in enumerate(NODES, 1):
        (base / name / "conf").write_text(CONFIGURATION.format(number=number))


def service(base: Path, agent: str) -> str:
    """Return the service. At this check level, mysql's monitor gives scores by the lag."""
    disk = base / "disk"
    parameters = {
        "binary": "/usr/sbin/mariadbd", "client_binary": "/usr/bin/mariadb",
        "config": disk / "conf", "datadir": disk / "data", "socket": disk / "socket",
        "pid": disk / "pid", "log": disk / "log", "user": "nobody", "group": "nogroup",
        "replication_user": USER, "replication_passwd": PASSWORD, "test_user": USER,
        "test_passwd": PASSWORD, **({"node_list": " ".join(NODES)} if agent == "mariadb" else {})}
    told = ", ".join(f"{name} = {json.dumps(str(value))}" for name, value in parameters.items())
    return (f'name = "db"\ndriver = "ocf"\nagent = "ocf:heartbeat:{agent}"\npromotable = true\n'
            f'check_level = 10\nparameters = {{ {told} }}\n'
            'monitor = { interval = "2s", timeout = "20s" }\n')


class Cluster(NamedTuple):
    """Three nodes with a database."""

    lab: Lab
    parts: Parts

    def sql(self, client: str, query: str, server: str = "") -> str:
        """Return what a server answers, or why it does not; by default that of the VIP."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.lab.nodes[client].namespace, "mariadb", "--no-defaults",
             "-h", ADDRESSES.get(server, VIP), f"-u{USER}", f"-p{PASSWORD}",
             "--connect-timeout=2", "-sre", query], capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()

    def promoted(self) -> str:
        """Wait until a node alone is promoted, by its own word; return it."""
        def found() -> list[str]:
            return [name for name, node in self.lab.nodes.items() if node.status()
                    and states(self.lab, name).get("db") == "promoted"]
        wait(lambda: len(found()) == 1, lambda: said(self.lab, "n2", "explain", "app"), 2 * LONG_S)
        return found()[0]

    def replicates(self, node: str, primary: str) -> None:
        """Wait until a node's server replicates from another's."""
        wanted = {f"Master_Host: {ADDRESSES[primary]}", "Slave_IO_Running: Yes",
                  "Slave_SQL_Running: Yes"}
        wait(lambda: wanted <= {line.strip() for line in self.sql(
            node, "show slave status\\G", node).splitlines()},
             lambda: self.lab.nodes[node].tail("agent") + self.sql(
                 node, "show slave status\\G", node), LONG_S)

    def has(self, node: str, total: str) -> None:
        """Wait until a node's server has all rows."""
        query = "select sum(answer) from kept.t"
        wait(lambda: self.sql(node, query, node) == total, lambda: self.sql(node, query, node))


@contextmanager
def three(agent: str, **how: int) -> Iterator[Cluster]:
    """Have three nodes with an agent, that replicate from each other's own addresses."""
    with disks() as base:
        created(base)
        own = group(base, service(base, agent))
        with raised(f"my{agent[1]}", own=own, agents=False, **how) as lab:
            started(lab, *NODES)
            for name in {*lab.nodes} - {*NODES}:
                lab.start_agent(name)
            for name, address in ADDRESSES.items():
                lab.hamgr(name, "attribute", name, "app-db_mysql_master_IP", address)
            yield Cluster(lab, Parts(lab))


def test_mysql_on_three_nodes() -> None:
    with three("mysql") as cluster:
        lab = cluster.lab
        owner, heir, third = cluster.parts.settled()
        for node in (heir, third):
            cluster.replicates(node, owner)
            wait_attribute(lab, node, SCORE, "3600", owner)
        took_over, third = crashes(cluster, owner)
        assert took_over == heir
        cluster.replicates(owner, heir)
        owner, heir, third = cluster.parts.settled()
        switches_over(cluster, owner, heir, third)


def test_mariadb_on_three_nodes() -> None:
    """Nobody but the agent gives a score, until an operator wants to move what runs.

    The fourth node has no part in it: the first election waits for those of the group alone.
    """
    with three("mariadb", nodes=4) as cluster:
        lab = cluster.lab
        owner = cluster.promoted()
        for node in NODES:
            wait_attribute(lab, node, WAITING, "", owner)
            assert attribute(lab, node, SCORE, owner) == ("100" if node == owner else "")
        owner, third = crashes(cluster, owner)
        wait_said(lab, owner, "app has no heir", "status")
        lab.hamgr(owner, "attribute", third, SCORE, "100", "--reboot")
        owner, heir, third = cluster.parts.settled()
        switches_over(cluster, owner, heir, third)
        wait_attribute(lab, owner, SCORE, "", heir)


def crashes(cluster: Cluster, owner: str) -> tuple[str, str]:
    """The power cut of the primary; return the new one and the other replica.

    What had been written is there, and what was the primary replicates when it is back.
    """
    lab = cluster.lab
    asking, other = (node for node in NODES if node != owner)
    for node in (asking, other):
        cluster.replicates(node, owner)
    cluster.sql(asking, "create database kept; create table kept.t as select 42 as answer")
    for node in (asking, other):
        cluster.has(node, "42")
    began = time.monotonic()
    lab.crash(owner)
    query = "select answer, @@read_only from kept.t"
    wait(lambda: cluster.sql(asking, query).split() == ["42", "0"],
         lambda: said(lab, asking, "explain", "app"), LONG_S)
    sys.stdout.write(f"after a crash: {time.monotonic() - began:.1f} s without (pytest -rP)\n")
    heir = cluster.promoted()
    [third] = {asking, other} - {heir}
    cluster.replicates(third, heir)
    info = attribute(lab, "@cluster", "app-db_REPL_INFO", third)
    assert info.partition("|")[0] == ADDRESSES[heir], "the new primary's word has come"
    cluster.sql(third, "insert into kept.t values (43)")
    cluster.has(third, "85")
    lab.boot(owner)
    started(lab, owner)
    cluster.replicates(owner, heir)
    cluster.has(owner, "85")
    return heir, third


def switches_over(cluster: Cluster, owner: str, heir: str, third: str) -> None:
    """What was the primary replicates afterwards, as does the third."""
    done = cluster.lab.hamgr(owner, "switchover", "app", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    cluster.replicates(owner, heir)
    cluster.replicates(third, heir)
    cluster.sql(third, "insert into kept.t values (44)")
    for node in NODES:
        cluster.has(node, "129")
