"""From the configuration to how the agent and the commands come into ZooKeeper."""

from collections.abc import Callable
from typing import TypeVar

from hamgr.adapters.zookeeper import Access, AccessError
from hamgr.config.password import read_password
from hamgr.config.private import KeyFileError
from hamgr.config.schema import ZooKeeper
from hamgr.config.tls import client_context

T = TypeVar("T")


def access_by(zookeeper: ZooKeeper) -> Access:
    """Return what [zookeeper] says of it. No file is read before a connection is made."""
    ca_file, password_file = zookeeper.ca_file, zookeeper.password_file
    return Access(
        tls=None if ca_file is None else lambda: _read(
            lambda: client_context(ca_file, zookeeper.cert_file, zookeeper.key_file)),
        user=zookeeper.user or "",
        password=str if password_file is None else lambda: _read(
            lambda: read_password(password_file)),
        protect=zookeeper.protect)


def _read(read: Callable[[], T]) -> T:
    """Read a file; say what is wrong with it as the adapter does."""
    try:
        return read()
    except KeyFileError as error:
        raise AccessError(str(error)) from error
