"""The model of ZooKeeper does what real servers do, and where it would not, that is found."""

import asyncio
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from hamgr.core.effects import Op
from hamgr.core.events import Event, RecordRead, WriteAnswered
from hamgr.core.records import ROOT, Leader
from hamgr.core.types import MILLISECOND, SECOND, NodeName, Outcome
from hamgr.simulation.clock import Scheduler
from hamgr.simulation.session import State
from hamgr.simulation.zookeeper import Commit, Ensemble, Server
from tests.coordinator import DONE, Node, announced, create, lead, nodes
from tests.netns import Segment
from tests.simulation.alike import Different, Story, run_all
from tests.simulation.client import Client
from tests.simulation.sides import changes, kept_away
from tests.zookeeper import Server as RealServer
from tests.zookeeper import ensemble as real_ensemble

pytestmark = pytest.mark.real

SEEDS = range(6)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[RealServer]]:
    with real_ensemble(3) as three:
        yield three


def test_random_stories_come_out_alike(servers: list[RealServer]) -> None:
    results, found = asyncio.run(run_all(SEEDS, servers))
    assert not found, "\n\n".join(map(str, found))
    assert sum(result.answers for result in results) > 100
    assert sum(result.unknown for result in results) > 0, "no connection broke amid a write"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_random_stories_come_out_alike(servers: list[RealServer]) -> None:
    _, found = asyncio.run(run_all(range(100, 400), servers))
    assert not found, "\n\n".join(map(str, found))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_random_stories_in_which_servers_die_come_out_alike() -> None:
    with real_ensemble(3) as servers:
        _, found = asyncio.run(run_all(range(20), servers, outages=True))
    assert not found, "\n\n".join(map(str, found))


class NoFolder(Ensemble):
    """Takes the root for a record like all others, which is not there before it is made."""

    def __init__(self, *args, **options) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*args, **options)
        for tree in (self.tree, *(server.view for server in self.servers)):
            del tree[ROOT]


class Torn(Ensemble):
    """Carries out what comes before the operation that fails."""

    def transact(self, server: Server, by: NodeName,
                 ops: tuple[Op, ...]) -> tuple[Outcome, tuple[int, ...]]:
        outcome, versions = super().transact(server, by, ops)
        for op in ops if outcome is Outcome.CONFLICT and len(ops) > 1 else ():
            if super().transact(server, by, (op,))[0] is Outcome.CONFLICT:
                break
        return outcome, versions


class Unchecked(Ensemble):
    """Forgets to look at the version that a check names."""

    def transact(self, server: Server, by: NodeName,
                 ops: tuple[Op, ...]) -> tuple[Outcome, tuple[int, ...]]:
        outcome, versions = super().transact(
            server, by, tuple(op for op in ops if op.kind != "check"))
        left = iter(versions)
        return outcome, tuple(-1 if op.kind == "check" else next(left)
                              for op in ops if outcome is DONE)


class Lingering(Ensemble):
    """Keeps what belongs to a session that has ended."""

    def _commit(self, server: Server, commit: Commit) -> None:
        super()._commit(server, commit._replace(changed=()) if commit.ended else commit)


class Forgetful(Ensemble):
    """Tells nobody of what was deleted."""

    def _catch_up(self, server: Server, upto: int) -> None:
        followers = server.followers
        if server.applied < upto and any(
                stored.version < 0 for _, stored in self.log[server.applied].changed):
            server.followers = []
        super()._catch_up(server, upto)
        server.followers = followers


@pytest.mark.parametrize("planted, first", [
    (NoFolder, 1000), (Torn, 1000), (Unchecked, 1000), (Forgetful, 1000), (Lingering, 1008)])
def test_a_planted_difference_is_found(servers: list[RealServer],
                                       planted: Callable[..., Ensemble], first: int) -> None:
    """`first`: the seed that finds it soon."""
    async def hunt() -> None:
        for seed in range(first, first + 10):
            await Story(seed, servers, make=planted).run()

    with pytest.raises(Different, match="modelled|no order explains"):
        asyncio.run(hunt())


