"""What resource agents say of themselves, held against the services of a file."""

from pathlib import Path
from typing import Any

from hamgr.adapters.services.ocf import Catalogue
from hamgr.config.document import parse
from hamgr.doctor.facts import Here, Misfit, ResourceAgents
from hamgr.doctor.look import around
from hamgr.doctor.look.agents import resource_agents
from hamgr.drivers import agents, services
from tests.adapters.ocf_service import write_agent
from tests.config.files import GOOD

AGENT = """cat <<'E'
<resource-agent name="thing"><parameters>
<parameter name="config" unique="1" required="1"><content type="string"/></parameter>
<parameter name="port"><content type="integer"/></parameter>
</parameters><actions><action name="start" timeout="60"/><action name="stop" timeout="20"/>
</actions></resource-agent>
E"""
GROUP = """
[group.{name}]
nodes = ["{node}"]
vips = ["10.0.0.{number}/24"]
"""
SERVICE = """
[[group.{group}.service]]
name = "{name}"
driver = "ocf"
agent = "ocf:test:{agent}"
{more}
"""


def document(*texts: str) -> Any:
    found = parse(GOOD + "".join(texts)).document
    assert found is not None
    return found


def group(name: str, number: int, node: str = "n2") -> str:
    return GROUP.format(name=name, node=node, number=number)


def service(of: str, name: str, agent: str = "thing", **parameters: str) -> str:
    table = ", ".join(f'{key} = "{value}"' for key, value in parameters.items())
    return SERVICE.format(group=of, name=name, agent=agent, more=f"parameters = {{ {table} }}")


def asked(tmp_path: Path, *texts: str) -> dict[str, tuple[Misfit, ...]]:
    file = document(*texts)
    found = resource_agents(services(file), agents(file), Catalogue(write_agent(tmp_path, AGENT)))
    return {f"{one.group}/{one.service}": one.misfits for one in found.services}


def test_what_does_not_fit_an_agent_is_told_by_service(tmp_path: Path) -> None:
    found = asked(
        tmp_path, group("web", 101), service("web", "good", config="/a") + 'start_timeout = "60s"',
        service("web", "bad", config="/b", prot="1"), service("web", "gone", agent="none"))
    assert found["web/good"] == ()
    wrong, hasty = found["web/bad"]
    assert (wrong.key, wrong.severe) == ("parameters.prot", True) and "mean port?" in wrong.text
    assert (hasty.key, hasty.severe) == ("start", False) and "60 s" in hasty.text
    (gone,) = found["web/gone"]
    assert gone.key == "agent" and "ocf:test:none is not installed here" in gone.text


def test_services_in_each_others_way_are_told_whatever_their_names(tmp_path: Path) -> None:
    long = 'start_timeout = "60s"'
    found = asked(tmp_path, group("web", 101), service("web", "a.1", config="/a") + long,
                  group("other", 102), service("other", "b.1", config="/a") + long)
    (clash,) = (*found["web/a.1"], *found["other/b.1"])
    assert clash.key == "parameters.config" and "has the same config: only one" in clash.text


def test_a_node_needs_the_agents_of_its_own_groups_alone() -> None:
    file = document(group("web", 101, node="n1"), service("web", "one"))
    assert around._resource_agents(Here(node="n2", document=file, digest="")) == ResourceAgents()
    (one,) = around._resource_agents(Here(node="n1", document=file, digest="")).services
    assert one.misfits[0].key == "agent", "it is not installed on this machine"
