"""Debian's keepalived in the lab: the same nodes, the same two addresses, the same treatment.

It is set up for the comparison as its manual advises for speed: VRRPv3 with adverts in unicast,
real-time priority and locked memory as hamgr has them. Two traps are minded: all nodes share one
/run, so each has PID files of its own; and with a real-time priority keepalived limits the time
that it may compute without blocking (RLIMIT_RTTIME, 10 ms unless told otherwise), by which the
kernel then kills it on a busy machine. The limit here is a minute.
"""

import json
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hamgr.core.types import SECOND, Instant
from hamgr.lab import netns, network
from hamgr.lab.cgroup import Cgroup
from hamgr.lab.lab import Lab
from hamgr.lab.node import Node
from hamgr.lab.spec import VIP, VIP6, LabError, address
from tests.bench.settings import Setting

PART = "keepalived"
_PARENT, _CHILD, _LEAVE = "parent.pid", "vrrp.pid", "leave"
_VRRP, _PROTOCOL_AT = 112, 9
_RT_PRIORITY = 40
"""SCHED_RR, as hamgr's agent."""
_RTTIME_US = 60_000_000
_READY_WITHIN_S, _STEP_S = 30.0, 0.02
_CALM_INTERVALS = 4
"""Longer than its master-down interval (3 and the skew): by then whoever meant to take over has."""
_CALM_S = 0.3
_STATES = re.compile(r"\(app\) Entering (\w+) STATE")


_CONFIGURATION = """global_defs {{
    router_id {node}
    vrrp_version 3
    vrrp_rt_priority {rt_priority}
    vrrp_rlimit_rttime {rttime_us}
    vrrp_no_swap
    max_auto_priority -1
}}
track_file leave {{
    file "{leave}"
    weight 0
    init_file 0
}}
vrrp_instance app {{
    state BACKUP
    nopreempt
    interface {advert_interface}
    virtual_router_id 51
    priority {priority}
    advert_int {advert_int:g}
    unicast_src_ip {source}
    unicast_peer {{
{peers}
    }}
    virtual_ipaddress {{
        {vip}/24 dev {interface}
    }}
    virtual_ipaddress_excluded {{
        {vip6}/64 dev {interface}
    }}
{tracked}    track_file {{
        leave
    }}
}}
"""


def available() -> str:
    """Return where the program is; empty when the package is not installed."""
    return shutil.which("keepalived") or ""


def configuration(setting: Setting, lab: Lab, node: str) -> str:
    """Return the configuration file of a node."""
    ring, interface = setting.advert_ring, network.interface(1)
    peers = "\n".join(f"        {address(peer, ring)}"
                      for peer in lab.spec.node_names if peer != node)
    return _CONFIGURATION.format(
        node=node, rt_priority=_RT_PRIORITY, rttime_us=_RTTIME_US,
        leave=lab.nodes[node].directory / _LEAVE, interface=interface, vip=VIP, vip6=VIP6,
        advert_interface=network.interface(ring), advert_int=setting.interval / SECOND,
        priority=setting.priorities[lab.spec.node_names.index(node)],
        source=address(node, ring), peers=peers,
        tracked="" if ring == 1 else f"    track_interface {{ {interface} }}\n")


