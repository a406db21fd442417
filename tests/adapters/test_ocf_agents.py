"""Resource agents of Debian, as the driver "ocf" runs them, with what they look after."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hamgr.adapters.services.ocf import Agent
from hamgr.core.types import SECOND, Found
from tests.adapters.ocf_service import Service, serve
from tests.adapters.test_hook import written
from tests.netns import Segment, eventually

pytestmark = pytest.mark.real

VIP = "10.0.0.100"


def dummy(tmp_path: Path, **parameters: str) -> Agent:
    return Agent(name="ocf:pacemaker:Dummy", parameters={
        "state": str(tmp_path / "state"), **parameters})


async def killed(pid: int) -> None:
    """Kill a daemon, and wait until nothing is left of it: agents take a zombie for running."""
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    await asyncio.to_thread(eventually, lambda: not Path(f"/proc/{pid}").exists())


async def lives(service: Service) -> None:
    """A whole life, as every agent must have it (OCF resource agent API, section 3.4)."""
    assert await service.found() == (True, Found.STOPPED)
    assert (await service.run("stop")).ok, "what does not run is stopped"
    for _ in range(2):
        told = await service.run("start")
        assert told.ok, told
        assert await service.found("monitor") == (True, Found.STARTED)
    assert await service.found() == (True, Found.STARTED)
    for _ in range(2):
        told = await service.run("stop")
        assert told.ok, told
        assert await service.found("monitor") == (False, Found.STOPPED)


def test_dummy_lives(tmp_path: Path) -> None:
    serve(tmp_path, dummy(tmp_path), lives)


def test_a_dummy_that_went_is_noticed_with_words(tmp_path: Path) -> None:
    async def then(service: Service) -> None:
        assert (await service.run("start")).ok
        (tmp_path / "state").unlink()
        told = await service.run("monitor")
        assert (told.ok, told.found, told.why) == (
            False, Found.STOPPED, "not running (exit status 7)")
    serve(tmp_path, dummy(tmp_path), then)


def test_a_dummy_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def then(service: Service) -> None:
        told = await service.run("start", SECOND)
        assert not told.ok and told.why.startswith("no answer in 1 s")
    serve(tmp_path, dummy(tmp_path, op_sleep="60"), then)


# ---- promoted

def test_stateful_is_promoted_and_demoted_and_scores_itself(tmp_path: Path) -> None:
    async def then(service: Service) -> None:
        assert await service.found() == (True, Found.STOPPED)
        assert (await service.run("start")).ok
        assert await service.found("monitor", active=False) == (True, Found.STARTED)
        assert await service.found("monitor", active=True) == (False, Found.STARTED)
        assert (await service.run("promote")).ok
        assert await service.found("monitor", active=True) == (True, Found.PROMOTED)
        assert await service.found("monitor", active=False) == (False, Found.PROMOTED)
        assert await service.found() == (True, Found.PROMOTED)
        assert (await service.run("demote")).ok
        assert await service.found() == (True, Found.STARTED)
        assert (await service.run("stop")).ok
        assert await service.found() == (True, Found.STOPPED)
        assert [one.score for one in service.scores] == [5, 10, 5, -1]
        assert "start" in notified(tmp_path) and "promote" in notified(tmp_path)
    serve(tmp_path, Agent(name="ocf:pacemaker:Stateful", promotable=True, notify=True,
                          parameters={"state": str(tmp_path / "state"),
                                      "envfile": str(tmp_path / "env")}), then)


def notified(tmp_path: Path) -> set[str]:
    """Return the actions of which Stateful was told that they are done."""
    calls = (tmp_path / "env").read_text().split("###\n")
    return {line.partition("=")[2] for call in calls
            if "OCF_RESKEY_CRM_meta_notify_type=post" in call for line in call.splitlines()
            if line.startswith("OCF_RESKEY_CRM_meta_notify_operation=")}


# ---- an address

@pytest.fixture
def lan() -> Iterator[Segment]:
    with Segment("n1", "client") as segment:
        yield segment


def on_node(lan: Segment, tmp_path: Path, parameters: dict[str, str], then) -> None:
    lan.call("n1", serve, tmp_path, Agent(name="ocf:heartbeat:IPaddr2", parameters=parameters),
             then)


async def starts(service: Service) -> None:
    assert await service.found() == (True, Found.STOPPED)
    for _ in range(2):
        told = await service.run("start")
        assert told.ok, told
    assert await service.found("monitor") == (True, Found.STARTED)


async def stops(service: Service) -> None:
    for _ in range(2):
        assert (await service.run("stop")).ok
    assert await service.found() == (True, Found.STOPPED)


def test_an_address_comes_and_goes(lan: Segment, tmp_path: Path) -> None:
    parameters = {"ip": VIP, "cidr_netmask": "24", "nic": "eth0"}
    on_node(lan, tmp_path, parameters, starts)
    lan.run("client", "ping", "-c1", "-W5", VIP)
    assert lan.has("n1", VIP)
    on_node(lan, tmp_path, parameters, stops)
    assert not lan.has("n1", VIP)


@pytest.mark.parametrize("parameters, why", [
    ({}, "wrongly configured (exit status 6): IP address (the ip parameter) is mandatory"),
    ({"ip": "10.0.0.300"},
     "wrongly configured (exit status 6): IP address [10.0.0.300] not valid. / [findif] failed"),
])
def test_wrong_parameters_are_told_by_the_agent(lan: Segment, tmp_path: Path,
                                                parameters: dict[str, str], why: str) -> None:
    async def then(service: Service) -> None:
        told = await service.run("start")
        assert (told.ok, told.why) == (False, why)
    on_node(lan, tmp_path, parameters, then)


# ---- load balancers and web servers

NGINX = """
error_log {0}/error.log;
pid {0}/pid;
events {{ }}
http {{
  access_log off;
  server {{
    listen unix:{0}/web.sock;
    return 200 hello;
  }}
}}
"""
"""One directive a line: the agent looks for pid with awk."""
HAPROXY = """
global
  maxconn 10
