"""The snapshot of an engine: what `hamgr status` shows of a node."""

from msgspec.structs import replace

from hamgr.core.activity import Activity
from hamgr.core.knowledge import Knowledge
from hamgr.core.liveness import Peer
from hamgr.core.rights import GroupRights
from hamgr.core.seat import SeatKeeper
from hamgr.core.snapshot import GroupView, PeerView, Snapshot
from hamgr.core.types import Instant
from hamgr.core.voice import Voice


def snapshot(knowledge: Knowledge, seat: SeatKeeper, activity: Activity, leading: bool,
             voice: Voice, stopping: bool, now: Instant) -> Snapshot:
    """Return one node's view of everything at `now`."""
    return Snapshot(
        cluster=knowledge.spec.name, cluster_id=knowledge.cluster_id, node=knowledge.node,
        incarnation=knowledge.incarnation, round=seat.round, lease=seat.standing.value,
        lease_left=seat.deadline - now if seat.deadline else 0,
        zookeeper=not knowledge.unsound(), zookeeper_why=knowledge.unsound(),
        leader=knowledge.leader, leading=leading, plan=knowledge.plan,
        seats={node: seen.seat for node, seen in knowledge.seats.items()},
        voters=knowledge.voters.names, warm=voice.is_warm(now), lateness=voice.lateness,
        peers=tuple(_peer(peer, knowledge, seat, voice, now)
                    for peer in knowledge.liveness.peers.values()),
        groups=tuple(_group(rights, knowledge, now) for rights in activity.groups.values()),
        requests=tuple(request for request, _ in knowledge.requests.values()),
        stopping=stopping)


def _peer(peer: Peer, knowledge: Knowledge, seat: SeatKeeper, voice: Voice,
          now: Instant) -> PeerView:
    heartbeat = peer.heartbeat
    rings = range(max(peer.rings, default=-1) + 1)
    view = PeerView(
        node=peer.node,
        heard_ago=None if peer.heard_at is None else now - peer.heard_at,
        rings_ago=tuple(now - peer.rings[ring] if ring in peer.rings else None for ring in rings),
        incarnation=peer.known.incarnation, round=peer.known.round,
        credited=voice.credits(peer, now),
        credits_us=peer.node in seat.lease.creditors(now), accused=peer.is_accused,
        accused_by=knowledge.liveness.accusers(peer.node, peer.known, now),
        blocked=bool(knowledge.blocked(peer.node, peer.known, now)))
    if heartbeat is None:
        return view
    return replace(view, seat=heartbeat.seat, lapsed=heartbeat.lapsed,
                   lateness=heartbeat.lateness, revision=heartbeat.revision,
                   config=heartbeat.config, version=heartbeat.version, credits=heartbeat.credits,
                   words=heartbeat.groups)


def _group(rights: GroupRights, knowledge: Knowledge, now: Instant) -> GroupView:
    local = rights.local
    plan = knowledge.plan.groups.get(rights.name) if knowledge.plan is not None else None
    role = "none"
    if plan is not None:
        for right, name in ((plan.holder, "holder"), (plan.heir, "heir")):
            if right is not None and right.node == knowledge.node:
                role = name
        if role == "none" and any(right.node == knowledge.node for right in plan.leaving):
            role = "leaving"
    unfit = rights.condition_why or (
        "" if rights.is_fit(now) else "a service failed here beyond its limit")
    return GroupView(
        name=rights.name, role=role, phase=local.phase.value, epoch=local.epoch, done=rights.done,
        fit=rights.is_fit(now), unfit_why=unfit, armed=local.armed,
        maintenance=bool(rights.maintained), why=local.occasion.why,
        active_for=now - local.active_since if local.phase.value == "active" else None,
        services=local.views())
