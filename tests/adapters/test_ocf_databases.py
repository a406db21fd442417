"""PostgreSQL and MariaDB under the agents of Debian, as the driver "ocf" runs them.

Both listen on sockets in a folder of their own only, so there are no ports to take from anybody.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hamgr.adapters.services.ocf import Agent, LocalAttributes, Peers, Replicas
from hamgr.adapters.services.ocf.attributes import Lifetime
from hamgr.core.types import Found
from tests.adapters.ocf_service import INSTANCE, Service, serve, service
from tests.netns import PATIENCE_S, eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]

PG_BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that users other than root can reach, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="hamgr-ocf-"))
    path.chmod(0o755)
    yield path
    for pid_file in (*path.glob("*/data/postmaster.pid"), *path.glob("maria/pid")):
        end_leftover(int(pid_file.read_text().split()[0]), path)
    shutil.rmtree(path, ignore_errors=True)


def end_leftover(pid: int, folder: Path) -> None:
    """Kill what a test that failed has left: a number in a file may be somebody else's by now."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if str(folder) in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)


def run_as(user: str, *argv: str | Path) -> str:
    """Run a program as another user, and return what it prints."""
    return subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                           *argv], check=True, capture_output=True, text=True, cwd="/").stdout


async def gone(pid: int) -> None:
    """Kill a daemon, and wait until nothing is left of it."""
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(eventually, lambda: not Path(f"/proc/{pid}").exists())


async def until(service: Service, what: str, value: str | None, node: str = "n1") -> None:
    """Let monitors go on until an attribute of a node has a value."""
    lifetime = Lifetime.FOREVER if what.endswith("data-status") else Lifetime.REBOOT
    async with asyncio.timeout(PATIENCE_S):
        while service.attributes.get(node, what, lifetime) != value:
            told = await service.run("monitor", active=False)
            assert told.found in (Found.STARTED, Found.PROMOTED), told


# ---- PostgreSQL

def postgres(folder: Path, name: str) -> Path:
    """Return the folder of one instance, for its data, sockets and log."""
    path = folder / name
    path.mkdir()
    shutil.chown(path, "postgres", "postgres")
    return path


def created(folder: Path, name: str) -> Path:
    path = postgres(folder, name)
    run_as("postgres", PG_BIN / "initdb", "--no-sync", "--auth=trust", "-D", path / "data")
    configured(path)
    return path


def configured(path: Path) -> None:
    """Anew: the agent writes into this file, where its own settings are on this node."""
    (path / "data" / "postgresql.conf").write_text(
        "listen_addresses = ''\nfsync = off\nshared_buffers = 1MB\nwal_keep_size = 64MB\n"
        f"unix_socket_directories = '{path}'\n")


def pgsql(path: Path, **parameters: str) -> Agent:
    return Agent(name="ocf:heartbeat:pgsql", promotable="rep_mode" in parameters,
                 notify="rep_mode" in parameters, parameters={
                     "pgctl": str(PG_BIN / "pg_ctl"), "pgdata": str(path / "data"),
                     "socketdir": str(path), "logfile": str(path / "log"),
                     "tmpdir": str(path / "tmp"), **parameters})


def replica_of(folder: Path, primary: str = "n1") -> dict[str, str]:
    """Parameters of a replicating one. A folder instead of an address: its socket is there."""
    return {"rep_mode": "async", "node_list": "n1 n2", "master_ip": str(folder / primary),
            "repuser": "postgres", "xlog_check_count": "1"}


def sql(path: Path, query: str) -> str:
    return run_as("postgres", "psql", "-h", path, "-XAt", "-c", query).strip()


def test_postgresql_lives_and_its_death_is_noticed(folder: Path) -> None:
    path = created(folder, "n1")

    async def then(service: Service) -> None:
        assert await service.found() == (True, Found.STOPPED)
        for _ in range(2):
            told = await service.run("start")
            assert told.ok, told
        assert await service.found("monitor") == (True, Found.STARTED)
        assert sql(path, "select 7") == "7"
        await gone(int((path / "data" / "postmaster.pid").read_text().split()[0]))
        assert await service.found("monitor") == (False, Found.STOPPED)
        assert (await service.run("start")).ok
        for _ in range(2):
            assert (await service.run("stop")).ok
        assert await service.found() == (True, Found.STOPPED)
    serve(folder, pgsql(path), then)


def picture(*, promoted: tuple[str, ...], unpromoted: tuple[str, ...]) -> Peers:
    online = tuple(sorted((*promoted, *unpromoted)))
    return Peers(nodes=("n1", "n2"), online=online,
                 of=lambda *_: Replicas(promoted=promoted, unpromoted=unpromoted))


