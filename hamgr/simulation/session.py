"""A node's client of the ensemble: keeps order, refuses when down, forgets late answers.

It keeps the contract of hamgr.ports.Coordinator: one answer for every write; UNKNOWN when the
call deadline passes or the connection breaks, though the write may yet be carried out; records
followed by watches, and read anew after every connection, conflict and unknown outcome.
"""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from hamgr.core.effects import Write
from hamgr.core.events import Event, RecordRead, WriteAnswered, ZooKeeperChanged
from hamgr.core.records import CONFIG, LEADER, PLAN, REQUESTS, ROOT, seat_path
from hamgr.core.types import MICROSECOND, MILLISECOND, SECOND, Duration, NodeName, Outcome
from hamgr.simulation.clock import Action, Scheduler
from hamgr.simulation.zookeeper import MISSING, Ensemble, Server

CALL_DEADLINE = 1 * SECOND
PING_INTERVAL = 1300 * MILLISECOND
"""A third of a session of 4 s; a ping unanswered by the next one ends the connection."""
RETRANSMISSION = 200 * MILLISECOND
REQUESTS_FOLDER = f"{REQUESTS}/"


class Pipe:
    """One direction of a TCP connection: in order, held back while the path is cut."""

    def __init__(self, scheduler: Scheduler, delay: Callable[[], Duration],
                 is_open: Callable[[], bool]) -> None:
        self._scheduler = scheduler
        self._delay = delay
        self._is_open = is_open
        self._queue: deque[tuple[int, Action, tuple[Any, ...]]] = deque()
        self._free_at = 0

    def push(self, action: Action, *args: Any) -> None:
        """Let something arrive at the other end after everything sent before it."""
        self._free_at = max(self._free_at, self._scheduler.now + self._delay())
        self._queue.append((self._free_at, action, args))
        if len(self._queue) == 1:
            self._scheduler.at(self._free_at, self._pump)

    def close(self) -> None:
        """Lose what is under way."""
        self._queue.clear()

    def _pump(self) -> None:
        if not self._queue or self._queue[0][0] > self._scheduler.now:
            return
        if not self._is_open():
            self._scheduler.after(RETRANSMISSION, self._pump)
            return
        _, action, args = self._queue.popleft()
        if self._queue:
            self._scheduler.at(max(self._queue[0][0], self._scheduler.now), self._pump)
        action(*args)


class Connection:
    """One TCP connection of a client to one server, from the server's side a follower."""

    def __init__(self, session: "Session", server: Server) -> None:
        self.server = server
        self.is_live = True
        self._session = session
        self._watched: set[str] = set()
        self._to_server = Pipe(session.scheduler, session.delay,
                               lambda: session.path_open(server, True))
        self._to_client = Pipe(session.scheduler, session.delay,
                               lambda: session.path_open(server, False))
        server.followers.append(self)

    def request(self, action: Action, *args: Any) -> None:
        """Send a request."""
        self._to_server.push(action, *args)

    def reply(self, action: Action, *args: Any) -> None:
        """Send an answer or a watch event."""
        if self.is_live:
            self._to_client.push(self._arrived, action, args)

    def watch(self, path: str) -> None:
        """Tell of the next change of a path, once (ZooKeeper's one-shot watch)."""
        self._watched.add(path)

    def path_changed(self, path: str) -> None:
        """Send the watch event for a path, if it is watched."""
        watched = REQUESTS_FOLDER if path.startswith(REQUESTS_FOLDER) else path
        if watched in self._watched:
            self._watched.discard(watched)
            self.reply(self._session.watch_fired, self, watched)

    def dropped(self) -> None:
        """The server closed it: the client learns at once (a reset), if the path is open."""
        self._to_server.close()
        if self.is_live:
            self._to_client.push(self._session.connection_lost, self)

    def close(self, flush: bool) -> None:
        """The client ends it; requests that its kernel holds may still reach the server."""
        self.is_live = False
        self._to_client.close()
        if not flush:
            self._to_server.close()
        if self in self.server.followers:
            self.server.followers.remove(self)

    def _arrived(self, action: Action, args: tuple[Any, ...]) -> None:
        if self.is_live:
            action(*args)


