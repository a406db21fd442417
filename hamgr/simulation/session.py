"""A node's client of the ensemble: what hamgr.adapters.zookeeper does with kazoo, modelled.

It keeps the contract of hamgr.ports.Coordinator: one answer for every write; UNKNOWN when the
call deadline passes or the connection breaks, though the write may yet be carried out; records
followed by watches, and read anew after every connection, conflict and unknown outcome. Like the
adapter it makes the folders first of all on every connection: as a write does, that waits for the
leader, so what is read behind it is at least as new as the connection. A client that gets no
answer at all within the deadline, or no connection for two sessions, is replaced.

Simpler than the adapter, and harmless: a read that is answered late is told late, where the
adapter would read once more.
"""

import enum
import random
from collections.abc import Callable
from typing import Any

from hamgr.core.effects import Write
from hamgr.core.events import Event, RecordRead, WriteAnswered, ZooKeeperChanged
from hamgr.core.records import CONFIG, LEADER, PLAN, ROOT, seat_path
from hamgr.core.types import MICROSECOND, MILLISECOND, SECOND, Duration, NodeName, Outcome
from hamgr.simulation.clock import Action, Scheduler
from hamgr.simulation.connection import FOLDERS, Connection, folder_of
from hamgr.simulation.zookeeper import MISSING, Admission, Ensemble, Server, Stored

CALL_DEADLINE = 1 * SECOND
SESSION_TIMEOUT = 4 * SECOND
PING_SHARE = 3
"""Pings in a session; one unanswered by the next one ends the connection."""
SESSIONS = "sessions"
FIXED = (ROOT, LEADER, PLAN, CONFIG)


class State(enum.Enum):
    """What kazoo says of a connection."""

    CONNECTED = enum.auto()
    SUSPENDED = enum.auto()
    """No connection; whether the session lives, nobody knows before there is one again."""
    LOST = enum.auto()
    """No session: there was none yet, or a server said that it has expired."""


