"""What would happen if a document were applied: one sentence for each thing, and no change for
whatever is not named."""

from collections.abc import Collection, Iterator

from msgspec import Struct

from hamgr.config.against_plan import voters
from hamgr.config.change import services_gone
from hamgr.config.schema import COMMANDS, Document, Group, Service
from hamgr.core.records import GroupPlan, Plan
from hamgr.core.timing import Timing
from hamgr.core.types import MILLISECOND, GroupName, NodeName

LATER = {
    ("cluster", "zookeeper"): "cluster.zookeeper",
    ("cluster", "key_file"): "cluster.key_file",
    **{("zookeeper", key): f"zookeeper.{key}" for key in (
        "session", "ca_file", "cert_file", "key_file", "user", "password_file", "protect")},
}
"""What an agent reads when it starts."""


class Consequence(Struct, frozen=True, kw_only=True):
    """One thing that would happen."""

    what: str
    """moves, stops, starts, vips, services, nodes, voters, times, counts (without any change of
    what runs) or restart (from each agent's next start on)."""
    text: str


def forecast(
    old: Document, new: Document, plan: Plan, alive: Collection[NodeName]
) -> tuple[Consequence, ...]:
    """Return everything that would happen, what moves or stops first.

    `old` is the document that is applied, `alive` are the nodes whose agents run.
    """
    found = [*_groups(old, new, plan, alive), *_nodes(old, new, alive), *_voters(plan, new),
             *_times(plan.times, new.timing), *_rest(old, new)]
    return tuple(sorted(found, key=lambda one: _FIRST.get(one.what, len(_FIRST))))


_FIRST = {"stops": 0, "moves": 1, "starts": 2}


def _say(what: str, text: str) -> Consequence:
    return Consequence(what=what, text=text)


def _groups(old: Document, new: Document, plan: Plan,
            alive: Collection[NodeName]) -> Iterator[Consequence]:
    able = [node for node in alive if node not in plan.standby]
    for name in dict.fromkeys((*old.group, *new.group)):
        before, after = old.group.get(name), new.group.get(name)
        planned = plan.groups.get(name) or GroupPlan()
        if before is None and after is not None:
            first = next((node for node in after.nodes if node in able), "")
            yield _say("starts", f"{name} is new, and starts on {first}" if first else
                       f"{name} is new, and starts as soon as one of its nodes is there")
        elif after is None:
            yield _removed(name, planned)
        elif before is not None and before != after:
            yield from _changed(name, before, after, planned, able)


def _removed(name: GroupName, planned: GroupPlan) -> Consequence:
    if planned.holder is None:
        return _say("counts", f"{name} goes; it runs nowhere")
    return _say("stops", f"{name} goes: it is stopped on {planned.holder.node}, and its addresses "
                "are withdrawn")


def _changed(name: GroupName, old: Group, new: Group, planned: GroupPlan,
             able: Collection[NodeName]) -> Iterator[Consequence]:
    holder = planned.holder.node if planned.holder is not None else ""
    if holder and holder not in new.nodes:
        heir = planned.heir.node if planned.heir is not None else ""
        target = heir if heir in new.nodes else next(
            (node for node in new.nodes if node in able and node != holder), "")
        yield (_say("moves", f"{name} moves from {holder} to {target}") if target else
               _say("stops", f"{name} is stopped on {holder}: none of its nodes is there to "
                    "take it"))
    elif old.nodes != new.nodes:
        yield _say("counts", f"{name} may run on {', '.join(new.nodes)}, in this order of "
                   "preference; it stays where it is")
    here = f"on {holder}" if holder in new.nodes else "wherever it is active"
    yield from _vips(name, old, new, here)
    yield from _services(name, old, new, here)
    if old.stop_within != new.stop_within:
        yield _say("counts", f"{name}: stop_within counts at once")
    if old.fencing != new.fencing:
        waits = "waits" if new.fencing == "required" else "does not wait"
        yield _say("counts", f"{name} {waits} for a fence device from the next take-over on")


def _vips(name: GroupName, old: Group, new: Group, here: str) -> Iterator[Consequence]:
    for vip in old.vips:
        if vip not in new.vips:
            yield _say("vips", f"{name}: {vip.address} is withdrawn {here}, and connections to it "
                       "are cut")
    for vip in new.vips:
        if vip not in old.vips:
            yield _say("vips", f"{name}: {vip.address} is added {here}")