defaults
  mode http
  timeout client 5s
  timeout connect 5s
  timeout server 5s
frontend web
  bind {0}/web.sock
  http-request return status 200 content-type text/plain string hello
"""


def nginx(tmp_path: Path) -> Agent:
    (tmp_path / "conf").write_text(NGINX.format(tmp_path))
    return Agent(name="ocf:heartbeat:nginx", parameters={"configfile": str(tmp_path / "conf"),
                                                         "httpd": "/usr/sbin/nginx"})


def haproxy(tmp_path: Path) -> Agent:
    """Debian has no agent for it: "anything" runs whatever stays in the foreground."""
    (tmp_path / "conf").write_text(HAPROXY.format(tmp_path))
    return Agent(name="ocf:heartbeat:anything", parameters={
        "binfile": "/usr/sbin/haproxy", "cmdline_options": f"-db -f {tmp_path}/conf",
        "pidfile": str(tmp_path / "pid"), "logfile": str(tmp_path / "log")})


@pytest.mark.parametrize("agent", [nginx, haproxy])
def test_a_server_lives(tmp_path: Path, agent) -> None:
    serve(tmp_path, agent(tmp_path), lives)


@pytest.mark.parametrize("agent, found", [(nginx, Found.STOPPED), (haproxy, Found.FAILED)])
def test_a_server_that_dies_is_noticed_and_started_again(tmp_path: Path, agent, found) -> None:
    """The agent "anything" takes a process file without its process for a failure."""
    async def then(service: Service) -> None:
        told = await service.run("start")
        assert told.ok, told
        pid = int(await written(tmp_path / "pid"))
        await killed(pid)
        (tmp_path / "web.sock").unlink(missing_ok=True)  # a port would be free by itself
        assert await service.found("monitor") == (False, found)
        assert (await service.run("start")).ok
        assert await service.found("monitor") == (True, Found.STARTED)
        assert (await service.run("stop")).ok
    serve(tmp_path, agent(tmp_path), then)


def test_a_server_with_a_wrong_configuration_says_why(tmp_path: Path) -> None:
    async def then(service: Service) -> None:
        (tmp_path / "conf").write_text("nonsense;")
        told = await service.run("start")
        assert not told.ok and told.why.startswith("not installed here (exit status 5): ")
        assert 'unknown directive "nonsense"' in told.why
    serve(tmp_path, nginx(tmp_path), then)


def test_a_server_that_is_not_installed_cannot_run_here(tmp_path: Path) -> None:
    async def then(service: Service) -> None:
        told = await service.run("probe")
        assert (told.ok, told.found) == (True, Found.STOPPED)
        assert not (await service.run("start")).ok
    serve(tmp_path, Agent(name="ocf:heartbeat:nginx", parameters={
        "httpd": "/usr/sbin/none", "configfile": "/nonexistent"}), then)