class Alone:
    """A world of the model with one client in it, that is connected."""

    def __init__(self, seed: int, timeout: int) -> None:
        self.scheduler = Scheduler()
        self.ensemble = Ensemble(self.scheduler, random.Random(seed), ("", "", ""),
                                 lambda one, other: True)
        self.client = Client(self.scheduler, self.ensemble, seed=str(seed), timeout=timeout)
        self.scheduler.run_until(2 * SECOND + random.Random(seed).randrange(SECOND))

    def until(self, seen: Callable[[], bool]) -> int:
        """Let time pass until something is so; return how long it took."""
        start = self.scheduler.now
        while not seen():
            assert self.scheduler.now < start + 60 * SECOND
            self.scheduler.run_until(self.scheduler.now + 10 * MILLISECOND)
        return self.scheduler.now - start


def outlived_in_model(seed: int, timeout: int) -> tuple[float, list[str]]:
    """Return for how many seconds a session outlives its connection, and the states in all."""
    alone = Alone(seed, timeout)
    states = alone.client.session.states
    begin = len(states)
    alone.client.cut()
    for server in alone.ensemble.servers:
        server.drop_followers()
    took = alone.until(lambda: "sessions/n1" not in alone.ensemble.tree)
    alone.client.cut(False)
    alone.until(lambda: states[-1] is State.CONNECTED)
    return took / SECOND, [state.name for state in states[begin:]]


async def outlived(node: Node, other: Node) -> tuple[float, list[str]]:
    """Return the same of a real one, as another client sees it."""
    session = node.zk._current()
    states: list[str] = []
    session._client.add_listener(states.append)
    mark, start = len(node.told), time.monotonic()
    with kept_away(session):
        await announced(other, ["n2"])
        took = time.monotonic() - start
    await node.change(up=True, since=await node.change(up=False, since=mark))
    return took, list(states)


def test_a_session_expires_when_the_model_says_and_its_client_learns_it_then(
        servers: list[RealServer]) -> None:
    """Not before the client is back: all the while kazoo says SUSPENDED."""
    timeout_s = 3

    async def real() -> tuple[float, list[str]]:
        async with nodes(servers, "n1", "n2", session_timeout_s=timeout_s) as (n1, n2):
            await announced(n2, ["n1", "n2"])
            return await outlived(n1, n2)

    modelled = [outlived_in_model(seed, timeout_s * SECOND) for seed in range(40)]
    times = [took for took, _ in modelled]
    took, states = asyncio.run(real())
    assert all(one == states for _, one in modelled), states
    assert states == ["SUSPENDED", "LOST", "CONNECTED"]
    # Below: kazoo pings up to 0.4 s earlier than every third; above: a busy machine.
    assert min(times) - 0.4 < took < max(times) + 1, (min(times), took, max(times))


def cut_off_in_model() -> tuple[list[int], list[Outcome], Outcome]:
    """Return what a client reads, and is answered, of a server without its majority; then after."""
    alone = Alone(0, 10 * SECOND)
    client, ensemble = alone.client, alone.ensemble
    client.write(create("leader", Leader(term=1)))
    alone.until(lambda: bool(answers(client.told)))
    mine = next(server for server in ensemble.servers if server.followers)
    if mine is ensemble.leader:  # it would be gone for an election
        ensemble.leader = next(server for server in ensemble.servers if server is not mine)
    mine.isolated += 1
    ensemble.reconsider()
    mark = len(client.told)
    client.session.read(("leader",))
    client.write(lead(2, 0))
    client.session.read(("leader",))
    alone.scheduler.run_until(alone.scheduler.now + 300 * MILLISECOND)
    meanwhile = client.told[mark:]
    mine.isolated -= 1
    ensemble.reconsider()
    alone.until(lambda: len(answers(client.told)) == 2)
    return reads(meanwhile), answers(meanwhile), answers(client.told)[-1]


async def cut_off(servers: list[RealServer]) -> tuple[list[int], list[Outcome], Outcome]:
    """Return the same of a real one, while both others stand still."""
    following = next(server for server in servers if server.mode() == "follower")
    others = [server for server in servers if server is not following]
    async with nodes([following]) as (n1,):
        await n1.write(create("leader", Leader(term=1)))
        await n1.read("leader", version=0)
        mark = len(n1.told)
        for server in others:
            server.signal(signal.SIGSTOP)
        try:
            n1.zk.read(("leader",))
            write = n1.send(lead(2, 0))
            n1.zk.read(("leader",))
            await asyncio.sleep(0.3)
            meanwhile = n1.told[mark:]
        finally:
            for server in others:
                server.signal(signal.SIGCONT)
        return reads(meanwhile), answers(meanwhile), (await n1.answer(write)).outcome


