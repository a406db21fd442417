"""When the fence devices of each node were last tested well, by records in ZooKeeper.

    {"format": 1, "at": "2026-11-27T18:02:11+00:00", "by": "n2", "devices": ["ipmi-n1"],
     "cycle": false, "cycle_at": ""}

One record for each node, of its last success, written by the agent that was asked to test, and
carried by whoever follows the records (`adapters.zookeeper.board`). Each agent knows all of them,
so those that are lost with ZooKeeper's data are given back. Two tests at once: the one that is
written later stays, whatever the wall clocks say.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from hamgr.core.types import NodeName
from hamgr.ports import FenceTest

log = logging.getLogger(__name__)

FORMAT = 1
RECORD_S = 5.0
"""How long whoever tested waits for ZooKeeper to take the record; it is carried there all the
same as long as the agent runs."""


class ProofRecords:
    """Owns the records (`adapters.zookeeper.board.Owner`)."""

    def __init__(self, nodes: Iterable[NodeName]) -> None:
        """`nodes` are those that have fence devices."""
        self._nodes = tuple(nodes)
        self._known: dict[NodeName, FenceTest | None] = {}
        """As read; None: there is no record."""
        self._pending: dict[NodeName, FenceTest] = {}
        """What is not in ZooKeeper yet."""
        self.publish: Callable[[NodeName], None] = lambda node: None
        """Called with the name of a record that is to be read or written."""
        self._news = asyncio.Event()

    def configure(self, nodes: Iterable[NodeName]) -> None:
        """Go by another document: these have fence devices."""
        self._nodes = tuple(nodes)
        for node in self._nodes:
            if node not in self._known:
                self.publish(node)

    async def passed(self, node: NodeName, test: FenceTest) -> bool:
        """Note a test that all devices of a node have passed; tell whether ZooKeeper has it."""
        self._pending[node] = test
        self.publish(node)
        try:
            async with asyncio.timeout(RECORD_S):
                while self._pending.get(node) is test:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    def last(self) -> dict[NodeName, FenceTest | None]:
        """Return the last success of each node, None: never; without those not known yet."""
        return {**self._known, **self._pending}

    # ---- the records' owner

    def names(self) -> tuple[str, ...]:
        """Return the records to look at."""
        return tuple(dict.fromkeys((*self._nodes, *self._known, *self._pending)))

    def read(self, name: str, data: bytes | None) -> None:
        """Take in what a record is; None: there is none."""
        try:
            found = decoded(data) if data is not None else None
        except msgspec.MsgspecError as error:
            log.error("the fence test of %s cannot be read: %s", name, error)
            return
        known, waits = self._known.get(name), self._pending.get(name)
        if found is None and known is not None:
            # Records are never removed: it is lost, and this node can give it back.
            self._pending.setdefault(name, known)
        elif found is not None and waits is not None and found == replace(
                waits, cycle_at=waits.cycle_at or found.cycle_at):
            del self._pending[name]
        self._known[name] = found
        self._news.set()

    def merged(self, name: str, data: bytes | None) -> bytes | None:
        """Return what a record shall be, given what it is; None: leave it."""
        wanted = self._pending.get(name)
        if wanted is None:
            return None
        try:
            there = decoded(data) if data is not None else None
        except msgspec.MsgspecError:
            return None  # said when it was read
        if there is not None and not wanted.cycle_at:
            wanted = replace(wanted, cycle_at=there.cycle_at)
        return encoded(wanted) if wanted != there else None


def encoded(test: FenceTest) -> bytes:
    """Return the record."""
    return msgspec.json.encode({"format": FORMAT, **msgspec.to_builtins(test)})


def decoded(data: bytes) -> FenceTest:
    """Return what a record says. Raises msgspec.MsgspecError if it is none, or a newer one."""
    try:
        raw = msgspec.json.decode(data, type=dict[str, Any])
    except (RecursionError, UnicodeDecodeError) as error:
        raise msgspec.DecodeError(str(error)) from error
    return record_of(raw)


def record_of(fields: dict[str, Any]) -> FenceTest:
    """Return what the fields of a record say. Raises as `decoded`."""
    if fields.get("format", FORMAT) != FORMAT:
        raise msgspec.ValidationError("another version of hamgr wrote it")
    return msgspec.convert(fields, type=FenceTest)
