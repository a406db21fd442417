"""A model of a ZooKeeper ensemble: linearizable transactions, elections, sessions, stale servers.

The committed tree is one for all; every server shows a view of it that may lag. A server that
lost its majority goes on answering reads from its frozen view for up to eleven seconds (measured
with ZooKeeper 3.8 after a cut) before it drops its clients; if it was the leader, it even takes
clients back that come again. While there is no leader nothing is written, no session is made and
none expires, and an election takes one to four seconds.

It is compared with real servers in tests/simulation/test_zookeeper_alike.py. What is simpler here,
and why that hides nothing: folders are there from the start, since every client makes them before
it writes; the record of a session says nothing, and takes the place of an older one in one step,
since no rule rests on it; a write that a dying leader leaves half done is committed at once or
never, since in the election nobody can tell that from later.
"""

import enum
import random
from collections.abc import Callable
from typing import NamedTuple, Protocol

from hamgr.coding import decode, encode
from hamgr.core.effects import Op
from hamgr.core.records import ROOT, Record
from hamgr.core.types import MILLISECOND, SECOND, Duration, Instant, NodeName, Outcome
from hamgr.simulation.clock import Scheduler

ELECTION_MIN = 1 * SECOND
ELECTION_SPREAD = 3 * SECOND
STALE_MIN = 500 * MILLISECOND
STALE_SPREAD = 10_500 * MILLISECOND
LAG_SPREAD = 3 * MILLISECOND
LAG_SHARE = 0.02
LAG_LONG = 200 * MILLISECOND
TICK = 500 * MILLISECOND
"""tickTime of systemd/zoo.cfg: sessions expire at its multiples, and last two ticks at least."""


class Stored(NamedTuple):
    """What lies at a path of the tree."""

    record: Record | None
    version: int
    written: int = 0
    """The number of the transaction that wrote it (mzxid)."""
    owner: int = 0
    """The session that it goes with (ephemeral); 0: none."""


MISSING = Stored(None, -1)
FOLDER = Stored(None, 0)
"""The root before there is a record in it: a folder, which has a version of its own."""


class Commit(NamedTuple):
    """One transaction that was written: what each path became, and who wrote it."""

    by: NodeName
    ops: tuple[Op, ...]
    changed: tuple[tuple[str, Stored], ...]
    opened: int = 0
    """The session that it made."""
    ended: int = 0
    """The session that it ended."""


class Admission(enum.Enum):
    """How a server answers a client that wants to go on with its session."""

    IN = enum.auto()
    EXPIRED = enum.auto()
    """It knows of no such session."""
    REFUSED = enum.auto()
    """It has no leader to ask, or is behind what the client has seen."""


