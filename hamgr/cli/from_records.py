"""From ZooKeeper's records, or from nothing, to what `hamgr status` says: pure functions."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from hamgr.cli.comparing import degraded, failed, wire_problems
from hamgr.cli.probing import named
from hamgr.cli.survey import GroupRow, NodeRow, Problem, Survey, VipRow, Wire, verdict
from hamgr.core.records import GroupPlan, Leader, Plan, Request, Root, Seat
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec
from hamgr.core.types import GroupName, NodeName, SeatState

NOT_ASKED = Wire(asked=False, why="no agent was asked")


class Here(Struct, frozen=True, kw_only=True):
    """The node on which the command runs, as far as it can be looked at without an agent."""

    node: NodeName = ""
    """Empty: this machine is none of the nodes."""
    deserted: bool = False
    """No agent answers here: nothing guards what is left. False as well if that is not known."""
    vips: dict[str, VipRow] = field(default_factory=dict)
    """By address. Where the plan has them is not known here."""
    macs: dict[str, NodeName] = field(default_factory=dict)
    """Whose each MAC is, as far as this kernel knows."""

    def row(self, address: str, plan: NodeName) -> VipRow:
        """Return what is known of one address."""
        found = self.vips.get(address)
        if found is None:
            return VipRow(address=address, plan=plan, kernel=None, wire=NOT_ASKED)
        return replace(found, plan=plan)

    def told(self, macs: Mapping[str, NodeName]) -> "Here":
        """Return the same with the names of those who answer, `macs` being what others know."""
        wires = named({address: row.wire for address, row in self.vips.items()},
                      {**macs, **self.macs})
        return replace(self, vips={address: replace(row, wire=wires[address])
                                   for address, row in self.vips.items()})


NOWHERE = Here()


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
    here: Here = NOWHERE,
    unreadable: Sequence[str] = (),
) -> Survey:
    """Return what ZooKeeper says; why is why the agent was not asked."""
    nodes = tuple(_node(node, seats.get(node.name), plan, leader, node.name in sessions)
                  for node in spec.nodes)
    groups = tuple(_group(group, plan, vips.get(group.name, ()), nodes, here)
                   for group in spec.groups)
    problems = (degraded(why), *map(failed, unreadable), *_left_behind(groups, here),
                *_problems(nodes, groups, leader, here))
    return Survey(
        source="zookeeper", asked=f"ZooKeeper, since {why}", cluster=spec.name,
        cluster_id=root.cluster_id if root else "", node=here.node,
        leader=leader.node if leader else "", term=leader.term if leader else 0,
        plan_revision=plan.revision if plan else 0,
        zookeeper="connected", voters=len(spec.voters), nodes=nodes, groups=groups,
        requests=tuple(f"{request.kind} {request.group or request.node}".strip()
                       for request in requests if request.state == "open"),
        problems=problems, verdict=verdict(problems))


def nothing(
    cluster: str,
    whys: Sequence[str],
    vips: Mapping[GroupName, Sequence[str]] | None = None,
    here: Here = NOWHERE,
) -> Survey:
    """Return the survey when neither an agent nor ZooKeeper can be asked."""
    groups = tuple(
        GroupRow(name=name, holder="", heir="", epoch=0, active=(), phase="",
                 vips=tuple(here.row(address, "") for address in addresses))
        for name, addresses in (vips or {}).items() if here.node)
    wrong = (*_left_behind(groups, here),
             *(problem for group in groups for vip in group.vips if len(vip.wire.answers) > 1
               for problem in wire_problems(group, vip, here.node)))
    return Survey(
        source="nothing", asked="nobody answers", cluster=cluster, node=here.node, groups=groups,
        problems=(*wrong, *(Problem(severity="unknown", text=why) for why in whys)),
        verdict="failed" if any(one.severity == "failed" for one in wrong) else "unknown")


def _left_behind(groups: Sequence[GroupRow], here: Here) -> Iterator[Problem]:
    for group in groups:
        for vip in group.vips:
            if not vip.kernel or not here.deserted:
                continue
            where = f"{vip.address} is on {here.node}, where no agent answers"
            if group.maintenance != "off":
                yield degraded(f"{where}: left there for {group.name}'s maintenance")
            elif vip.lifetime_s is None:
                yield failed(f"{where}: nothing guards it, and it does not expire; unless this is "
                             "maintenance, start the agent, or run hamgr agent --cleanup")
            else:
                yield failed(f"{where}: nothing guards it; it expires in {vip.lifetime_s} s unless "
                             "something renews it")


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
    spec: GroupSpec, plan: Plan | None, vips: tuple[str, ...], nodes: tuple[NodeRow, ...],
    here: Here
) -> GroupRow:
    group = (plan.groups.get(spec.name) if plan else None) or GroupPlan()
    holder = group.holder.node if group.holder else ""
    alive = {node.name for node in nodes if node.alive}
    return GroupRow(
        name=spec.name, holder=holder, heir=group.heir.node if group.heir else "",
        epoch=group.holder.epoch if group.holder else 0,
        active=(holder,) if holder in alive else (), phase="",
        maintenance=group.maintenance.value, handover=group.handover, why=group.why,
        everywhere=spec.everywhere, vips=tuple(here.row(vip, holder) for vip in vips))


def _problems(
    nodes: tuple[NodeRow, ...], groups: tuple[GroupRow, ...], leader: Leader | None, here: Here
) -> Iterator[Problem]:
    for group in groups:
        for vip in group.vips:
            yield from wire_problems(group, vip, here.node)
        if group.everywhere:  # nobody who is asked knows
            continue
        if not group.holder:
            yield failed(f"the plan has {group.name} nowhere")
        elif not group.active:
            yield failed(f"{group.name} is planned on {group.holder}, which does not look alive "
                         "from ZooKeeper")
    for node in nodes:
        if not node.alive:
            yield degraded(f"{node.name} is {node.state}")
    if leader is None or not leader.node:
        yield degraded("no node leads")
