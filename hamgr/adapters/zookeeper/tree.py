"""Where the records are in ZooKeeper, and coroutines that look at them once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from kazoo.exceptions import NodeExistsError, NoNodeError

from hamgr.adapters.zookeeper.access import OPEN, Access, AccessError
from hamgr.adapters.zookeeper.session import Session
from hamgr.adapters.zookeeper.tamed import NotSent
from hamgr.coding import decode, encode, fields_of
from hamgr.core.events import RecordRead
from hamgr.core.records import HISTORY, ROOT, Record
from hamgr.core.records import History as HistoryRecord

BASE = "/hamgr"
SESSIONS = "sessions"
ATTRIBUTES = "attributes"
"""A record for each node whose attributes were ever set, and one for the cluster."""
_DIGITS_MAX = 18
"""Of a number by which an entry of the history is named; what is longer is none of ours."""


class Happened(NamedTuple):
    """One line of history, with the wall-clock time at which ZooKeeper created it."""

    created_ms: int
    record: HistoryRecord


class Tree:
    """The tree of one cluster, read and written call by call.

    Every call raises NotSent without a connection, NotAnswered when no answer came in time, and
    a KazooException for whatever else the server says no to.
    """

    def __init__(self, cluster: str, session: Callable[[], Session]) -> None:
        """`session` returns the one to use now. Raises ValueError if the name cannot be a path."""
        if not cluster or "/" in cluster or cluster in (".", ".."):
            raise ValueError(f"a cluster cannot be named {cluster!r}")
        self._root = f"{BASE}/{cluster}"
        self._session = session

    def at(self, path: str) -> str:
        """Return ZooKeeper's path of a record or folder."""
        return f"{self._root}/{path}" if path else self._root

    async def record(self, path: str) -> RecordRead:
        """Read one record. Raises msgspec.MsgspecError as well, if it is not what belongs there."""
        try:
            data, stat = await self._get(path)
        except NoNodeError:
            return RecordRead(path=path, record=None, version=-1)
        return read_of(path, data, stat.version)

    async def names(self, folder: str) -> list[str]:
        """Return what lies in a folder, sorted; nothing if there is no such folder."""
        try:
            found = await self._session().submit(lambda zk: zk.get_children_async(self.at(folder)))
        except NoNodeError:
            return []
        return sorted(found)

    async def history(self, limit: int) -> list[Happened]:
        """Return the last entries that can be read, the oldest first."""
        revisions = sorted(int(name) for name in await self.names(HISTORY)
                           if name.isdecimal() and len(name) <= _DIGITS_MAX)
        paths = [f"{HISTORY}/{revision}" for revision in revisions[-limit:]]
        found = await asyncio.gather(*(self._happened(path) for path in paths))
        return [entry for entry in found if entry is not None]

    async def sessions(self) -> dict[str, dict[str, Any]]:
        """Return what the agents say of themselves, by node, that have a session just now.

        Nothing of one whose words cannot be read.
        """
        said = {}
        for name in await self.names(SESSIONS):
            try:
                data, _ = await self._get(f"{SESSIONS}/{name}")
            except NoNodeError:
                continue  # it left meanwhile
            try:
                said[name] = fields_of(data)
            except msgspec.MsgspecError:
                said[name] = {}
        return said

    async def create(self, path: str, record: Record) -> None:
        """Write a new record, such as an operator's request. Raises FileExistsError if it is there.

        After NotAnswered it may be there or not: read it.
        """
        try:
            await self._session().submit(
                lambda zk: zk.create_async(self.at(path), encode(record)))
        except NodeExistsError:
            raise FileExistsError(path) from None

    async def put(self, path: str, record: Record, version: int) -> None:
        """Write a record in the place of the one of this version. Raises BadVersionError."""
        await self._session().submit(
            lambda zk: zk.set_async(self.at(path), encode(record), version))

    async def _get(self, path: str) -> Any:
        return await self._session().submit(lambda zk: zk.get_async(self.at(path)))

    async def _happened(self, path: str) -> Happened | None:
        try:
            data, stat = await self._get(path)
            record = decode(path, data)
        except (NoNodeError, msgspec.MsgspecError):
            return None  # capped meanwhile, or of a version that writes it otherwise
        assert isinstance(record, HistoryRecord)
        return Happened(stat.ctime, record)


def read_of(path: str, data: bytes, version: int) -> RecordRead:
    """Return what was read. Raises msgspec.MsgspecError if it is no such record.

    A root without data is the folder that agents make before there is a record.
    """
    if path == ROOT and not data:
        return RecordRead(path=path, record=None, version=-1)
    return RecordRead(path=path, record=decode(path, data), version=version)


@asynccontextmanager
async def connected(hosts: Sequence[str], cluster: str, *, within_s: float = 5.0,
                    session_timeout_s: float = 4.0, access: Access = OPEN) -> AsyncIterator[Tree]:
    """Give a tree with a session of its own, for as long as a command needs it.

    Raises NotSent when no server takes the connection in time, and at once if a file of ours
    cannot be used; it tells who refuses what.
    """
    try:
        access.check()
    except AccessError as error:
        raise NotSent(str(error)) from error
    up = asyncio.Event()
    words: dict[str, str] = {}
    session = Session(hosts, timeout_s=session_timeout_s, access=access,
                      changed=lambda _, there: up.set() if there else up.clear(),
                      stalled=lambda _: None,
                      failed=lambda _, server, why: words.update({server: why}))
    tree = Tree(cluster, lambda: session)
    session.start()
    try:
        try:
            async with asyncio.timeout(within_s):
                await up.wait()
        except TimeoutError:
            raise NotSent("; ".join(dict.fromkeys(filter(None, words.values()))) or
                          f"no ZooKeeper server of {', '.join(hosts)} takes a connection "
                          f"in {within_s:g} s") from None
        yield tree
    finally:
        await session.close(1.0)
