"""What this node's kernel has, and its wire answers, without an agent: just then a VIP may be left
behind."""

import os
from collections.abc import Iterator

from hamgr.adapters.net import nics
from hamgr.adapters.net.vip import Vip
from hamgr.cli import probing
from hamgr.cli.from_records import Here
from hamgr.cli.survey import VipRow
from hamgr.config.identity import IdentityError, addresses_here, find_self, host_names
from hamgr.config.schema import Document


def look(document: Document, *, deserted: bool) -> Here:
    """Look at the node that this machine is; return an empty Here if it is none of them.

    deserted: no agent is here, for certain.
    """
    try:
        node = find_self(document, os.environ.get("HAMGR_NODE"), host_names(),
                         addresses_here(document))
    except IdentityError:
        return Here()
    try:
        rows = {row.address: row for row in _rows(document)}
    except OSError:
        return Here()  # the kernel does not even list its addresses
    rings = {name: [str(address) for address in spec.addresses]
             for name, spec in document.node.items()}
    here = Here(node=node, deserted=deserted, vips=rows, macs=probing.owners_here(node, rings))
    return here.told({})


def _rows(document: Document) -> Iterator[VipRow]:
    vips = {str(vip.address): Vip(str(vip.address.ip), vip.address.network.prefixlen,
                                  vip.interface or None)
            for group in document.group.values() for vip in group.vips}
    places = dict(zip(vips, nics.look(list(vips.values())), strict=True))
    wires = probing.answers([(address, place.interface) for address, place in places.items()])
    for address, place in places.items():
        yield VipRow(address=address, plan="", kernel=place.present, interface=place.interface,
                     lifetime_s=place.lifetime_s, wire=wires[address])
