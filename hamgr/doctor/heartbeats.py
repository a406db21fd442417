"""Checks of what the agent hears, and on which ring."""

from collections.abc import Iterator

from hamgr.agent.facts import AgentStatus
from hamgr.core.types import SECOND, Duration, NodeName
from hamgr.doctor.finding import Finding, fault, note, ok, warning
from hamgr.snapshot import PeerView

RINGS = "rings_last_minute"
LOSS_NOTE, LOSS_WARNING, LOSS_FAULT = 0.001, 0.01, 0.05
"""Shares of heartbeats. A node is accused when three in a row are missing on all its rings: on a
single ring, with an interval of 100 ms, by chance about once in a day at 1 %, in a quarter of an
hour at 5 % (1 / loss³ intervals; hamgr sends more of them while it sees loss)."""
ENOUGH = 50
"""Heartbeats of which a share says something."""
EVERYBODY_HEARS_EVERYBODY = 7
"""In a larger cluster nodes without a vote exchange heartbeats with the voters alone."""


def heard(agent: AgentStatus) -> tuple[NodeName, ...]:
    """Return the other nodes that are heard just now."""
    peers = agent.snapshot.peers if agent.snapshot else ()
    return tuple(peer.node for peer in peers if _fresh(agent, peer.heard_ago))


def rings(agent: AgentStatus) -> Iterator[Finding]:
    """Every other node is heard, and on every ring."""
    count = len(agent.rings.get(agent.node, ()))
    for node in (spec.name for spec in agent.spec.nodes if spec.name != agent.node):
        if node not in heard(agent):
            yield _unheard(agent, node)
            continue
        silent = _silent(agent, node)
        for ring, ago in silent.items():
            yield fault(f"{node}, ring {ring + 1}", f"{_since(ago)} on this ring, and heard on "
                        "another one", f"look at the interfaces, cables and switch between "
                        f"{agent.rings[agent.node][ring]} and {agent.rings[node][ring]}, and at "
                        "firewalls: UDP, both ways, on the heartbeats' port")
        if not silent:
            yield ok(node, f"heard on {'every ring' if count > 1 else 'the ring'}")
    if count == 1:
        yield note("cluster", "there is one ring: a switch or cable that fails cuts nodes off",
                   "give every node a second address, on a network and a switch of its own")


def loss(agent: AgentStatus) -> Iterator[Finding]:
    """Heartbeats arrive, on each ring, as many as were sent."""
    counted = agent.counters.get(RINGS, {})
    for node in heard(agent):
        for ring in range(len(agent.rings.get(agent.node, ()))):
            if ring in _silent(agent, node):
                continue  # that is told by `rings`
            lost = counted.get(f"lost.{node}.{ring}", 0)
            sent = lost + counted.get(f"heard.{node}.{ring}", 0)
            if sent >= ENOUGH:
                yield _lost(f"{node}, ring {ring + 1}", lost, sent)


def _lost(where: str, lost: int, sent: int) -> Finding:
    share = lost / sent
    told = f"{lost} of {sent} heartbeats from there were lost in the last minute ({share:.1%})"
    remedy = ("look for errors, drops and a full queue on both interfaces (`ip -s link`) and at "
              "the switch, for a duplex mismatch, and for a firewall that limits rates")
    if share >= LOSS_FAULT:
        return fault(where, told, remedy)
    if share >= LOSS_WARNING:
        return warning(where, told, remedy)
    return note(where, told, remedy) if share >= LOSS_NOTE else ok(where, told)


def _silent(agent: AgentStatus, node: NodeName) -> dict[int, Duration | None]:
    """Return the rings, from 0, on which a node is not heard just now, and since when."""
    count = len(agent.rings.get(agent.node, ()))
    ago = _peer(agent, node).rings_ago + (None,) * count
    return {ring: ago[ring] for ring in range(count) if not _fresh(agent, ago[ring])}


def _peer(agent: AgentStatus, node: NodeName) -> PeerView:
    peers = agent.snapshot.peers if agent.snapshot else ()
    return next((peer for peer in peers if peer.node == node), PeerView(node=node))


def _unheard(agent: AgentStatus, node: NodeName) -> Finding:
    plan = agent.snapshot.plan if agent.snapshot else None
    voting = plan.voters.voting if plan else agent.spec.voters
    strangers = len(agent.spec.nodes) > EVERYBODY_HEARS_EVERYBODY and not (
        {node, agent.node} & {*voting})
    if strangers:
        return note(node, "not heard: neither it nor this node votes, so they need not talk")
    return fault(node, f"{_since(_peer(agent, node).heard_ago)} on any ring",
                 f"see whether its agent runs: `hamgr status` there; whether UDP reaches "
                 f"{', '.join(agent.rings.get(node, ()))}; and `dropped` in `hamgr status` here")


def _fresh(agent: AgentStatus, ago: Duration | None) -> bool:
    return ago is not None and ago <= agent.spec.timing.detection


def _since(ago: Duration | None) -> str:
    return "never heard" if ago is None else f"not heard for {ago / SECOND:.1f} s"
