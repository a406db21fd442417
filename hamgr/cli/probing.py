"""Who answers for each VIP on the wire, asked from this node: the third truth of `hamgr status`.

Whose a MAC is, is known from this node's own interfaces; from the kernel's table of neighbours, for
every network that is a ring; and, for others, from what the agents say in ZooKeeper, which is asked
only if a MAC is unknown otherwise.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from hamgr.agent.facts import AgentStatus
from hamgr.cli.survey import Answer, Wire
from hamgr.core.types import NodeName

WITHIN_S = 0.2
INTERFACES = Path("/sys/class/net")
NO_INTERFACE = "no interface of this node is in its subnet"


def wire_truth(status: AgentStatus) -> dict[str, Wire]:
    """Ask for every VIP at once; return by address who answers."""
    here = Path("/proc/self/ns/net").stat().st_ino
    if here != status.process.network_namespace:
        elsewhere = Wire(asked=False, why="the agent lives in another network namespace")
        return {vip.address: elsewhere for vip in status.addresses}
    wires = answers([(vip.address, vip.interface) for vip in status.addresses])
    owners = owners_here(status.node, status.rings)
    if unknown(wires, owners) and status.snapshot and status.snapshot.zookeeper:
        owners = _told(Path(status.process.config)) | owners
    return named(wires, owners)


def answers(vips: Sequence[tuple[str, str]]) -> dict[str, Wire]:
    """Ask for VIPs, each (address with prefix length, interface); the MACs have no names yet."""
    if not vips:
        return {}
    with ThreadPoolExecutor(len(vips)) as threads:
        found = threads.map(lambda vip: _ask(*vip), vips)
        return {address: wire for (address, _), wire in zip(vips, found, strict=True)}


def owners_here(node: NodeName, rings: Mapping[NodeName, Iterable[str]]) -> dict[str, NodeName]:
    """Return whose each MAC is, by the kernel: this node's own, and its neighbours' on the rings.

    `rings` are the addresses of each node.
    """
    from hamgr.adapters.net.neighbours import neighbours

    nodes = {ipaddress.ip_address(address.partition("%")[0]).packed: name
             for name, addresses in rings.items() for address in addresses}
    try:
        table = neighbours()
    except OSError:
        table = {}  # then a MAC has no name, which is said
    return ({mac: nodes[packed] for packed, mac in table.items() if packed in nodes}
            | {mac: node for mac in _own_macs() if node})


def _own_macs() -> Iterator[str]:
    for path in INTERFACES.glob("*/address"):
        with suppress(OSError):  # that interface has gone meanwhile
            yield path.read_text().strip()


def unknown(wires: Mapping[str, Wire], owners: Mapping[str, NodeName]) -> bool:
    """Tell whether anybody answered whose MAC has no name."""
    return any(answer.mac not in owners for wire in wires.values() for answer in wire.answers)


def named(wires: Mapping[str, Wire], owners: Mapping[str, NodeName]) -> dict[str, Wire]:
    """Return the same answers with the names of those whose MACs are known."""
    return {address: _named(wire, owners) for address, wire in wires.items()}


def _named(wire: Wire, owners: Mapping[str, NodeName]) -> Wire:
    heard = tuple(Answer(mac=one.mac, node=owners.get(one.mac, "")) for one in wire.answers)
    return replace(wire, answers=heard, node=heard[0].node if heard else "")


def _ask(address: str, interface: str) -> Wire:
    if not interface:
        return Wire(asked=False, why=NO_INTERFACE)
    from hamgr.adapters.net.probe import wire_owners

    try:
        macs = tuple(wire_owners(address.partition("/")[0], interface, WITHIN_S))
    except OSError as error:
        return Wire(asked=False, why=f"cannot ask on {interface}: {error.strerror or error}")
    return Wire(asked=True, mac=macs[0] if macs else "",
                answers=tuple(Answer(mac=mac) for mac in macs))


def _told(config: Path) -> dict[str, NodeName]:
    from hamgr.cli import direct
    from hamgr.config.document import load
    from hamgr.config.faults import ConfigError

    try:
        return direct.macs(load(config))
    except (ConfigError, direct.ZooKeeperDown):
        return {}  # then a MAC has no name, which is said
