"""From ZooKeeper's records, or from nothing, to what `hamgr status` says: pure functions."""

from collections.abc import Iterator, Sequence

from hamgr.cli.survey import GroupRow, NodeRow, Problem, Survey, VipRow, Wire, verdict
from hamgr.core.records import GroupPlan, Leader, Plan, Request, Root, Seat
from hamgr.core.spec import ClusterSpec, NodeSpec
from hamgr.core.types import GroupName, NodeName, SeatState

NO_KERNEL = Wire(asked=False, why="no agent was asked")


def survey(
    spec: ClusterSpec,
    vips: dict[GroupName, tuple[str, ...]],
    *,
    root: Root | None,
    leader: Leader | None,
    plan: Plan | None,
    seats: dict[NodeName, Seat],
    requests: Sequence[Request],
    sessions: Sequence[NodeName],
    why: str,
) -> Survey:
    """Return what ZooKeeper says; why is why the agent was not asked."""
    nodes = tuple(_node(node, seats.get(node.name), plan, leader, node.name in sessions)
                  for node in spec.nodes)
    groups = tuple(_group(group.name, plan, vips.get(group.name, ()), nodes)
                   for group in spec.groups)
    problems = (Problem(severity="degraded", text=why), *_problems(nodes, groups, leader))
    return Survey(
        source="zookeeper", asked=f"ZooKeeper, since {why}", cluster=spec.name,
        cluster_id=root.cluster_id if root else "", leader=leader.node if leader else "",
        term=leader.term if leader else 0, plan_revision=plan.revision if plan else 0,
        zookeeper="connected", voters=len(spec.voters), nodes=nodes, groups=groups,
        requests=tuple(f"{request.kind} {request.group or request.node}".strip()
                       for request in requests if request.state == "open"),
        problems=problems, verdict=verdict(problems))


def nothing(cluster: str, whys: Sequence[str]) -> Survey:
    """Return the survey when neither an agent nor ZooKeeper can be asked."""
    return Survey(source="nothing", asked="nobody answers", cluster=cluster, verdict="unknown",
                  problems=tuple(Problem(severity="unknown", text=why) for why in whys))


def _node(
    spec: NodeSpec, seat: Seat | None, plan: Plan | None, leader: Leader | None, session: bool
) -> NodeRow:
    alive = session and seat is not None and seat.state in (SeatState.MEMBER, SeatState.CLAIMED)
    if seat is None:
        state = "joining" if session else "never seen"
    elif seat.state is SeatState.DEAD:
        state = "down"
    else:
        state = seat.state.value if alive or seat.state is SeatState.LEFT else "silent"
    standby = plan is not None and spec.name in plan.standby
    marks = ["witness" if spec.witness else "" if spec.voter else "no vote",
             "standby" if standby else "", "has a session" if session else "no session"]
    return NodeRow(
        name=spec.name, state=state, alive=alive, voter=spec.voter, witness=spec.witness,
        standby=standby, leads=leader is not None and leader.node == spec.name,
        incarnation=seat.incarnation if seat else 0, round=seat.round if seat else 0,
        note=", ".join(mark for mark in marks if mark))


def _group(
    name: GroupName, plan: Plan | None, vips: tuple[str, ...], nodes: tuple[NodeRow, ...]
) -> GroupRow:
    group = (plan.groups.get(name) if plan else None) or GroupPlan()
    holder = group.holder.node if group.holder else ""
    alive = {node.name for node in nodes if node.alive}
    return GroupRow(
        name=name, holder=holder, heir=group.heir.node if group.heir else "",
        epoch=group.holder.epoch if group.holder else 0,
        active=(holder,) if holder in alive else (), phase="",
        maintenance=group.maintenance.value, handover=group.handover, why=group.why,
        vips=tuple(VipRow(address=vip, plan=holder, kernel=None, wire=NO_KERNEL) for vip in vips))


def _problems(
    nodes: tuple[NodeRow, ...], groups: tuple[GroupRow, ...], leader: Leader | None
) -> Iterator[Problem]:
    for group in groups:
        if not group.holder:
            yield Problem(severity="failed", text=f"the plan has {group.name} nowhere")
        elif not group.active:
            yield Problem(severity="failed", text=f"{group.name} is planned on {group.holder}, "
                          "which does not look alive from ZooKeeper")
    for node in nodes:
        if not node.alive:
            yield Problem(severity="degraded", text=f"{node.name} is {node.state}")
    if leader is None or not leader.node:
        yield Problem(severity="degraded", text="no node leads")
