"""What operators do in the middle of faults: they move, drain, pause, reconfigure and upgrade."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hamgr.core.effects import Op
from hamgr.core.records import CONFIG, Config, Request
from hamgr.core.spec import ClusterSpec, GroupSpec
from hamgr.core.types import MILLISECOND, SECOND, Maintenance, NodeName
from hamgr.simulation.documents import document
from hamgr.simulation.scenario import Fault, group_of_kind
from hamgr.simulation.versions import NEWER
from hamgr.times import times_for

if TYPE_CHECKING:
    from hamgr.simulation.faults import Strike, Undo
    from hamgr.simulation.turmoil import Turmoil

INTERVALS = (60, 110, 100)
"""Heartbeat intervals in ms whose detection the claim of 2 s allows."""
ADDED = "extra"
"""The group that comes and goes."""
UPGRADE_TAKES = 300 * MILLISECOND


def ask(kind: str) -> "Strike":
    """Return the fault in which a request of this kind is made."""
    def strike(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
        groups = [group.name for group in turmoil.world.spec.groups]
        group = groups[int(fault.amount) % len(groups)] if groups else ""
        of_node = kind in ("standby", "resume", "fence")
        turmoil.ask(Request(id="", kind=kind, group="" if of_node else group, node=target))
    return strike


def vouch(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
    """Say that a machine is down, which it is."""
    down = [name for name, host in turmoil.world.hosts.items() if not host.powered]
    if down:
        turmoil.ask(Request(id="", kind="down", node=down[0]))


def drain(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> "Undo":
    """Put a node in standby, and have it back later."""
    turmoil.ask(Request(id="", kind="standby", node=target))

    def back() -> None:
        turmoil.ask(Request(id="", kind="resume", node=target))
    return back


def change_voters(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> "Undo":
    """Ask for fewer voters, or for a worker as one; later for the first ones again (rule 23)."""
    names = turmoil.world.spec.voters
    others = _without(names, target) if target in names else (*names[1:], target)
    if len(others) > 1:
        turmoil.ask(Request(id="", kind="voters", voters=others))

    def back() -> None:
        turmoil.ask(Request(id="", kind="voters", voters=names))
    return back


def change_times(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
    """Ask for other times (rule 24)."""
    interval = INTERVALS[int(fault.amount) % len(INTERVALS)] * MILLISECOND
    turmoil.ask(Request(id="", kind="times", times=times_for(interval)))


def configure(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> "Undo":
    """Apply another document, and the one before it again later."""
    world = turmoil.world
    before = world.spec
    changes = (_group_comes_or_goes, _group_goes, _order_turns, _node_runs_it_no_more,
               _services_change, _addresses_come_or_go)
    apply(turmoil, changes[int(fault.amount) % len(changes)](before, target))

    def back() -> None:
        apply(turmoil, before)
    return back


def remove_node(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> "Undo":
    """Take a node out of the file while its agent runs: drained, out of the voters, then this."""
    undo_voters = change_voters(turmoil, fault, target, peer)
    undo_drain = drain(turmoil, fault, target, peer)
    before = turmoil.world.spec
    nodes = tuple(node for node in before.nodes if node.name != target)
    after = replace(before, nodes=nodes, groups=tuple(
        replace(group, nodes=_without(group.nodes, target)) for group in before.groups))
    if len(nodes) > 1:
        turmoil.world.scheduler.after(2 * SECOND, apply, turmoil, after)

    def back() -> None:
        apply(turmoil, before)
        undo_drain()
        undo_voters()
    return back


def upgrade(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
    """Put a newer version on a node, and restart its agent in order."""
    host = turmoil.world.hosts[target]
    host.version = NEWER
    if host.agent is not None:
        host.agent.stop()
    turmoil.world.scheduler.after(UPGRADE_TAKES, host.start_after_stop)


def apply(turmoil: "Turmoil", spec: ClusterSpec) -> None:
    """`config apply`: write the record, over the one that is there, if nothing forbids it."""
    plan = turmoil.plan()
    stored = turmoil.world.ensemble.tree.get(CONFIG)
    known = stored.record if stored is not None else None
    revision = known.revision + 1 if isinstance(known, Config) else 1
    maintained = [name for name, group in (plan.groups.items() if plan is not None else ())
                  if group.maintenance is not Maintenance.OFF]
    before = turmoil.world.spec
    if spec != before and all(spec.group(one) == before.group(one) for one in maintained):
        kind, version = ("create", -1) if stored is None else ("set", stored.version)
        turmoil.write(Op(kind=kind, path=CONFIG, version=version,
                         record=document(spec, revision)), f"applies configuration #{revision}")


def _group_comes_or_goes(spec: ClusterSpec, target: NodeName) -> ClusterSpec:
    if spec.group(ADDED) is not None:
        return replace(spec, groups=tuple(one for one in spec.groups if one.name != ADDED))
    nodes = tuple(node.name for node in spec.nodes if not node.witness)
    return replace(spec, groups=(*spec.groups, group_of_kind(ADDED, "service", nodes[::-1])))


def _group_goes(spec: ClusterSpec, target: NodeName) -> ClusterSpec:
    return replace(spec, groups=spec.groups[1:])


def _order_turns(spec: ClusterSpec, target: NodeName) -> ClusterSpec:
    return _each(spec, lambda group: replace(group, nodes=(*group.nodes[1:], group.nodes[0])))


def _node_runs_it_no_more(spec: ClusterSpec, target: NodeName) -> ClusterSpec:
    return _each(spec, lambda group: replace(group, nodes=_without(group.nodes, target)))


def _services_change(spec: ClusterSpec, target: NodeName) -> ClusterSpec:
    def change(group: GroupSpec) -> GroupSpec:
        names = [service.name for service in group.services]
        if "queue" in names:
            return replace(group, services=group.services[:-1])
        if not names:
            return group
        new = replace(group.services[0], name="queue", monitor_interval=700 * MILLISECOND)
        return replace(group, services=(*group.services, new))
    return _each(spec, change)


def _addresses_come_or_go(spec: ClusterSpec, target: NodeName) -> ClusterSpec:
    return _each(spec, lambda group: replace(
        group, has_addresses=not group.has_addresses or not group.services))


def _each(spec: ClusterSpec, change: Callable[[GroupSpec], GroupSpec]) -> ClusterSpec:
    return replace(spec, groups=tuple(map(change, spec.groups)))


def _without(names: tuple[NodeName, ...], target: NodeName) -> tuple[NodeName, ...]:
    fewer = tuple(name for name in names if name != target)
    return fewer or names
