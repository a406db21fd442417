"""From one document to another: what differs, what of it a running cluster cannot take over."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from hamgr.config.faults import Fault, Path, dotted
from hamgr.config.plain import plain
from hamgr.config.schema import Document, Group, Service
from hamgr.core.types import GroupName, NodeName


class Difference(Struct, frozen=True, kw_only=True):
    """One key that the documents do not agree on; values as they would be written, None: none."""

    key: str
    old: Any
    new: Any


def differences(old: Document, new: Document) -> tuple[Difference, ...]:
    """Return what differs in meaning, key by key; a table that only one has is one difference."""
    found = _differ(plain(old, defaults=True), plain(new, defaults=True), ())
    return tuple(Difference(key=dotted(path), old=before, new=after)
                 for path, before, after in found)


def cannot_change(old: Document, new: Document) -> tuple[Fault, ...]:
    """Return what agents that run with `old` cannot take over, each with the remedy."""
    faults = []
    if old.cluster.name != new.cluster.name:
        faults.append(_fault(("cluster", "name"), "another name is another cluster, with records "
                             f'of its own; keep "{old.cluster.name}", or {_ANEW}'))
    if old.heartbeat.port != new.heartbeat.port:
        faults.append(_fault(("heartbeat", "port"), "nodes that have changed and nodes that have "
                             f"not would not hear each other; keep {old.heartbeat.port}, or "
                             f"{_ANEW}"))
    staying = [name for name in old.node if name in new.node]
    if staying and not _common_ring(old, new, staying):
        faults.append(_fault(("node",), "no ring stays as it is on every node, and without one "
                             "they would not hear each other meanwhile; change one ring at a time, "
                             f"or {_ANEW}"))
    faults += [_fault(("group", name, "vips"), f"{vip} is a VIP of group {owner} until now; take "
                      "it out there and apply that first, or two nodes could have it for a moment")
               for name, vip, owner in _wandering(old, new)]
    for name in old.group:
        if name in new.group:
            faults += _other_kind(name, old.group[name], new.group[name])
    return tuple(faults)


def _other_kind(name: GroupName, old: Group, new: Group) -> Iterator[Fault]:
    """Yield what would run on, or start, by other rules than those by which it was started."""
    if old.mode != new.mode:
        yield _fault(("group", name, "mode"), f'cannot become "{new.mode}" while it runs; give '
                     "the new group another name: this one is stopped first, in order")
    known = {service.name: service for service in old.service}
    for service in new.service:
        before = known.get(service.name, service)
        for key in ("driver", "unit", "agent", "promotable"):
            if getattr(before, key) != getattr(service, key):
                yield _fault(("group", name, "service", service.name, key),
                             "cannot change under the same name, since what runs was started by "
                             f"the other one; call the new one otherwise than {service.name}: "
                             "that is stopped then, and the new one started")


_ANEW = ("stop hamgr on every node, put the file in place on all of them, start them again, and "
         "apply it then")


def not_in_maintenance(old: Document, new: Document,
                       maintained: tuple[GroupName, ...]) -> tuple[Fault, ...]:
    """Return what may not change of groups in maintenance: their nodes, VIPs and services."""
    return tuple(
        _fault(("group", name), "is in maintenance, so its nodes, VIPs and services must stay as "
               "they are: end the maintenance first (hamgr maintenance off)")
        for name in maintained if name in old.group and _shape(old, name) != _shape(new, name))


def joined(new: Document, former: Document) -> Document:
    """Return a document that also has the nodes, VIPs and services of groups that only `former`
    gives them: what may be here while one takes the place of the other."""
    groups = dict(new.group)
    for name, group in former.group.items():
        groups[name] = _joined(groups[name], group) if name in groups else group
    return replace(new, group=groups)


def services_gone(old: Group | None, new: Group | None) -> tuple[Service, ...]:
    """Return the services that a group has no more."""
    names = [service.name for service in new.service] if new is not None else []
    return tuple(service for service in (old.service if old is not None else ())
                 if service.name not in names)


def _joined(new: Group, former: Group) -> Group:
    addresses = [vip.address.ip for vip in new.vips]
    return replace(
        new, nodes=tuple(dict.fromkeys((*new.nodes, *former.nodes))),
        vips=(*new.vips, *(vip for vip in former.vips if vip.address.ip not in addresses)),
        service=(*new.service, *services_gone(former, new)))


def _common_ring(old: Document, new: Document, staying: list[NodeName]) -> bool:
    rings = min(len(document.node[name].addresses)
                for document in (old, new) for name in staying)
    return any(all(old.node[name].addresses[ring] == new.node[name].addresses[ring]
                   for name in staying) for ring in range(rings))


def _wandering(old: Document, new: Document) -> Iterator[tuple[GroupName, str, GroupName]]:
    owners = {vip.address.ip: name for name, group in old.group.items() for vip in group.vips}
    for name, group in new.group.items():
        for vip in group.vips:
            owner = owners.get(vip.address.ip, name)
            if owner != name:
                yield name, str(vip.address.ip), owner


def _shape(document: Document, name: GroupName) -> object:
    group = document.group.get(name)
    return group and (group.nodes, group.vips, [service.name for service in group.service])


def _fault(path: Path, text: str) -> Fault:
    return Fault(line=None, key=dotted(path), text=text)


def _differ(old: Any, new: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _differ(old.get(key), new.get(key), (*path, key))
    elif path[-1:] == ("service",) and old != new:
        before, after = _by_name(old), _by_name(new)
        if list(before) != list(after) and {*before} == {*after}:
            yield (*path, "order"), list(before), list(after)
        yield from _differ(before, after, path)
    elif old != new:
        yield path, old, new


def _by_name(services: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {service["name"]: service for service in services or ()}
