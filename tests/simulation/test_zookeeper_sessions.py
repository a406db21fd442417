"""Sessions in the model of ZooKeeper: made, kept, moved and expired as by real servers."""

import random
from collections.abc import Callable

import pytest

from hamgr.core.effects import Op
from hamgr.core.events import WriteAnswered, ZooKeeperChanged
from hamgr.core.records import Leader, Request, Seat
from hamgr.core.types import MILLISECOND, SECOND, Outcome, SeatState
from hamgr.simulation.clock import Scheduler
from hamgr.simulation.session import CALL_DEADLINE, SESSION_TIMEOUT, State
from hamgr.simulation.zookeeper import TICK, Admission, Ensemble, Server
from tests.simulation.client import Client
from tests.simulation.sequences import NAMES, Ask, next_step
from tests.simulation.serial import Asked, content, orders

MINE = "sessions/n1"
CREATE = Op(kind="create", path="leader", record=Leader(term=1))


def lead(term: int, version: int) -> Op:
    return Op(kind="set", path="leader", version=version, record=Leader(term=term))


class World:
    """Servers, and one client that is connected."""

    def __init__(self, seed: int = 0) -> None:
        self.scheduler = Scheduler()
        self.ensemble = Ensemble(self.scheduler, random.Random(seed), ("", "", ""),
                                 lambda one, other: True)
        self.client = Client(self.scheduler, self.ensemble, seed=str(seed))
        self.pass_by(SECOND)
        assert self.client.session.states == [State.LOST, State.CONNECTED]
        self.client.write(CREATE)
        self.pass_by(SECOND)

    def pass_by(self, time: int) -> None:
        self.scheduler.run_until(self.scheduler.now + time)

    @property
    def mine(self) -> Server:
        """The client's server."""
        return next(server for server in self.ensemble.servers
                    if any(one.session == self.client.session.number
                           for one in server.followers))

    @property
    def other(self) -> Server:
        return next(server for server in self.ensemble.servers if server is not self.mine)

    def isolate(self, server: Server) -> None:
        server.isolated += 1
        self.ensemble.reconsider()

    def mend(self, server: Server) -> None:
        server.isolated -= 1
        self.ensemble.reconsider()

    def follow(self) -> None:
        """See to it that the client's server follows another."""
        self.ensemble.leader = self.other

    def write(self, *ops: Op) -> Outcome:
        """Write through a server of the majority, as somebody else."""
        return self.ensemble.transact(self.other, "n2", ops)[0]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("seed", range(20))