def _services(name: GroupName, old: Group, new: Group, here: str) -> Iterator[Consequence]:
    known = {service.name: service for service in old.service}
    for service in services_gone(old, new):
        yield _say("services", f"{name}: {service.name} is stopped {here}; the rest goes on")
    for service in new.service:
        before = known.get(service.name)
        if before is None:
            yield _say("services", f"{name}: {service.name} is started {here}, beside the rest")
        elif before != service:
            yield from _service(f"{name}: {service.name}", before, service)
    staying = [service.name for service in new.service if service.name in known]
    if staying != [name for name in known if name in staying]:
        yield _say("services", f"{name}: services have another order from its next start on")


def _service(who: str, old: Service, new: Service) -> Iterator[Consequence]:
    if any(getattr(old, key) != getattr(new, key) for key in (*COMMANDS, "parameters")):
        yield _say("services", f"{who}: the changed command is used from its next action on; the "
                   "service is not restarted")
    if old.monitor != new.monitor:
        yield _say("services", f"{who}: the changed monitor is used at once")
    counted = (*(f"{action}_timeout" for action in COMMANDS), "restarts", "window", "on_failure")
    changed = [key for key in counted if getattr(old, key) != getattr(new, key)]
    if changed:
        yield _say("services", f"{who}: {' and '.join(changed)} "
                   f"{'counts' if len(changed) == 1 else 'count'} from its next action on")


def _nodes(old: Document, new: Document, alive: Collection[NodeName]) -> Iterator[Consequence]:
    for name in new.node:
        if name not in old.node:
            yield _say("nodes", f"{name} is new: it takes part once hamgr is started there with "
                       "this file")
        elif old.node[name].addresses != new.node[name].addresses:
            yield _say("nodes", f"{name} is heard at {_list(new.node[name].addresses)}; a ring "
                       "that stays goes on")
    for name in old.node:
        if name not in new.node:
            yield _say("nodes", f"{name} goes: nobody hears it any more" + (
                ", so stop hamgr there for good (systemctl disable --now hamgr)"
                if name in alive else ""))


def _voters(plan: Plan, new: Document) -> Iterator[Consequence]:
    wanted = voters(new)
    if {*wanted} != {*plan.voters.names}:
        yield _say("voters", f"the voters become {_list(wanted)}, now "
                   f"{_list(plan.voters.names)}; no group has an heir for a moment (rule 23)")


def _times(old: Timing, new: Timing) -> Iterator[Consequence]:
    if old == new:
        return
    order = ("detection first, and once all have read that the lease"
             if old.detection < new.detection else
             "the lease first, and once all have read that and the old one has passed, detection")
    yield _say("times", f"the times become {_spans(new)}, now {_spans(old)}: {order} (rule 24)")


def _spans(times: Timing) -> str:
    named = (("interval", times.interval), ("lease", times.lease), ("detection", times.detection))
    return ", ".join(f"{name} {value / MILLISECOND:g} ms" for name, value in named)


def _rest(old: Document, new: Document) -> Iterator[Consequence]:
    if old.address != new.address:
        yield _say("counts", "address: lifetime and renewal count from the next renewal on")
    for name in dict.fromkeys((*old.fence, *new.fence)):
        if name not in new.fence:
            yield _say("counts", f"fence device {name} goes: it is asked no more")
        elif old.fence.get(name) != new.fence[name]:
            yield _say("counts", f"fence device {name} is asked so from its next action on")
    if old.fencing != new.fencing:
        yield _say("counts", "fencing: counts at once")
    if old.watchdog != new.watchdog:
        yield _say("counts", "watchdog: its device and timeout count at once")
    for (table, key), name in LATER.items():
        if getattr(getattr(old, table), key) != getattr(getattr(new, table), key):
            yield _say("restart", f"{name} counts on each node from its agent's next start on")
    witnesses = [name for name, node in new.node.items()
                 if name in old.node and node.witness != old.node[name].witness]
    for name in witnesses:
        can = "can run no group" if new.node[name].witness else "can run groups"
        yield _say("counts", f"{name} {can} from now on")


def _list(values: Collection[object]) -> str:
    return ", ".join(map(str, values))
