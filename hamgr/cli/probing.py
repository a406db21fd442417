"""Who answers for each VIP on the wire, asked from this node: the third truth of `hamgr status`."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hamgr.agent.facts import AgentStatus, KernelAddress
from hamgr.cli.survey import Wire
from hamgr.core.types import NodeName

WITHIN_S = 0.2


def wire_truth(status: AgentStatus) -> dict[str, Wire]:
    """Ask for every VIP at once; return by address who answers."""
    if not status.addresses:
        return {}
    here = Path("/proc/self/ns/net").stat().st_ino
    if here != status.process.network_namespace:
        elsewhere = Wire(asked=False, why="the agent lives in another network namespace")
        return {vip.address: elsewhere for vip in status.addresses}
    owners = mac_owners(status.rings, Path("/proc/net/arp").read_text())
    with ThreadPoolExecutor(len(status.addresses)) as threads:
        answers = threads.map(lambda vip: _ask(vip, owners), status.addresses)
        return {vip.address: wire
                for vip, wire in zip(status.addresses, answers, strict=True)}


def mac_owners(rings: Mapping[NodeName, tuple[str, ...]], table: str) -> dict[str, NodeName]:
    """Return whose each MAC is, from the kernel's table of neighbours (/proc/net/arp)."""
    nodes = {address: node for node, addresses in rings.items() for address in addresses}
    owners = {}
    for line in table.splitlines()[1:]:
        address, _, _, mac, *_ = line.split()
        if address in nodes and mac != "00:00:00:00:00:00":
            owners[mac.lower()] = nodes[address]
    return owners


def _ask(vip: KernelAddress, owners: Mapping[str, NodeName]) -> Wire:
    if not vip.interface:
        return Wire(asked=False, why="no interface of this node is in its subnet")
    from hamgr.adapters.net.probe import wire_owner

    try:
        mac = wire_owner(vip.address.partition("/")[0], vip.interface, WITHIN_S)
    except OSError as error:
        return Wire(asked=False, why=f"cannot ask: {error.strerror or error}")
    return Wire(asked=True, mac=mac or "", node=owners.get((mac or "").lower(), ""))
