"""A TCP connection between a client and a ZooKeeper server, and what the server keeps of it.

Everything goes in order, both ways: an answer comes after the watch events of what it shows, and
what waits for a leader holds up what was asked behind it, pings too.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from hamgr.core.records import REQUESTS, ROOT, SEATS
from hamgr.core.types import MILLISECOND, Duration
from hamgr.simulation.clock import Action, Scheduler
from hamgr.simulation.zookeeper import Ensemble, Server

RETRANSMISSION = 200 * MILLISECOND
FOLDERS = (ROOT, SEATS, REQUESTS)
"""Those of which clients want to know what lies in them."""


class Client(Protocol):
    """Whose connection it is."""

    scheduler: Scheduler
    path_open: Callable[[Server, bool], bool]

    def delay(self) -> Duration:
        """Return how long one message takes one way."""

    def connection_lost(self, connection: "Connection") -> None:
        """The connection is gone."""

    def heard(self, applied: int) -> None:
        """An answer came, of a server that knows so many transactions."""

    def record_changed(self, connection: "Connection", path: str) -> None:
        """The watch of a record fired."""

    def folder_changed(self, connection: "Connection", folder: str) -> None:
        """The watch of a folder's children fired."""


class Asked(NamedTuple):
    """A request, as it reached the server."""

    needs_leader: bool
    action: Action
    args: tuple[Any, ...]


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

    def __init__(self, client: Client, ensemble: Ensemble, server: Server, session: int) -> None:
        self.server = server
        self.session = session
        self.is_live = True
        self._client = client
        self._ensemble = ensemble
        self._records: set[str] = set()
        self._folders: set[str] = set()
        self._held: deque[Asked] = deque()
        self._to_server = Pipe(client.scheduler, client.delay,
                               lambda: client.path_open(server, True))
        self._to_client = Pipe(client.scheduler, client.delay,
                               lambda: client.path_open(server, False))
        server.followers.append(self)

    def request(self, action: Action, *args: Any, needs_leader: bool = False) -> None:
        """Have something done at the server."""
        self._to_server.push(self._serve, Asked(needs_leader, action, args))

    def reply(self, action: Action, *args: Any) -> None:
        """Send an answer."""
        if self.is_live:
            self._to_client.push(self._answered, self.server.applied, action, args)

    def watch_record(self, path: str) -> None:
        """Tell of the next change of a path, once (ZooKeeper's one-shot watch)."""
        self._records.add(path)

    def watch_folder(self, folder: str) -> None:
        """Tell when next something comes into a folder or goes, once."""
        self._folders.add(folder)

    def path_changed(self, path: str, came_or_went: bool) -> None:
        """Send the watch events for a path."""
        folder = folder_of(path)
        if path in self._records:
            self._records.discard(path)
            self._tell(self._client.record_changed, path)
        if came_or_went and folder in self._folders:
            self._folders.discard(folder)
            self._tell(self._client.folder_changed, folder)

    def leader_found(self) -> None:
        """Do what has waited for a leader; the client may be gone meanwhile."""
        held, self._held = self._held, deque()
        for asked in held:
            self._serve(asked)
        if not self.is_live:
            self._forget()

    def dropped(self) -> None:
        """The server closed it: the client learns at once (a reset), if the path is open."""
        self._to_server.close()
        self._held.clear()
        if self.is_live:
            self._to_client.push(self._client.connection_lost, self)

    def close(self, flush: bool) -> None:
        """The client ends it; requests that its kernel holds may still reach the server."""
        self.is_live = False
        self._to_client.close()
        if not flush:
            self._to_server.close()
        if not self._held:
            self._forget()

    def _serve(self, asked: Asked) -> None:
        if not self.server.up:
            return
        if self._held or (asked.needs_leader and not self._ensemble.serves(self.server)):
            self._held.append(asked)
            return
        self._ensemble.touch(self.server, self.session)
        asked.action(*asked.args)

    def _answered(self, applied: int, action: Action, args: tuple[Any, ...]) -> None:
        if self.is_live:
            self._client.heard(applied)
            action(*args)

    def _tell(self, action: Action, path: str) -> None:
        if self.is_live:
            self._to_client.push(action, self, path)

    def _forget(self) -> None:
        if self in self.server.followers:
            self.server.followers.remove(self)


def folder_of(path: str) -> str:
    """Return the folder in which a path lies; of the root, nothing that is a folder of ours."""
    if path == ROOT:
        return "/"
    return path.rpartition("/")[0]
