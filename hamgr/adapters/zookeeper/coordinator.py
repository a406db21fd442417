"""Follows the records in ZooKeeper, and writes them: the port Coordinator.

Three folders are watched for what appears in them, and every record for its changes; a record
that is missing needs no watch, since its folder tells when it appears. Watches do not outlive a
connection: after each one everything is read again, and told again.

What a reader may rely on: a new session is made by a write that its server has seen, and a
connection that continues a session is refused by servers that are behind it, so nothing older
is read than was read before (ZooKeeper's single system image).
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from kazoo.exceptions import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)

from hamgr.adapters.zookeeper.access import OPEN, Access
from hamgr.adapters.zookeeper.announcing import Announcing
from hamgr.adapters.zookeeper.board import Board, Owner
from hamgr.adapters.zookeeper.permission import DENIED, Permission
from hamgr.adapters.zookeeper.session import DEADLINE_S, NotAnswered, Session
from hamgr.adapters.zookeeper.tamed import NotSent
from hamgr.adapters.zookeeper.tree import Happened, Tree, read_of
from hamgr.coding import encode
from hamgr.core.effects import Op, Write
from hamgr.core.events import RecordRead, WriteAnswered, ZooKeeperChanged
from hamgr.core.records import CONFIG, LEADER, PLAN, REQUESTS, ROOT, SEATS, seat_path
from hamgr.core.types import NodeName, Outcome
from hamgr.ports import Post

log = logging.getLogger(__name__)

SESSION_TIMEOUT_S = 4.0
READ_AGAIN_S = 0.2
"""Before a read that was not answered is repeated, while the connection lasts."""

_WATCHED = (ROOT, SEATS, REQUESTS)
_FIXED = (ROOT, LEADER, PLAN, CONFIG)
_CONFLICT = (BadVersionError, NoNodeError, NodeExistsError, NotEmptyError)
_BYSTANDERS = (RolledBackError, RuntimeInconsistency)
"""What a failed transaction says of the operations that did not fail themselves."""


class ZooKeeper:
    """Implements the port Coordinator for one node."""

    def __init__(self, node: NodeName, nodes: Sequence[NodeName], cluster: str,
                 hosts: Sequence[str], post: Post, *,
                 session_timeout_s: float = SESSION_TIMEOUT_S, deadline_s: float = DEADLINE_S,
                 access: Access = OPEN,
                 macs: Callable[[], Sequence[str]] = tuple,
                 attributes: Owner | None = None) -> None:
        """`nodes` are those whose seats are told of even while they are missing.

        `macs` gives the MACs with which this node answers for VIPs, for the record of its session.
        `attributes` owns the records of nodes' attributes.

        `hosts` are "host:port". Raises ValueError if the cluster's name cannot be a path.
        """
        self._seats = tuple(seat_path(name) for name in nodes)
        self._post = post
        self._session_timeout_s = session_timeout_s
        self._new_session = functools.partial(
            Session, hosts, timeout_s=session_timeout_s, deadline_s=deadline_s,
            access=access, changed=self._changed, stalled=self._stalled, failed=self._failed)
        self._session: Session | None = None
        self._tree = Tree(cluster, self._current)
        self._prefix = self._tree.at(ROOT) + "/"
        self._permission = Permission(self._tree, access, self._submit, self._permitted)
        self._announcing = Announcing(node, self._tree, macs)
        self._board = Board(self._tree, attributes) if attributes is not None else None
        self._connected = False
        self._usable = False
        """As last told: connected, and with permission to write."""
        self._words: dict[str, str] = {}
        """Why each server did not let us in when it was tried last, since we were connected last;
        empty: it did not answer. The newest last."""
        self._logged: set[str] = set()
        self._away: asyncio.TimerHandle | None = None
        self._known: dict[str, tuple[bytes, int, int]] = {}
        self._told: dict[str, None] = {}

    async def start(self) -> None:
        """Begin to connect; return without waiting for it."""
        self._begin()

    def write(self, write: Write) -> None:
        """Send one transaction; exactly one WriteAnswered follows, within the deadline."""
        assert all(op.version >= 0 for op in write.ops if op.kind != "create"), write
        future = (_not_sent(self._permission.why) if self._permission.why else
                  self._submit(functools.partial(self._transaction, write.ops)))
        future.add_done_callback(functools.partial(self._wrote, write))

    def read(self, paths: tuple[str, ...]) -> None:
        """Read these records again, all for none; RecordRead follows for each that can be read."""
        if not paths:
            self._known.clear()
            self._follow()
        for path in paths:
            self._read(path, tell_all=True)

    async def history(self, limit: int) -> list[Happened]:
        """Return the last entries of the history, the oldest first. Raises as Tree does."""
        return await self._tree.history(limit)

    def announce_again(self) -> None:
        """Write the record of the session again, if what it says of this node has changed."""
        if self._session is not None and self._connected:
            self._announcing.begin(self._session)

    def attributes_changed(self, name: str) -> None:
        """Have a record of attributes written as soon as that can be, if its owner wants it."""
        if self._board is not None:
            self._board.touch(name)

    @property
    def trouble(self) -> str:
        """In words, who does not let this node in, or write, and why; empty if nobody refuses."""
        if self._permission.why:
            return self._permission.why
        why = next(filter(None, reversed(self._words.values())), "")
        silent = ", ".join(server for server, word in self._words.items() if not word)
        return f"{why}; no answer from {silent}" if why and silent else why

    @property
    def tree(self) -> Tree:
        """The same records, to be looked at call by call."""
        return self._tree

    async def close(self, within_s: float) -> None:
        """End the session; whatever happens, return within that many seconds."""
        session, self._session = self._session, None
        self._connected = False
        self._permission.stop()
        self._stop_following()
        if self._away is not None:
            self._away.cancel()
        if session is not None:
            await session.close(within_s)

    # ---- the session

    def _begin(self) -> None:
        session = self._new_session()
        session.start()
        self._session = session
        self._expect_connection()

    def _expect_connection(self) -> None:
        """Replace a client that has no connection for so long that its session is over anyway."""
        loop = asyncio.get_running_loop()
        self._away = loop.call_later(2 * self._session_timeout_s, self._replace)

    def _replace(self) -> None:
        session, self._session = self._session, None
        assert session is not None and self._away is not None
        self._away.cancel()
        session.abandon()
        self._lost()
        self._begin()

    def _stalled(self, session: Session) -> None:
        if session is self._session:
            log.warning("ZooKeeper does not answer: giving this connection up for another")
            self._replace()

    def _changed(self, session: Session, connected: bool) -> None:
        if session is not self._session:
            return
        assert self._away is not None
        self._away.cancel()
        self._lost()
        if not connected:
            self._expect_connection()
            return
        self._connected = True
        self._known.clear()
        self._words.clear()
        self._logged.clear()
        self._tell_usable()
        self._permission.ask()
        self._announcing.begin(session)
        self._follow()
        if self._board is not None:
            self._board.begin(session)

    def _lost(self) -> None:
        self._permission.stop()
        self._stop_following()
        self._connected = False
        self._tell_usable()

    def _stop_following(self) -> None:
        self._announcing.cancel()
        if self._board is not None:
            self._board.stop()

    def _tell_usable(self) -> None:
        """Tell what the engine can build on: where nothing can be written, nothing can be planned.

        Records are followed all the same while they can be read.
        """
        usable = self._connected and not self._permission.why
        if usable != self._usable:
            self._usable = usable
            self._post(ZooKeeperChanged(connected=usable))

    def _permitted(self) -> None:
        """Take in that this node may write again, or not any more."""
        self._tell_usable()
        if self._usable:
            self.announce_again()

    def _failed(self, session: Session, server: str, why: str) -> None:
        """Keep the last word of each server; say once in an outage what it has against us."""
        if session is self._session and not self._connected:
            if why and why not in self._logged:
                log.warning("ZooKeeper: %s", why)
                self._logged.add(why)
            self._words.pop(server, None)
            self._words[server] = why

    def _current(self) -> Session:
        if self._session is None or not self._connected:
            raise NotSent("no connection to ZooKeeper")
        return self._session

    def _submit(self, call: Any) -> "asyncio.Future[Any]":
        try:
            return self._current().submit(call)
        except NotSent as error:
            return _not_sent(str(error))

    # ---- following

    def _follow(self) -> None:
        """Read everything, the folders first: from then on they tell of what appears."""
        for folder in _WATCHED:
            self._list(folder)
        for path in dict.fromkeys((*_FIXED, *self._seats, *self._told)):
            self._read(path)

    def _list(self, folder: str) -> None:
        future = self._submit(lambda zk: zk.get_children_async(
            self._tree.at(folder), watch=self._children_changed))
        future.add_done_callback(functools.partial(self._listed, self._session, folder))

    def _listed(self, session: Session | None, folder: str, future: "asyncio.Future[Any]") -> None:
        error = future.exception()
        if session is not self._session or not self._connected:
            return
        if error is not None:
            if isinstance(error, NoNodeError) and self._usable:
                self._permission.ask()
            self._again(error, folder or "the root", functools.partial(self._list, folder))
            return
        for name in sorted(future.result()):
            path = f"{folder}/{name}" if folder else name
            if (folder or path in _FIXED) and path not in self._told:
                self._read(path)

    def _read(self, path: str, tell_all: bool = False) -> None:
        future = self._submit(lambda zk: zk.get_async(
            self._tree.at(path), watch=self._record_changed))
        future.add_done_callback(functools.partial(self._got, self._session, path, tell_all))

    def _got(self, session: Session | None, path: str, tell_all: bool,
             future: "asyncio.Future[Any]") -> None:
        error = future.exception()
        if session is not self._session or not self._connected:
            return
        if error is not None and not isinstance(error, NoNodeError):
            self._again(error, path, functools.partial(self._read, path, tell_all))
            return
        data, version, changed = b"", -1, -1
        if error is None:
            data, stat = future.result()
            version, changed = stat.version, stat.mzxid
        news = self._known.get(path) != (data, version, changed)
        self._known[path] = (data, version, changed)
        if news or tell_all:
            self._tell(path, data, version, news)

    def _tell(self, path: str, data: bytes, version: int, news: bool) -> None:
        try:
            read = RecordRead(path=path, record=None, version=-1)
            if version >= 0:
                read = read_of(path, data, version)
        except msgspec.MsgspecError as error:
            if news:
                log.error("record %r in ZooKeeper cannot be read: %s", path, error)
            return
        if version < 0:
            self._told.pop(path, None)
        else:
            self._told[path] = None
        self._post(read)

    def _again(self, error: BaseException, what: str, read: Any) -> None:
        """Repeat a read without an answer: its watch may be missing as well."""
        if not isinstance(error, NotSent | NotAnswered | NoNodeError):
            log.error("%s in ZooKeeper cannot be read: %r", what, error)
        session = self._session
        asyncio.get_running_loop().call_later(
            READ_AGAIN_S, lambda: read() if session is self._session and self._connected else None)

    def _record_changed(self, event: Any) -> None:
        if self._connected and event.path is not None:
            self._read(self._relative(event.path))

    def _children_changed(self, event: Any) -> None:
        if self._connected and event.path is not None:
            self._list(self._relative(event.path))

    def _relative(self, path: str) -> str:
        return path.removeprefix(self._prefix) if path.startswith(self._prefix) else ROOT

    # ---- writing

    def _transaction(self, ops: tuple[Op, ...], client: Any) -> Any:
        transaction = client.transaction()
        for op in ops:
            path = self._tree.at(op.path)
            data = encode(op.record) if op.record is not None else b""
            if op.kind == "create" and op.path == ROOT:
                transaction.set_data(path, data, version=0)  # the folder, as it was made
            elif op.kind == "create":
                transaction.create(path, data)
            elif op.kind == "set":
                transaction.set_data(path, data, version=op.version)
            elif op.kind == "check":
                transaction.check(path, op.version)
            else:
                assert op.kind == "delete", op
                transaction.delete(path, op.version)
        return transaction.commit_async()

    def _wrote(self, write: Write, future: "asyncio.Future[Any]") -> None:
        error = future.exception() or _failure(future.result())
        outcome = _outcome(error)
        versions = tuple(map(_version, write.ops, future.result())) if error is None else ()
        self._post(WriteAnswered(write=write.write, outcome=outcome, versions=versions))
        if isinstance(error, DENIED):
            self._permission.denied(error)
        if outcome in (Outcome.CONFLICT, Outcome.UNKNOWN) and self._connected:
            if isinstance(error, NoNodeError) and self._usable:
                self._permission.ask()
            self.read(tuple(op.path for op in write.ops))


def _not_sent(why: str) -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_exception(NotSent(why))
    return future


def _failure(results: list[Any]) -> BaseException | None:
    """Return what made a transaction fail, if anything did."""
    errors = [result for result in results if isinstance(result, Exception)]
    causes = [error for error in errors if not isinstance(error, _BYSTANDERS)]
    return next(iter(causes or errors), None)


def _outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return Outcome.DONE
    if isinstance(error, (*_CONFLICT, *_BYSTANDERS)):
        return Outcome.CONFLICT
    if isinstance(error, (NotSent, *DENIED)):
        return Outcome.REFUSED
    return Outcome.UNKNOWN


def _version(op: Op, result: Any) -> int:
    """Return the version that an operation left: a new record's is 0, and of others it is said."""
    if op.kind == "set" or (op.kind == "create" and op.path == ROOT):
        return int(result.version)
    return 0 if op.kind == "create" else -1
