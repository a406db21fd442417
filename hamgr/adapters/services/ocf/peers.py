"""What a node knows of the cluster, as far as resource agents ask for it: a picture from outside.

The engine knows all of this; whoever wires the driver gives it a way to look (`OcfAgents.see`).
"""

from collections.abc import Callable

from msgspec import Struct

from hamgr.core.types import GroupName, NodeName, ServiceName


class Replicas(Struct, frozen=True, kw_only=True):
    """On which nodes one service runs, each in the order of the group's nodes."""

    promoted: tuple[NodeName, ...] = ()
    unpromoted: tuple[NodeName, ...] = ()
    """Where it runs without being promoted: in standby, or since it cannot be promoted at all."""
    possible: int = 0
    """On how many nodes it may run: those of its group. 0: on all that there are."""

    @property
    def active(self) -> tuple[NodeName, ...]:
        """Every node on which it runs."""
        return (*self.promoted, *self.unpromoted)


def _nowhere(group: GroupName, service: ServiceName) -> Replicas:
    return Replicas()


class Peers(Struct, frozen=True, kw_only=True):
    """The nodes, and what runs where."""

    nodes: tuple[NodeName, ...]
    """All that are configured, in the order of the file: the n-th has the node id n."""
    online: tuple[NodeName, ...]
    quorate: bool = True
    """Whether this node may lead, or follow a leader: what Pacemaker calls quorum."""
    of: Callable[[GroupName, ServiceName], Replicas] = _nowhere
    """Where a service runs; nowhere, if nothing is known. Found when it is asked for: each action
    asks for its own service alone."""


def alone(node: NodeName) -> Peers:
    """Return the picture of a node that knows of itself only."""
    return Peers(nodes=(node,), online=(node,))


def node_id(peers: Peers, node: NodeName) -> int:
    """Return a node's number, from 1: some agents make keys of it (sg_persist); 0 if unknown."""
    return peers.nodes.index(node) + 1 if node in peers.nodes else 0
