"""What the groups of a document must fulfil: nodes, choices, services, and addresses that move."""

import msgspec

from hamgr.config.check_services import check_services, choice
from hamgr.config.faults import Findings, Path, nearest
from hamgr.config.schema import Document, Group, Vip
from hamgr.config.specs import group_spec
from hamgr.config.values import Address, Interface
from hamgr.core.heartbeat import WHY_MAX
from hamgr.core.parts import VOTERS_MAX
from hamgr.core.records import GroupPlan, Plan, Right, Voters
from hamgr.core.timing import Timing
from hamgr.leader import policy_check
from hamgr.leader.situation import policy_of

PLAN_BYTES_MAX = 1_000_000
"""ZooKeeper refuses requests of more than 1,048,575 bytes (jute.maxbuffer), and drops whoever sends
them; the difference is for what else a transaction checks and writes."""

_CHOICES: dict[str, dict[str, str]] = {
    "mode": {"active-passive": "", "everywhere": ""},
    "fencing": {"lease": "", "required": ""},
}


def check_groups(document: Document, findings: Findings) -> None:
    """Note everything that is wrong with the groups."""
    if not document.group and not findings.spoiled(("group",)):
        findings.warn(("group",), "no group is configured, so nothing is guarded; write a table "
                      "[group.NAME] with nodes and vips")
    taken: dict[Address, str] = {address: f"the address of node {name}"
                                 for name, node in document.node.items()
                                 for address in node.addresses}
    for name, group in document.group.items():
        path: Path = ("group", name)
        _group(document, group, path, findings)
        for here, vip in findings.numbered((*path, "vips"), group.vips):
            _vip(vip, here, findings)
            _subnet(document, group, vip, here, findings)
            if vip.address.ip in taken:
                findings.fault(here, f'"{vip.address.ip}" is {taken[vip.address.ip]} already; a '
                               "VIP belongs to one group and to no machine: choose another")
            taken.setdefault(vip.address.ip, f"a VIP of group {name}")
    _instances(document, findings)
    _plan_size(document, findings)


def _instances(document: Document, findings: Findings) -> None:
    """Resource agents call their files and attributes by group and service together: `instance`
    of the driver."""
    owners: dict[str, str] = {}
    for name, group in document.group.items():
        for here, service in findings.numbered(("group", name, "service"), group.service):
            if service.driver != "ocf":
                continue
            called = f"{name}-{service.name}"
            if called in owners:
                findings.fault((*here, "name"), f'"{service.name}" in group {name} is {called} to '
                               f"resource agents, and so is {owners[called]}: they would take "
                               "each other's files for their own; call it otherwise")
            owners.setdefault(called, f'"{service.name}" in group {name}')


def check_policies(document: Document, findings: Findings) -> None:
    """Note everything that is wrong with what groups want of their places."""
    for name, group in document.group.items():
        try:
            valid = group.failback == "never" or group.failback_after is not None
        except ValueError:
            valid = False
        if not valid:
            findings.fault(("group", name, "failback"), f'"{group.failback}" is not possible; '
                           'write "never", or how long the better node must have been fit, such '
                           'as "after 5m"')
            return
    policies = [policy_of(group_spec(*one)) for one in document.group.items()]
    for fault in policy_check.faults(policies):
        findings.fault(("group", fault.group, fault.key), fault.text)


def _group(document: Document, group: Group, path: Path, findings: Findings) -> None:
    _nodes(document, group, path, findings)
    for key, possible in _CHOICES.items():
        choice(possible, getattr(group, key), (*path, key), findings)
    check_services(group, path, findings)
    if group.mode == "everywhere":
        _everywhere(group, path, findings)
    if not group.vips and not group.service and not findings.spoiled(path):
        findings.fault(path, "has neither vips nor a service, so there is nothing to move; "
                       'write vips = ["10.0.0.100/24"], or [[group.NAME.service]]')


def _plan_size(document: Document, findings: Findings) -> None:
    size = plan_bytes(document)
    if size > PLAN_BYTES_MAX:
        fit = len(document.group) * PLAN_BYTES_MAX // size - 1
        findings.fault(("group",), f"{len(document.group)} groups: their plan may come to {size:,} "
                       f"bytes, and ZooKeeper takes {PLAN_BYTES_MAX:,} at once; use {fit} groups "
                       "at most, shorter names, or a second cluster")