def test_a_session_expires_at_a_tick_and_takes_along_what_is_ephemeral(seed: int) -> None:
    world = World(seed)
    world.pass_by(seed * 100 * MILLISECOND)
    assert world.ensemble.tree[MINE].owner == world.client.session.number
    world.client.cut()
    cut_at = world.scheduler.now
    while MINE in world.ensemble.tree:
        world.pass_by(MILLISECOND)
    assert (world.scheduler.now // MILLISECOND) * MILLISECOND % TICK == 0
    silent = world.scheduler.now - cut_at
    assert SESSION_TIMEOUT * 2 // 3 - TICK < silent <= SESSION_TIMEOUT + 2 * TICK


def test_a_client_that_is_away_learns_of_the_end_of_its_session_when_it_is_back(
        world: World) -> None:
    first = world.client.session.number
    world.client.cut()
    world.pass_by(2 * SESSION_TIMEOUT)
    assert first not in world.ensemble.members
    assert world.client.session.states[-1] is State.SUSPENDED
    world.client.cut(False)
    world.pass_by(2 * SECOND)
    assert world.client.session.states[-3:] == [State.SUSPENDED, State.LOST, State.CONNECTED]
    assert world.client.session.number not in (0, first)
    assert world.ensemble.tree[MINE].owner == world.client.session.number


def test_nothing_expires_without_a_leader_and_the_next_one_counts_anew(world: World) -> None:
    world.client.cut()
    world.ensemble.lose_leader(3 * SESSION_TIMEOUT)
    world.pass_by(3 * SESSION_TIMEOUT)
    assert MINE in world.ensemble.tree
    world.ensemble.hasten()
    while world.ensemble.leader is None:
        world.pass_by(MILLISECOND)
    world.pass_by(SESSION_TIMEOUT)
    assert MINE in world.ensemble.tree
    world.pass_by(TICK)
    assert MINE not in world.ensemble.tree


def test_a_client_whose_server_dies_goes_on_with_its_session_at_another(world: World) -> None:
    world.follow()
    first, server = world.client.session.number, world.mine
    world.ensemble.set_up(server, False)
    world.pass_by(3 * SECOND)
    assert world.mine is not server
    assert world.client.session.number == first
    assert world.client.session.states[-2:] == [State.SUSPENDED, State.CONNECTED]
    assert world.client.reads("leader")[-2:] == [0, 0], "all is read again"


def test_what_a_client_asked_for_elsewhere_is_not_carried_out_when_it_has_moved(
        world: World) -> None:
    """The request waits in a server that was cut off, until the client is long somewhere else."""
    world.follow()
    server = world.mine
    world.isolate(server)
    connection = world.client.session._connection
    assert connection is not None
    world.client.write(lead(2, 0))
    world.pass_by(200 * MILLISECOND)
    world.client.session._disconnect(connection)
    world.pass_by(500 * MILLISECOND)
    assert world.mine is not server
    world.mend(server)
    world.pass_by(500 * MILLISECOND)
    assert world.client.answers()[-1] == (2, Outcome.UNKNOWN)
    assert world.ensemble.tree["leader"].version == 0


def test_an_orderly_end_takes_along_what_is_ephemeral_at_once(world: World) -> None:
    world.client.session.close()
    world.pass_by(200 * MILLISECOND)
    assert MINE not in world.ensemble.tree
    assert world.client.session.number not in world.ensemble.members


def test_a_server_that_is_behind_what_a_client_has_seen_refuses_it(world: World) -> None:
    """So nothing older is read than was read before, wherever a client goes."""
    seen, session = len(world.ensemble.log), world.client.session.number
    world.other.applied = seen - 1
    assert world.ensemble.resume(world.other, session, seen) is Admission.REFUSED
    assert world.ensemble.resume(world.other, session, seen - 1) is Admission.IN
    assert world.ensemble.resume(world.other, 12345, 0) is Admission.EXPIRED


def test_a_server_without_its_majority_answers_reads_from_the_past(world: World) -> None:
    world.follow()
    world.isolate(world.mine)
    assert world.write(lead(2, 0)) is Outcome.DONE
    world.client.session.read(("leader",))
    world.pass_by(300 * MILLISECOND)
    assert world.client.reads("leader")[-1] == 0
    assert world.ensemble.tree["leader"].version == 1


def test_a_server_that_lags_answers_reads_from_the_past_for_a_while(world: World) -> None:
    stale = 0
    for version in range(200):
        assert world.write(lead(version, version)) is Outcome.DONE
        stale += world.mine.view["leader"].version < world.ensemble.tree["leader"].version
        world.pass_by(300 * MILLISECOND)
        assert world.mine.view["leader"].version == version + 1
    assert stale > 100


def test_what_is_asked_behind_a_write_waits_with_it_for_the_majority(world: World) -> None:
    world.follow()
    server = world.mine
    world.isolate(server)
    told = len(world.client.told)
    world.client.write(lead(2, 0))
    world.client.session.read(("leader",))
    world.pass_by(CALL_DEADLINE // 2)
    assert len(world.client.told) == told, "requests of a session are done in order"
    world.mend(server)
    world.pass_by(CALL_DEADLINE // 2 - MILLISECOND)
    assert world.client.answers()[-1] == (2, Outcome.DONE)
    assert world.client.reads("leader")[-1] == 1


def test_a_client_that_gets_no_answer_at_all_is_replaced_and_served_by_others(
        world: World) -> None:
    world.follow()
    first, server = world.client.session.number, world.mine
    world.isolate(server)
    world.client.write(lead(2, 0))
    world.pass_by(CALL_DEADLINE + SECOND)
    assert world.client.answers()[-1] == (2, Outcome.UNKNOWN)
    assert world.client.session.number not in (0, first)
    assert world.mine is not server
    world.client.write(lead(2, 0))
    world.pass_by(SECOND)
    assert world.client.answers()[-1] == (3, Outcome.DONE)


def test_a_leader_that_lost_its_majority_takes_its_clients_back_but_writes_nothing() -> None:
    world = World(3)
    world.ensemble.leader = server = world.mine
    session = world.client.session.number
    world.isolate(server)
    assert world.ensemble.resume(server, session, server.applied) is Admission.IN
    assert world.ensemble.resume(world.other, session, 0) is Admission.REFUSED, "no leader yet"
    assert not world.ensemble.serves(server)
    world.mend(server)
    world.pass_by(10 * SECOND)
    assert world.client.told.count(ZooKeeperChanged(connected=False)) >= 1
    assert world.client.session.states[-1] is State.CONNECTED


def test_a_request_that_went_while_nobody_looked_is_told_as_gone(world: World) -> None:
    ask = Op(kind="create", path="requests/r", record=Request(id="r", kind="resume"))
    assert world.write(ask) is Outcome.DONE
    world.pass_by(SECOND)
    world.client.cut()
    world.pass_by(SESSION_TIMEOUT)
    assert world.client.session.states[-1] is State.SUSPENDED
    assert world.ensemble.transact(world.ensemble.servers[0], "n2", (
        Op(kind="delete", path="requests/r", version=0),))[0] is Outcome.DONE
    world.client.cut(False)
    world.pass_by(2 * SECOND)
    assert world.client.reads("requests/r") == [0, -1]


def test_the_seat_of_a_node_that_is_not_in_the_file_is_told_too(world: World) -> None:
    seat = Seat(incarnation=1, round=1, state=SeatState.CLAIMED, by="other")
    assert world.write(Op(kind="create", path="seats/other", record=seat)) is Outcome.DONE
    world.pass_by(SECOND)
    assert world.client.reads("seats/other") == [0]


def send(rng: random.Random, clients: dict[str, Client],
         versions: dict[str, int]) -> list[tuple[str, int, tuple[Op, ...]]]:
    """Have clients write several things at once."""
    step = next_step(rng, versions, [])
    while not isinstance(step, Ask):
        step = next_step(rng, versions, [])
    return [(who, clients[who].write(*ops), ops) for who, ops in step.writes]


def disturb(rng: random.Random, ensemble: Ensemble,
            clients: dict[str, Client]) -> Callable[[], None]:
    """Break something; return what mends it."""
    server, client = rng.choice(ensemble.servers), clients[rng.choice(NAMES)]
    what = rng.choice(("cut", "deaf", "dead", "isolated", "leaderless"))
    if what == "cut":
        client.cut()
    elif what == "deaf":
        client.to_client = False
    elif what == "dead":
        ensemble.set_up(server, False)
        return lambda: ensemble.set_up(server, True)
    elif what == "isolated":
        server.isolated += 1
        ensemble.reconsider()

        def mend() -> None:
            server.isolated -= 1
            ensemble.reconsider()
        return mend
    else:
        ensemble.lose_leader()
    return lambda: client.cut(False)


def answered(client: Client, who: str, number: int, ops: tuple[Op, ...]) -> Asked:
    (answer,) = [event for event in client.told
                 if isinstance(event, WriteAnswered) and event.write == number]
    return Asked(who, ops, answer.outcome, answer.versions)


def test_an_order_explains_all_answers_whatever_breaks() -> None:
    """Linearizable, each client's in its own order, through cuts, deaths and elections."""
    outcomes: dict[Outcome, int] = {}
    for seed in range(60):
        rng = random.Random(seed)
        scheduler = Scheduler()
        ensemble = Ensemble(scheduler, random.Random(f"{seed}/servers"), ("", "", ""),
                            lambda one, other: True)
        clients = {name: Client(scheduler, ensemble, name, seed=str(seed)) for name in NAMES}
        scheduler.run_until(2 * SECOND)
        for _ in range(5):
            before = dict(ensemble.tree)
            sent = send(rng, clients, {path: one.version for path, one in before.items()
                                       if one.record is not None})
            scheduler.run_until(scheduler.now + rng.randrange(5 * MILLISECOND))
            mend = disturb(rng, ensemble, clients)
            scheduler.run_until(scheduler.now + rng.randrange(2 * SECOND))
            mend()
            scheduler.run_until(scheduler.now + 15 * SECOND)
            asked = [answered(clients[who], who, number, ops) for who, number, ops in sent]
            assert orders(before, asked, content(ensemble.tree)) is not None, (seed, asked)
            for one in asked:
                outcomes[one.outcome] = outcomes.get(one.outcome, 0) + 1
            assert all(client.session.states[-1] is State.CONNECTED for client in clients.values())
    assert all(outcomes[outcome] > 20 for outcome in (
        Outcome.DONE, Outcome.CONFLICT, Outcome.UNKNOWN)), outcomes