class Session:
    """The coordinator of one agent process; everything it says goes through `post`."""

    def __init__(self, scheduler: Scheduler, rng: random.Random, ensemble: Ensemble,
                 node: NodeName, nodes: tuple[NodeName, ...],
                 path_open: Callable[[Server, bool], bool], post: Callable[[Event], None],
                 in_process: Callable[..., None], timeout: Duration = SESSION_TIMEOUT) -> None:
        self.scheduler = scheduler
        self.path_open = path_open
        self.states = [State.LOST]
        """As kazoo told them, the present one last."""
        self.number = 0
        """The session's; 0 while there is none."""
        self.slowness: Duration = 0
        self._rng = rng
        self._ensemble = ensemble
        self._node = node
        self._post = post
        self._in_process = in_process
        """Runs an action in the client's process: now, or when it is thawed."""
        self._timeout = timeout
        self._seats = tuple(seat_path(name) for name in nodes)
        self._connection: Connection | None = None
        self._pending: dict[int, Write] = {}
        self._known: dict[str, Stored] = {}
        self._told: dict[str, None] = {}
        self._seen = 0
        """Transactions that servers knew of whom this session has heard."""
        self._heard = -1
        self._attempts = 0
        """Of connecting; what was begun in an earlier one is void."""

    def start(self) -> None:
        """Begin to connect."""
        self._begin(int(self._rng.random() * 50 * MILLISECOND))

    def delay(self) -> Duration:
        """Return how long one message takes one way, a share of an fsync included."""
        delay = 300 * MICROSECOND + int(self._rng.random() * 2 * MILLISECOND)
        if self._rng.random() < 0.01:
            delay += int(self._rng.random() * 100 * MILLISECOND)
        if self.slowness:
            delay += int(self._rng.random() * self.slowness)
        return delay

    def write(self, write: Write) -> None:
        """Send one transaction."""
        connection = self._connection
        if connection is None:
            self.scheduler.after(0, self._answer_refused, write.write)
            return
        self._pending[write.write] = write
        connection.request(self._serve_write, connection, write, needs_leader=True)
        self.scheduler.after(CALL_DEADLINE, self._in_process, self._give_up, connection,
                             write.write, self.scheduler.now)

    def read(self, paths: tuple[str, ...]) -> None:
        """Read records again, also when they have not changed."""
        if self._connection is None:
            return
        if not paths:
            self._known.clear()
            self._follow(self._connection)
        for path in paths:
            self._read(self._connection, path, tell_all=True)

    def end(self, flush: bool) -> None:
        """The client's process is gone; `flush`: what it had sent may still arrive."""
        self._attempts += 1
        if self._connection is not None:
            self._connection.close(flush)
            self._connection = None

    def close(self) -> None:
        """End the session in order, so that what goes with it goes at once."""
        if self._connection is not None:
            self._connection.request(self._ensemble.end_session, self.number, needs_leader=True)
        self.end(flush=True)

    # ---- connecting

    def _begin(self, pause: Duration) -> None:
        self._attempts += 1
        self.scheduler.after(pause, self._in_process, self._try_to_connect, self._attempts)
        self.scheduler.after(2 * self._timeout, self._in_process, self._replace_if,
                             self._attempts)

    def _try_to_connect(self, attempt: int) -> None:
        if attempt != self._attempts:
            return
        server = self._rng.choice(self._ensemble.servers)
        if server.up and self.path_open(server, True) and self.path_open(server, False):
            self.scheduler.after(2 * self.delay(), self._in_process, self._arrive, server, attempt)
        else:
            self._try_again(attempt)

    def _try_again(self, attempt: int) -> None:
        pause = int((0.1 + 0.3 * self._rng.random()) * SECOND)
        self.scheduler.after(pause, self._in_process, self._try_to_connect, attempt)

    def _arrive(self, server: Server, attempt: int) -> None:
        if attempt != self._attempts:
            return
        if self.number:
            admission = self._ensemble.resume(server, self.number, self._seen)
        elif self._ensemble.serves(server):
            self.number = self._ensemble.open_session(server, self._timeout)
            admission = Admission.IN
        else:
            admission = Admission.REFUSED
        if admission is Admission.IN:
            self._connected(server)
            return
        if admission is Admission.EXPIRED:
            self.number = self._seen = 0
            self.states.append(State.LOST)
        self._try_again(attempt)

    def _connected(self, server: Server) -> None:
        self._attempts += 1
        connection = self._connection = Connection(self, self._ensemble, server, self.number)
        self.states.append(State.CONNECTED)
        self._known.clear()
        self._post(ZooKeeperChanged(connected=True))
        if connection is self._connection:
            self._call(connection, self._serve_announcement, connection, needs_leader=True)
            self._follow(connection)
            self._ping(connection)

    def connection_lost(self, connection: Connection) -> None:
        """The client sees that its connection is gone."""
        self._in_process(self._disconnect, connection)

    def _disconnect(self, connection: Connection) -> None:
        if connection is self._connection:
            self.states.append(State.SUSPENDED)
            self._gone(connection)
            self._begin(0)

    def _replace_if(self, attempt: int) -> None:
        """Give a client up that has no connection for so long that its session is over anyway."""
        if attempt == self._attempts:
            self._forget_session()

    def _stalled(self, connection: Connection) -> None:
        """Give a client up that gets no answers: another one has another session."""
        self._gone(connection)
        self._forget_session()

    def _forget_session(self) -> None:
        self.number = self._seen = 0
        self.states.append(State.LOST)
        self._begin(0)

    def _gone(self, connection: Connection) -> None:
        """Tell what has become of everything; whether of the connection first, is a race."""
        connection.close(self._rng.random() < 0.5)
        self._connection = None
        news: list[Event] = [WriteAnswered(write=number, outcome=Outcome.UNKNOWN)
                             for number in self._pending]
        self._pending.clear()
        news.insert(len(news) if self._rng.random() < 0.5 else 0, ZooKeeperChanged(connected=False))
        for event in news:
            self._post(event)

    def _ping(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        answered: list[bool] = []
        connection.request(connection.reply, answered.append, True)
        self.scheduler.after(self._timeout // PING_SHARE, self._in_process, self._check_ping,
                             connection, answered)

    def _check_ping(self, connection: Connection, answered: list[bool]) -> None:
        if answered:
            self._ping(connection)
        else:
            self._disconnect(connection)

    # ---- what the server does

    def _serve_announcement(self, connection: Connection) -> None:
        if not self._is_at(connection):
            return
        self._ensemble.sync(connection.server)
        self._ensemble.announce(connection.server, connection.session,
                                f"{SESSIONS}/{self._node}")
        connection.reply(_nothing)

    def _serve_write(self, connection: Connection, write: Write) -> None:
        if self._is_at(connection):
            outcome, versions = self._ensemble.transact(connection.server, self._node, write.ops)
            connection.reply(self._in_process, self._answer, connection, write, outcome, versions)

    def _is_at(self, connection: Connection) -> bool:
        """Whether the leader takes a request; if not, the server closes the connection."""
        taken = self._ensemble.is_at(connection.server, connection.session)
        if not taken:
            connection.dropped()
        return taken

    def _serve_read(self, connection: Connection, path: str, tell_all: bool) -> None:
        stored = connection.server.view.get(path, MISSING)
        if stored.version >= 0:
            connection.watch_record(path)  # of what is missing, the folder tells
        connection.reply(self._in_process, self._learn, connection, path, stored, tell_all)

    def _serve_list(self, connection: Connection, folder: str) -> None:
        connection.watch_folder(folder)
        found = sorted(path for path in connection.server.view if folder_of(path) == folder)
        connection.reply(self._in_process, self._listed, connection, folder, found)

    # ---- following

    def _follow(self, connection: Connection) -> None:
        for folder in FOLDERS:
            self._list(connection, folder)
        for path in dict.fromkeys((*FIXED, *self._seats, *self._told)):
            self._read(connection, path)

    def _list(self, connection: Connection, folder: str) -> None:
        self._call(connection, self._serve_list, connection, folder)

    def _read(self, connection: Connection, path: str, tell_all: bool = False) -> None:
        self._call(connection, self._serve_read, connection, path, tell_all)

    def record_changed(self, connection: Connection, path: str) -> None:
        """The client reads what a watch told of, and watches again."""
        self._in_process(self._if_connected, self._read, connection, path)

    def folder_changed(self, connection: Connection, folder: str) -> None:
        """The client looks at what a folder holds now, and watches again."""
        self._in_process(self._if_connected, self._list, connection, folder)

    def _if_connected(self, action: Action, connection: Connection, path: str) -> None:
        if connection is self._connection:
            action(connection, path)

    def _listed(self, connection: Connection, folder: str, found: list[str]) -> None:
        for path in found:
            if (connection is self._connection and (folder or path in FIXED)
                    and path not in self._told):
                self._read(connection, path)

    def _learn(self, connection: Connection, path: str, stored: Stored, tell_all: bool) -> None:
        if connection is not self._connection or not (
                tell_all or self._known.get(path) != stored):
            return
        self._known[path] = stored
        if stored.record is None:
            self._told.pop(path, None)
            self._post(RecordRead(path=path, record=None, version=-1))
        else:
            self._told[path] = None
            self._post(RecordRead(path=path, record=stored.record, version=stored.version))

    # ---- calls

    def heard(self, applied: int) -> None:
        """The server answers."""
        self._seen = max(self._seen, applied)
        self._heard = self.scheduler.now

    def _call(self, connection: Connection, action: Action, *args: Any,
              needs_leader: bool = False) -> None:
        connection.request(action, *args, needs_leader=needs_leader)
        self.scheduler.after(CALL_DEADLINE, self._in_process, self._late, connection,
                             self.scheduler.now)

    def _late(self, connection: Connection, sent: int) -> None:
        """A call is over its deadline, if it has not been answered."""
        if connection is self._connection and self._heard < sent:
            self._stalled(connection)

    def _answer_refused(self, number: int) -> None:
        self._in_process(self._post, WriteAnswered(write=number, outcome=Outcome.REFUSED))

    def _answer(self, connection: Connection, write: Write, outcome: Outcome,
                versions: tuple[int, ...]) -> None:
        if self._pending.pop(write.write, None) is None:
            return
        self._post(WriteAnswered(write=write.write, outcome=outcome, versions=versions))
        if outcome is Outcome.CONFLICT and connection is self._connection:
            self.read(tuple(op.path for op in write.ops))

    def _give_up(self, connection: Connection, number: int, sent: int) -> None:
        if number not in self._pending:
            return
        self._late(connection, sent)
        write = self._pending.pop(number, None)
        if write is not None:
            self._post(WriteAnswered(write=number, outcome=Outcome.UNKNOWN))
            self.read(tuple(op.path for op in write.ops))


def _nothing() -> None:
    """Take in that something was done."""
