"""The model of ZooKeeper keeps what the real one promises, and no more."""

import random

import pytest

from hamgr.core.effects import Op
from hamgr.core.events import RecordRead, ZooKeeperChanged
from hamgr.core.records import Leader, Request, Seat, seat_path
from hamgr.core.types import SECOND, Outcome, SeatState
from hamgr.simulation.clock import Scheduler
from hamgr.simulation.session import CALL_DEADLINE
from hamgr.simulation.zookeeper import ELECTION_MIN, ELECTION_SPREAD, Ensemble
from tests.simulation.client import Client

Connected = ZooKeeperChanged(connected=True)
Disconnected = ZooKeeperChanged(connected=False)


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


@pytest.fixture
def ensemble(scheduler: Scheduler) -> Ensemble:
    return Ensemble(scheduler, random.Random("ensemble"), ("", "", ""), lambda one, other: True)


@pytest.fixture
def client(scheduler: Scheduler, ensemble: Ensemble) -> Client:
    client = Client(scheduler, ensemble)
    scheduler.run_until(SECOND)
    assert client.told[0] == Connected
    return client


def create(term: int = 1) -> Op:
    return Op(kind="create", path="leader", record=Leader(term=term, node="n1"))


def change(version: int, term: int) -> Op:
    return Op(kind="set", path="leader", version=version, record=Leader(term=term, node="n1"))


def test_a_connection_is_followed_by_reads_of_everything_missing_records_too(
        client: Client) -> None:
    read = [event.path for event in client.told[1:] if isinstance(event, RecordRead)]
    assert read == ["", "leader", "plan", "config", "seats/n1", "seats/n2", "seats/n3"]
    assert client.reads("plan") == [-1]


def test_compare_and_set_lets_one_of_two_through(scheduler: Scheduler, ensemble: Ensemble,
                                                 client: Client) -> None:
    other = Client(scheduler, ensemble, "n2")
    client.write(create())
    scheduler.run_until(2 * SECOND)
    client.write(change(0, 2))
    other.write(change(0, 3))
    scheduler.run_until(3 * SECOND)
    outcomes = [client.answers()[-1][1], other.answers()[-1][1]]
    assert sorted(outcome.value for outcome in outcomes) == ["conflict", "done"]
    assert ensemble.tree["leader"].version == 1


def test_a_transaction_is_carried_out_whole_or_not_at_all(scheduler: Scheduler,
                                                          ensemble: Ensemble,
                                                          client: Client) -> None:
    seat = Seat(incarnation=1, round=1, state=SeatState.CLAIMED, by="n1")
    client.write(Op(kind="create", path=seat_path("n1"), record=seat),
                 Op(kind="check", path="leader", version=0))
    scheduler.run_until(2 * SECOND)
    assert client.answers() == [(1, Outcome.CONFLICT)]
    assert set(ensemble.tree) == {"", "sessions/n1"}
    client.write(create(), Op(kind="check", path="leader", version=0),
                 Op(kind="create", path=seat_path("n1"), record=seat))
    scheduler.run_until(3 * SECOND)
    assert client.answers()[-1] == (2, Outcome.DONE)
    assert set(ensemble.tree) == {"", "leader", "seats/n1", "sessions/n1"}


def test_answers_come_in_the_order_of_the_requests(scheduler: Scheduler,
                                                   client: Client) -> None:
    client.session.slowness = 200_000_000
    client.write(create())
    for version in range(30):
        client.write(change(version, version + 2))
    scheduler.run_until(20 * SECOND)
    assert [number for number, _ in client.answers()] == list(range(1, 32))


def test_an_answer_is_lost_after_the_write_took_effect(scheduler: Scheduler, ensemble: Ensemble,
                                                       client: Client) -> None:
    client.to_client = False
    client.write(create())
    scheduler.run_until(SECOND + CALL_DEADLINE + 1)
    assert client.answers() == [(1, Outcome.UNKNOWN)]
    assert ensemble.tree["leader"].version == 0
    client.to_client = True
    scheduler.run_until(10 * SECOND)
    assert client.answers() == [(1, Outcome.UNKNOWN)], "a late answer is not a second one"
    assert client.reads("leader")[-1] == 0, "but it is read again"


