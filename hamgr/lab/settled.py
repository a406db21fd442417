"""When a cluster is ready for the next fault, judged from what its agents say of themselves."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

Status = dict[str, Any]


def obstacle(statuses: Mapping[str, Status | None], groups: Collection[str],
             everywhere: Collection[str] = ()) -> str:
    """Return the first thing that is missing, in words; empty when nothing is."""
    return next(_obstacles(statuses, groups, everywhere), "")


def _obstacles(statuses: Mapping[str, Status | None], groups: Collection[str],
               everywhere: Collection[str]) -> Iterator[str]:
    snapshots: dict[str, dict[str, Any]] = {}
    for name, status in statuses.items():
        if status is None:
            yield f"{name}: the agent does not answer"
        elif status["snapshot"] is None:
            yield f"{name}: still starting: {status['process']['why']}"
        else:
            snapshots[name] = status["snapshot"]
            if not status["process"]["switch_alive"]:
                yield f"{name}: has no dead-man's switch"
            yield from _of_node(name, status["snapshot"])
            yield from _of_everywhere(name, status["snapshot"], everywhere)
    yield from _of_plan(snapshots, groups)


def _of_node(name: str, snapshot: dict[str, Any]) -> Iterator[str]:
    if not snapshot["zookeeper"]:
        yield f"{name}: not connected to ZooKeeper: {snapshot['zookeeper_why']}"
    if snapshot["lease"] != "member":
        yield f"{name}: lives on no credits, but is {snapshot['lease']}"
    for peer in snapshot["peers"]:
        if name in snapshot["voters"] and not peer["credited"]:
            yield f"{name}: does not credit {peer['node']}"
        if peer["accused_by"]:
            yield f"{name}: {peer['node']} is accused by {', '.join(peer['accused_by'])}"


def _of_everywhere(name: str, snapshot: dict[str, Any], groups: Collection[str]) -> Iterator[str]:
    for group in snapshot["groups"]:
        for service in group["services"] if group["name"] in groups else ():
            if service["state"] not in ("started", "promoted"):
                yield f"{name}: {service['name']} of {group['name']} is {service['state']}"


def _of_plan(snapshots: dict[str, dict[str, Any]], groups: Collection[str]) -> Iterator[str]:
    plans = {node: snapshot["plan"] for node, snapshot in snapshots.items()}
    if len({plan["revision"] if plan else 0 for plan in plans.values()}) > 1:
        yield "the nodes have read different plans"
    for node, plan in plans.items():
        for name in groups:
            group = (plan or {}).get("groups", {}).get(name)
            if not group:
                yield f"{node}: there is no plan for {name}"
            elif group["holder"] is None or group["heir"] is None:
                yield f"{node}: {name} has no {'heir' if group['holder'] else 'holder'}"
            elif group["leaving"] or group["handover"]:
                yield f"{node}: {name} is on its way"
            elif not _active(snapshots[group["holder"]["node"]], name):
                yield f"{group['holder']['node']}: holds {name} but is not active"


def _active(snapshot: dict[str, Any], name: str) -> bool:
    return any(group["name"] == name and group["phase"] == "active"
               for group in snapshot["groups"])
