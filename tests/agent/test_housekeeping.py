"""When garbage is collected, the watchdog fed, and the recorder written: never at a bad moment."""

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hamgr.agent.disk import Disk
from hamgr.agent.housekeeping import COLLECTION, QUIET, ROOM, Housekeeping
from hamgr.agent.recorder import Recorder, read
from hamgr.core.effects import Effect, Report, SetDeadline, Write
from hamgr.core.events import StopAsked, Tick
from hamgr.core.reasons import Reason
from hamgr.core.types import MILLISECOND, SECOND, Instant

ACCUSED = Report(reason=Reason.ACCUSED)


class House:
    def __init__(self, directory: Path = Path(), watchdog: int = 0) -> None:
        self.now: Instant = 1_000 * SECOND
        self.collected: list[Instant] = []
        self.told: list[str] = []
        self.woken: list[Instant] = []
        self.line = "member in round 1"
        self.recorder, self.disk = Recorder(directory), Disk()
        self.house = Housekeeping(
            self.recorder, self.disk, collect=lambda: self.collected.append(self.now),
            awake=self.woken.append,
            notify=self.told.append, status=lambda now: self.line, watchdog=watchdog,
            stop_takes=300 * SECOND)
        self.house.flush = lambda now: None  # type: ignore[method-assign]

    def tick(self, after: int, *effects: Effect, room: int = 100 * MILLISECOND) -> None:
        """Let time pass, then an event with these effects, then the idle moment after it."""
        self.now += after
        self.house.record(self.now, Tick(), list(effects))
        self.house.idle(self.now, self.now + room)


def test_garbage_is_collected_every_so_often_in_the_steady_state() -> None:
    house = House()
    for _ in range(400):
        house.tick(100 * MILLISECOND, SetDeadline(deadline=1, serial=1), Write(write=1, ops=()))
    gaps = [later - sooner
            for sooner, later in zip(house.collected, house.collected[1:], strict=False)]
    assert len(gaps) >= 3
    assert set(gaps) == {COLLECTION}


@given(st.lists(st.tuples(st.integers(1, 2 * SECOND), st.booleans(), st.integers(0, SECOND)),
                max_size=60))
def test_never_between_the_evidence_and_what_follows(
        moments: list[tuple[int, bool, int]]) -> None:
    house = House()
    stirred: list[Instant] = []
    rooms: dict[Instant, int] = {}
    for after, stirs, room in moments:
        house.tick(after, *([ACCUSED] if stirs else []), room=room)
        rooms[house.now] = room
        if stirs:
            stirred.append(house.now)
    for moment in house.collected:
        assert all(not moment - QUIET < at <= moment for at in stirred)
        assert rooms[moment] >= ROOM


def test_the_watchdog_is_fed_four_times_within_its_time() -> None:
    house = House(watchdog=2 * SECOND)
    for _ in range(40):
        house.tick(100 * MILLISECOND, ACCUSED)
    assert house.told.count("WATCHDOG=1") == 8


def test_without_ticks_the_watchdog_starves() -> None:
    house = House(watchdog=2 * SECOND)
    for _ in range(40):
        house.house.record(house.now, Tick(), [])
    assert house.told == []


def test_without_a_watchdog_nothing_is_fed() -> None:
    house = House()
    house.tick(100 * MILLISECOND)
    assert "WATCHDOG=1" not in house.told


def test_a_stop_is_given_the_time_that_its_services_may_take_and_no_more() -> None:
    """systemd would kill it at TimeoutStopSec, in the middle of a demote (sd_notify(3))."""
    house = House()
    house.tick(10 * SECOND)
    assert house.told == ["STATUS=member in round 1"]
    house.house.record(house.now, StopAsked(why="asked to"), [])
    for _ in range(600):
        house.tick(SECOND)
    extensions = [line for line in house.told if line == "EXTEND_TIMEOUT_USEC=10000000"]
    assert len(extensions) == 60


def test_the_status_is_told_when_it_changes() -> None:
    house = House()
    for line in ("member in round 1", "member in round 1", "lapsed in round 1"):
        house.line = line
        house.tick(2 * SECOND)
    assert house.told == ["STATUS=member in round 1", "STATUS=lapsed in round 1"]


def test_the_recorder_is_flushed_once_at_a_time_and_loses_nothing(tmp_path: Path) -> None:
    recorder, disk = Recorder(tmp_path), Disk()
    recorder.open()
    house = Housekeeping(recorder, disk, collect=lambda: None, awake=lambda now: None,
                         notify=lambda line: None,
                         status=lambda now: "")

    async def story() -> None:
        disk.start()
        for second in range(5):
            house.record(second * SECOND, Tick(), [])
            house.idle(second * SECOND, second * SECOND)
        await disk.call("wait for the rest", lambda: None)
        house.flush(6 * SECOND)
        await disk.close(1)

    asyncio.run(story())
    assert [entry.at for entry in read(tmp_path)] == [second * SECOND for second in range(5)]
