"""A node's session record: who has a session just now, for people and for telling MACs apart.

It is ephemeral, and no rule rests on it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

import msgspec
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError

import hamgr
from hamgr.adapters.zookeeper.session import NotAnswered, Session
from hamgr.adapters.zookeeper.tamed import NotSent
from hamgr.adapters.zookeeper.tree import SESSIONS, Tree
from hamgr.core.records import FORMAT
from hamgr.core.types import NodeName

log = logging.getLogger(__name__)


class Announcing:
    """Keeps the record of the present session up; one attempt at a time."""

    def __init__(self, node: NodeName, tree: Tree, macs: Callable[[], Sequence[str]]) -> None:
        """`macs` gives the MACs with which this node answers for VIPs."""
        self._node = node
        self._path = tree.at(f"{SESSIONS}/{node}")
        self._macs = macs
        self._task: asyncio.Task[None] | None = None

    def begin(self, session: Session) -> None:
        """Put the record of a session up, or write it again if what it says has changed."""
        self.cancel()
        self._task = asyncio.create_task(self._announce(session))

    def cancel(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()

    async def done(self) -> None:
        """Return when what was begun has ended."""
        if self._task is not None:
            await self._task

    async def _announce(self, session: Session) -> None:
        """Put up the ephemeral record of this session, in place of one that an earlier one left."""
        said = msgspec.json.encode(
            {"format": FORMAT, "node": self._node, "version": hamgr.__version__,
             "macs": self._macs()})
        try:
            while await _other_owner(session, self._path):
                with contextlib.suppress(NodeExistsError):
                    await session.submit(
                        lambda zk: zk.create_async(self._path, said, ephemeral=True))
            data, stat = await session.submit(lambda zk: zk.get_async(self._path))
            if data != said:
                await session.submit(lambda zk: zk.set_async(self._path, said, stat.version))
        except (KazooException, NotSent, NotAnswered) as error:
            log.warning("%s is not announced in ZooKeeper: %r", self._node, error)


async def _other_owner(session: Session, path: str) -> bool:
    """Return whether an ephemeral record is not this session's; another one's is removed."""
    stat = await session.submit(lambda zk: zk.exists_async(path))
    if stat is None or stat.ephemeralOwner == session.id:
        return stat is None
    with contextlib.suppress(NoNodeError):
        await session.submit(lambda zk: zk.delete_async(path, stat.version))
    return True
