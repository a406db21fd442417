"""Brings a simulated cluster to the very state in which a live one is, and says where it failed to.

All nodes join while the plan gives them nothing, as if all were in standby. Then the live plan is
written, its rights with the lives that their nodes have here; what is in maintenance enters it,
what is down falls silent. From then on everything is the engines' own.
"""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from hamgr.core.effects import Op
from hamgr.core.events import ConditionChanged
from hamgr.core.records import (
    LEADER,
    PLAN,
    ROOT,
    UNPLANNED,
    GroupPlan,
    Leader,
    Plan,
    Request,
    Right,
    Root,
    seat_path,
)
from hamgr.core.types import (
    MILLISECOND,
    SECOND,
    Duration,
    GroupName,
    Maintenance,
    NodeName,
    Outcome,
    SeatState,
)
from hamgr.simulation.calm import Calm
from hamgr.simulation.faults import KINDS
from hamgr.simulation.present import Present
from hamgr.simulation.scenario import Fault
from hamgr.snapshot import Snapshot, snapshot

JOINING_MAX: Duration = 15 * SECOND
"""By then every node that can join has joined."""
SETTLING_MAX: Duration = 60 * SECOND
STEP: Duration = 250 * MILLISECOND
UNFIT_FOR: Duration = 60 * SECOND
"""How much longer a service's failures keep a group off a node: the whole window, by default."""
PRESENT = "as it is"
"""Who writes what is put there by us."""


def stage(present: Present) -> tuple[Calm, tuple[str, ...]]:
    """Return the cluster in its present state, and in words where that is another than the live."""
    world = Calm(present)
    _seed(world)
    for name, host in world.hosts.items():
        if name in _joining(present):
            host.start_agent()
        elif not _only_stopped(present, name):
            host.crash()
    wait(world, lambda: _all_members(world), JOINING_MAX)
    _make_unfit(world)
    _write_plan(world)
    wait(world, lambda: _all_served(world), SETTLING_MAX)
    _enter_maintenance(world)
    strike(world, "" if present.zookeeper else "zk_down")
    for name in _joining(present):
        if name not in present.up:
            world.hosts[name].crash()
            world.turmoil.crashed(name)
    world.scheduler.run_until(world.now + 3 * present.plan.times.claim)
    return world, tuple(_differences(world))


def strike(world: Calm, kind: str, node: NodeName = "") -> None:
    """Let one of faults.KINDS happen now."""
    if kind:
        KINDS[kind](world.turmoil, Fault(at=world.now, kind=kind, amount=1.0), node, "")


def seen(world: Calm) -> dict[NodeName, Snapshot]:
    """Return what each living engine shows of itself."""
    return {name: snapshot(host.agent.engine, host.clock.now())
            for name, host in world.hosts.items()
            if host.powered and host.agent is not None and host.agent.engine is not None}


def wait(world: Calm, is_so: Callable[[], bool], at_most: Duration) -> None:
    """Let time pass until something is so."""
    end = world.now + at_most
    while world.now < end and not is_so():
        world.scheduler.run_until(world.now + STEP)


def _joining(present: Present) -> list[NodeName]:
    """Return who takes part: who is up, and who is down and has a right all the same."""
    named = [right.node for group in present.plan.groups.values() for right in group.rights]
    return [node.name for node in present.spec.nodes if node.name in (*present.up, *named)]


def _only_stopped(present: Present, node: NodeName) -> bool:
    """Tell whether a node without an agent is a machine that runs: ZooKeeper's server too.

    So it is if it left in order, or if ZooKeeper could not serve without those that are down.
    """
    seat = present.seats.get(node)
    if seat is not None and seat.state is SeatState.LEFT:
        return True
    standing = sum(1 for host in present.servers if not host or host in present.up)
    return present.zookeeper and standing <= len(present.servers) // 2


def _seed(world: Calm) -> None:
    present = world.present
    names = tuple(node.name for node in present.spec.nodes)
    empty = Plan(revision=1, by=PRESENT, voters=present.plan.voters, times=present.plan.times,
                 standby=names)
    ops = [Op(kind="create", path=ROOT, record=Root(cluster_id=PRESENT)),
           Op(kind="create", path=PLAN, record=empty)]
    ops += [Op(kind="create", path=seat_path(node), record=seat)
            for node, seat in present.seats.items()
            if node in names and node not in _joining(present)]
    _put(world, *ops)


def _put(world: Calm, *ops: Op) -> None:
    leader = world.ensemble.leader
    assert leader is not None, "ZooKeeper serves while the cluster is set up"
    outcome, _ = world.ensemble.transact(leader, PRESENT, ops)
    assert outcome is Outcome.DONE, f"the present state could not be written: {outcome}"


def _all_members(world: Calm) -> bool:
    views = seen(world)
    return (all(name in views and views[name].lease == "member"
                for name in _joining(world.present))
            and any(view.leading for view in views.values()))


