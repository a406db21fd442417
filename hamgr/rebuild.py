"""Writing ZooKeeper's data anew, when it was lost or restored from an old copy (rule 25).

The newest plan that a majority of voters knows is written under a new cluster id. Everybody who is
not heard must be vouched for as powered off: a node that read a later plan could act on it.

This is an operator's act, not a decision of the engine's: it reads what one engine knows, and what
it writes that one, like every other, learns by reading it.
"""

from msgspec.structs import replace

from hamgr.core import records as rec
from hamgr.core.effects import Op
from hamgr.core.electorate import majority
from hamgr.core.knowledge import Knowledge
from hamgr.core.types import Instant, Life, NodeName, SeatState


def transaction(knowledge: Knowledge, cluster_id: str,
                down: tuple[NodeName, ...]) -> tuple[tuple[Op, ...], str]:
    """Return what writes root, leader and plan anew, and a sentence; asked once nothing refuses it.

    `cluster_id`: the new random id. `down`: nodes that the operator vouches for as powered off.
    """
    assert knowledge.plan is not None
    plan = _plan_far_above(knowledge.plan, knowledge.node)
    root = rec.Root(cluster_id=cluster_id,
                    follows=(*(knowledge.root.follows if knowledge.root else ()),
                             knowledge.cluster_id))
    leader = rec.Leader(term=(knowledge.leader.term if knowledge.leader else 0) + 1)
    ops = (_put(rec.ROOT, knowledge, root), _put(rec.LEADER, knowledge, leader),
           _put(rec.PLAN, knowledge, plan), *_bury(knowledge, down))
    return ops, f"plan {knowledge.plan.revision} is written anew as plan {plan.revision}"


def refusal(knowledge: Knowledge, down: tuple[NodeName, ...], now: Instant) -> str:
    """Say why a rebuild would not be safe now, or not needed, or nothing."""
    if not knowledge.unsound():
        return "ZooKeeper has this cluster's data: there is nothing to rebuild"
    if not knowledge.connected or not knowledge.root_read or rec.PLAN not in knowledge.versions:
        return "this node cannot read ZooKeeper, which has to serve before"
    if knowledge.plan is None:
        return "this node knows no plan"
    peers, heard = knowledge.liveness.peers, [knowledge.node]
    for node in down:
        # Declared dead, it would lose rights on which it may be active.
        if knowledge.liveness.is_heard(node, now):
            return f"{node} is heard: it is not down"
        if node not in peers:
            return f"{node}, said to be down, is no node of this cluster"
    for node, peer in peers.items():
        if knowledge.liveness.is_heard(node, now) and peer.heartbeat is not None:
            if peer.heartbeat.revision > knowledge.plan.revision:
                return f"{node} knows a newer plan: rebuild from there"
            heard.append(node)
        elif node not in down:
            return f"{node} is not heard: see that it is powered off, and say so (--down {node})"
    names = knowledge.voters.names
    if sum(name in heard for name in names) < majority(names):
        return "no majority of voters is heard"
    return ""


def _plan_far_above(plan: rec.Plan, by: str) -> rec.Plan:
    groups: dict[str, rec.GroupPlan] = {
        name: replace(group, top_epoch=group.top_epoch + rec.EPOCHS_SKIPPED)
        for name, group in plan.groups.items()}
    return replace(plan, revision=plan.revision + rec.EPOCHS_SKIPPED, by=by, groups=groups,
                   why="rebuilt by an operator")


def _put(path: str, knowledge: Knowledge, record: rec.Record) -> Op:
    version = knowledge.versions.get(path, -1)
    if version >= 0:
        return Op(kind="set", path=path, version=version, record=record)
    return Op(kind="create", path=path, record=record)


def _bury(knowledge: Knowledge, down: tuple[NodeName, ...]) -> list[Op]:
    """Declare dead whom the operator vouches for: their rights would stand for ever else."""
    ops = []
    for node in dict.fromkeys(down):
        life = max(knowledge.liveness.peers[node].known, Life(1, 0))
        seat = rec.Seat(incarnation=life.incarnation, round=life.round, state=SeatState.DEAD,
                        by=knowledge.node, why="down by an operator's word")
        ops.append(_put(rec.seat_path(node), knowledge, seat))
    return ops
