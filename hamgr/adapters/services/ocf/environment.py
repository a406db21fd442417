"""The environment in which Pacemaker's executor runs an OCF resource agent, rebuilt. Pure.

Sources: Pacemaker Administration, "Environment Variables" and "Clone Notifications"; Pacemaker's
services_linux.c (what the executor sets itself); the variables in the graphs that crm_simulate
2.1.5 writes (--save-graph); ocf-shellfuncs, ocf-directories and ocf-binaries
of resource-agents (what agents fall back to). Times are milliseconds here, as agents divide by
1000 (pgsql, galera, mariadb).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hamgr.adapters.services.ocf.agent import OCF_ROOT, Agent
from hamgr.adapters.services.ocf.peers import Peers, Replicas, node_id
from hamgr.core.types import MILLISECOND, Duration, NodeName

FEATURE_SET = "3.16.1"
"""crm_feature_set of Pacemaker 2.1.5, whose commands the shims answer like: agents choose by it
between spellings of options (crm_mon --output-as=xml, crm_attribute --promotion)."""
REASON_PREFIX = "ocf-exit-reason:"
"""How the line begins in which an agent says why it fails (ocf_exit_reason)."""
RSCTMP = "/run/resource-agents"
"""Where agents keep what must not outlive a boot; Debian's resource-agents makes it 1755."""
NOTHING = " "
"""How Pacemaker writes an empty list: agents compare with it."""
SHIM_SOCKET = "HAMGR_SHIM_SOCKET"
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_DONE = {"start": "running", "stop": "stopped", "promote": "promoted", "demote": "demoted"}
"""Every change of a replica, and what Pacemaker calls it afterwards."""


class Place(NamedTuple):
    """What is the same for every agent of a node."""

    node: NodeName
    commands: Path
    """HA_SBIN_DIR: where crm_attribute and its like are."""
    socket: Path
    root: Path = OCF_ROOT


class Call(NamedTuple):
    """One call of an agent."""

    agent: Agent
    instance: str
    action: str
    """As the agent is told: start, stop, promote, demote, monitor or notify."""
    timeout: Duration
    interval: Duration = 0
    """0: not recurring; a monitor with 0 is a probe."""
    notify: tuple[str, str] = ("", "")
    """notify: pre or post, and of which action."""
    subject: NodeName = ""
    """notify: on which node that is; empty: on this one."""


def environment(call: Call, place: Place, peers: Peers, replicas: Replicas) -> dict[str, str]:
    """Return every variable that a call is given."""
    found = {
        **_standard(call, place),
        **{f"OCF_RESKEY_{name}": value for name, value in call.agent.parameters.items()},
        "OCF_RESKEY_crm_feature_set": FEATURE_SET,
        **{f"OCF_RESKEY_CRM_meta_{name}": value
           for name, value in _meta(call, place.node, peers, replicas)}}
    if call.action == "monitor" and call.agent.check_level:
        found["OCF_CHECK_LEVEL"] = found["OCF_RESKEY_OCF_CHECK_LEVEL"] = str(call.agent.check_level)
    return {name: value.replace("\0", "") for name, value in found.items()}


def _standard(call: Call, place: Place) -> Mapping[str, str]:
    """Some agents find their commands by HA_SBIN_DIR, others by PATH: ours come first in both.

    Agents log to stderr when no facility and no file is given; then their words are told. What is
    told has a time already: HA_DATEFMT leaves out theirs.
    """
    return {
        "PATH": ":".join((str(place.commands), *_PATH)),
        "OCF_ROOT": str(place.root), "OCF_RA_VERSION_MAJOR": "1", "OCF_RA_VERSION_MINOR": "1",
        "OCF_RESOURCE_INSTANCE": call.instance, "OCF_RESOURCE_TYPE": call.agent.type,
        "OCF_RESOURCE_PROVIDER": call.agent.provider, "OCF_EXIT_REASON_PREFIX": REASON_PREFIX,
        "HA_SBIN_DIR": str(place.commands), "HA_RSCTMP": RSCTMP,
        "HA_LOGFACILITY": "", "HA_LOGFILE": "", "HA_LOGD": "", "HA_use_logd": "off",
        "HA_debug": "0", "HA_DEBUGLOG": "/dev/null", "HA_DATEFMT": " ",
        SHIM_SOCKET: str(place.socket)}


def _meta(call: Call, node: NodeName, peers: Peers,
          replicas: Replicas) -> Iterator[tuple[str, str]]:
    yield "timeout", _milliseconds(call.timeout)
    yield "interval", _milliseconds(call.interval)
    yield "name", call.action
    yield "on_node", node
    yield "on_node_uuid", str(node_id(peers, node))
    if call.agent.promotable:
        yield from _clone(call.agent, replicas.possible or len(peers.nodes))
    if call.agent.notify:
        yield from _replicas(call, node, peers, replicas)


def _clone(agent: Agent, possible: int) -> Iterator[tuple[str, str]]:
    """A promotable service is what Pacemaker calls an anonymous promotable clone."""
    yield from (("clone", "0"), ("clone_max", str(possible)), ("clone_node_max", "1"),
                ("globally_unique", "false"), ("promotable", "true"),
                ("notify", "true" if agent.notify else "false"))
    for word in ("promoted", "master"):  # the second is of before Pacemaker 2.1
        yield from ((f"{word}_max", "1"), (f"{word}_node_max", "1"))


def _replicas(call: Call, node: NodeName, peers: Peers,
              replicas: Replicas) -> Iterator[tuple[str, str]]:
    """What an agent is told of all replicas: as they were before the change, also after it."""
    kind, operation = call.notify
    if operation:
        yield from (("notify_type", kind), ("notify_operation", operation),
                    ("notify_key_type", kind),
                    ("notify_key_operation", _DONE[operation] if kind == "post" else operation))
    change = operation or call.action
    lists = {"active": replicas.active, "promoted": replicas.promoted,
             "master": replicas.promoted, "unpromoted": replicas.unpromoted,
             "slave": replicas.unpromoted,
             **{one: (call.subject or node,) if one == change else () for one in _DONE}}
    for what, nodes in lists.items():
        yield f"notify_{what}_uname", _list(nodes)
        yield f"notify_{what}_resource", _list((call.instance,) * len(nodes))
    inactive = (replicas.possible or len(peers.nodes)) - len(replicas.active)
    yield "notify_inactive_resource", _list((call.instance,) * inactive)
    yield "notify_available_uname", _list(peers.online)
    yield "notify_all_uname", _list(peers.nodes)
    yield "notify_all_hosts", _list(peers.nodes)


def _list(items: tuple[str, ...]) -> str:
    return " ".join(items) or NOTHING


def _milliseconds(span: Duration) -> str:
    return str(span // MILLISECOND)
