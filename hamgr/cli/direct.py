"""The cluster's records straight from ZooKeeper, for when no agent answers. Imports kazoo."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import msgspec
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError, SessionExpiredError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry

from hamgr.config.schema import Document
from hamgr.core.records import (
    HISTORY,
    LEADER,
    PLAN,
    REQUESTS,
    ROOT,
    SEATS,
    History,
    Leader,
    Plan,
    Record,
    Request,
    Root,
    Seat,
    decode,
    encode,
)

CONNECT_S = 3.0
POLL_S = 0.2
SESSIONS = "sessions"


class ZooKeeperDown(Exception):
    """ZooKeeper does not answer; the message says what was tried."""


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """What ZooKeeper says of a cluster."""

    root: Root | None
    leader: Leader | None
    plan: Plan | None
    seats: dict[str, Seat]
    requests: tuple[Request, ...]
    sessions: tuple[str, ...]
    """Nodes whose agents have a session: alive a few seconds ago."""


class Direct:
    """One short visit to ZooKeeper."""

    def __init__(self, client: KazooClient, cluster: str) -> None:
        self._client, self._cluster = client, cluster

    @classmethod
    @contextmanager
    def visit(cls, document: Document) -> Iterator[Self]:
        """Connect, and close on leaving. Raises ZooKeeperDown if it cannot."""
        hosts = ",".join(str(server) for server in document.cluster.zookeeper)
        client = KazooClient(hosts, timeout=4.0, connection_retry=KazooRetry(max_tries=0),
                             command_retry=KazooRetry(max_tries=0))
        try:
            client.start(timeout=CONNECT_S)
            yield cls(client, document.cluster.name)
        except KazooTimeoutError:
            raise ZooKeeperDown(f"ZooKeeper ({hosts}) does not answer within {CONNECT_S:g} s") \
                from None
        except (KazooException, SessionExpiredError) as error:
            raise ZooKeeperDown(f"ZooKeeper ({hosts}): {error!r}") from None
        finally:
            client.stop()
            client.close()

    def records(self) -> Records:
        """Read everything but the history."""
        root, leader, plan = (self._read(path) for path in (ROOT, LEADER, PLAN))
        seats = {name: self._read(f"{SEATS}/{name}") for name in self._children(SEATS)}
        requests = [self._read(f"{REQUESTS}/{name}") for name in self._children(REQUESTS)]
        return Records(
            root=root if isinstance(root, Root) else None,
            leader=leader if isinstance(leader, Leader) else None,
            plan=plan if isinstance(plan, Plan) else None,
            seats={name: seat for name, seat in seats.items() if isinstance(seat, Seat)},
            requests=tuple(request for request in requests if isinstance(request, Request)),
            sessions=tuple(self._children(SESSIONS)))

    def history(self, limit: int) -> list[tuple[float, History]]:
        """Return the newest entries with the seconds since 1970 of their making, oldest first."""
        names = sorted(self._children(HISTORY), key=lambda name: (len(name), name))[-limit:]
        entries = []
        for name in names:
            try:
                data, stat = self._client.get(self._path(f"{HISTORY}/{name}"))
            except NoNodeError:
                continue  # the cap removed it meanwhile
            record = decode(f"{HISTORY}/{name}", data)
            assert isinstance(record, History), "the path decides the type"
            entries.append((stat.ctime / 1000, record))
        return entries

    def ask(
        self, request: Request, progress: Callable[[str], None], within_s: float
    ) -> Request | None:
        """Put a request before the leader; return it as answered, None if it was not in time.

        Raises ZooKeeperDown if the cluster has no data there.
        """
        path = f"{REQUESTS}/{request.id}"
        try:
            self._client.create(self._path(path), encode(request))
        except NoNodeError:
            raise ZooKeeperDown(f"cluster {self._cluster} has no data in ZooKeeper") from None
        except NodeExistsError:
            raise AssertionError("the id of a request is random") from None
        progress("the request is before the leader")
        deadline = time.monotonic() + within_s
        said = ""
        while time.monotonic() < deadline:
            record, plan = self._read(path), self._read(PLAN)
            if isinstance(record, Request) and record.state != "open":
                return record
            if isinstance(plan, Plan) and plan.why != said:
                said = plan.why
                progress(f"plan {plan.revision}: {plan.why}")
            time.sleep(POLL_S)
        return None

    def _path(self, path: str) -> str:
        return f"/hamgr/{self._cluster}/{path}".rstrip("/")

    def _children(self, path: str) -> list[str]:
        try:
            return sorted(self._client.get_children(self._path(path)))
        except NoNodeError:
            return []

    def _read(self, path: str) -> Record | None:
        """Return a record; None if it is missing or not readable by this version."""
        try:
            return decode(path, self._client.get(self._path(path))[0])
        except (NoNodeError, msgspec.DecodeError, LookupError):
            return None