class Session:
    """The coordinator of one agent process; everything it says goes through `post`."""

    def __init__(self, scheduler: Scheduler, rng: random.Random, ensemble: Ensemble,
                 node: NodeName, nodes: tuple[NodeName, ...],
                 path_open: Callable[[Server, bool], bool], post: Callable[[Event], None],
                 in_process: Callable[..., None]) -> None:
        self.scheduler = scheduler
        self.path_open = path_open
        self._rng = rng
        self._ensemble = ensemble
        self._node = node
        self._post = post
        self._in_process = in_process
        """Runs an action in the client's process: now, or when it is thawed."""
        self._followed = (ROOT, LEADER, PLAN, CONFIG, *(seat_path(name) for name in nodes))
        self._connection: Connection | None = None
        self._pending: dict[int, Write] = {}
        self._known: dict[str, RecordRead] = {}
        self._life = 0
        self._ended = False
        self.slowness: Duration = 0

    def start(self) -> None:
        """Begin to connect."""
        self.scheduler.after(int(self._rng.random() * 50 * MILLISECOND), self._try_to_connect)

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
        connection.request(self._serve_write, connection, write)
        self.scheduler.after(CALL_DEADLINE, self._in_process, self._give_up, write.write)

    def read(self, paths: tuple[str, ...]) -> None:
        """Read records again, also when they have not changed."""
        if self._connection is not None:
            paths = paths or (*self._followed, REQUESTS_FOLDER)
            self._connection.request(self._serve_reads, self._connection, paths, True)

    def end(self, flush: bool) -> None:
        """The client's process is gone; `flush`: what it had sent may still arrive."""
        self._ended = True
        self._life += 1
        if self._connection is not None:
            self._connection.close(flush)
            self._connection = None

    def connection_lost(self, connection: Connection) -> None:
        """The client sees that its connection is gone."""
        self._in_process(self._disconnect, connection)

    def watch_fired(self, connection: Connection, path: str) -> None:
        """The client reads what a watch told of, and watches again."""
        self._in_process(self._read_watched, connection, path)

    def _read_watched(self, connection: Connection, path: str) -> None:
        if connection is self._connection:
            connection.request(self._serve_reads, connection, (path,), False)

    def _try_to_connect(self) -> None:
        if self._ended or self._connection is not None:
            return
        server = self._rng.choice(self._ensemble.servers)
        if (self._ensemble.serves(server) and self.path_open(server, True)
                and self.path_open(server, False)):
            self._life += 1
            self.scheduler.after(2 * self.delay(), self._in_process, self._connected, server,
                                 self._life)
        else:
            pause = int((0.1 + 0.3 * self._rng.random()) * SECOND)
            self.scheduler.after(pause, self._in_process, self._try_to_connect)

    def _connected(self, server: Server, life: int) -> None:
        if life != self._life or self._ended or self._connection is not None:
            return
        if not self._ensemble.serves(server):
            self._try_to_connect()
            return
        self._ensemble.sync(server)
        connection = self._connection = Connection(self, server)
        self._known.clear()
        self._post(ZooKeeperChanged(connected=True))
        connection.request(self._serve_reads, connection, (*self._followed, REQUESTS_FOLDER),
                           True)
        self._ping(connection)

    def _disconnect(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        connection.close(self._rng.random() < 0.5)
        self._connection = None
        for number in list(self._pending):
            self._pending.pop(number)
            self._post(WriteAnswered(write=number, outcome=Outcome.UNKNOWN))
        self._post(ZooKeeperChanged(connected=False))
        self._try_to_connect()

    def _ping(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        answered: list[bool] = []
        connection.request(connection.reply, answered.append, True)
        self.scheduler.after(PING_INTERVAL, self._in_process, self._check_ping, connection,
                             answered)

    def _check_ping(self, connection: Connection, answered: list[bool]) -> None:
        if answered:
            self._ping(connection)
        else:
            self._disconnect(connection)

    def _serve_write(self, connection: Connection, write: Write) -> None:
        server = connection.server
        if not self._ensemble.serves(server):
            return
        outcome, versions = self._ensemble.transact(server, self._node, write.ops)
        connection.reply(self._in_process, self._answer, connection, write, outcome, versions)

    def _serve_reads(self, connection: Connection, paths: tuple[str, ...], always: bool) -> None:
        server = connection.server
        if not server.up:
            return
        found: list[RecordRead] = []
        for path in paths:
            connection.watch(path)
            names = [path]
            if path == REQUESTS_FOLDER:
                names = [name for name in server.view if name.startswith(REQUESTS_FOLDER)]
            for name in names:
                record, version = server.view.get(name, MISSING)
                found.append(RecordRead(path=name, record=record, version=version))
        connection.reply(self._in_process, self._learn, connection, found, always)

    def _learn(self, connection: Connection, found: list[RecordRead], always: bool) -> None:
        for read in found:
            if connection is not self._connection:
                return
            known = self._known.get(read.path)
            if known is None and read.record is None and read.path.startswith(REQUESTS_FOLDER):
                continue
            if always or known is None or (known.version, known.record) != (
                    read.version, read.record):
                self._known[read.path] = read
                self._post(read)

    def _answer_refused(self, number: int) -> None:
        self._in_process(self._post, WriteAnswered(write=number, outcome=Outcome.REFUSED))

    def _answer(self, connection: Connection, write: Write, outcome: Outcome,
                versions: tuple[int, ...]) -> None:
        if self._pending.pop(write.write, None) is None:
            return
        self._post(WriteAnswered(write=write.write, outcome=outcome, versions=versions))
        if outcome is Outcome.CONFLICT and connection is self._connection:
            self.read(tuple(dict.fromkeys(op.path for op in write.ops)))

    def _give_up(self, number: int) -> None:
        write = self._pending.pop(number, None)
        if write is None:
            return
        self._post(WriteAnswered(write=number, outcome=Outcome.UNKNOWN))
        self.read(tuple(dict.fromkeys(op.path for op in write.ops)))
