"""A client of the modelled ZooKeeper, for tests: what it was told, which ways are open to it."""

import random

from hamgr.core.effects import Op, Write
from hamgr.core.events import Event, RecordRead, WriteAnswered
from hamgr.core.types import Duration, Outcome
from hamgr.simulation.clock import Scheduler
from hamgr.simulation.session import SESSION_TIMEOUT, Session
from hamgr.simulation.zookeeper import Ensemble, Server


class Client:
    """A session of a node; one world differs from another by the seed."""

    def __init__(self, scheduler: Scheduler, ensemble: Ensemble, name: str = "n1", *,
                 nodes: tuple[str, ...] = ("n1", "n2", "n3"), seed: str = "session",
                 timeout: Duration = SESSION_TIMEOUT) -> None:
        self.told: list[Event] = []
        self.to_server = self.to_client = True
        self.cut_from: list[Server] = []
        """Servers that it cannot reach."""
        self._numbers = 0
        self.session = Session(
            scheduler, random.Random(f"{seed}/{name}"), ensemble, name, nodes, self._is_open,
            self.told.append, lambda action, *args: action(*args), timeout)
        self.session.start()

    def _is_open(self, server: Server, to_server: bool) -> bool:
        is_open = self.to_server if to_server else self.to_client
        return is_open and server.up and server not in self.cut_from

    def cut(self, is_cut: bool = True) -> None:
        """Let nothing through, or everything again."""
        self.to_server = self.to_client = not is_cut

    def write(self, *ops: Op) -> int:
        self._numbers += 1
        self.session.write(Write(write=self._numbers, ops=ops))
        return self._numbers

    def answers(self) -> list[tuple[int, Outcome]]:
        return [(event.write, event.outcome) for event in self.told
                if isinstance(event, WriteAnswered)]

    def reads(self, path: str) -> list[int]:
        return [event.version for event in self.told
                if isinstance(event, RecordRead) and event.path == path]
