"""Small records that every node of the cluster may write: followed, and merged into what is there.

A folder of the cluster's tree, one record a name. Whoever owns them says what a record is to be,
given what it is (`Owner.merged`); it is written by compare-and-set on the version that was read, so
what others wrote meanwhile is merged anew and never lost. What changes while a write is under way,
or within WAIT_S, goes into one write. Nothing is kept for later but by the owner: after an outage
everything is read again, and the owner asked.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

from hamgr.adapters.zookeeper.permission import DENIED
from hamgr.adapters.zookeeper.session import NotAnswered, Session
from hamgr.adapters.zookeeper.tamed import NotSent
from hamgr.adapters.zookeeper.tree import ATTRIBUTES, Tree

log = logging.getLogger(__name__)

WAIT_S = 0.05
"""Between the first change and its write: an agent's action makes several, some 10 ms apart."""
AGAIN_S = 0.5
"""Before what was not answered is tried again, while the connection lasts."""
DENIED_S = 5.0
"""Before a write that was denied is tried again, as with `permission`."""
_CONFLICT = (BadVersionError, NodeExistsError, NoNodeError)


class Owner(Protocol):
    """Whose records they are; called in the loop's thread."""

    def names(self) -> tuple[str, ...]:
        """Return the records to look at even if the folder does not list them."""

    def read(self, name: str, data: bytes | None) -> None:
        """Take in what a record is; None: there is none."""

    def merged(self, name: str, data: bytes | None) -> bytes | None:
        """Return what the record shall be, given what it is; None: leave it."""


class Board:
    """Follows and writes the records while there is a connection."""

    def __init__(self, tree: Tree, owner: Owner) -> None:
        self._tree, self._owner = tree, owner
        self._session: Session | None = None
        self._turn = 0
        """Counts connections: what an earlier one answers is not taken in."""
        self._known: dict[str, tuple[bytes | None, int]] = {}
        """By name: the record and its version, as last read or written."""
        self._reading: set[str] = set()
        self._busy: set[str] = set()
        self._due: dict[str, asyncio.TimerHandle] = {}
        self._complained = False

    def begin(self, session: Session) -> None:
        """Read everything over a new connection, and write what is left to write."""
        self.stop()
        self._session = session
        self._list()
        for name in self._owner.names():
            self._read(name)

    def stop(self) -> None:
        """There is no connection any more."""
        self._turn += 1
        self._session = None
        self._known.clear()
        self._reading.clear()
        self._busy.clear()
        for timer in self._due.values():
            timer.cancel()
        self._due.clear()

    def touch(self, name: str) -> None:
        """Ask the owner soon whether a record is to be written."""
        if name not in self._due:
            self._later(WAIT_S, name, self._write)

    def _later(self, seconds: float, name: str, then: Callable[[str], None]) -> None:
        """Do this later, in place of what else was to be done with the record."""
        if self._session is None:
            return
        if name in self._due:
            self._due[name].cancel()

        def due() -> None:
            del self._due[name]
            then(name)
        self._due[name] = asyncio.get_running_loop().call_later(seconds, due)

    def _call(self, call: Callable[[Any], Any], then: Callable[[Any], None]) -> None:
        """Make a call; `then` gets its future, unless the connection is another one by then."""
        if self._session is None:
            return
        turn, future = self._turn, self._session.submit(call)

        def done(answered: "asyncio.Future[Any]") -> None:
            answered.exception()  # it is known of, whoever it concerns
            if turn == self._turn:
                then(answered)
        future.add_done_callback(done)

    def _watch(self, then: Callable[[], None]) -> Callable[[Any], None]:
        turn = self._turn
        return lambda event: then() if turn == self._turn and event.path is not None else None

    # ---- following

    def _list(self) -> None:
        watch = self._watch(self._list)
        self._call(lambda zk: zk.get_children_async(self._tree.at(ATTRIBUTES), watch=watch),
                   self._listed)

    def _listed(self, answered: "asyncio.Future[Any]") -> None:
        if answered.exception() is not None:
            # Of a node that may not write, the folder may be missing as long as that lasts.
            self._later(AGAIN_S, "", lambda _: self._list())
            return
        for name in sorted(answered.result()):
            if self._known.get(name, (None, -1))[0] is None:
                self._read(name)

    def _read(self, name: str) -> None:
        self._reading.add(name)
        watch = self._watch(partial(self._read, name))
        self._call(lambda zk: zk.get_async(self._tree.at(f"{ATTRIBUTES}/{name}"), watch=watch),
                   partial(self._got, name))

    def _got(self, name: str, answered: "asyncio.Future[Any]") -> None:
        self._reading.discard(name)
        error = answered.exception()
        if error is not None and not isinstance(error, NoNodeError):
            self._failed(error, f"{ATTRIBUTES}/{name} cannot be read")
            self._later(AGAIN_S, name, self._read)
            return
        data, version = None, -1
        if error is None:
            data, stat = answered.result()
            version = stat.version
        self._take(name, data, version)
        self._write(name)

    def _take(self, name: str, data: bytes | None, version: int) -> None:
        self._known[name] = (data, version)
        self._owner.read(name, data)

    # ---- writing

    def _write(self, name: str) -> None:
        if name in self._reading or name in self._busy:
            return  # it is looked at again afterwards
        if name not in self._known:
            self._read(name)
            return
        before, version = self._known[name]
        data = self._owner.merged(name, before)
        if data is None:
            return
        path = self._tree.at(f"{ATTRIBUTES}/{name}")
        self._busy.add(name)
        self._call(lambda zk: (zk.create_async(path, data) if version < 0 else
                               zk.set_async(path, data, version)),
                   partial(self._wrote, name, data))

    def _wrote(self, name: str, data: bytes, answered: "asyncio.Future[Any]") -> None:
        self._busy.discard(name)
        error = answered.exception()
        if isinstance(error, DENIED):
            self._failed(error, f"{ATTRIBUTES}/{name} may not be written")
            self._later(DENIED_S, name, self._read)
        elif isinstance(error, _CONFLICT):
            self._read(name)
        elif error is not None:
            self._failed(error, f"{ATTRIBUTES}/{name} cannot be written")
            self._later(AGAIN_S, name, self._read)
        else:
            self._complained = False
            created = isinstance(answered.result(), str)
            self._take(name, data, 0 if created else answered.result().version)
            if created:
                self._read(name)  # nothing watches it yet
            else:
                self.touch(name)

    def _failed(self, error: BaseException, what: str) -> None:
        if not self._complained and not isinstance(error, NotSent | NotAnswered):
            self._complained = True
            log.error("ZooKeeper: %s: %r", what, error)
