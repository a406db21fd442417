"""A model of a ZooKeeper ensemble: linearizable transactions, elections, servers left behind.

The committed tree is one for all; every server shows a view of it that may lag. A server that
lost its majority goes on answering reads from its frozen view for up to eleven seconds (measured
with ZooKeeper 3.8 after a cut) before it drops its clients. While there is no leader nothing is
written, and an election takes one to four seconds.
"""

import random
from collections.abc import Callable
from typing import NamedTuple, Protocol

from hamgr.coding import decode, encode
from hamgr.core.effects import Op
from hamgr.core.records import Record
from hamgr.core.types import MILLISECOND, SECOND, Duration, NodeName, Outcome
from hamgr.simulation.clock import Scheduler

ELECTION_MIN = 1 * SECOND
ELECTION_SPREAD = 3 * SECOND
STALE_MIN = 500 * MILLISECOND
STALE_SPREAD = 10_500 * MILLISECOND
LAG_SPREAD = 3 * MILLISECOND
LAG_SHARE = 0.02
LAG_LONG = 200 * MILLISECOND


class Stored(NamedTuple):
    """A record as it lies in the tree."""

    record: Record | None
    version: int


MISSING = Stored(None, -1)


class Commit(NamedTuple):
    """One transaction that was written: what each path became, and who wrote it."""

    by: NodeName
    ops: tuple[Op, ...]
    changed: tuple[tuple[str, Stored], ...]


class Follower(Protocol):
    """A client's connection, as its server sees it."""

    def path_changed(self, path: str) -> None:
        """The server's view of a path changed."""

    def dropped(self) -> None:
        """The server closed the connection."""


class Server:
    """One server: where it runs, what it shows, who is connected."""

    def __init__(self, name: str, host: NodeName) -> None:
        self.name = name
        self.host = host
        """The node that it runs on; empty for a machine of its own."""
        self.up = True
        self.isolated = 0
        """Cut from the other servers by so many faults, though its clients still reach it."""
        self.view: dict[str, Stored] = {}
        self.applied = 0
        self.in_quorum = True
        self.left_quorum = 0
        """How often it was left behind: what was planned for an earlier time is void."""
        self.followers: list[Follower] = []

    def drop_followers(self) -> None:
        """Close every connection."""
        for follower in list(self.followers):
            follower.dropped()
        self.followers.clear()


