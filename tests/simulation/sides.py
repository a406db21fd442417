"""The two sides that are told the same stories: the model of ZooKeeper, and real servers."""

import asyncio
import contextlib
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

from kazoo.client import KazooClient

from hamgr.adapters.zookeeper import NotAnswered, NotSent
from hamgr.adapters.zookeeper.coordinator import READ_AGAIN_S
from hamgr.adapters.zookeeper.session import Session as RealSession
from hamgr.adapters.zookeeper.tree import SESSIONS
from hamgr.core.effects import Op
from hamgr.core.events import Event, WriteAnswered, ZooKeeperChanged
from hamgr.core.types import SECOND
from hamgr.simulation.clock import Scheduler
from hamgr.simulation.session import State
from hamgr.simulation.zookeeper import Ensemble
from tests.coordinator import TIMEOUT_S, Node
from tests.simulation.client import Client
from tests.simulation.sequences import NAMES, Ask, Look
from tests.zookeeper import Server as RealServer

FOLLOWED = ("n1", "n2")
ROUNDS = 4
"""Of sync, until all is told: an event, a list, a read, and one to be sure."""
QUIET = 3 * SECOND


class Model:
    """The modelled side."""

    def __init__(self, seed: str, make: Callable[..., Ensemble] = Ensemble) -> None:
        self._seed = seed
        self.scheduler = Scheduler()
        self.ensemble = make(self.scheduler, random.Random(f"{seed}/servers"), ("", "", ""),
                             lambda one, other: True)
        self.clients = {name: self._client(name, seed) for name in NAMES}
        self.rest()

    def _client(self, name: str, seed: str) -> Client:
        return Client(self.scheduler, self.ensemble, name, nodes=FOLLOWED, seed=seed,
                      timeout=10 * SECOND)

    def rest(self) -> None:
        """Let time pass until everybody is connected and everything is told."""
        self.scheduler.run_until(self.scheduler.now + QUIET)
        while any(client.session.states[-1] is not State.CONNECTED
                  for client in self.clients.values()):
            self.scheduler.run_until(self.scheduler.now + QUIET)

    def write(self, who: str, ops: tuple[Op, ...]) -> WriteAnswered:
        """Write, and return the answer."""
        client = self.clients[who]
        number = client.write(*ops)
        self.rest()
        return _answer(client.told, number)

    def become(self, who: str, what: str) -> None:
        """Let something happen to a session."""
        if what == "come":
            self.clients[who] = self._client(who, f"{self._seed}/{self.scheduler.now}")
            self.rest()
            return
        session = self.clients[who].session
        connection = session._connection
        if what == "left":
            self.clients.pop(who).session.close()
        elif what == "without server":
            assert connection is not None
            self.ensemble.set_up(connection.server, False)
            self.rest()
            self.ensemble.set_up(connection.server, True)
        elif what == "expired":
            self.ensemble.end_session(session.number)
        else:
            assert connection is not None, "only who is connected can lose that"
            lose = session._disconnect if what == "moved" else session._stalled
            lose(connection)
        self.rest()

    def sessions(self) -> list[str]:
        """Return who has a session."""
        return sorted(path.rpartition("/")[2] for path in self.ensemble.tree
                      if path.startswith(SESSIONS))


class Real:
    """The side of the real servers."""

    def __init__(self, servers: Sequence[RealServer]) -> None:
        self._servers = servers
        self._hosts = [server.host for server in servers]
        self._cluster = uuid.uuid4().hex
        self.clients: dict[str, Node] = {}
        self.states: list[str] = []

    async def start(self) -> None:
        for name in NAMES:
            await self._come(name)
        await self.rest()

    async def close(self) -> None:
        await asyncio.gather(*(node.zk.close(2) for node in self.clients.values()))

    async def _come(self, name: str) -> None:
        self.clients[name] = node = Node(self._cluster, self._hosts, name)
        await node.zk.start()
        await node.change(up=True)

    async def rest(self) -> None:
        """Wait until everything is told: what a server knows is told before it answers a sync."""
        for node in self.clients.values():
            await node.zk._announcing.done()
        for _ in range(ROUNDS):
            await asyncio.gather(*(
                node.zk._current().submit(lambda zk: zk.sync_async("/"))
                for node in self.clients.values()))

    async def _recover(self) -> None:
        """Wait until everybody is connected again, and everything is told."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                try:
                    await self.rest()
                    return
                except (NotSent, NotAnswered):
                    await asyncio.sleep(0.1)
                except asyncio.CancelledError:  # of an announcement, when a connection ended
                    if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                        raise

    async def ask(self, step: Ask) -> list[WriteAnswered]:
        """Send all at once, and return the answers."""
        mark = {name: len(node.told) for name, node in self.clients.items()}
        sent = [(who, self.clients[who].send(*ops)) for who, ops in step.writes]
        if step.cut:
            await self._cut(step.cut, mark[step.cut])
        answers = [await self.clients[who].answer(number) for who, number in sent]
        if step.cut:
            await asyncio.sleep(1.5 * READ_AGAIN_S)  # what was not answered is read again
        await self.rest()
        return answers

    async def look(self, step: Look) -> None:
        """Read again."""
        self.clients[step.who].zk.read(step.paths)
        await self.rest()

    async def become(self, who: str, what: str) -> None:
        """Let something happen to a session."""
        if what == "come":
            await self._come(who)
            await self.rest()
            return
        node = self.clients[who]
        if what == "left":
            del self.clients[who]
            await node.zk.close(5)
            await self.rest()
            return
        mark, session = len(node.told), node.zk._current()
        self.states = []
        session._client.add_listener(self.states.append)
        if what == "replaced":
            node.zk._replace()
            await node.change(up=True, since=await node.change(up=False, since=mark))
        elif what == "moved":
            await self._cut(who, mark)
        elif what == "without server":
            server = self.server_of(who)
            server.kill()
            await node.change(up=True, since=await node.change(up=False, since=mark))
            await self._recover()
            server.start()
            await asyncio.to_thread(server.wait)
        else:
            known_as = session._client.client_id
            with kept_away(session):
                await node.change(up=False, since=mark)
                await asyncio.to_thread(_end, self._hosts, known_as)
            await node.change(up=True, since=mark)
        await self.rest()

    async def sessions(self) -> list[str]:
        """Return who has a session."""
        return await next(iter(self.clients.values())).zk.tree.names(SESSIONS)

    def server_of(self, who: str) -> RealServer:
        """Return the server that a client is connected to."""
        address, _ = self.clients[who].zk._current()._client._connection._socket.getpeername()
        return next(server for server in self._servers if server.address == address)

    async def _cut(self, who: str, mark: int) -> None:
        node = self.clients[who]
        node.zk._current()._handler.cut()
        await node.change(up=True, since=await node.change(up=False, since=mark))


@contextlib.contextmanager
def kept_away(session: RealSession) -> Iterator[None]:
    """Break a client's connection, and let it find no server meanwhile."""
    with patch.object(session._handler, "create_connection", side_effect=ConnectionRefusedError):
        session._handler.cut()
        yield


def _end(hosts: list[str], client_id: Any) -> None:
    """End a session in its client's place, as its expiry would."""
    double = KazooClient(hosts=",".join(hosts), client_id=client_id)
    double.start()
    double.stop()
    double.close()


def _answer(told: Sequence[Event], number: int) -> WriteAnswered:
    (answer,) = [event for event in told
                 if isinstance(event, WriteAnswered) and event.write == number]
    return answer


def changes(events: Sequence[Event]) -> list[bool]:
    return [event.connected for event in events if isinstance(event, ZooKeeperChanged)]
