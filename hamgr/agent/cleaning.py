"""Leftovers of a former life are removed before a new one begins (rule 21)."""

import asyncio
from collections.abc import Iterable, Mapping

from hamgr.agent.dispatch import Ports
from hamgr.agent.errands import Errands
from hamgr.agent.facts import KernelAddress
from hamgr.agent.outside import About
from hamgr.core.spec import ClusterSpec, GroupSpec
from hamgr.core.types import Epoch, GroupName

REASON = "nothing may be left of a former life"


async def clean(ports: Ports, errands: Errands, about: About) -> None:
    """Remove addresses and stop services of every group that is not in maintenance here.

    Raises OSError with everything that could not be removed, in words.
    """
    keep = frozenset(ports.store.maintenance())
    await ports.addresses.clean(keep)
    groups = [group for group in about.spec.groups
              if about.node in group.nodes and group.name not in keep]
    results = await asyncio.gather(*(_stop_services(errands, group) for group in groups))
    failures = [failure for result in results for failure in result]
    if failures:
        raise OSError("; ".join(failures))


async def _stop_services(errands: Errands, group: GroupSpec) -> list[str]:
    """Demote in reverse order, all of them even if one fails; return what failed, in words."""
    failures = []
    for service in reversed(group.services):
        answer = await errands.demote(group.name, service.name, service.demote_timeout, REASON)
        if not answer.ok:
            failures.append(f"{group.name}/{service.name} does not stop: {answer.why}")
    return failures


def in_place(
    maintenance: Mapping[GroupName, Epoch], kernel: Iterable[KernelAddress], spec: ClusterSpec
) -> dict[GroupName, Epoch]:
    """Return the groups in maintenance that are really here, with their epochs (rule 22)."""
    found = {address.group for address in kernel if address.present}
    bare = {group.name for group in spec.groups if not group.has_addresses}
    return {group: epoch for group, epoch in maintenance.items() if group in found | bare}
