"""What crm_mon prints as XML, as far as resource agents look at it. Pure.

Source: Pacemaker's crm_mon.rng and the output of crm_mon 2.1.5. Agents read it by regular
expressions that want all of an element on one line, and its attributes in this order (pgsql,
redis, galera), or by xmllint (galera, rabbitmq-cluster).
"""

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import quoteattr

from hamgr.adapters.services.ocf.agent import Agent, instance
from hamgr.adapters.services.ocf.peers import Peers, Replicas, node_id
from hamgr.core.types import GroupName, NodeName, ServiceName

Agents = Mapping[tuple[GroupName, ServiceName], Agent]


def xml(peers: Peers, agents: Agents, command: str) -> str:
    """Return the document for `--output-as=xml`, and, with other words around it, `--as-xml`."""
    return "\n".join((
        f'<pacemaker-result api-version="2.25" request={quoteattr(command)}>',
        "  <summary>",
        f'    <current_dc present="true" with_quorum="{_bool(peers.quorate)}"/>',
        "  </summary>",
        "  <nodes>", *(_node(peers, name) for name in peers.nodes), "  </nodes>",
        "  <resources>", *_resources(peers, agents), "  </resources>",
        '  <status code="0" message="OK"/>', "</pacemaker-result>", ""))


def _node(peers: Peers, name: NodeName) -> str:
    online = name in peers.online
    return (f'    <node name={quoteattr(name)} id="{node_id(peers, name)}" '
            f'online="{_bool(online)}" standby="false" standby_onfail="false" '
            'maintenance="false" pending="false" unclean="false" '
            f'shutdown="false" expected_up="{_bool(online)}" is_dc="false" type="member"/>')


def _resources(peers: Peers, agents: Agents) -> Iterator[str]:
    for (group, service), agent in agents.items():
        name, replicas = instance(group, service), peers.of(group, service)
        if agent.promotable:
            yield f'    <clone id={quoteattr(name + "-clone")} multi_state="true" unique="false">'
        yield from _replicas(name, agent, peers, replicas)
        if agent.promotable:
            yield "    </clone>"


def _replicas(name: str, agent: Agent, peers: Peers, replicas: Replicas) -> Iterator[str]:
    lower = "Unpromoted" if agent.promotable else "Started"
    roles = [*((node, "Promoted") for node in replicas.promoted),
             *((node, lower) for node in replicas.unpromoted)]
    for node, role in roles:
        yield (f"{_resource(name, agent, role)} nodes_running_on=\"1\">"
               f'<node name={quoteattr(node)} id="{node_id(peers, node)}" cached="true"/>'
               "</resource>")
    if not roles:
        yield f'{_resource(name, agent, "Stopped")} nodes_running_on="0"/>'


def _resource(name: str, agent: Agent, role: str) -> str:
    return (f'      <resource id={quoteattr(name)} resource_agent={quoteattr(agent.name)} '
            f'role="{role}" active="{_bool(role != "Stopped")}" orphaned="false" '
            'blocked="false" managed="true" failed="false" failure_ignored="false"')


def _bool(value: bool) -> str:
    return "true" if value else "false"
