"""What resource agents say of themselves: read, and used to check how they are configured."""

from pathlib import Path

import pytest

from hamgr.adapters.services.ocf import Agent, AgentUnknownError, Catalogue, check, clashes
from hamgr.adapters.services.ocf.metadata import Metadata, MetadataError, duration, parse
from hamgr.core.types import MILLISECOND, SECOND
from tests.adapters.ocf_service import write_agent

OLD = """<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="old" version="0.9">
<longdesc lang="de">Alt</longdesc><longdesc lang="en">
An old agent.
</longdesc>
<shortdesc lang="en">Old agent</shortdesc>
<parameters>
<parameter name="config" unique="1" required="1">
<shortdesc lang="en">configuration file</shortdesc><content type="string"/></parameter>
<parameter name="port"><content type="integer" default="80"/></parameter>
<parameter name="port"><content type="string" default="second"/></parameter>
<parameter name="debug"><content type="boolean" default="false"/></parameter>
</parameters>
<actions>
<action name="start" timeout="90"/><action name="promote" timeout="1min"/>
<action name="demote" timeout="20s"/>
<action name="monitor" depth="0" timeout="20s" interval="10s" role="Slave"/>
<action name="monitor" depth="10" timeout="500ms" interval="9s" role="Master"/>
</actions>
</resource-agent>
"""
NEW = """<resource-agent name="new">
<version>1.1</version><deprecated/>
<shortdesc lang="en">New agent</shortdesc>
<parameters>
<parameter name="mode" unique-group="place" reloadable="1" required="0">
<content type="select"><option value="fast"/><option value="safe"/></content></parameter>
<parameter name="wait" unique-group="place"><deprecated/>
<content type="second" default="3"/></parameter>
</parameters>
<actions><action name="start" timeout="20s"/><action name="notify" timeout="20s"/></actions>
</resource-agent>
"""


def test_meta_data_of_api_1_0_is_read() -> None:
    old = parse(OLD)
    assert (old.name, old.version, old.about, old.explanation) == \
        ("old", "0.9", "Old agent", "An old agent.")
    config, port, debug = old.parameters
    assert (config.name, config.required, config.unique_group, config.about) == \
        ("config", True, "config", "configuration file")
    assert (port.type, port.default, port.unique_group) == ("integer", "80", "")
    assert debug.type == "boolean"
    assert old.promotable and not old.offers("notify")
    assert [(one.role, one.depth, one.timeout, one.interval) for one in old.operations
            if one.name == "monitor"] == [("Unpromoted", 0, 20 * SECOND, 10 * SECOND),
                                          ("Promoted", 10, 500 * MILLISECOND, 9 * SECOND)]
    assert old.advised_timeout("start") == 90 * SECOND
    assert old.advised_timeout("promote") == 60 * SECOND
    assert old.advised_timeout("stop") == 0


def test_meta_data_of_api_1_1_is_read() -> None:
    new = parse(NEW)
    assert (new.version, new.deprecated, new.promotable) == ("1.1", True, False)
    mode, wait = new.parameters
    assert (mode.unique_group, mode.reloadable, mode.options) == ("place", True, ("fast", "safe"))
    assert (wait.unique_group, wait.deprecated, wait.type) == ("place", True, "second")


@pytest.mark.parametrize("before, after", [
    ("WARNING: <b>odd\n", ""), ("", "\nand <more/> rubbish"), ("\ufeff\n\n", "\n")])
def test_rubbish_around_it_is_no_hindrance(before: str, after: str) -> None:
    assert parse(before + OLD + after) == parse(OLD)


@pytest.mark.parametrize("text, why", [
    ("", "it prints no meta-data (no element resource-agent)"),
    ("usage: x {start|stop}", "it prints no meta-data (no element resource-agent)"),
    ("<resource-agent name='x'>", "it prints no meta-data (no element resource-agent)"),
    ("<resource-agent></resource-agent>", "its meta-data names no agent"),
    ("<resource-agent name='x'><a></resource-agent>",
     "its meta-data is no XML: mismatched tag: line 1, column 30"),
])
def test_what_is_no_meta_data_is_refused_in_words(text: str, why: str) -> None:
    with pytest.raises(MetadataError) as error:
        parse(text)
    assert str(error.value) == why


@pytest.mark.parametrize("text, span", [
    ("20", 20 * SECOND), ("20s", 20 * SECOND), (" 2 min ", 120 * SECOND), ("1h", 3600 * SECOND),
    ("250ms", 250 * MILLISECOND), ("", 0), ("soon", 0), ("5 parsecs", 0)])
def test_times_are_read_as_agents_write_them(text: str, span: int) -> None:
    assert duration(text) == span


# ---- how a service is configured

def faults(parameters: dict[str, str], metadata: Metadata, **how: bool) -> list[str]:
    found = check(Agent(name="ocf:test:old", parameters=parameters, **how), metadata, {})
    return [f"{fault.key}: {fault.text}" for fault in found.faults]


