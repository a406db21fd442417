"""What arrives on each ring, by the agent that was asked: a ring that is dark is no second way."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_interface

from hamgr.agent.facts import AgentStatus
from hamgr.cli.comparing import degraded
from hamgr.cli.survey import Problem, Wire
from hamgr.core.types import NodeName
from hamgr.snapshot import PeerView


def is_silent(peer: PeerView, status: AgentStatus) -> bool:
    """Tell whether nothing is heard of a node, on any ring."""
    return peer.heard_ago is None or peer.heard_ago > status.spec.timing.detection


def dark_rings(peer: PeerView, status: AgentStatus) -> list[int]:
    """Return the rings, from 1, on which nothing is heard of a node, those never heard on too."""
    count = max(len(status.rings.get(peer.node, ())), len(peer.rings_ago))
    agos = peer.rings_ago + (None,) * (count - len(peer.rings_ago))
    return [number for number, ago in enumerate(agos, 1)
            if ago is None or ago > status.spec.timing.detection]


def ring_problems(status: AgentStatus) -> Iterator[Problem]:
    """Yield the rings on which nodes are silent that are heard on others."""
    dark = {node: rings for node, rings in _dark(status).items() if rings}
    for ring in sorted({ring for rings in dark.values() for ring in rings}):
        names = [node for node, rings in dark.items() if ring in rings]
        yield degraded(f"nothing is heard on ring {ring} of {' and '.join(names)}, which "
                       f"{'is' if len(names) == 1 else 'are'} up: look at links, switches and "
                       "firewalls there, since what is left must not fail too")


def seen_from_here(status: AgentStatus, wires: Mapping[str, Wire]) -> dict[str, Wire]:
    """Return the answers on the wire, but for a silence that only says that this node is deaf.

    Where nobody is heard on the ring in whose network an address is, no answer could arrive.
    """
    return {address: _from_here(status, address, wire) for address, wire in wires.items()}


def _from_here(status: AgentStatus, address: str, wire: Wire) -> Wire:
    network, dark = ip_interface(address).network, _dark(status)
    for ring, own in enumerate(status.rings.get(status.node, ()), 1):
        if (wire.asked and not wire.answers and ip_address(own.partition("%")[0]) in network
                and dark and all(ring in rings for rings in dark.values())):
            return Wire(asked=False, why=f"cannot tell from {status.node}, which hears nobody on "
                                         f"ring {ring}, in that network")
    return wire


def _dark(status: AgentStatus) -> dict[NodeName, list[int]]:
    """Return, for each node that is heard at all, the rings on which it is not."""
    peers = status.snapshot.peers if status.snapshot is not None else ()
    return {peer.node: dark_rings(peer, status) for peer in peers
            if peer.node != status.node and not is_silent(peer, status)}