def test_a_server_without_its_majority_reads_on_until_a_write_holds_it_up(
        servers: list[RealServer]) -> None:
    """What was asked behind the write waits with it, and is done if the majority is soon back."""
    assert asyncio.run(cut_off(servers)) == cut_off_in_model() == ([0], [], DONE)


class Seen(NamedTuple):
    """What a client of a server saw that was cut off while the others wrote."""

    meanwhile: list[int]
    """Versions that it read, when it asked after the others had written."""
    given_up: list[bool]
    """Connected or not, until the server had given its clients up."""
    then: list[int]
    """Versions, when all was well again."""


def cut_from_the_writers_in_model(long: bool) -> Seen:
    """Return it of the model; `long`: the cut lasts until the server gives up."""
    alone = Alone(0, 10 * SECOND)
    client, ensemble = alone.client, alone.ensemble
    client.write(create("leader", Leader(term=1)))
    alone.until(lambda: bool(answers(client.told)))
    mine = next(server for server in ensemble.servers if server.followers)
    ensemble.leader = next(server for server in ensemble.servers if server is not mine)
    client.cut_from = [server for server in ensemble.servers if server is not mine]
    mine.isolated += 1
    ensemble.reconsider()
    assert ensemble.transact(ensemble.leader, "n2", (lead(2, 0),))[0] is DONE
    mark = len(client.told)
    client.session.read(("leader",))
    alone.until(lambda: bool(reads(client.told[mark:])))
    meanwhile = client.told[mark:]
    if long:
        alone.until(lambda: changes(client.told[mark:]) == [False])
    given_up = changes(client.told[mark:])
    mark = len(client.told)
    mine.isolated -= 1
    ensemble.reconsider()
    alone.until(lambda: 1 in reads(client.told[mark:]))
    return Seen(reads(meanwhile), given_up, list(dict.fromkeys(reads(client.told[mark:]))))


async def cut_from_the_writers(servers: list[RealServer], namespaces: list[str],
                               long: bool) -> Seen:
    """Return it of a real one: nftables drop what goes between it and the others."""
    following = next(server for server in servers if server.mode() == "follower")
    inside = namespaces[servers.index(following)]
    others = [server for server in servers if server is not following]
    async with nodes([following], "n1", cluster="one") as (n1,), (
            nodes(others, "n2", cluster="one")) as (n2,):
        await n1.write(create("leader", Leader(term=1)))
        await n1.read("leader", version=0)
        nft(inside, "add table ip cut", *(
            f"add chain ip cut {way} {{ type filter hook {way} priority 0; }}"
            for way in ("input", "output")), *(
            f"add rule ip cut {way} ip {end} {server.address} drop" for server in others
            for way, end in (("input", "saddr"), ("output", "daddr"))))
        assert (await n2.write(lead(2, 0))).outcome is DONE
        mark = len(n1.told)
        n1.zk.read(("leader",))
        await n1.read("leader", version=0, since=mark)
        meanwhile = n1.told[mark:]
        if long:
            await n1.change(up=False, since=mark)
        given_up = changes(n1.told[mark:])
        mark = len(n1.told)
        nft(inside, "delete table ip cut")
        await n1.read("leader", version=1, since=mark)
        return Seen(reads(meanwhile), given_up, list(dict.fromkeys(reads(n1.told[mark:]))))


def nft(namespace: str, *commands: str) -> None:
    subprocess.run(["ip", "netns", "exec", namespace, "nft", "; ".join(commands)], check=True)


@pytest.mark.parametrize("long", [False, True])
def test_a_server_that_is_cut_from_those_who_write_shows_what_was_until_it_gives_up(
        long: bool) -> None:
    """Its client reads the old record, hears nothing of the new one, and sees it after the cut."""
    def real(places: list[tuple[str, str]]) -> Seen:
        with real_ensemble(3, machines=places) as servers:
            return asyncio.run(cut_from_the_writers(
                servers, [namespace for _, namespace in places], long))

    names = ("z1", "z2", "z3")
    with Segment(*names, "client") as lan:
        places = [(lan.address(name), lan.namespace(name)) for name in names]
        seen = lan.call("client", real, places)
    assert seen == cut_from_the_writers_in_model(long)
    assert seen == Seen([0], [False] if long else [], [1])


def answers(told: list[Event]) -> list[Outcome]:
    return [event.outcome for event in told if isinstance(event, WriteAnswered)]


def reads(told: list[Event]) -> list[int]:
    return [event.version for event in told
            if isinstance(event, RecordRead) and event.path == "leader"]
