"""What the lab's switch sees of a node: when it sends a heartbeat, and how many frames it sends."""

import json
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

from hamgr.core.types import SECOND, Instant
from hamgr.lab import netns, network
from hamgr.lab.lab import Lab
from hamgr.lab.spec import SWITCH, LabError, namespace

Heartbeats = Callable[[bytes], bool]
"""Tells from the packet, beginning with its IPv4 header, whether it is a regular heartbeat."""
_ETH_P_ALL, _ETH_P_IP = 3, 0x0800
_ETHERNET = struct.Struct("!6s6sH")
_TABLE = "bridge bench"
_BUFFER = 1 << 20
"""Bytes. Enough for what the client's requests leave in it while a heartbeat is waited for."""


class Counted(NamedTuple):
    """Frames that one node has sent since the counting began."""

    heartbeats: int
    all: int


def count(lab: Lab) -> None:
    """Have the switch count, from now on, what each node sends, before any of it is lost."""
    names = [name for node in lab.spec.node_names for name in (f"{node}-heartbeats", f"{node}-all")]
    counters = "\n".join(f'counter {name} {{ }}' for name in names)
    rules = [f'iifname "{node}-r*" {what} counter name {node}-{kind}'
             for node in lab.spec.node_names
             for what, kind in (("", "all"), *((match, "heartbeats")
                                               for match in network.HEARTBEATS))]
    chain = "\n".join(("type filter hook prerouting priority -400; policy accept;", *rules))
    _nft(lab, "-f", "-", script=f"table {_TABLE} {{\n{counters}\nchain sent {{\n{chain}\n}}\n}}\n")


def counted(lab: Lab) -> dict[str, Counted]:
    """Return what each node has sent so far."""
    listed = json.loads(_nft(lab, "-j", "list", "counters", "table", *_TABLE.split()))
    packets = {entry["counter"]["name"]: entry["counter"]["packets"]
               for entry in listed["nftables"] if "counter" in entry}
    return {node: Counted(packets[f"{node}-heartbeats"], packets[f"{node}-all"])
            for node in lab.spec.node_names}


def wait_heartbeat(lab: Lab, node: str, ring: int, heartbeats: Heartbeats,
                   within_s: float) -> Instant:
    """Return when a node has sent its next heartbeat. Raises LabError if it sends none."""
    with netns.open_socket(namespace(lab.spec.name, SWITCH), socket.AF_PACKET, socket.SOCK_RAW,
                           socket.htons(_ETH_P_ALL)) as sock:
        # Of a bridge's port, only sockets for all protocols see what comes in.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        sock.bind((network.port(node, ring), _ETH_P_ALL))
        end = time.monotonic_ns() + int(within_s * SECOND)
        while (left := end - time.monotonic_ns()) > 0:
            if select.select([sock], [], [], left / SECOND)[0] and _is_one(sock, heartbeats):
                return time.monotonic_ns()
    raise LabError(f"{node} sends no heartbeat within {within_s:g} s")


def _is_one(sock: socket.socket, heartbeats: Heartbeats) -> bool:
    frame, (_, _, kind, *_) = sock.recvfrom(2048)
    if kind == socket.PACKET_OUTGOING or len(frame) < _ETHERNET.size:
        return False
    ip = _ETHERNET.unpack_from(frame)[2] == _ETH_P_IP
    return ip and heartbeats(frame[_ETHERNET.size:])


def _nft(lab: Lab, *words: str, script: str = "") -> str:
    space = netns.NETNS / namespace(lab.spec.name, SWITCH)
    return netns.run("nsenter", f"--net={space}", "nft", *words, script=script)
