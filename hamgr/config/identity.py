"""Which node of the configuration this machine is."""

import os
import socket
from collections.abc import Iterable

from hamgr.config.faults import nearest
from hamgr.config.schema import Document
from hamgr.config.values import Address
from hamgr.core.types import NodeName


class IdentityError(Exception):
    """It cannot be told which node this is; the message says what was tried, and the remedy."""


class NoNodeFitsError(IdentityError):
    """No node has a name or an address of this machine. That may pass: addresses come late."""


def find_self(document: Document, wanted: str | None, hostnames: Iterable[str],
              local_addresses: Iterable[Address]) -> NodeName:
    """Return this node's name: the one that is wanted, else by host name, else by address.

    `wanted` is what --node or HAMGR_NODE says. Raises IdentityError if it is no node's name or if
    more than one node fits, NoNodeFitsError if none does by now.
    """
    if wanted:
        return _wanted(document, wanted)
    names = [name.lower() for name in hostnames]
    named = sorted({name for name in names if name in document.node})
    if named:
        return _single(named, f"the host names {', '.join(names)}")
    local = set(local_addresses)
    owners = [name for name, node in document.node.items() if local.intersection(node.addresses)]
    if not owners:
        raise NoNodeFitsError(
            f"no node is named {' or '.join(names) or 'as this host'}, and none has an address "
            f"that this machine has by now (nodes: {', '.join(document.node)}); give --node NAME "
            "or set HAMGR_NODE, or wait for the address")
    return _single(owners, "the addresses of this machine")


def host_names() -> tuple[str, ...]:
    """Return the kernel's host name, and the part of it before the first dot. No DNS is asked."""
    full = os.uname().nodename
    return tuple(dict.fromkeys((full, full.partition(".")[0])))


def addresses_here(document: Document) -> tuple[Address, ...]:
    """Return the configured addresses that this machine (this network namespace) has."""
    return tuple(address for node in document.node.values() for address in node.addresses
                 if _is_here(address))


def _wanted(document: Document, wanted: str) -> NodeName:
    if wanted not in document.node:
        meant = nearest(wanted, document.node)
        hint = f'; did you mean "{meant}"?' if meant else ""
        raise IdentityError(f'no node is named "{wanted}"{hint} '
                            f"(nodes: {', '.join(document.node)})")
    return wanted


def _single(fitting: list[NodeName], what: str) -> NodeName:
    if len(fitting) > 1:
        raise IdentityError(f"{what} fit several nodes ({', '.join(fitting)}); give --node NAME or "
                            "set HAMGR_NODE")
    return fitting[0]


def _is_here(address: Address) -> bool:
    """Tell whether the kernel would talk to an address from that very address.

    Asking the routing table so sends nothing, and unlike bind() is not misled by ip_nonlocal_bind.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return False  # no route leads there
        return bool(probe.getsockname()[0] == str(address))
