"""A document held against the plan: what stands in its way, and what it wants of the plan."""

from collections.abc import Iterator

from hamgr.config.schema import Document
from hamgr.core.records import Plan
from hamgr.core.types import GroupName, Maintenance, NodeName


def in_maintenance(plan: Plan | None) -> tuple[GroupName, ...]:
    """Return the groups that are in maintenance by the plan, or on the way in or out."""
    return tuple(name for name, group in (plan.groups.items() if plan is not None else ())
                 if group.maintenance is not Maintenance.OFF)


def voters(document: Document) -> tuple[NodeName, ...]:
    """Return the nodes that shall vote."""
    return tuple(name for name, node in document.node.items() if node.voter)


def still_vote(plan: Plan | None, new: Document) -> Iterator[str]:
    """Say which nodes a document has no more, although they vote."""
    for name in dict.fromkeys(plan.voters.voting if plan is not None else ()):
        if name not in new.node:
            yield f"{name} still votes: hamgr config apply changes that first"


def still_own(plan: Plan | None, new: Document) -> Iterator[str]:
    """Say which nodes a document has no more, although they have a right in a group."""
    for name, group in (plan.groups.items() if plan is not None else ()):
        for right in group.rights:
            if right.node not in new.node:
                yield (f"node.{right.node}: it has a right in {name}; put it in standby first "
                       f"(hamgr standby {right.node}), and stop hamgr there")


def refused_by(plan: Plan, new: Document) -> Iterator[str]:
    """Say what no leader would grant (rules 23, 24), with the remedy."""
    yield from still_own(plan, new)
    wanted = voters(new)
    for name, group in plan.groups.items():
        holder = group.holder.node if group.holder is not None else ""
        if holder in new.node and holder in plan.voters.names and holder not in wanted:
            yield (f"node.{holder}.voter: it has {name}, and no owner may lose its vote; put it "
                   f"in standby first (hamgr standby {holder})")
    if not any(name in new.node for name in plan.voters.names):
        yield ("node: none of the present voters would stay; add the new nodes first, apply that, "
               "and take the old ones out then")
    if new.timing.claim != plan.times.claim:
        yield (f"zookeeper.claim: it cannot be changed while the cluster runs; write claim = "
               f'"{plan.times.claim // 1_000_000}ms", and times that go with it')