class Member:
    """A session, as the leader keeps it."""

    def __init__(self, timeout: Duration, server: "Server") -> None:
        self.timeout = max(timeout, 2 * TICK)
        self.server = server
        """Where its client is connected: what it asked for elsewhere is carried out no more."""
        self.expires: Instant = 0

    def touch(self, now: Instant) -> None:
        """Begin to count anew."""
        self.expires = ((now + self.timeout) // TICK + 1) * TICK


class Follower(Protocol):
    """A client's connection, as its server sees it."""

    session: int

    def path_changed(self, path: str, came_or_went: bool) -> None:
        """The server's view of a path changed."""

    def leader_found(self) -> None:
        """What had to wait for a leader can be done."""

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
        self.view: dict[str, Stored] = {ROOT: FOLDER}
        self.sessions: set[int] = set()
        self.applied = 0
        self.led = False
        """It was the leader when it was left behind, and takes itself for one still."""
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
        self.tree: dict[str, Stored] = {ROOT: FOLDER}
        self.log: list[Commit] = []
        self.members: dict[int, Member] = {}
        """Every session that has not ended."""
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
        """Bring a serving server's view up to date, as a write without effect does."""
        assert self.serves(server), "sync needs a leader"
        self._catch_up(server, len(self.log))

    def open_session(self, server: Server, timeout: Duration) -> int:
        """Make a session: a write, so nobody without a leader can."""
        assert self.serves(server), "a session needs a leader"
        number = len(self.log) + 1
        member = self.members[number] = Member(timeout, server)
        member.touch(self._scheduler.now)
        self._scheduler.at(member.expires, self._expire, number)
        self._commit(server, Commit("", (), (), opened=number))
        return number

    def resume(self, server: Server, session: int, seen: int) -> Admission:
        """Answer a client that comes with a session and has seen so many transactions."""
        leads = server.up and server.led
        if not (self.serves(server) or leads) or server.applied < seen:
            return Admission.REFUSED
        known = session in server.sessions if leads else session in self.members
        if not known:
            return Admission.EXPIRED
        if not leads:
            self.members[session].server = server
            self.touch(server, session)
        return Admission.IN

    def touch(self, server: Server, session: int) -> None:
        """Something was heard of a client: the leader counts anew when its server tells it so."""
        if session in self.members and self.serves(server):
            told_after = 0 if server is self.leader else TICK // 2
            self.members[session].touch(self._scheduler.now + told_after)

    def is_at(self, server: Server, session: int) -> bool:
        """Whether a session is alive, and its client connected here as far as the leader knows."""
        return session in self.members and self.members[session].server is server

    def end_session(self, session: int) -> None:
        """End a session with all that goes with it: its client closed it, or it expired."""
        assert self.leader is not None, "the end of a session is a write"
        if self.members.pop(session, None) is not None:
            gone = tuple((path, MISSING) for path, stored in self.tree.items()
                         if stored.owner == session)
            self._commit(self.leader, Commit("", (), gone, ended=session))

    def announce(self, server: Server, session: int, path: str) -> None:
        """Write a record that goes with a session, in the place of another session's."""
        if self.tree.get(path, MISSING).owner != session:
            stored = Stored(None, 0, len(self.log) + 1, session)
            self._commit(server, Commit("", (), ((path, stored),)))

    def transact(self, server: Server, by: NodeName,
                 ops: tuple[Op, ...]) -> tuple[Outcome, tuple[int, ...]]:
        """Carry one transaction out, all or nothing, and return its outcome and versions."""
        changed: dict[str, Stored] = {}
        versions: list[int] = []
        for op in ops:
            stored = changed.get(op.path) or self.tree.get(op.path, MISSING)
            if not _may(op, stored):
                return Outcome.CONFLICT, ()
            versions.append(_apply(op, stored, changed, len(self.log) + 1))
        commit = Commit(by, ops, tuple(changed.items()))
        self._commit(server, commit)
        self.on_commit(commit)
        return Outcome.DONE, tuple(versions)

    def reconsider(self) -> None:
        """Find out, after power or paths changed, who still has the majority."""
        quorum = self._quorum()
        for server in self.servers:
            if server.in_quorum and server not in quorum:
                self._leave_behind(server)
            elif server in quorum and not server.in_quorum:
                self._rejoin(server)
        if self.leader is not None and self.leader not in quorum:
            self.leader.led = self.leader.up
            self.lose_leader()
        elif self.leader is None and quorum and not self._electing:
            self._start_election(0)
        self._tell_of_leader()

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
            server.led = False
            server.drop_followers()
        self.reconsider()

    def _commit(self, server: Server, commit: Commit) -> None:
        for path, stored in commit.changed:
            if stored.record is not None:
                assert decode(path, encode(stored.record)) == stored.record, f"{path} as JSON"
            _put(self.tree, path, stored)
        self.log.append(commit)
        self._catch_up(server, len(self.log))
        for other in self.servers:
            if other.in_quorum and other is not server:
                lag = int(self._rng.random() * LAG_SPREAD)
                if self._rng.random() < LAG_SHARE:
                    lag += int(self._rng.random() * LAG_LONG)
                self._scheduler.after(lag, self._catch_up_if_in_quorum, other, len(self.log))

    def _catch_up_if_in_quorum(self, server: Server, upto: int) -> None:
        if server.in_quorum:
            self._catch_up(server, upto)

    def _catch_up(self, server: Server, upto: int) -> None:
        while server.applied < upto:
            commit = self.log[server.applied]
            server.applied += 1
            if commit.opened:
                server.sessions.add(commit.opened)
            for path, stored in commit.changed:
                before = server.view.get(path, MISSING)
                _put(server.view, path, stored)
                for follower in list(server.followers):
                    follower.path_changed(path, (before.version < 0) != (stored.version < 0))
            if commit.ended:
                server.sessions.discard(commit.ended)
                for follower in [one for one in server.followers if one.session == commit.ended]:
                    server.followers.remove(follower)
                    follower.dropped()

    def _expire(self, session: int) -> None:
        member = self.members.get(session)
        if member is None:
            return
        if self.leader is None or self._scheduler.now < member.expires:
            self._scheduler.at(max(member.expires, self._scheduler.now + TICK), self._expire,
                               session)
        else:
            self.end_session(session)

    def _tell_of_leader(self) -> None:
        for server in self.servers:
            if self.serves(server):
                for follower in list(server.followers):
                    follower.leader_found()

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

    def _rejoin(self, server: Server) -> None:
        server.in_quorum = True
        if server.led:
            server.led = False
            server.drop_followers()  # it learns of the new leader, and begins anew as its follower
        self._catch_up(server, len(self.log))

    def _leave_behind(self, server: Server) -> None:
        server.in_quorum = False
        server.left_quorum += 1
        stale_for = STALE_MIN + int(self._rng.random() ** 2 * STALE_SPREAD)
        self._scheduler.after(stale_for, self._give_up_clients, server, server.left_quorum)

    def _give_up_clients(self, server: Server, left_quorum: int) -> None:
        if server.left_quorum == left_quorum and not server.in_quorum:
            server.led = False
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
            for member in self.members.values():
                member.touch(self._scheduler.now)  # nobody knows since when it was silent
            self._tell_of_leader()


def _may(op: Op, stored: Stored) -> bool:
    if op.kind == "create":
        return stored == MISSING or (op.path == ROOT and stored == FOLDER)
    assert op.kind in ("check", "set", "delete"), f"unknown operation {op.kind}"
    assert op.version >= 0, f"{op.kind} of {op.path!r} without a version"
    return stored.version == op.version and not (op.kind == "delete" and op.path == ROOT)


def _apply(op: Op, stored: Stored, changed: dict[str, Stored], number: int) -> int:
    if op.kind == "check":
        return -1
    if op.kind == "delete":
        changed[op.path] = MISSING
        return -1
    assert op.record is not None, f"{op.kind} of {op.path!r} without a record"
    changed[op.path] = Stored(op.record, stored.version + 1, number)
    return stored.version + 1


def _put(tree: dict[str, Stored], path: str, stored: Stored) -> None:
    if stored.version < 0:
        tree.pop(path, None)
    else:
        tree[path] = stored