class Ensemble:
    """Three servers and the tree that they agreed upon."""

    def __init__(self, scheduler: Scheduler, rng: random.Random, hosts: tuple[NodeName, ...],
                 reachable: Callable[[NodeName, NodeName], bool]) -> None:
        self.tree: dict[str, Stored] = {}
        self.log: list[Commit] = []
        self.on_commit: Callable[[Commit], None] = lambda commit: None
        self.servers = [Server(f"z{number}", host) for number, host in enumerate(hosts, 1)]
        self.leader: Server | None = self.servers[0]
        self._scheduler = scheduler
        self._rng = rng
        self._reachable = reachable
        self._election = 0
        self._electing = False

    def serves(self, server: Server) -> bool:
        """Whether a server accepts clients and forwards writes."""
        return (server.up and server.in_quorum and self.leader is not None
                and self.leader.in_quorum)

    def sync(self, server: Server) -> None:
        """Bring a serving server's view up to date (a client asks for it when it connects)."""
        assert self.serves(server), "sync needs a leader"
        self._catch_up(server, len(self.log))

    def transact(self, server: Server, by: NodeName,
                 ops: tuple[Op, ...]) -> tuple[Outcome, tuple[int, ...]]:
        """Carry one transaction out, all or nothing, and return its outcome and versions."""
        changed: dict[str, Stored] = {}
        versions: list[int] = []
        for op in ops:
            stored = changed.get(op.path) or self.tree.get(op.path, MISSING)
            if not _may(op, stored):
                return Outcome.CONFLICT, ()
            versions.append(_apply(op, stored, changed))
        self._commit(server, Commit(by, ops, tuple(changed.items())))
        return Outcome.DONE, tuple(versions)

    def reconsider(self) -> None:
        """Find out, after power or paths changed, who still has the majority."""
        quorum = self._quorum()
        for server in self.servers:
            if server.in_quorum and server not in quorum:
                self._leave_behind(server)
            elif server in quorum and not server.in_quorum:
                server.in_quorum = True
                self._catch_up(server, len(self.log))
        if self.leader is not None and self.leader not in quorum:
            self.lose_leader()
        elif self.leader is None and quorum and not self._electing:
            self._start_election(0)

    def lose_leader(self, extra: Duration = 0) -> None:
        """Be leaderless for one to four seconds, and `extra`."""
        self.leader = None
        self._start_election(extra)
        for server in self.servers:
            if server.up:
                self._scheduler.after(int(self._rng.random() * 400 * MILLISECOND),
                                      self._notice_leaderless, server)

    def hasten(self) -> None:
        """What kept the servers from electing a leader is over: it takes the usual time now."""
        if self.leader is None:
            self._start_election(0)

    def set_up(self, server: Server, up: bool) -> None:
        """Start a server, or let it die with its connections."""
        server.up = up
        if not up:
            server.drop_followers()
        self.reconsider()

    def _commit(self, server: Server, commit: Commit) -> None:
        for path, stored in commit.changed:
            if stored.record is not None:
                assert decode(path, encode(stored.record)) == stored.record, f"{path} as JSON"
                self.tree[path] = stored
            else:
                self.tree.pop(path, None)
        self.log.append(commit)
        self._catch_up(server, len(self.log))
        for other in self.servers:
            if other.in_quorum and other is not server:
                lag = int(self._rng.random() * LAG_SPREAD)
                if self._rng.random() < LAG_SHARE:
                    lag += int(self._rng.random() * LAG_LONG)
                self._scheduler.after(lag, self._catch_up_if_in_quorum, other, len(self.log))
        self.on_commit(commit)

    def _catch_up_if_in_quorum(self, server: Server, upto: int) -> None:
        if server.in_quorum:
            self._catch_up(server, upto)

    def _catch_up(self, server: Server, upto: int) -> None:
        while server.applied < upto:
            commit = self.log[server.applied]
            server.applied += 1
            for path, stored in commit.changed:
                server.view[path] = stored
                for follower in list(server.followers):
                    follower.path_changed(path)

    def _quorum(self) -> list[Server]:
        for first in self.servers:
            group = [other for other in self.servers
                     if other is first or self._joined(first, other)]
            if first.up and len(group) > len(self.servers) // 2:
                return group
        return []

    def _joined(self, one: Server, other: Server) -> bool:
        if not (one.up and other.up) or one.isolated or other.isolated:
            return False
        if not (one.host and other.host):
            return True
        return self._reachable(one.host, other.host) and self._reachable(other.host, one.host)

    def _leave_behind(self, server: Server) -> None:
        server.in_quorum = False
        server.left_quorum += 1
        stale_for = STALE_MIN + int(self._rng.random() ** 2 * STALE_SPREAD)
        self._scheduler.after(stale_for, self._give_up_clients, server, server.left_quorum)

    def _give_up_clients(self, server: Server, left_quorum: int) -> None:
        if server.left_quorum == left_quorum and not server.in_quorum:
            server.drop_followers()

    def _notice_leaderless(self, server: Server) -> None:
        if self.leader is None and server.in_quorum:
            server.drop_followers()

    def _start_election(self, extra: Duration) -> None:
        self._election += 1
        self._electing = True
        takes = ELECTION_MIN + int(self._rng.random() * ELECTION_SPREAD) + extra
        self._scheduler.after(takes, self._elect, self._election)

    def _elect(self, election: int) -> None:
        if election != self._election:
            return
        self._electing = False
        quorum = self._quorum()
        if quorum:
            self.leader = self._rng.choice(quorum)
            self._catch_up(self.leader, len(self.log))


def _may(op: Op, stored: Stored) -> bool:
    if op.kind == "create":
        return stored.record is None
    assert op.kind in ("check", "set", "delete"), f"unknown operation {op.kind}"
    assert op.version >= 0, f"{op.kind} of {op.path!r} without a version"
    return stored.record is not None and stored.version == op.version


def _apply(op: Op, stored: Stored, changed: dict[str, Stored]) -> int:
    if op.kind == "check":
        return -1
    if op.kind == "delete":
        changed[op.path] = MISSING
        return -1
    assert op.record is not None, f"{op.kind} of {op.path!r} without a record"
    version = 0 if op.kind == "create" else stored.version + 1
    changed[op.path] = Stored(op.record, version)
    return version
