"""MariaDB with replication under ocf:heartbeat:mysql, on three nodes.

Replicas learn of a new primary by a notification, and where its log is by an attribute of the whole
cluster that the primary sets.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hamgr.lab.lab import Lab
from tests.lab.databases import NODES, VIP, Parts, attribute, disks, group, run_as, started
from tests.lab.five import LONG_S, said, wait
from tests.lab.scene import raised

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(300),
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

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
    """Make a database with a user for replication on each disk, the same on all of them."""
    disk, *others = (base / name for name in NODES)
    shutil.chown(disk, "nobody", "nogroup")
    subprocess.run(["mariadb-install-db", "--no-defaults", "--user=nobody", "--skip-test-db",
                    "--auth-root-authentication-method=normal", f"--datadir={disk}/data"],
                   check=True, capture_output=True)
    users = "".join(f"create user {USER}@'{host}' identified by '{PASSWORD}';\n"
                    f"grant all on *.* to {USER}@'{host}';\n" for host in ("%", "localhost"))
    subprocess.run(["mariadbd", "--no-defaults", "--bootstrap", "--user=nobody",
                    f"--datadir={disk}/data"], check=True, capture_output=True, text=True,
                   input=f"flush privileges;\n{users}")
    for other in others:
        other.rmdir()
        run_as("root", "cp", "-a", disk, other)
    for number, name in enumerate(NODES, 1):
        (base / name / "conf").write_text(CONFIGURATION.format(number=number))


def service(base: Path) -> str:
    """Return the service. At this check level, its monitor gives scores by the replicas' lag."""
    disk = base / "disk"
    parameters = {
        "binary": "/usr/sbin/mariadbd", "client_binary": "/usr/bin/mariadb",
        "config": disk / "conf", "datadir": disk / "data", "socket": disk / "socket",
        "pid": disk / "pid", "log": disk / "log", "user": "nobody", "group": "nogroup",
        "replication_user": USER, "replication_passwd": PASSWORD, "test_user": USER,
        "test_passwd": PASSWORD}
    told = ", ".join(f"{name} = {json.dumps(str(value))}" for name, value in parameters.items())
    return ('name = "db"\ndriver = "ocf"\nagent = "ocf:heartbeat:mysql"\npromotable = true\n'
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


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with disks() as base:
        created(base)
        with raised("my", own=group(base, service(base)), agents=False) as lab:
            started(lab, *NODES)
            for name, address in ADDRESSES.items():
                lab.hamgr(name, "attribute", name, "app-db_mysql_master_IP", address)
            yield Cluster(lab, Parts(lab))


def test_mariadb_on_three_nodes(cluster: Cluster) -> None:
    lab = cluster.lab
    owner, heir, third = cluster.parts.settled()
    for node in (heir, third):
        cluster.replicates(node, owner)
        wait(lambda node=node: attribute(lab, node, "master-app-db", owner) == "3600",  # type: ignore[misc]
             lambda: said(lab, owner, "status"))
    cluster.sql(third, "create database kept; create table kept.t as select 42 as answer")
    cluster.has(heir, "42")
    cluster.has(third, "42")
    began = time.monotonic()
    lab.crash(owner)
    query = "select answer, @@read_only from kept.t"
    wait(lambda: cluster.sql(third, query).split() == ["42", "0"],
         lambda: said(lab, heir, "explain", "app"))
    sys.stdout.write(f"after a crash: {time.monotonic() - began:.1f} s without (pytest -rP)\n")
    cluster.replicates(third, heir)
    info = attribute(lab, "@cluster", "app-db_REPL_INFO", third)
    assert info.startswith(ADDRESSES[heir] + "|"), "the new primary's word has come"
    cluster.sql(third, "insert into kept.t values (43)")
    cluster.has(third, "85")
    lab.boot(owner)
    started(lab, owner)
    cluster.replicates(owner, heir)
    cluster.has(owner, "85")
    switched(cluster)


def switched(cluster: Cluster) -> None:
    """What was the primary replicates afterwards, as does the third."""
    lab = cluster.lab
    owner, heir, third = cluster.parts.settled()
    done = lab.hamgr(owner, "switchover", "app", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    cluster.replicates(owner, heir)
    cluster.replicates(third, heir)
    cluster.sql(third, "insert into kept.t values (44)")
    for node in NODES:
        cluster.has(node, "129")