def test_a_request_that_is_held_up_may_be_carried_out_after_its_deadline(
        scheduler: Scheduler, ensemble: Ensemble, client: Client) -> None:
    client.to_server = False
    client.write(create())
    scheduler.run_until(SECOND + CALL_DEADLINE + 1)
    assert client.answers() == [(1, Outcome.UNKNOWN)]
    assert "leader" not in ensemble.tree
    client.to_server = True
    scheduler.run_until(scheduler.now + SECOND // 3)
    assert "leader" in ensemble.tree


def test_a_client_that_hears_nothing_is_disconnected_and_refuses(scheduler: Scheduler,
                                                                 client: Client) -> None:
    client.to_client = client.to_server = False
    scheduler.run_until(5 * SECOND)
    assert client.told[-1] == Disconnected
    number = client.write(create())
    scheduler.run_until(5 * SECOND + 1)
    assert client.answers()[-1] == (number, Outcome.REFUSED)
    client.to_client = client.to_server = True
    scheduler.run_until(7 * SECOND)
    assert client.told.count(Connected) == 2
    assert client.reads("plan") == [-1, -1], "all is read again over a new connection"


def test_a_watch_tells_of_others_writes_and_may_skip_versions_but_never_goes_back(
        scheduler: Scheduler, ensemble: Ensemble, client: Client) -> None:
    other = Client(scheduler, ensemble, "n2")
    scheduler.run_until(2 * SECOND)
    other.write(create())
    for version in range(20):
        other.write(change(version, version + 2))
    scheduler.run_until(6 * SECOND)
    seen = client.reads("leader")
    assert seen[0] == -1
    assert seen[-1] == 20
    assert seen == sorted(seen)


def test_requests_of_operators_are_found_and_their_end_too(scheduler: Scheduler,
                                                           ensemble: Ensemble,
                                                           client: Client) -> None:
    ask = Op(kind="create", path="requests/r1", record=Request(id="r1", kind="switchover"))
    ensemble.transact(ensemble.servers[0], "operator", (ask,))
    scheduler.run_until(2 * SECOND)
    ensemble.transact(ensemble.servers[0], "operator",
                      (Op(kind="delete", path="requests/r1", version=0),))
    scheduler.run_until(3 * SECOND)
    assert client.reads("requests/r1") == [0, -1]


def test_a_server_without_its_majority_answers_reads_from_the_past_and_writes_nothing(
        scheduler: Scheduler, ensemble: Ensemble, client: Client) -> None:
    client.write(create())
    scheduler.run_until(2 * SECOND)
    mine = next(server for server in ensemble.servers if server.followers)
    mine.isolated = 1
    ensemble.reconsider()
    others = next(server for server in ensemble.servers if server is not mine)
    scheduler.run_until(scheduler.now + ELECTION_MIN + ELECTION_SPREAD)
    assert ensemble.leader is not mine
    seat = Seat(incarnation=1, round=1, state=SeatState.CLAIMED, by="n2")
    ensemble.transact(others, "n2", (Op(kind="create", path="seats/n2", record=seat),))
    assert mine.view.get("seats/n2") is None
    mine.isolated = 0
    ensemble.reconsider()
    assert mine.view["seats/n2"].version == 0


def test_writes_through_a_stale_server_stay_unknown(scheduler: Scheduler, ensemble: Ensemble,
                                                    client: Client) -> None:
    mine = next(server for server in ensemble.servers if server.followers)
    mine.isolated = 1
    ensemble.reconsider()
    number = client.write(create())
    scheduler.run_until(scheduler.now + CALL_DEADLINE + 1)
    assert client.answers()[-1] == (number, Outcome.UNKNOWN)
    assert "leader" not in ensemble.tree


def test_an_election_takes_seconds_in_which_nobody_is_let_in(scheduler: Scheduler,
                                                             ensemble: Ensemble,
                                                             client: Client) -> None:
    ensemble.lose_leader()
    assert not any(ensemble.serves(server) for server in ensemble.servers)
    scheduler.run_until(scheduler.now + ELECTION_MIN - 1)
    assert not any(ensemble.serves(server) for server in ensemble.servers)
    assert client.told[-1] == Disconnected
    scheduler.run_until(scheduler.now + ELECTION_SPREAD + 2 * SECOND)
    assert client.told.count(Connected) == 2


def test_a_write_without_a_version_is_refused_as_a_bug(ensemble: Ensemble) -> None:
    with pytest.raises(AssertionError, match="without a version"):
        ensemble.transact(ensemble.servers[0], "n1", (change(-1, 2),))
