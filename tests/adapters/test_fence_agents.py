"""Debian's fence agents, unchanged: what they say of themselves, and what they do when asked."""

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hamgr.adapters.fence import AGENTS, AgentUnknownError, Catalogue, Device, check
from hamgr.adapters.fence.metadata import Metadata, MetadataError, parse
from hamgr.core.types import Power
from tests.adapters.fencing import Asked, Told, once, story

WITHOUT = {"fence_ack_manual"}
"""Has no metadata: it asks an operator."""
INSTALLED = [name for name in Catalogue().names() if name not in WITHOUT]
needs_agents = pytest.mark.skipif(not (AGENTS / "fence_dummy").exists(),
                                  reason="fence-agents is not installed (.ci/setup --tests)")


@functools.cache
def metadata(agent: str) -> Metadata:
    return Catalogue(within_s=100).metadata(agent)


def device(agent: str, plugs: dict[str, str] | None = None, secret: str = "",
           **options: str) -> Device:
    return Device(name="d", agent=agent, plugs={"n1": ""} if plugs is None else plugs,
                  options=options, secrets={secret: Told("x")} if secret else {})


def misfits(agent: str, plugs: dict[str, str] | None = None, secret: str = "",
            **options: str) -> dict[str, str]:
    return {one.key: one.text for one in check(device(agent, plugs, secret, **options),
                                               metadata(agent))}


@needs_agents
@pytest.mark.slow
def test_what_every_installed_agent_says_of_itself_is_understood() -> None:
    """Two at a time: each takes a moment to start."""
    with ThreadPoolExecutor(2) as pool:
        known = dict(zip(INSTALLED, pool.map(metadata, INSTALLED), strict=True))
    assert len(known) > 80
    for name, found in known.items():
        assert found.name and found.options, name
        assert len({option.name for option in found.options}) == len(found.options), name
    assert [name for name, found in known.items() if "off" not in found.actions] == [
        "fence_rcd_serial"]


@needs_agents
def test_what_an_agent_says_of_itself_is_understood() -> None:
    ipmi = metadata("fence_ipmilan")
    ip = ipmi.option("ip")
    assert ip is not None and (ip.obsoletes, ip.deprecated) == ("ipaddr", False)
    auth = ipmi.option("auth")
    assert auth is not None and auth.choices == ("md5", "password", "none")
    assert ipmi.about == "Fence agent for IPMI"


@needs_agents
def test_what_does_not_fit_an_agent_is_told_with_the_remedy() -> None:
    assert misfits("fence_ipmilan", ip="10.0.0.9", username="a", secret="password") == {}
    assert misfits("fence_ipmilan", ipaddr="10.0.0.9", login="a", secret="passwd") == {}, \
        "older names count"
    found = misfits("fence_ipmilan", ip="10.0.0.9", usrname="a", auth="md6", delay="5")
    assert "did you mean username?" in found["options.usrname"]
    assert "'md6' is not one of md5, password, none" in found["options.auth"]
    assert "key of the table" in found["options.delay"]


@needs_agents
def test_an_agent_of_many_plugs_must_be_told_which() -> None:
    given = {"ip": "10.0.0.9", "username": "a"}
    assert misfits("fence_apc", {"n1": "3"}, "password", **given) == {}
    assert misfits("fence_apc", {"n1": "3"}, "passwd", ipaddr="10.0.0.9", login="a") == {}, \
        "older names count as given"
    assert 'nodes = { n1 = "3" }' in misfits("fence_apc", {"n1": ""}, "password", **given)["nodes"]
    assert set(misfits("fence_apc", {"n1": "3"})) == {"options.ip", "options.username"}


@needs_agents
def test_an_agent_without_plugs_cannot_be_told_one() -> None:
    assert "knows no plugs" in misfits("fence_dummy", {"n1": "3"})["nodes"]


@needs_agents
def test_an_agent_that_cannot_switch_off_is_none() -> None:
    assert "has no action off" in misfits("fence_rcd_serial")["agent"]


def test_an_agent_that_is_not_installed_is_told_with_what_it_may_be() -> None:
    with pytest.raises(AgentUnknownError, match=r"not installed here.*fence-agents"):
        Catalogue().metadata("fence_zzzzzz")


@needs_agents
def test_a_misspelt_agent_is_told_with_the_one_that_is_meant() -> None:
    with pytest.raises(AgentUnknownError, match="did you mean fence_ipmilan"):
        Catalogue().metadata("fence_ipmilam")


@pytest.mark.parametrize(("script", "why"), [
    ("echo hello", "no element resource-agent"),
    ("echo '<resource-agent name=\"x\"><a></resource-agent>'", "no XML"),
    ("exec sleep 1000", "no answer in 0.5 s")])
def test_an_agent_that_says_nothing_usable(tmp_path: Path, script: str, why: str) -> None:
    agent = tmp_path / "fence_x"
    agent.write_text(f"#!/bin/sh\n{script}\n")
    agent.chmod(0o755)
    with pytest.raises(AgentUnknownError, match=why):
        Catalogue(tmp_path, within_s=0.5).metadata("fence_x")


def test_rubbish_around_metadata_is_no_hindrance() -> None:
    text = '<resource-agent name="x" shortdesc="X"><actions><action name="off"/></actions>' \
           "</resource-agent>"
    assert parse(f"warning: odd\n{text}\nbye") == parse(text)
    with pytest.raises(MetadataError):
        parse(text[1:])


@needs_agents
def test_a_real_agent_is_asked(tmp_path: Path) -> None:
    """fence_dummy has a file for a machine."""
    state = tmp_path / "state"

    async def then(devices: Asked) -> None:
        assert (await devices.ask("on")).ok
        status = await devices.ask("status")
        assert (status.ok, status.power, status.why) == (True, Power.ON, "Status: ON")
        off = await devices.ask("off")
        assert (off.ok, off.why) == (True, "Success: Powered OFF")
        status = await devices.ask("status")
        assert (status.ok, status.power, status.why) == (True, Power.OFF, "Status: OFF")
        monitor = await devices.ask("monitor")
        assert (monitor.ok, monitor.power) == (True, Power.UNKNOWN)

    story(then, device("fence_dummy", status_file=str(state)))


@needs_agents
def test_a_real_agent_that_fails_says_why() -> None:
    answer = once(device("fence_dummy", type="fail"))
    assert not answer.ok and answer.why.startswith("exit status 1"), json.dumps(answer.why)
