"""What an engine shows of itself: the local half of `hamgr status`, and what tests look at."""

from msgspec import Struct
from msgspec.structs import replace

from hamgr.core.heartbeat import GroupWord
from hamgr.core.knowledge import Knowledge
from hamgr.core.liveness import Peer
from hamgr.core.records import Leader, Plan, Request, Seat
from hamgr.core.rights import GroupRights
from hamgr.core.seat import SeatKeeper
from hamgr.core.types import Duration, Epoch, GroupName, Instant, NodeName, ServiceName
from hamgr.core.voice import Voice
from hamgr.engine import Engine


class PeerView(Struct, frozen=True, kw_only=True):
    """One other node, as this one sees it."""

    node: NodeName
    heard_ago: Duration | None = None
    """None: never heard in this incarnation of ours."""
    rings_ago: tuple[Duration | None, ...] = ()
    incarnation: int = 0
    round: int = 0
    seat: str = ""
    lapsed: bool = False
    credited: bool = False
    """We credit its newest heartbeat."""
    credits_us: bool = False
    """It has credited a heartbeat of ours that has not run out."""
    accused: bool = False
    """We have accused its present life."""
    accused_by: tuple[NodeName, ...] = ()
    blocked: bool = False
    lateness: Duration = 0
    revision: int = 0
    config: str = ""
    version: str = ""
    credits: tuple[NodeName, ...] = ()
    """The voters whose credits it says it holds."""
    words: tuple[GroupWord, ...] = ()
    """What it says of its groups in its newest heartbeat."""


class ServiceView(Struct, frozen=True, kw_only=True):
    """One service of a group on this node."""

    name: ServiceName
    state: str
    """stopped, promoting, promoted, demoting or failed."""
    failures: int = 0
    why: str = ""


class GroupView(Struct, frozen=True, kw_only=True):
    """One group on this node."""

    name: GroupName
    role: str
    """holder, heir, leaving or none: what the plan, as read here, gives this node."""
    phase: str
    """inactive, starting, active, stopping or failed."""
    epoch: Epoch = 0
    """The epoch in use, 0 when inactive."""
    done: Epoch = 0
    fit: bool = True
    unfit_why: str = ""
    failed_lately: bool = False
    """Not fit for one reason alone: a service failed there beyond its limit."""
    armed: bool = False
    maintenance: bool = False
    active_for: Duration | None = None
    why: str = ""
    """The reason of the last change, in words."""
    waits: str = ""
    """What it waits for before it is started here, by the right that this node has."""
    services: tuple[ServiceView, ...] = ()


class Snapshot(Struct, frozen=True, kw_only=True):
    """One node's view of everything, at one instant."""

    cluster: str
    cluster_id: str
    node: NodeName
    incarnation: int
    round: int
    lease: str
    """joining, claimed, member or lapsed."""
    lease_left: Duration
    """Negative: passed so long ago."""
    zookeeper: bool
    zookeeper_why: str
    leader: Leader | None
    leading: bool
    plan: Plan | None
    seats: dict[NodeName, Seat]
    voters: tuple[NodeName, ...]
    lateness: Duration
    peers: tuple[PeerView, ...]
    groups: tuple[GroupView, ...]
    requests: tuple[Request, ...]
    stopping: bool


def snapshot(engine: Engine, now: Instant) -> Snapshot:
    """Return one node's view of everything at `now`."""
    knowledge, seat, voice = engine.knowledge, engine.seat, engine.voice
    return Snapshot(
        cluster=knowledge.spec.name, cluster_id=knowledge.cluster_id, node=knowledge.node,
        incarnation=knowledge.incarnation, round=seat.round, lease=seat.standing.value,
        lease_left=seat.deadline - now if seat.deadline else 0,
        zookeeper=not knowledge.unsound(), zookeeper_why=knowledge.unsound(),
        leader=knowledge.leader, leading=engine.leadership.leads, plan=knowledge.plan,
        seats={node: seen.seat for node, seen in knowledge.seats.items()},
        voters=knowledge.voters.names, lateness=voice.lateness,
        peers=tuple(_peer(peer, knowledge, seat, voice, now)
                    for peer in knowledge.liveness.peers.values()),
        groups=tuple(_group(rights, knowledge, now) for rights in engine.activity.groups.values()),
        requests=tuple(request for request, _ in knowledge.requests.values()),
        stopping=bool(engine.stopping))


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
    unfit = rights.unfitness(now)
    return GroupView(
        name=rights.name, role=role, phase=local.phase.value, epoch=local.epoch, done=rights.done,
        fit=not unfit, unfit_why=unfit,
        failed_lately=rights.failed_lately(now), armed=local.armed,
        maintenance=bool(rights.maintained), why=local.occasion.why,
        waits="" if local.is_active else rights.waits_for or rights.doubted,
        active_for=now - local.active_since if local.phase.value == "active" else None,
        services=tuple(ServiceView(name=one.spec.name, state=one.state, why=one.why,
                                   failures=one.failures(now)) for one in local.services))
