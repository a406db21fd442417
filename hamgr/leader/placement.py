"""Where a group may go, and why not elsewhere: pure functions of what the leader knows."""

from collections.abc import Callable, Collection

from hamgr.core.heartbeat import GroupWord, Heartbeat
from hamgr.core.knowledge import Knowledge
from hamgr.core.spec import GroupSpec
from hamgr.core.types import Instant, NodeName, SeatState

FAILED_LATELY = "a service of the group failed there beyond its limit"
"""Why a node gets the group only if no other can have it."""
IN_STANDBY = "in standby"
Says = Callable[[NodeName], Heartbeat | None]
"""A node's newest word on itself, if it is heard; our own for ourselves."""


def unfitness(node: NodeName, group: GroupSpec, knowledge: Knowledge, says: Says,
              standby: Collection[NodeName]) -> str:
    """Say why a node cannot be given a group now, or nothing if it can."""
    if node not in group.nodes:
        return "not among the group's nodes"
    why = node_unfitness(node, knowledge, says, standby)
    said = says(node)
    return why or (own_unfitness(said.word(group.name)) if said is not None else "")


def node_unfitness(node: NodeName, knowledge: Knowledge, says: Says,
                   standby: Collection[NodeName]) -> str:
    """Say why a node cannot be given any group now, or nothing."""
    spec = knowledge.spec.node(node)
    if spec is None:
        return "not configured"
    if spec.witness:
        return "a witness runs no group"
    if node in standby:
        return IN_STANDBY
    seen = knowledge.seats.get(node)
    if seen is None:
        return "has never joined"
    if seen.seat.state is SeatState.DEAD:
        return "it fell silent, and was declared dead"
    if seen.seat.state is SeatState.LEFT:
        return "its agent was stopped"
    heartbeat = says(node)
    if heartbeat is None:
        return "not heard"
    if heartbeat.lapsed:
        return "its lease has lapsed"
    if heartbeat.leaving:
        return "it is about to leave"
    return "is between two rounds" if heartbeat.life != seen.seat.life else ""


def own_unfitness(word: GroupWord | None) -> str:
    """Say why a node, by its own word, cannot have a group, or nothing."""
    if word is None or word.fit:
        return ""
    return word.why or (FAILED_LATELY if word.failed else "its own conditions for the group fail")


def is_last_resort(word: GroupWord | None) -> bool:
    """Tell whether a node is to be given a group if no other can have it."""
    return word is not None and not word.fit and word.failed


def heir_weakness(node: NodeName, holder: NodeName, knowledge: Knowledge, says: Says,
                  now: Instant) -> str:
    """Say why a node that is fit would be a weak heir, or nothing (rules 18, 19)."""
    seen = knowledge.seats.get(node)
    if seen is None or seen.seat.state is not SeatState.MEMBER:
        return "still on a claim"
    accusers = knowledge.liveness.accusers(node, seen.seat.life, now)
    if accusers:
        return f"accused by {', '.join(accusers)}"
    heartbeat = says(node)
    if heartbeat is not None and not outlives(heartbeat, holder, knowledge, says):
        return "its lease rests on the holder"
    return ""


def outlives(heartbeat: Heartbeat, holder: NodeName, knowledge: Knowledge, says: Says) -> bool:
    """Tell whether a node has credits from a majority that does not need the holder (rule 18).

    Where so few voters are left that nobody could, it is not asked (rule 20).
    """
    electorate = knowledge.electorate
    alive = [voter for voter in electorate.names if voter != holder and says(voter) is not None]
    if len(alive) < electorate.majority:
        return True
    return electorate.is_majority({*heartbeat.credits, heartbeat.sender} - {holder})
