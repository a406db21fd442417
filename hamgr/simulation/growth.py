"""Nothing grows without limit: records in ZooKeeper, and what engines remember.

And nothing is left over once peace has returned: no step half done, no request that is gone, no
other plan than ZooKeeper's, and no collection longer than a cluster of this size can fill.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hamgr.coding import encode
from hamgr.core.records import HISTORY, PLAN, REQUESTS, Plan, Request
from hamgr.core.seat import Standing
from hamgr.core.types import Maintenance, NodeName
from hamgr.leader import leadership

if TYPE_CHECKING:
    from hamgr.simulation.host import Host
    from hamgr.simulation.world import World

PLAN_BYTES_MAX = 4_000
UNVERIFIED_MAX = 8
"""Doubts of one group: each is of one life of one node that nobody has vouched for."""
SLACK = 4
"""Old entries may go one write after the new one came, or with the next one."""
HELD_MAX = 64
"""Entries of one collection in an engine: nodes, groups, and pairs of them."""


def grown_records(world: "World") -> Iterator[str]:
    """Yield what has grown beyond its bound in ZooKeeper."""
    tree = world.ensemble.tree
    requests = [stored.record for path, stored in tree.items() if path.startswith(f"{REQUESTS}/")]
    answered = sum(isinstance(one, Request) and one.state != "open" for one in requests)
    history = sum(path.startswith(f"{HISTORY}/") for path in tree)
    if answered > leadership.REQUESTS_KEPT + SLACK:
        yield f"{answered} answered requests"
    stored = tree.get(PLAN)
    plan = stored.record if stored is not None else None
    if not isinstance(plan, Plan):
        return
    if history > max(leadership.HISTORY_KEPT, plan.revision // 3) + SLACK:
        yield f"{history} entries of history after {plan.revision} plans"
    size = len(encode(plan))
    if size > PLAN_BYTES_MAX:
        yield f"a plan of {size} bytes"
    for name, group in plan.groups.items():
        if len(group.unverified) > UNVERIFIED_MAX or len(set(group.unverified)) < len(
                group.unverified):
            yield f"{len(group.unverified)} doubts about {name}"


def left_over(world: "World", dead: list[NodeName]) -> Iterator[str]:
    """Yield what peace should have ended, in the plan and in each engine."""
    plan = world.turmoil.plan()
    asked = any(isinstance(stored.record, Request) and stored.record.state == "open"
                for stored in world.ensemble.tree.values())
    if plan is not None and not asked:  # what operators asked for is tried for half a minute
        yield from _in_plan(plan)
    for host in world.hosts.values():
        if host.agent is not None and host.agent.engine is not None and host.name not in dead:
            yield from _in_engine(host, plan)
        for group in world.watch.groups():
            if world.spec.group(group) is None and host.active(group):
                yield f"{host.name} still runs {group}, which no file has any more"


def _in_plan(plan: Plan) -> Iterator[str]:
    if plan.renew:
        yield f"{plan.renew} is still to be renewed"
    if plan.voters.coming or plan.voters.former:
        yield "voters are still changing"
    for name, group in plan.groups.items():
        if group.leaving:
            yield f"{name}: {group.leaving[0].node} is still leaving"
        if group.handover:
            yield f"{name} is still to be handed over"
        if group.maintenance in (Maintenance.ENTERING, Maintenance.ENDING):
            yield f"{name} is still half in maintenance"


def _in_engine(host: "Host", plan: Plan | None) -> Iterator[str]:
    engine, name = host.agent.engine, host.name  # type: ignore[union-attr]
    knowledge = engine.knowledge
    there = {path for path in host.world.ensemble.tree if path.startswith(f"{REQUESTS}/")}
    gone = [one for one in knowledge.requests if f"{REQUESTS}/{one}" not in there]
    if gone:
        yield f"{name} knows of requests that are gone: {', '.join(gone)}"
    if plan is not None and knowledge.plan != plan:
        yield f"{name} goes by plan {knowledge.revision}, not {plan.revision}"
    if engine.seat.standing not in (Standing.MEMBER, Standing.CLAIMED):
        yield f"{name} is {engine.seat.standing.value}"
    for rights in engine.activity.groups.values():
        if rights.keeping:
            yield f"{name} is still in a step of the maintenance of {rights.name}"
    for path, size in _sizes(engine, name, {}):
        if size > HELD_MAX:
            yield f"{path} has {size} entries"


def _sizes(thing: Any, path: str, seen: dict[int, Any]) -> Iterator[tuple[str, int]]:
    """Yield every collection that can be reached from a thing of the core, with its size."""
    if id(thing) in seen:
        return
    seen[id(thing)] = thing  # and so no other thing gets its number
    if isinstance(thing, dict | list | tuple | set):
        yield path, len(thing)
        for inner in thing.values() if isinstance(thing, dict) else thing:
            yield from _sizes(inner, f"{path}[]", seen)
    elif type(thing).__module__.startswith("hamgr.core") and not isinstance(thing, type):
        for name in _fields(thing):
            yield from _sizes(getattr(thing, name, None), f"{path}.{name}", seen)


def _fields(thing: Any) -> tuple[str, ...]:
    if isinstance(thing, Struct):
        return thing.__struct_fields__
    kind = type(thing)  # compiled by mypyc, a class has neither a dict nor slots
    return (*getattr(thing, "__dict__", ()), *getattr(kind, "__slots__", ()),
            *getattr(kind, "__mypyc_attrs__", ()))
