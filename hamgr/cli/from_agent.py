"""From what an agent answers to what `hamgr status` says: pure functions."""

from collections.abc import Iterator, Mapping

from hamgr.agent.facts import SWITCH, SWITCH_CHILD, AgentStatus
from hamgr.cli.comparing import degraded, failed, wire_problems
from hamgr.cli.drops import drop_notes, drop_problems
from hamgr.cli.fitness import fit_notes, fit_problems
from hamgr.cli.keyring import key_problems
from hamgr.cli.rings import dark_rings, is_silent, ring_problems, seen_from_here
from hamgr.cli.survey import GroupRow, NodeRow, Problem, Survey, VipRow, Wire, verdict
from hamgr.core.doubts import NOT_FENCED
from hamgr.core.parts import VOTERS_MAX
from hamgr.core.records import GroupPlan, Plan, Seat
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec
from hamgr.core.timing import Timing
from hamgr.core.types import MILLISECOND, SECOND, NodeName, SeatState
from hamgr.ports import WatchdogFacts
from hamgr.snapshot import GroupView, PeerView, Snapshot

NOT_ASKED = Wire(asked=False, why="not asked")


def survey(status: AgentStatus, wire: Mapping[str, Wire]) -> Survey:
    """Return the survey; wire says who answers for each address, by its text."""
    me = status.process
    asked = (f"the agent on {status.node} (process {me.pid}, {me.realtime}, "
             f"memory {'' if me.memory_locked else 'not '}locked, {_watchdog(status.watchdog)}"
             f"at worst {me.worst_lateness_ms:.0f} ms late)")
    snapshot = status.snapshot
    if snapshot is None:
        why = status.process.why or f"the agent on {status.node} is {status.process.phase}"
        return Survey(source="agent", asked=asked, cluster=status.spec.name, node=status.node,
                      problems=(Problem(severity="unknown", text=why),), verdict="unknown")
    nodes = tuple(_node(status, snapshot, spec) for spec in status.spec.nodes)
    wire = seen_from_here(status, wire)
    groups = tuple(_group(status, snapshot, spec, wire) for spec in status.spec.groups)
    problems = tuple(_problems(status, snapshot, nodes, groups))
    alive = {node.name for node in nodes if node.alive}
    heard = sum(1 for voter in snapshot.voters if voter in alive)
    leader = snapshot.leader
    return Survey(
        source="agent", asked=asked, cluster=snapshot.cluster, cluster_id=snapshot.cluster_id,
        node=snapshot.node, leader=leader.node if leader else "", term=leader.term if leader else 0,
        plan_revision=snapshot.plan.revision if snapshot.plan else 0,
        zookeeper=_zookeeper(status, snapshot),
        voters_heard=heard, voters=len(snapshot.voters),
        survives=max(0, heard - (len(snapshot.voters) // 2 + 1)),
        nodes=nodes, groups=groups,
        requests=tuple(f"{request.kind} {request.group or request.node}".strip()
                       for request in snapshot.requests if request.state == "open"),
        notes=(*_switch_notes(status), *fit_notes(status, groups), *drop_notes(status)),
        counters=status.counters, problems=problems, verdict=verdict(problems))


def _watchdog(watchdog: WatchdogFacts) -> str:
    """Return what there is of a watchdog, for the line on the agent."""
    if not watchdog.device:
        return ""
    if not watchdog.identity:
        return f"watchdog {watchdog.device} {'refused' if watchdog.trouble else 'not in use'}, "
    return (f"watchdog {watchdog.identity} {watchdog.timeout_s} s"
            f"{'' if watchdog.held else ' closed'}, ")


def _node(status: AgentStatus, snapshot: Snapshot, spec: NodeSpec) -> NodeRow:
    plan, leader = snapshot.plan, snapshot.leader
    standby = plan is not None and spec.name in plan.standby
    leads = leader is not None and leader.node == spec.name
    if spec.name == snapshot.node:
        return NodeRow(
            name=spec.name, state=snapshot.lease, alive=True, voter=spec.voter,
            witness=spec.witness, standby=standby, leads=leads, incarnation=snapshot.incarnation,
            round=snapshot.round, accused_by=_accusers_of_us(snapshot),
            version=status.process.version, keys=status.keys.get(spec.name, ()),
            note=_joined(["this node", *_marks(spec, standby)]))
    peer = next((peer for peer in snapshot.peers if peer.node == spec.name), None)
    seat = snapshot.seats.get(spec.name)
    peer = peer or PeerView(node=spec.name)
    unheard = _is_out_of_earshot(status, snapshot, peer)
    state, alive = _state(status, peer, seat, unheard)
    return NodeRow(
        name=spec.name, state=state, alive=alive, voter=spec.voter, witness=spec.witness,
        standby=standby, leads=leads,
        heard_ms=None if peer.heard_ago is None else round(peer.heard_ago / MILLISECOND, 1),
        incarnation=peer.incarnation or (seat.incarnation if seat else 0),
        round=peer.round or (seat.round if seat else 0), accused_by=peer.accused_by,
        version=peer.version, keys=status.keys.get(spec.name, ()),
        note=_joined([*_marks(spec, standby), *(["not heard from here"] if unheard else
                                                _peer_marks(status, peer, alive))]))


def _is_out_of_earshot(status: AgentStatus, snapshot: Snapshot, peer: PeerView) -> bool:
    """Tell whether a silence from this node means nothing: beyond seven nodes, those that do not
    vote exchange heartbeats with voters, and with partners in a group only (rule 1)."""
    return (len(status.spec.nodes) > VOTERS_MAX and is_silent(peer, status)
            and not {snapshot.node, peer.node} & {*snapshot.voters})


def _state(
    status: AgentStatus, peer: PeerView, seat: Seat | None, unheard: bool
) -> tuple[str, bool]:
    """Return a word for another node's state, and whether it is alive as seen from here."""
    if not is_silent(peer, status):
        return "lapsed" if peer.lapsed else peer.seat or "joining", True
    if seat is not None and seat.state is SeatState.LEFT:
        return "left", False
    if seat is None and peer.heard_ago is None:
        return "never seen", False
    if peer.accused or peer.blocked or (seat is not None and seat.state is SeatState.DEAD):
        return "down", False
    if unheard and seat is not None:
        return seat.state.value, True
    return "silent", False


def _accusers_of_us(snapshot: Snapshot) -> tuple[NodeName, ...]:
    mine = next((peer for peer in snapshot.peers if peer.node == snapshot.node), None)
    return mine.accused_by if mine else ()


def _marks(spec: NodeSpec, standby: bool) -> list[str]:
    marks = ["witness"] if spec.witness else [] if spec.voter else ["no vote"]
    return [*marks, *(["standby"] if standby else [])]


def _peer_marks(status: AgentStatus, peer: PeerView, alive: bool) -> Iterator[str]:
    if peer.accused_by:
        yield f"accused by {', '.join(peer.accused_by)}"
    if alive and (dark := dark_rings(peer, status)):
        yield f"silent on ring {', '.join(map(str, dark))}"
    if alive and peer.config and peer.config != status.process.config_digest:
        yield "its configuration differs from this node's"
    if alive and peer.version and peer.version != status.process.version:
        yield f"runs version {peer.version}"


def _group(
    status: AgentStatus, snapshot: Snapshot, spec: GroupSpec, wire: Mapping[str, Wire]
) -> GroupRow:
    plan = _plan_of(snapshot.plan, spec.name)
    view = next((group for group in snapshot.groups if group.name == spec.name), None)
    holder = plan.holder.node if plan.holder else ""
    active = _active(status, snapshot, spec, view)
    vips = tuple(
        VipRow(address=vip.address, plan=holder, kernel=vip.present, interface=vip.interface,
               lifetime_s=vip.lifetime_s, wire=wire.get(vip.address, NOT_ASKED))
        for vip in status.addresses if vip.group == spec.name)
    here = view is not None and view.phase == "active"
    told = view.why if view is not None and view.phase != "inactive" else ""
    return GroupRow(
        name=spec.name, holder=holder, heir=plan.heir.node if plan.heir else "",
        epoch=plan.holder.epoch if plan.holder else 0, active=active,
        moving=_moving(status, snapshot, spec, view), phase=view.phase if view else "inactive",
        active_for_s=(round(view.active_for / SECOND, 1)
                      if view and view.active_for is not None else None),
        maintenance=plan.maintenance.value, handover=plan.handover,
        guarded_by=(status.layers.get(spec.name, ()) if here
                    else _guard_heard(status, snapshot, spec)),
        vips=vips, why=told or plan.why or ("wherever it can" if spec.everywhere else ""),
        everywhere=spec.everywhere)


def _plan_of(plan: Plan | None, group: str) -> GroupPlan:
    return (plan.groups.get(group) if plan else None) or GroupPlan()


def _active(
    status: AgentStatus, snapshot: Snapshot, spec: GroupSpec, view: GroupView | None
) -> tuple[NodeName, ...]:
    """Return the nodes that say of themselves that all of it runs there, this one included."""
    if spec.everywhere:  # a lease is nothing to it
        active = [peer.node for peer in snapshot.peers if not is_silent(peer, status)
                  and any(word.group == spec.name and word.up for word in peer.words)]
    else:
        active = _with_epoch(status, snapshot, spec, up=True)
    if view is not None and (view.phase == "active" or (spec.everywhere and _rests(view))):
        active.append(snapshot.node)
    return _in_order(active, spec)


def _rests(view: GroupView) -> bool:
    """Tell whether all of a group runs here that runs everywhere."""
    return all(service.state in ("started", "promoted") for service in view.services)


def _moving(
    status: AgentStatus, snapshot: Snapshot, spec: GroupSpec, view: GroupView | None
) -> tuple[NodeName, ...]:
    """Return the nodes on which it is on its way up or down, this one included."""
    moving = _with_epoch(status, snapshot, spec, up=False)
    if view is not None and view.phase in ("starting", "stopping"):
        moving.append(snapshot.node)
    return _in_order(moving, spec)


def _with_epoch(
    status: AgentStatus, snapshot: Snapshot, spec: GroupSpec, *, up: bool
) -> list[NodeName]:
    return [peer.node for peer in _speaking(status, snapshot)
            if any(word.group == spec.name and word.epoch and word.up == up
                   for word in peer.words)]


def _in_order(nodes: list[NodeName], spec: GroupSpec) -> tuple[NodeName, ...]:
    return tuple(sorted(nodes, key=lambda node: (node not in spec.nodes, node)))


def _speaking(status: AgentStatus, snapshot: Snapshot) -> list[PeerView]:
    """Return the peers whose word counts: heard just now, and with a lease."""
    return [peer for peer in snapshot.peers
            if not is_silent(peer, status) and not peer.lapsed and not peer.blocked]


def _guard_heard(
    status: AgentStatus, snapshot: Snapshot, spec: GroupSpec
) -> tuple[str, ...]:
    """Return what heartbeats tell of the active node's layers: its switch."""
    armed = any(word.group == spec.name and word.epoch and word.armed
                for peer in _speaking(status, snapshot) for word in peer.words)
    return (SWITCH,) if armed else ()


def _switch_notes(status: AgentStatus) -> Iterator[str]:
    if status.process.switch_alive and status.process.switch_ends_with_us:
        yield (f"the dead-man's switch of {status.node} is a child of the agent, and ends with it: "
               "enable hamgr-deadman.socket, and restart the agent")


def _joined(marks: list[str]) -> str:
    return ", ".join(mark for mark in marks if mark)


def _problems(
    status: AgentStatus,
    snapshot: Snapshot,
    nodes: tuple[NodeRow, ...],
    groups: tuple[GroupRow, ...],
) -> Iterator[Problem]:
    for group in groups:
        spec = status.spec.group(group.name)
        assert spec is not None, "groups are those of the configuration"
        yield from _group_problems(status, snapshot, spec, group)
    for node in nodes:
        if not node.alive:
            yield degraded(f"{node.name} is {node.state}")
        elif node.accused_by:
            yield degraded(f"{node.name} is heard, but accused by {', '.join(node.accused_by)}: "
                           "one more accuser ends its lease")
        if node.alive and node.state == "lapsed":
            yield degraded(f"{node.name} has no lease")
        if "differs" in node.note:
            yield degraded(f"{node.name} runs with another configuration")
    yield from ring_problems(status)
    if not snapshot.zookeeper:
        yield degraded(f"{_zookeeper_trouble(status, snapshot)}: nothing stops for that, and the "
                       "heir can take over once, but nothing can be planned"
                       + _until_rebuilt(snapshot))
    elif snapshot.leader is None or not snapshot.leader.node:
        yield degraded("no node leads: nothing can be planned until one does")
    if status.process.config_refused:
        yield degraded(f"{status.node} cannot use the configuration that is applied, and goes on "
                       f"with the one before: {status.process.config_refused}")
    yield from _differences(status.spec, snapshot.plan)
    yield from drop_problems(status)
    yield from key_problems(status)
    if not status.process.switch_alive:
        yield degraded(f"no dead-man's switch runs on {status.node}")


_AWAY, _UNREAD = "not connected", "not read yet"
"""Why an engine has no ZooKeeper, where that is no fault of what it holds."""


def _zookeeper_trouble(status: AgentStatus, snapshot: Snapshot) -> str:
    if status.zookeeper_trouble:
        return f"ZooKeeper refuses this node ({status.zookeeper_trouble})"
    if _until_rebuilt(snapshot):
        return f"ZooKeeper's data cannot be built on ({snapshot.zookeeper_why})"
    if snapshot.zookeeper_why == _UNREAD:
        return "ZooKeeper is not read yet"
    return "no ZooKeeper server answers this node"


def _until_rebuilt(snapshot: Snapshot) -> str:
    """Name the remedy for data that was read, and is not believed (rule 25)."""
    if snapshot.zookeeper_why in ("", _AWAY, _UNREAD):
        return ""
    return (" until `hamgr rebuild`, on one node, writes it anew, or a server that lags has caught "
            "up")


def _zookeeper(status: AgentStatus, snapshot: Snapshot) -> str:
    why = status.zookeeper_trouble or snapshot.zookeeper_why
    why = "no server answers" if why == _AWAY else why
    return "connected" if snapshot.zookeeper else f"down ({why})" if why else "down"


_APPLY = "hamgr config apply changes it"


def _differences(spec: ClusterSpec, plan: Plan | None) -> Iterator[Problem]:
    """Tell of what plan and configuration say otherwise: an apply that was not finished."""
    if plan is None or plan.voters.former or plan.voters.coming:
        return
    if {*spec.voters} != {*plan.voters.names}:
        yield degraded(f"by the configuration {', '.join(spec.voters)} vote, by the plan "
                       f"{', '.join(plan.voters.names)}, and the plan counts: {_APPLY}")
    if spec.timing != plan.times:
        yield degraded(f"by the configuration the times are {_times(spec.timing)}, by the plan "
                       f"{_times(plan.times)}, and the plan counts: {_APPLY}")


def _times(times: Timing) -> str:
    named = (("interval", times.interval), ("lease", times.lease),
             ("detection", times.detection), ("claim", times.claim))
    return ", ".join(f"{name} {value / MILLISECOND:g} ms" for name, value in named)


def _group_problems(
    status: AgentStatus, snapshot: Snapshot, spec: GroupSpec, group: GroupRow
) -> Iterator[Problem]:
    yield from _where_problems(status, snapshot, group) if spec.everywhere else (
        _owner_problems(group, _waits(status, snapshot, group)))
    here = group.phase == "active"
    for vip in group.vips:
        if vip.kernel and group.phase == "inactive" and group.maintenance == "off":
            yield failed(f"{vip.address} is on {status.node}, where {group.name} is not active")
        if here and not vip.kernel:
            yield failed(f"{group.name} is active on {status.node}, but {vip.address} is not "
                         "there")
        if vip.kernel and vip.lifetime_s is not None and here and group.maintenance == "on":
            yield degraded(f"{vip.address} still expires, although {group.name} is in "
                           "maintenance: the journal says why")
        yield from wire_problems(group, vip, status.node)
    if group.maintenance != "off":
        yield degraded(f"{group.name} is in maintenance ({group.maintenance}): nothing takes over")
    elif not group.heir and len(spec.nodes) > 1 and not spec.everywhere:
        yield degraded(f"{group.name} has no heir: nobody can take over at once")
    if here and group.maintenance == "off" and not {
            SWITCH, SWITCH_CHILD} & {*group.guarded_by}:
        yield degraded(f"{group.name} is not guarded by the dead-man's switch")
    if here and group.maintenance == "off" and status.watchdog.trouble:
        yield degraded(f"{group.name} is not guarded by the watchdog: {status.watchdog.device} "
                       f"{status.watchdog.trouble}")
    view = next((view for view in snapshot.groups if view.name == group.name), None)
    if view is not None and (view.phase != "inactive" or spec.everywhere):
        yield from _service_problems(status.node, view)
    if view is not None:
        yield from fit_problems(status.node, group, view)


def _service_problems(node: NodeName, view: GroupView) -> Iterator[Problem]:
    for service in view.services:
        works = service.state in ("started", "promoted")
        if service.why or (service.failures and not works):
            times = f", failed {service.failures} times" if service.failures else ""
            why = f": {service.why}" if service.why else ""
            yield degraded(f"{service.name} of {view.name} is {service.state} on {node}"
                           f"{times}{why}")


def _where_problems(
    status: AgentStatus, snapshot: Snapshot, group: GroupRow
) -> Iterator[Problem]:
    """Tell where a group does not run that runs everywhere; of this node, its services tell."""
    if not group.active:
        yield failed(f"{group.name} runs nowhere")
    for peer in snapshot.peers if group.maintenance == "off" else ():
        for word in peer.words if not is_silent(peer, status) else ():
            if word.group == group.name and word.why:
                yield degraded(f"{group.name} on {peer.node}: {word.why}")


def _waits(status: AgentStatus, snapshot: Snapshot, group: GroupRow) -> str:
    """Return what the owner by the plan says that it waits for, with the remedy if there is one."""
    found = [view.waits for view in snapshot.groups
             if view.name == group.name and group.holder == snapshot.node]
    found += [word.why.removeprefix("waits: ") for peer in _speaking(status, snapshot)
              for word in peer.words if peer.node == group.holder and word.group == group.name
              and not word.epoch and word.why.startswith("waits: ")]
    waits = next(filter(None, found), "")
    node, _, doubt = waits.partition(" ")
    remedy = (f"; if {node} is switched off, say so: hamgr fence --confirm {node}"
              if doubt.startswith(NOT_FENCED) else "")
    return f"{waits}{remedy}"


def _owner_problems(group: GroupRow, waits: str) -> Iterator[Problem]:
    if len(group.active + group.moving) > 1:
        yield failed(f"{group.name} is active on {' and '.join(group.active + group.moving)}")
    elif not group.active:
        where = (f": it is on its way up or down on {' and '.join(group.moving)}" if group.moving
                 else f" (the plan has it on {group.holder})" if group.holder else "")
        where += f": it waits, {waits}" if waits else ""
        yield failed(f"{group.name} is active nowhere{where}")
    elif group.active[0] not in (group.holder, group.heir):
        yield failed(f"{group.name} is active on {group.active[0]}, but the plan has it on "
                     f"{group.holder or 'no node'}")
