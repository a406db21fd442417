"""The cluster's records straight from ZooKeeper, for when no agent answers. Imports kazoo."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from kazoo.exceptions import BadVersionError, KazooException, NoAuthError, NoNodeError

from hamgr.access import access_by
from hamgr.adapters.fence.tested import record_of
from hamgr.adapters.zookeeper import Happened, NotAnswered, NotSent, Tree, connected
from hamgr.config.schema import Document
from hamgr.core.records import (
    CONFIG,
    LEADER,
    PLAN,
    REQUESTS,
    ROOT,
    SEATS,
    Config,
    Leader,
    Plan,
    Record,
    Request,
    Root,
    Seat,
)
from hamgr.core.types import NodeName
from hamgr.ports import FenceTest

POLL_S = 0.2
T = TypeVar("T")


class ZooKeeperDown(Exception):
    """ZooKeeper cannot be asked; the message says why."""


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """What ZooKeeper says of a cluster."""

    root: Root | None
    leader: Leader | None
    plan: Plan | None
    seats: dict[str, Seat]
    requests: tuple[Request, ...]
    config: Config | None
    """The document that is applied."""
    sessions: dict[str, tuple[str, ...]]
    """Nodes whose agents have a session, so were alive a few seconds ago; with the MACs that each
    answers with for VIPs."""
    fence_tests: dict[NodeName, FenceTest | None] = msgspec.field(default_factory=dict)
    """Of each node with a record of one; None: it cannot be read."""
    unreadable: tuple[str, ...] = ()
    """Records that are there and cannot be read, each with the reason."""


def records(document: Document) -> Records:
    """Read everything but the history. Raises ZooKeeperDown."""
    return _visit(document, _records)


def macs(document: Document) -> dict[str, NodeName]:
    """Return whose each MAC is, by the word of the agents. Raises ZooKeeperDown."""
    return owners(_visit(document, _sessions))


def owners(sessions: Mapping[NodeName, Sequence[str]]) -> dict[str, NodeName]:
    """Return whose each MAC is, by what the records of sessions say."""
    return {mac: node for node, those in sessions.items() for mac in those}


def history(document: Document, limit: int) -> list[Happened]:
    """Read the newest entries, oldest first. Raises ZooKeeperDown."""
    return _visit(document, lambda tree: tree.history(limit))


def ask(
    document: Document, request: Request, progress: Callable[[str], None], within_s: float
) -> Request | None:
    """Put a request before the leader; return it as answered, None if it was not in time.

    progress is told in words what happens meanwhile. Raises ZooKeeperDown.
    """
    return _visit(document, lambda tree: _ask(tree, request, progress, within_s))


def applied(document: Document) -> tuple[Config | None, Plan | None, Sequence[NodeName]]:
    """Return the document that is applied, the plan, and whose agents have a session.

    Raises ZooKeeperDown, also if one of the two is there and cannot be read.
    """
    async def look(tree: Tree) -> tuple[Config | None, Plan | None, Sequence[NodeName]]:
        bad: list[str] = []
        config, plan = await _read(tree, CONFIG, bad), await _read(tree, PLAN, bad)
        if bad:
            raise ZooKeeperDown("; ".join(bad))
        return (config if isinstance(config, Config) else None,
                plan if isinstance(plan, Plan) else None, tuple(await tree.sessions()))

    return _visit(document, look)


def apply(document: Document, wanted: Config) -> bool:
    """Put a document in the place of the one of the revision before it; False: there is another.

    Raises ZooKeeperDown.
    """
    async def put(tree: Tree) -> bool:
        try:
            read = await tree.record(CONFIG)
        except msgspec.MsgspecError as error:
            raise ZooKeeperDown(_unreadable(CONFIG, error)) from None
        if not isinstance(read.record, Config) or read.record.revision != wanted.revision - 1:
            return False
        try:
            await tree.put(CONFIG, wanted, read.version)
        except BadVersionError:
            return False
        return True

    return _visit(document, put)


def _visit(document: Document, look: Callable[[Tree], Awaitable[T]]) -> T:
    async def visit() -> T:
        servers = [str(server) for server in document.cluster.zookeeper]
        async with connected(servers, document.cluster.name,
                             access=access_by(document.zookeeper)) as tree:
            return await look(tree)

    try:
        return asyncio.run(visit())
    except NoNodeError:
        raise ZooKeeperDown(f"ZooKeeper has no data of cluster {document.cluster.name}") from None
    except NoAuthError:
        raise ZooKeeperDown("ZooKeeper lets another user write alone: [zookeeper] must have the "
                            "user and the password_file of the agents") from None
    except (NotSent, NotAnswered, KazooException) as error:
        raise ZooKeeperDown(f"ZooKeeper cannot be asked: {error or type(error).__name__}") from None


async def _records(tree: Tree) -> Records:
    bad: list[str] = []
    root, leader, plan, config = [
        await _read(tree, path, bad) for path in (ROOT, LEADER, PLAN, CONFIG)]
    seats = {name: await _read(tree, f"{SEATS}/{name}", bad) for name in await tree.names(SEATS)}
    requests = [await _read(tree, f"{REQUESTS}/{name}") for name in await tree.names(REQUESTS)]
    return Records(
        unreadable=tuple(bad),
        root=root if isinstance(root, Root) else None,
        leader=leader if isinstance(leader, Leader) else None,
        plan=plan if isinstance(plan, Plan) else None,
        seats={name: seat for name, seat in seats.items() if isinstance(seat, Seat)},
        requests=tuple(request for request in requests if isinstance(request, Request)),
        config=config if isinstance(config, Config) else None,
        sessions=await _sessions(tree), fence_tests={
            node: _fence_test(fields) for node, fields in (await tree.fence_tests()).items()})


def _fence_test(fields: dict[str, Any]) -> FenceTest | None:
    with contextlib.suppress(msgspec.MsgspecError):
        return record_of(fields)
    return None


async def _sessions(tree: Tree) -> dict[str, tuple[str, ...]]:
    said = await tree.sessions()
    return {node: _strings(session.get("macs")) for node, session in said.items()}


def _strings(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


async def _ask(
    tree: Tree, request: Request, progress: Callable[[str], None], within_s: float
) -> Request | None:
    path = f"{REQUESTS}/{request.id}"
    with contextlib.suppress(FileExistsError):  # an agent put it there, and died while it waited
        await tree.create(path, request)
    progress("the request is before the leader")
    deadline = time.monotonic() + within_s
    said = 0
    while time.monotonic() < deadline:
        record, plan = await _read(tree, path), await _read(tree, PLAN)
        if isinstance(record, Request) and record.state != "open":
            return record
        if isinstance(plan, Plan) and plan.revision > said:
            if said:
                progress(f"plan {plan.revision}: {plan.why}")
            said = plan.revision
        await asyncio.sleep(POLL_S)
    return None


async def _read(tree: Tree, path: str, unreadable: list[str] | None = None) -> Record | None:
    """Return a record; None if it is missing or of a version that writes it otherwise."""
    try:
        return (await tree.record(path)).record
    except msgspec.MsgspecError as error:
        if unreadable is not None:
            unreadable.append(_unreadable(path, error))
        return None


def _unreadable(path: str, error: Exception) -> str:
    return f"the record {path or 'root'!r} in ZooKeeper cannot be read: {error}"
