"""What a lab looks like just now: the truth of its kernels and processes, asking no agent."""

import json

from msgspec import Struct

from hamgr.lab import netns, zookeeper
from hamgr.lab.lab import Lab
from hamgr.lab.spec import Faults


class NodeReport(Struct, frozen=True, kw_only=True):
    """One node."""

    name: str
    power: bool
    agent: str
    """running, stopped (alone), frozen (with its switch) or down."""
    switch: bool
    """Whether there is one, in whatever state."""
    switch_state: str
    """In the words for an agent."""
    zookeeper: str
    """leader, follower, down, or empty for a node without a server."""
    vips: tuple[str, ...]


class LabReport(Struct, frozen=True, kw_only=True):
    """All nodes, and what is broken."""

    name: str
    directory: str
    nodes: tuple[NodeReport, ...]
    faults: Faults


def report(lab: Lab) -> LabReport:
    """Look at a lab."""
    faults = lab.faults
    nodes = tuple(_node(lab, name, name not in faults.off) for name in lab.nodes)
    return LabReport(name=lab.spec.name, directory=str(lab.directory), nodes=nodes, faults=faults)


def faults_in_words(faults: Faults) -> list[str]:
    """Return one phrase for each thing that is broken."""
    cut_off = [node for node in faults.deaf if node in faults.mute]
    return [
        *(f"{node} has no power" for node in faults.off),
        *(f"{node} has no carrier on ring {ring}" for node, ring in faults.cut),
        *(f"{node} is isolated" for node in cut_off),
        *(f"{node} is deaf" for node in faults.deaf if node not in cut_off),
        *(f"{node} is mute" for node in faults.mute if node not in cut_off),
        *(f"nothing passes from {source} to {target}" for source, target in faults.blocked),
        *([f"{faults.loss} % of the frames between nodes are lost"] if faults.loss else []),
        *([f"{faults.heartbeat_loss} % of the heartbeats are lost"]
          if faults.heartbeat_loss else []),
        *(f"{action} {f'of {service} ' if service else ''}{how}s on {node}"
          for node, action, how, service in faults.hooks),
    ]


def _node(lab: Lab, name: str, power: bool) -> NodeReport:
    node = lab.nodes[name]
    serves = zookeeper.mode(lab.spec, name) or "down" if name in lab.spec.servers else ""
    found = json.loads(netns.run("ip", "-n", node.namespace, "-json", "address", "show"))
    here = {info["local"] for link in found for info in link.get("addr_info", ())}
    return NodeReport(
        name=name, power=power, agent=node.agent_state, zookeeper=serves,
        switch=node.switch_pid() is not None, switch_state=node.switch_state,
        vips=tuple(vip for vip in lab.spec.vips if vip in here))


def rows(found: LabReport) -> list[tuple[str, ...]]:
    """Return the nodes as rows of a table, its head first."""
    head = ("NODE", "POWER", "AGENT", "SWITCH", "ZOOKEEPER", "VIP")
    return [head, *((node.name, "on" if node.power else "off", node.agent,
                     node.switch_state, node.zookeeper or "-",
                     " ".join(node.vips) or "-") for node in found.nodes)]
