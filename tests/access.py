"""Ways into a ZooKeeper that wants to know who comes, for tests: the right one and others."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from kazoo.client import KazooClient
from kazoo.security import ACL

from hamgr.access import access_by
from hamgr.adapters.zookeeper import Access
from hamgr.config.schema import ZooKeeper
from hamgr.lab import certificates, secured
from tests.zookeeper import Server


def keys(server: Server, **changes: Any) -> ZooKeeper:
    """Return [zookeeper] as it must be for a server, with changes; None takes a key out."""
    folder = server.secrets
    assert folder is not None, "an open server wants no keys"
    right: dict[str, Any] = {
        "ca_file": f"{folder}/{certificates.CA}.pem",
        "cert_file": f"{folder}/{secured.CLIENT}.pem",
        "key_file": f"{folder}/{secured.CLIENT}.key",
        "user": secured.USER, "password_file": f"{folder}/{secured.PASSWORD}", "protect": True}
    return ZooKeeper(**{**right, **changes})


NOBODY: dict[str, Any] = {"user": None, "password_file": None, "protect": False}
"""Changes: TLS alone."""


def access(server: Server, **changes: Any) -> Access:
    return access_by(keys(server, **changes))


@contextmanager
def client(server: Server, **options: Any) -> Iterator[Any]:
    """Have a bare kazoo client of a secure server; without options it has no user."""
    way = keys(server)
    found = KazooClient(**{"hosts": server.host, "use_ssl": True, "ca": way.ca_file,
                           "certfile": way.cert_file, "keyfile": way.key_file, **options})
    found.start()
    try:
        yield found
    finally:
        found.stop()
        found.close()


def as_user(server: Server) -> dict[str, Any]:
    """Return the options of such a client that make it the cluster's user."""
    return {"sasl_options": access(server).sasl()}


@asynccontextmanager
async def beside(server: Server, **options: Any) -> AsyncIterator[Any]:
    """Have such a client beside a running loop, which kazoo's own waiting would stop."""
    manager = client(server, **options)
    found = await asyncio.to_thread(manager.__enter__)
    try:
        yield found
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


def below(zk: Any, path: str) -> list[str]:
    """Return a path and all below it."""
    return [path, *(one for name in sorted(zk.get_children(path))
                    for one in below(zk, f"{path}/{name}"))]


def lists(zk: Any, path: str) -> dict[str, list[ACL]]:
    """Return the access list of a path and of all below it."""
    return {one: zk.get_acls(one)[0] for one in below(zk, path)}


def content(zk: Any, path: str) -> dict[str, tuple[bytes, int]]:
    """Return what is written at a path and below it, with versions."""
    return {one: (found[0], found[1].version) for one in below(zk, path)
            for found in (zk.get(one),)}
