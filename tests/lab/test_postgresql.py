"""PostgreSQL with streaming replication under ocf:heartbeat:pgsql, on three nodes.

The agent's own rules decide who may be promoted: the primary gives every replica its score, through
attributes that all nodes share. Its data is on a disk of each node's own, which outlives a boot.
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
from tests.lab.five import said, wait, wait_said
from tests.lab.scene import raised

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(300),
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

PG_BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql"))
POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "env",
            "PGCONNECT_TIMEOUT=2")
STATUS, SCORE = "app-db-data-status", "master-app-db"
PRIMARY = ("host=10.77.1.11,10.77.1.12,10.77.1.13 target_session_attrs=read-write "
           "connect_timeout=2 keepalives_idle=5")
"""Replicas find the primary by the nodes' own addresses. The one that moves leaves before the
primary is demoted, and takes connections with it: over that one, its last record, of the end of
its work, would reach no replica, and it could not follow the new primary without a new copy."""
TRUST = "".join(f"{kind} all 10.77.0.0/16 trust\n" for kind in (
    "host all", "host replication")) + "local all all trust\n"


def created(base: Path) -> None:
    """Make a database on the first node's disk, and copy it to the others."""
    disk, *others = (base / name for name in NODES)
    shutil.chown(disk, "postgres", "postgres")
    run_as("postgres", PG_BIN / "initdb", "--no-sync", "--auth=trust", "-D", disk / "data")
    (disk / "data" / "pg_hba.conf").write_text(TRUST)
    (disk / "data" / "postgresql.conf").write_text(
        "listen_addresses = '*'\nfsync = off\nshared_buffers = 1MB\nwal_keep_size = 64MB\n"
        f"wal_receiver_timeout = 5s\nunix_socket_directories = '{base}/disk'\n")
    for other in others:
        other.rmdir()
        run_as("root", "cp", "-a", disk, other)


def service(base: Path) -> str:
    """Return the service. The first monitor without a primary counts: nobody writes then."""
    disk = base / "disk"
    parameters = {
        "pgctl": PG_BIN / "pg_ctl", "pgdata": disk / "data", "socketdir": disk,
        "logfile": disk / "log", "tmpdir": disk / "tmp", "rep_mode": "sync",
        "node_list": " ".join(NODES), "master_ip": VIP, "repuser": "postgres",
        "primary_conninfo_opt": PRIMARY, "xlog_check_count": "1"}
    told = ", ".join(f"{name} = {json.dumps(str(value))}" for name, value in parameters.items())
    return ('name = "db"\ndriver = "ocf"\nagent = "ocf:heartbeat:pgsql"\npromotable = true\n'
            f'parameters = {{ {told} }}\nmonitor = {{ interval = "1s", timeout = "20s" }}\n')


class Cluster(NamedTuple):
    """Three nodes with a database, and who plays which part."""

    lab: Lab
    base: Path

    @property
    def parts(self) -> Parts:
        return Parts(self.lab)

    def streams(self, owner: str, heir: str, third: str, status: str = "STREAMING|ASYNC",
                score: str = "-INFINITY") -> None:
        """Wait until the primary has judged both replicas, and they know of it."""
        for asked in (owner, heir, third):
            wait_attribute(self.lab, heir, STATUS, "STREAMING|SYNC", asked)
            wait_attribute(self.lab, heir, SCORE, "100", asked)
            wait_attribute(self.lab, third, STATUS, status, asked)
            wait_attribute(self.lab, third, SCORE, score, asked)
        assert attribute(self.lab, owner, STATUS, third) == "LATEST"
        assert attribute(self.lab, owner, SCORE, third) == "1000"

    def sql(self, node: str, query: str) -> str:
        """Return what the primary answers, asked from a node at the address that moves."""
        return self.lab.output(node, [*POSTGRES, "psql", "-h", VIP, "-XAt", "-c", query]).strip()

    def clone(self, node: str) -> None:
        """Do what the operator does with a node whose data may be newer: copy the primary's."""
        disk = self.base / node
        shutil.rmtree(disk / "data")
        (disk / "tmp" / "PGSQL.lock").unlink()
        self.lab.output(node, [*POSTGRES, PG_BIN / "pg_basebackup", "-h", VIP, "-D",
                               disk / "data", "-X", "stream", "-c", "fast"])


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Its agents are started one by one: the first promotion takes longer than a lab waits."""
    with disks() as base:
        created(base)
        with raised("pg", own=group(base, service(base)), agents=False) as lab:
            started(lab, *NODES)
            yield Cluster(lab, base)


def test_postgresql_on_three_nodes(cluster: Cluster) -> None:
    lab = cluster.lab
    owner, heir, third = cluster.parts.settled("100")
    cluster.streams(owner, heir, third)
    shown = wait_said(lab, third, f"{third} is not fit to be heir of app: db gives this node a "
                                  "score of -1000000", "status")
    assert shown.rstrip().endswith("healthy"), "its agent says so by design"
    cluster.sql(third, "create table kept as select 42 as answer")
    began = time.monotonic()
    lab.crash(owner)
    wait(lambda: answer(cluster, third) == "42", lambda: said(lab, heir, "explain", "app"))
    sys.stdout.write(f"after a crash: {time.monotonic() - began:.1f} s without (pytest -rP)\n")
    assert cluster.sql(third, "select pg_is_in_recovery()") == "f"
    comes_back(cluster, owner, heir, third)
    switches_over(cluster)


def answer(cluster: Cluster, node: str) -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", cluster.lab.nodes[node].namespace, *POSTGRES, "psql", "-h", VIP,
         "-XAt", "-c", "select answer from kept"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def comes_back(cluster: Cluster, old: str, owner: str, heir: str) -> None:
    """The old primary does not start by itself: its data may be newer than what was promoted."""
    lab = cluster.lab
    wait_attribute(lab, heir, SCORE, "100", owner)
    lab.boot(old)
    started(lab, old)
    locked = f"{cluster.base}/disk/tmp/PGSQL.lock"
    for words in (["status"], ["explain", "app"], ["why-not", "app", old]):
        wait_said(lab, old, "My data may be inconsistent", *words)
    assert locked in said(lab, old, "status")
    for node in (owner, heir):
        assert attribute(lab, old, STATUS, node) == "DISCONNECT"
        assert attribute(lab, old, "app-db-status", node) != "PRI", "that was before the boot"
    cluster.clone(old)
    assert lab.hamgr(owner, "clear", "app", "--yes").returncode == 0
    cluster.streams(owner, heir, old)
    assert cluster.parts.plan() == (owner, heir)


def switches_over(cluster: Cluster) -> None:
    """The agent demotes by stopping. It leaves its lock, which the operator takes away."""
    lab = cluster.lab
    owner, heir, third = cluster.parts.settled("100")
    cluster.sql(third, "insert into kept values (43)")
    done = lab.hamgr(owner, "switchover", "app", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cluster.sql(third, "select sum(answer), pg_is_in_recovery() from kept") == "85|f"
    wait_said(lab, owner, "PGSQL.lock", "status")
    wait_attribute(lab, third, SCORE, "100", heir)
    (cluster.base / owner / "tmp" / "PGSQL.lock").unlink()
    assert lab.hamgr(owner, "clear", "app", "--yes").returncode == 0
    cluster.streams(heir, third, owner)