def plan_bytes(document: Document) -> int:
    """Return how long the plan record of such a cluster may become, after a loss of nodes."""
    names = [*document.node, ""]
    longest = max(names, key=len)
    right = Right(node=longest, incarnation=2 ** 31, round=2 ** 31, epoch=2 ** 40)
    why = f"heir {longest} is withdrawn: {'w' * WHY_MAX}"
    worst = {name: GroupPlan(holder=right, heir=right, leaving=(right,), unverified=(right,),
                             top_epoch=right.epoch, why=why) for name in document.group}
    voters = Voters(number=2 ** 31, names=(longest,) * VOTERS_MAX)
    plan = Plan(revision=2 ** 31, by=longest, voters=voters, times=Timing(), groups=worst,
                standby=tuple(document.node))
    return len(msgspec.json.encode(plan))


def _nodes(document: Document, group: Group, path: Path, findings: Findings) -> None:
    path = (*path, "nodes")
    seen: set[str] = set()
    for here, name in findings.numbered(path, group.nodes):
        if name in seen:
            findings.fault(here, f'"{name}" is named twice; name each node once')
        elif name in document.node and document.node[name].witness:
            findings.fault(here, f'"{name}" is a witness, which runs no group; remove it here, or '
                           f"remove witness = true from [node.{name}]")
        elif name not in document.node and not findings.rejected(("node", name)):
            meant = nearest(name, document.node)
            remedy = f'did you mean "{meant}"?' if meant else f"write a table [node.{name}]"
            findings.fault(here, f'"{name}" is not configured; {remedy}')
        seen.add(name)
    if findings.spoiled(path):
        return
    if not group.nodes:
        findings.fault(path, "is empty; name the nodes that may run this group, the preferred "
                       "one first")
    elif len(group.nodes) == 1:
        findings.warn(path, f"only {group.nodes[0]} may run this group, so nothing takes over "
                      "when it dies; name a second node")


def _everywhere(group: Group, path: Path, findings: Findings) -> None:
    """A group without an active node has nothing that only one node may have."""
    if group.vips:
        findings.fault((*path, "vips"), 'cannot be on every node at once; write mode = '
                       '"active-passive", or put them into a group of their own')
    for key in ("fencing", "failback", "stop_within"):
        if findings.written((*path, key)):
            findings.warn((*path, key), "says nothing for a group that runs on every node; "
                          "leave it out")
    for here, service in findings.numbered((*path, "service"), group.service):
        if service.promotable:
            findings.fault((*here, "promotable"), "needs an active node to be promoted on; write "
                           'mode = "active-passive" for this group')


def _vip(vip: Vip, path: Path, findings: Findings) -> None:
    address, subnet = vip.address, vip.address.network
    hosts_only = subnet.prefixlen >= subnet.max_prefixlen - 1
    if not hosts_only and address.ip == subnet.network_address:
        kind = "the subnet-router anycast address" if address.version == 6 else "the network"
        findings.fault(path, f'"{address}" is {kind} of its subnet, not a host; choose a free '
                       f"address such as {subnet.network_address + 100}")
    if not hosts_only and address.version == 4 and address.ip == subnet.broadcast_address:
        findings.fault(path, f'"{address}" is the broadcast address of its subnet; choose a free '
                       "address in it")
    if address.version == 6 and address.ip.is_link_local and not vip.interface:
        findings.fault(path, f'"{address}" is a link-local address, which every interface could '
                       f'carry; write {{ address = "{address}", interface = "..." }}')


def _subnet(document: Document, group: Group, vip: Vip, path: Path, findings: Findings) -> None:
    """Warn where the interface cannot be found from the addresses that the file knows."""
    if vip.interface:
        return
    outside = [name for name in group.nodes if name in document.node
               and not findings.spoiled(("node", name, "addresses"))
               and not _reaches(vip.address, document.node[name].addresses)]
    if outside:
        findings.warn(path, f"no address of {', '.join(outside)} above lies in "
                      f"{vip.address.network}; unless there is another in it, name the interface: "
                      f'{{ address = "{vip.address}", interface = "eth0" }}')


def _reaches(vip: Interface, addresses: tuple[Address, ...]) -> bool:
    return any(address in vip.network for address in addresses)
