"""Virtual time: order, drift, stopping, timers."""

import pytest

from hamgr.core.types import MILLISECOND, NEVER, SECOND
from hamgr.simulation.clock import Clock, Livelock, Scheduler


def test_actions_run_in_order_of_time_then_insertion() -> None:
    scheduler, seen = Scheduler(), []
    scheduler.at(20, seen.append, "late")
    scheduler.at(10, seen.append, "first")
    scheduler.at(10, seen.append, "second")
    scheduler.run_until(15)
    assert (seen, scheduler.now) == (["first", "second"], 15)
    scheduler.run_until(30)
    assert seen == ["first", "second", "late"]


def test_time_that_stands_still_is_a_livelock() -> None:
    scheduler = Scheduler()

    def again() -> None:
        scheduler.after(0, again)

    again()
    with pytest.raises(Livelock):
        scheduler.run_until(1)


@pytest.mark.parametrize("ppm", [-80_000, -1, 0, 1, 80_000])
def test_a_timer_fires_when_the_own_clock_shows_the_instant(ppm: int) -> None:
    scheduler = Scheduler()
    clock = Clock(scheduler, 7 * SECOND, ppm)
    fired: list[int] = []
    timer = clock.timer(lambda: fired.append(clock.now()))
    timer.set(9 * SECOND)
    scheduler.run_until(3 * SECOND)
    assert len(fired) == 1
    assert 0 <= fired[0] - 9 * SECOND <= 1
    assert abs(scheduler.now - 3 * SECOND) == 0


def test_a_timer_that_is_moved_ahead_fires_once_at_its_last_instant() -> None:
    scheduler = Scheduler()
    clock = Clock(scheduler, 0)
    fired: list[int] = []
    timer = clock.timer(lambda: fired.append(scheduler.now))
    for ahead in (100, 200, 150, 300, 250):
        timer.set(ahead * MILLISECOND)
    scheduler.run_until(SECOND)
    assert fired == [250 * MILLISECOND]


def test_a_stopped_clock_holds_its_timers_and_goes_on_from_where_it_stood() -> None:
    scheduler = Scheduler()
    clock = Clock(scheduler, 0)
    fired: list[int] = []
    clock.timer(lambda: fired.append(scheduler.now)).set(SECOND)
    scheduler.run_until(400 * MILLISECOND)
    clock.stop()
    scheduler.run_until(5 * SECOND)
    assert (fired, clock.now(), clock.world(SECOND)) == ([], 400 * MILLISECOND, NEVER)
    clock.go()
    scheduler.run_until(6 * SECOND)
    assert fired == [5_600 * MILLISECOND]


def test_a_clock_that_is_slewed_while_a_timer_waits_fires_by_its_new_rate() -> None:
    scheduler = Scheduler()
    clock = Clock(scheduler, 0)
    fired: list[int] = []
    clock.timer(lambda: fired.append(scheduler.now)).set(SECOND)
    scheduler.run_until(500 * MILLISECOND)
    clock.slew(250_000)
    scheduler.run_until(2 * SECOND)
    assert fired == [900 * MILLISECOND]


def test_a_booted_machine_has_forgotten_its_timers() -> None:
    scheduler = Scheduler()
    clock = Clock(scheduler, 50 * SECOND)
    fired: list[int] = []
    clock.timer(lambda: fired.append(scheduler.now)).set(51 * SECOND)
    clock.restart(SECOND)
    scheduler.run_until(10 * SECOND)
    assert (fired, clock.now()) == ([], 11 * SECOND)