@pytest.mark.parametrize("parameters, fault", [
    ({"config": "/x"}, []),
    ({"config": "/x", "port": "8080", "debug": "Yes", "trace_ra": "1"}, []),
    ({}, ["parameters.config: ocf:test:old needs this parameter (configuration file): add it"]),
    ({"config": ""},
     ["parameters.config: ocf:test:old needs this parameter (configuration file): add it"]),
    ({"config": "/x", "prot": "1"},
     ["parameters.prot: ocf:test:old has no such parameter: did you mean port?"]),
    ({"config": "/x", "zzz": "1"},
     ["parameters.zzz: ocf:test:old has no such parameter: it takes config, debug, port"]),
    ({"config": "/x", "port": "http"},
     ["parameters.port: 'http' is not a whole number, which ocf:test:old takes here"]),
    ({"config": "/x", "debug": "maybe"},
     ["parameters.debug: 'maybe' is not true or false, which ocf:test:old takes here"]),
])
def test_wrong_parameters_are_told_with_the_remedy(parameters: dict[str, str],
                                                   fault: list[str]) -> None:
    assert faults(parameters, parse(OLD)) == fault


def test_values_of_newer_types_are_checked() -> None:
    assert faults({"mode": "slow", "wait": "long"}, parse(NEW)) == [
        "parameters.mode: 'slow' is not one of fast, safe, which ocf:test:old takes here",
        "parameters.wait: 'long' is not a number of seconds, which ocf:test:old takes here"]


def test_roles_that_an_agent_does_not_have_are_told() -> None:
    assert faults({}, parse(NEW), promotable=True, notify=True) == [
        "promotable: ocf:test:old has no actions promote and demote: leave promotable out"]
    assert faults({"config": "/x"}, parse(OLD), promotable=True, notify=True) == [
        "notify: ocf:test:old has no action notify: leave notify out"]


def test_short_timeouts_and_deprecated_things_are_warned_of() -> None:
    old = check(Agent(name="ocf:test:old", parameters={"config": "/x"}), parse(OLD),
                {"start": 30 * SECOND, "stop": SECOND})
    assert old.faults == () and [(one.key, one.text) for one in old.warnings] == [
        ("start", "a timeout of 30 s is less than the 90 s that ocf:test:old advises: make it "
                  "longer, or be sure that this is enough")]
    new = check(Agent(name="ocf:test:new", parameters={"wait": "1"}), parse(NEW), {})
    assert [one.key for one in new.warnings] == ["agent", "parameters.wait"]


def test_services_that_are_in_each_others_way_are_told() -> None:
    def services(*places: tuple[str, str]) -> dict[str, tuple[Agent, Metadata]]:
        return {f"s{number}": (Agent(name="ocf:test:new", parameters={"mode": mode, "wait": wait}),
                               parse(NEW)) for number, (mode, wait) in enumerate(places)}
    assert list(clashes(services(("fast", "1"), ("fast", "2"), ("safe", "1")))) == []
    assert [f"{one.key}: {one.text}" for one in clashes(services(("fast", "1"), ("fast", "1")))
            ] == ["s1.parameters.mode: s0 has the same mode and wait: only one of them can run, "
                  "change one"]
    nothing = (Agent(name="ocf:test:new"), parse(NEW))
    assert list(clashes({"a": nothing, "b": nothing})) == []


# ---- who is asked

def test_an_agent_is_asked_once_until_it_changes(tmp_path: Path) -> None:
    root = write_agent(tmp_path, f"echo asked >>{tmp_path}/asked; cat <<'E'\n{OLD}\nE\nexit 1")
    catalogue = Catalogue(root)
    assert catalogue.names() == ("ocf:test:thing",)
    for _ in range(3):
        assert catalogue.metadata("ocf:test:thing").name == "old"
    assert (tmp_path / "asked").read_text() == "asked\n"
    write_agent(tmp_path, f"cat <<'E'\n{NEW}\nE")
    assert catalogue.metadata("ocf:test:thing").name == "new"


@pytest.mark.parametrize("name, script, why", [
    ("ocf:test:none", "", "ocf:test:none is not installed here: {0}/resource.d/test/none: No such "
     "file or directory; install its package (Debian: resource-agents, pacemaker-resource-agents)"),
    ("ocf:test:think", "", "ocf:test:think is not installed here: {0}/resource.d/test/think: No "
     "such file or directory; did you mean ocf:test:thing?"),
    ("ocf:test:thing", "exit 0", "ocf:test:thing does not say what it takes: it prints no meta-"),
    ("ocf:test:thing", "exec sleep 60",
     "ocf:test:thing does not say what it takes: it does not answer in 0.2 s"),
    ("nginx", "", "'nginx' names no resource agent: write \"ocf:PROVIDER:TYPE\""),
    ("ocf:../../bin:sh", "", "'ocf:../../bin:sh' names no resource agent"),
])
def test_who_does_not_answer_is_told(tmp_path: Path, name: str, script: str, why: str) -> None:
    root = write_agent(tmp_path, script)
    with pytest.raises(AgentUnknownError) as error:
        Catalogue(root, within_s=0.2).metadata(name)
    assert str(error.value).startswith(why.format(root))


@pytest.mark.real
def test_every_agent_of_debian_says_what_it_takes() -> None:
    """154 with resource-agents 4.12 and pacemaker-resource-agents 2.1.5."""
    catalogue = Catalogue()
    found = {name: catalogue.metadata(name) for name in catalogue.names()}
    assert len(found) >= 150
    assert all(one.offers("start") and one.offers("stop") for one in found.values())
    assert sum(one.promotable for one in found.values()) >= 13
    pgsql = found["ocf:heartbeat:pgsql"]
    assert pgsql.promotable and pgsql.offers("notify")
    assert pgsql.advised_timeout("start") == 120 * SECOND
