"""`hamgr status` as a command: whom it asks, how long that takes, and how it exits."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from hamgr.agent.facts import AgentStatus
from hamgr.cli import client
from hamgr.cli.status import status as command
from tests.cli import cluster
from tests.cli.cluster import on_the_owner, peer, snapshot
from tests.netns import interrupts


def beside_the_network(answer: AgentStatus) -> AgentStatus:
    """The same from a node without an interface there: the wire is not asked from here."""
    namespace = Path("/proc/self/ns/net").stat().st_ino
    return replace(answer, process=replace(answer.process, network_namespace=namespace),
                   addresses=tuple(replace(vip, interface="") for vip in answer.addresses))


def canned(answer: AgentStatus) -> bytes:
    return msgspec.json.encode({"status": answer}) + b"\n"


@pytest.mark.parametrize(("answer", "code"), [
    (cluster.status(), 0), (on_the_owner(), 1),
    (cluster.status(snapshot(peers=(peer("n1", words=()), peer("n3")))), 2),
    (replace(cluster.status(), snapshot=None), 3)])
def test_the_exit_status(agent: Callable[[bytes], Path], answer: AgentStatus, code: int) -> None:
    run_dir = agent(canned(beside_the_network(answer)))
    result = CliRunner().invoke(command, ["--run-dir", str(run_dir), "--json"])
    assert result.exit_code == code, result.output
    assert json.loads(result.output)["source"] == "agent"


def test_without_agent_and_configuration_it_says_what_can_be_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--run-dir", str(tmp_path), "--config",
                                          str(tmp_path / "none.toml")])
    assert result.exit_code == 3
    assert "no agent runs here" in result.output
    assert "ZooKeeper cannot be asked" in result.output


def test_an_agent_that_died_is_told_from_none(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / client.SOCKET))
    with pytest.raises(client.AgentDown, match="the agent here is dead"):
        client.first(tmp_path, {"do": "status"})


def test_an_agent_that_hangs_is_told_within_bounds(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / client.SOCKET))
        hung.listen()
        with pytest.raises(client.AgentDown, match="does not answer within"):
            list(client.ask(tmp_path, {"do": "status"}, answer_s=0.05))


def test_status_imports_nothing_heavy_when_the_agent_answers(
        agent: Callable[[bytes], Path]) -> None:
    run_dir = agent(canned(beside_the_network(cluster.status())))
    code = (f"import sys; sys.argv = ['hamgr', 'status', '--run-dir', {str(run_dir)!r}]\n"
            "from hamgr.cli.main import main\n"
            "try: main()\n"
            "except SystemExit as end: assert end.code == 0, end.code\n"
            "heavy = {'kazoo', 'pyroute2', 'scapy', 'asyncio'} & set(sys.modules)\n"
            "assert not heavy, heavy\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "healthy" in done.stdout


def answer_all(listener: socket.socket) -> None:
    """Be an agent that answers twice and goes away, again and again."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(canned(cluster.status()) + canned(on_the_owner()))


def test_watch_shows_it_again_over_restarts_of_the_agent_until_it_is_interrupted(
        tmp_path: Path) -> None:
    run_dir, config = tmp_path / "run", tmp_path / "none.toml"
    run_dir.mkdir()
    command = [sys.executable, "-m", "hamgr", "status", "--watch", "--json",
               "--run-dir", str(run_dir), "--config", str(config)]
    with interrupts():
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with watching as watch:
        try:
            assert watch.stdout is not None
            assert json.loads(watch.stdout.readline())["source"] == "nothing"
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(run_dir / client.SOCKET))
                listener.listen()
                threading.Thread(target=answer_all, args=(listener,), daemon=True).start()
                holders: set[str] = set()
                while holders != {"n1", "n2"}:
                    seen = json.loads(watch.stdout.readline())
                    holders |= {group["holder"] for group in seen["groups"]}
                listener.shutdown(socket.SHUT_RDWR)
            while json.loads(watch.stdout.readline())["source"] != "nothing":
                pass
            watch.send_signal(signal.SIGINT)
            assert watch.wait() == 0
        finally:
            watch.kill()