def _make_unfit(world: Calm) -> None:
    for unfit in world.present.unfit:
        host = world.hosts.get(unfit.node)
        if host is None or host.agent is None or host.agent.engine is None:
            continue
        if unfit.failed:
            rights = host.agent.engine.activity.groups.get(unfit.group)
            if rights is not None:
                rights.unfit_until = host.clock.now() + UNFIT_FOR
        else:
            host.agent.post(ConditionChanged(group=unfit.group, ok=False, why=unfit.why))
    world.scheduler.run_until(world.now + SECOND)


def _write_plan(world: Calm) -> None:
    """Write the live plan, under the lives that the nodes have here, and who leads."""
    present, views = world.present, seen(world)
    before = world.turmoil.plan()
    assert before is not None

    def alive(right: Right | None) -> Right | None:
        view = views.get(right.node) if right is not None else None
        return right if right is None or view is None else replace(
            right, incarnation=view.incarnation, round=view.round)

    groups: dict[GroupName, GroupPlan] = {
        name: replace(group, holder=alive(group.holder), heir=alive(group.heir),
                      leaving=tuple(right for one in group.leaving if (right := alive(one))),
                      unverified=(), maintenance=Maintenance.OFF)
        for name, group in present.plan.groups.items()}
    plan = replace(present.plan, revision=before.revision + 1, groups=groups, renew="")
    stored = world.ensemble.tree
    ops = [Op(kind="set", path=PLAN, version=stored[PLAN].version, record=plan)]
    leader = stored.get(LEADER)
    if present.leader in views and leader is not None and isinstance(leader.record, Leader):
        record = replace(leader.record, node=present.leader, term=leader.record.term + 1,
                         incarnation=views[present.leader].incarnation)
        ops.append(Op(kind="set", path=LEADER, version=leader.version, record=record))
    _put(world, *ops)


def _all_served(world: Calm) -> bool:
    return all(world.watch.served.get(group.name) for group in world.spec.groups
               if _holder(world.present.plan, group.name) in _joining(world.present))


def _holder(plan: Plan, group: GroupName) -> NodeName:
    planned = plan.groups.get(group)
    return planned.holder.node if planned is not None and planned.holder is not None else ""


def _enter_maintenance(world: Calm) -> None:
    plan = world.present.plan
    wanted = [name for name, group in plan.groups.items()
              if group.maintenance in (Maintenance.ON, Maintenance.ENTERING)]
    for name in wanted:
        world.turmoil.ask(Request(id="", kind="maintenance-on", group=name))
    wait(world, lambda: all(_maintenance(world, name) is Maintenance.ON for name in wanted),
         JOINING_MAX)


def _maintenance(world: Calm, group: GroupName) -> Maintenance:
    plan = world.turmoil.plan()
    return plan.groups[group].maintenance if plan is not None else Maintenance.OFF


def _differences(world: Calm) -> Iterator[str]:
    """Say what is otherwise here than live."""
    present, plan = world.present, world.turmoil.plan()
    assert plan is not None
    views = seen(world)
    for name in (node.name for node in present.spec.nodes):
        standing = views[name].lease if name in views else "down"
        if (name in present.up) != (standing in ("member", "claimed", "settling")):
            yield (f"{name} is {'up' if name in present.up else 'down'} live, and {standing} in "
                   "the simulation")
    for spec in present.spec.groups:
        yield from _differing(world, spec.name, present.plan.groups.get(spec.name, UNPLANNED),
                              plan.groups.get(spec.name, UNPLANNED))
    if {*plan.standby} != {*present.plan.standby}:
        yield (f"in standby are {_names(present.plan.standby)} live, and {_names(plan.standby)} in "
               "the simulation")
    leader = next((name for name, view in views.items() if view.leading), "")
    if present.zookeeper and present.leader in present.up and leader != present.leader:
        yield f"{present.leader} leads live, and {leader or 'nobody'} in the simulation"


def _differing(world: Calm, name: GroupName, live: GroupPlan, here: GroupPlan) -> Iterator[str]:
    active = " and ".join(world.present.active.get(name, ()))
    served = world.watch.served.get(name, "")
    if active != served:
        yield (f"{name} is active on {active or 'no node'} live, and on {served or 'no node'} in "
               "the simulation")
    for what, one, other in (("holder", live.holder, here.holder), ("heir", live.heir, here.heir)):
        if (one and one.node) != (other and other.node):
            yield (f"the plan's {what} of {name} is {one.node if one else 'nobody'} live, and "
                   f"{other.node if other else 'nobody'} in the simulation")
    if live.maintenance is not here.maintenance:
        yield (f"maintenance of {name} is {live.maintenance.value} live, and "
               f"{here.maintenance.value} in the simulation")


def _names(nodes: tuple[NodeName, ...]) -> str:
    return ", ".join(nodes) or "none"
