"""Checks the file against what is in maintenance on this node and still there (rule 22).

Maintenance is the operator's word that nothing is touched here. So what is taken out of the file
meanwhile is neither removed (it may be in use) nor forgotten (its addresses have no lifetime, and
the commands that stop its services are gone): the agent does not start without it. Pacemaker as
well leaves such an orphan alone while it is unmanaged, and stops it afterwards; for that it keeps
the definition, which hamgr has from the file alone.
"""

from collections.abc import Container, Mapping, Sequence

from hamgr.config.faults import Fault, dotted
from hamgr.config.schema import Document
from hamgr.core.types import GroupName

Kept = Mapping[GroupName, Sequence[str]]
"""The addresses of each group when its maintenance began on this node."""


def not_in_file(document: Document, kept: Kept, there: Container[str]) -> tuple[Fault, ...]:
    """Return what the file has to get back. `there`: addresses that the kernel has.

    A group without addresses may still run, for all that can be seen.
    """
    faults = []
    for group, vips in kept.items():
        gone = [vip for vip in vips if vip in there and vip not in _vips(document, group)]
        if group not in document.group and (gone or not vips):
            faults.append(Fault(line=None, key=dotted(("group", group)), text=_GROUP.format(
                having=f", with {' and '.join(gone)}" if gone else "")))
        elif gone:
            faults.append(Fault(line=None, key=dotted(("group", group, "vips")),
                                text=_VIPS.format(gone=" and ".join(gone))))
    return tuple(faults)


_GROUP = (
    "is in maintenance and still on this node{having}, but not in the file: put it back, end its "
    "maintenance, and only then take it out, for nobody else knows how to stop it")
_VIPS = (
    "{gone} is still on this node, where the group is in maintenance: put it back until the "
    "maintenance has ended, or take it off yourself with 'ip address del'")


def to_be_spared(document: Document, kept: Kept) -> frozenset[GroupName]:
    """Return the groups of the file that a cleaning leaves alone.

    Also those that were given an address of a group in maintenance: it may be that group, renamed.
    """
    addresses = {vip for vips in kept.values() for vip in vips}
    return frozenset(name for name in document.group
                     if name in kept or not addresses.isdisjoint(_vips(document, name)))


def _vips(document: Document, group: GroupName) -> frozenset[str]:
    known = document.group.get(group)
    return frozenset(str(vip.address.ip) for vip in known.vips) if known else frozenset()