async def becomes_primary(n1: Service) -> None:
    """Alone, it starts as a standby, finds that nobody has newer data, and is promoted."""
    assert (await n1.run("start")).ok
    n1.driver.see(lambda: picture(promoted=(), unpromoted=("n1",)))
    await until(n1, f"master-{INSTANCE}", "1000")
    assert n1.scores[-1].score == 1000
    told = await n1.run("promote")
    assert told.ok, told
    assert await n1.found("monitor") == (True, Found.PROMOTED)


def test_postgresql_replicates_and_its_replica_takes_over(folder: Path) -> None:
    """The agent's own rules at work: scores and data states, set through the commands of hamgr."""
    attributes = LocalAttributes()
    data = created(folder, "n1")
    other = postgres(folder, "n2")

    async def story() -> None:
        async with (service(folder / "one", pgsql(data, **replica_of(folder, "n2")), node="n1",
                            attributes=attributes) as n1,
                    service(folder / "two", pgsql(other, **replica_of(folder)), node="n2",
                            attributes=attributes) as n2):
            await becomes_primary(n1)
            sql(data, "create table kept as select 42 as answer")
            run_as("postgres", PG_BIN / "pg_basebackup", "-h", str(data), "-D",
                   str(other / "data"), "-X", "stream", "-c", "fast")
            configured(other)
            assert (await n2.run("start")).ok
            both = picture(promoted=("n1",), unpromoted=("n2",))
            n1.driver.see(lambda: both)
            n2.driver.see(lambda: both)
            await until(n1, f"{INSTANCE}-data-status", "STREAMING|ASYNC", "n2")
            assert n2.scores[-1].score == 100, "the primary says that its replica may follow"
            assert await n2.found("monitor", active=False) == (True, Found.STARTED)
            await gone(int((data / "data" / "postmaster.pid").read_text().split()[0]))
            n2.driver.see(lambda: picture(promoted=(), unpromoted=("n2",)))
            await until(n2, f"master-{INSTANCE}", "1000", "n2")
            told = await n2.run("promote")
            assert told.ok, told
            assert await n2.found("monitor") == (True, Found.PROMOTED)
            assert sql(other, "select answer from kept") == "42"
            assert (await n2.run("demote")).ok
            assert n2.scores[-1].score == -1000000
            assert await n2.found() == (True, Found.STOPPED), "this agent demotes by stopping"
    asyncio.run(story())


def test_postgresql_without_its_data_says_why(folder: Path) -> None:
    path = postgres(folder, "n1")

    async def then(service: Service) -> None:
        told = await service.run("start")
        assert not told.ok and "exit status 5" in told.why and str(path / "data") in told.why
    serve(folder, pgsql(path), then)


# ---- MariaDB

def mariadb(folder: Path) -> Agent:
    """As nobody: the user mysql comes with a package that is not needed here."""
    path = folder / "maria"
    path.mkdir()
    shutil.chown(path, "nobody", "nogroup")
    subprocess.run(["mariadb-install-db", "--no-defaults", "--user=nobody", "--skip-test-db",
                    "--auth-root-authentication-method=normal", f"--datadir={path}/data"],
                   check=True, capture_output=True)
    (path / "conf").write_text("[mariadbd]\nskip-networking\nlog-bin\nserver-id=1\n"
                               "innodb-buffer-pool-size=8M\ninnodb-log-file-size=4M\n"
                               f"init-file={path}/first\n")
    (path / "first").write_text("create database if not exists kept;\n")  # has a GTID then
    return Agent(name="ocf:heartbeat:mariadb", promotable=True, notify=True, parameters={
        "binary": "/usr/sbin/mariadbd", "client_binary": "/usr/bin/mariadb",
        "config": f"{path}/conf", "datadir": f"{path}/data", "socket": f"{path}/socket",
        "pid": f"{path}/pid", "log": f"{path}/log", "user": "nobody", "group": "nogroup",
        "node_list": "n1", "replication_user": "root", "replication_passwd": ""})


def test_mariadb_is_promoted_by_its_own_score(folder: Path) -> None:
    async def then(service: Service) -> None:
        assert await service.found() == (True, Found.STOPPED)
        told = await service.run("start")
        assert told.ok, told
        await until(service, f"master-{INSTANCE}", "100")
        assert service.scores[-1].score == 100
        assert (await service.run("promote")).ok
        assert await service.found("monitor") == (True, Found.PROMOTED)
        assert (await service.run("demote")).ok
        assert service.scores[-1].score == -1
        assert await service.found("monitor", active=False) == (True, Found.STARTED)
        await gone(int((folder / "maria" / "pid").read_text()))
        assert await service.found("monitor", active=False) == (False, Found.STOPPED)
        assert (await service.run("start")).ok
        for _ in range(2):
            assert (await service.run("stop")).ok
        assert await service.found() == (True, Found.STOPPED)
    serve(folder, mariadb(folder), then)