class Keepalived:
    """keepalived on every node of a lab."""

    part = PART

    def __init__(self, setting: Setting, lab: Lab) -> None:
        self.setting = setting
        self.lab = lab
        self._stopping: list[str] = []
        """Told to stop in order, which takes a second or so: longer than some faults last."""

    def start(self) -> None:
        """Start it where it does not run."""
        for name, node in self.lab.nodes.items():
            if not _group(node).populated:
                file = node.directory / "keepalived.conf"
                file.write_text(configuration(self.setting, self.lab, name))
                (node.directory / _LEAVE).write_text("0")
                for left in (_PARENT, _CHILD):  # a reboot empties /run; a killed parent may be a
                    (node.directory / left).unlink(missing_ok=True)  # zombie for a while
                _group(node).start(node.namespace, _command(node, file), node.log(PART))

    def wait_ready(self) -> None:
        """Return once one node has the address, all others are backups, and that has lasted."""
        calm_s = _CALM_S + _CALM_INTERVALS * self.setting.interval / SECOND
        end, since, last = time.monotonic() + _READY_WITHIN_S, time.monotonic(), ""
        while last == "" or time.monotonic() - since < calm_s:
            if time.monotonic() > end:
                raise LabError(f"{self.setting}: no one master within {_READY_WITHIN_S:g} s\n"
                               + "\n".join(node.tail(PART) for node in self.lab.nodes.values()))
            time.sleep(_STEP_S)
            if (now := self._owner()) != last:
                last, since = now, time.monotonic()

    def restore(self) -> None:
        """Mend the lab, start what does not run, and have everybody take part again."""
        self.lab.heal()
        for node in self.lab.nodes.values():
            group = _group(node)
            group.freeze(False)
            for pid in group.pids():
                group.signal(pid, signal.SIGCONT)
            (node.directory / _LEAVE).write_text("0")
        while self._stopping:
            _group(self.lab.nodes[self._stopping.pop()]).wait_empty()
        self.start()
        self.wait_ready()

    def recorders(self) -> dict[str, list[dict[str, Any]]]:
        """Return nothing: it keeps a log, without monotonic times."""
        return {}

    def heartbeat(self, packet: bytes) -> bool:
        """Tell whether it is an advert."""
        return packet[_PROTOCOL_AT] == _VRRP

    def switch_over(self, owner: str) -> Instant:
        """Have a tracked file put the owner into FAULT, as a maintenance script does."""
        at = time.monotonic_ns()
        (self.lab.nodes[owner].directory / _LEAVE).write_text("1")
        return at

    def stop(self, owner: str) -> Instant:
        """SIGTERM the parent, as systemd does."""
        self._stopping.append(owner)
        return self._signal(owner, _PARENT, signal.SIGTERM)

    def kill(self, owner: str) -> Instant:
        """Kill the VRRP child, which decides and sends; its parent lives."""
        return self._signal(owner, _CHILD, signal.SIGKILL)

    def freeze(self, owner: str) -> Instant:
        """Stop the VRRP child; its parent goes on."""
        return self._signal(owner, _CHILD, signal.SIGSTOP)

    def freeze_all(self, owner: str) -> Instant:
        """Stop parent and child."""
        at = time.monotonic_ns()
        _group(self.lab.nodes[owner]).freeze(True)
        return at

    def _owner(self) -> str:
        """Return who has the address, if it is one alone and all others are its backups."""
        nodes = self.lab.nodes.values()
        owners = [node.name for node in nodes if _has_address(node)]
        states = {node.name: _state(node) for node in nodes}
        calm = all(state == ("MASTER" if name in owners else "BACKUP")
                   for name, state in states.items())
        return owners[0] if len(owners) == 1 and calm else ""

    def _signal(self, name: str, file: str, number: signal.Signals) -> Instant:
        node = self.lab.nodes[name]
        pid = int((node.directory / file).read_text())
        at = time.monotonic_ns()
        _group(node).signal(pid, number)
        return at


def _command(node: Node, file: Path) -> list[str]:
    return [available(), "--dont-fork", "--vrrp", "--log-console", "--no-syslog", "--log-detail",
            "--use-file", str(file), "--pid", str(node.directory / _PARENT),
            "--vrrp_pid", str(node.directory / _CHILD)]


def _group(node: Node) -> Cgroup:
    return node.cgroup.below(PART)


def _has_address(node: Node) -> bool:
    shown = netns.run("ip", "-n", node.namespace, "-json", "address", "show", "to", VIP)
    return any(link.get("addr_info") for link in json.loads(shown))


def _state(node: Node) -> str:
    """Return the last state that the log tells of; empty before the first."""
    with suppress(FileNotFoundError):
        if found := _STATES.findall(node.log(PART).read_text(errors="replace")):
            return str(found[-1])
    return ""
