"""The timer that is not late: it rings once, at the instant that was set last."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import closing

from hamgr.adapters.alarm import Alarm
from hamgr.core.types import MICROSECOND, MILLISECOND, SECOND

PATIENCE_S = 5


def story(told: Callable[[Alarm, list[str]], Awaitable[None]]) -> list[str]:
    rung: list[str] = []

    async def run() -> None:
        with closing(Alarm()) as alarm:
            await told(alarm, rung)

    asyncio.run(run())
    return rung


async def until(alarm: Alarm, when: int) -> int:
    """Return when it rang."""
    rang = asyncio.get_running_loop().create_future()
    alarm.call_at(when, lambda: rang.set_result(time.monotonic_ns()))
    async with asyncio.timeout(PATIENCE_S):
        return await rang


def test_it_never_rings_early_and_mostly_within_a_fraction_of_what_epoll_can() -> None:
    late: list[int] = []

    async def told(alarm: Alarm, rung: list[str]) -> None:
        for number in range(60):
            when = time.monotonic_ns() + 3 * MILLISECOND + number * 17 * MICROSECOND
            late.append(await until(alarm, when) - when)

    story(told)
    assert min(late) >= 0
    assert sorted(late)[len(late) // 4] < MILLISECOND // 2, "a quarter at least, on any machine"


def test_what_is_set_last_counts() -> None:
    async def told(alarm: Alarm, rung: list[str]) -> None:
        now = time.monotonic_ns()
        alarm.call_at(now + MILLISECOND, lambda: rung.append("first"))
        alarm.call_at(now + 2 * MILLISECOND, lambda: rung.append("second"))
        await until(alarm, now + 30 * MILLISECOND)

    assert story(told) == []


def test_an_instant_that_is_past_is_now_and_one_that_is_cancelled_never() -> None:
    async def told(alarm: Alarm, rung: list[str]) -> None:
        await until(alarm, 0)
        rung.append("rang")
        alarm.call_at(time.monotonic_ns() + MILLISECOND, lambda: rung.append("cancelled"))
        alarm.cancel()
        await asyncio.sleep(0.02)

    assert story(told) == ["rang"]


def test_one_that_was_set_anew_while_it_rang_waits() -> None:
    """Both are ready in one turn of the loop: who comes first sets it anew."""
    async def told(alarm: Alarm, rung: list[str]) -> None:
        now = time.monotonic_ns()
        alarm.call_at(now + MILLISECOND, lambda: rung.append("old"))
        while time.monotonic_ns() < now + 3 * MILLISECOND:
            pass  # it rings while the loop is busy
        later = asyncio.get_running_loop().create_future()
        alarm.call_at(now + SECOND // 20, lambda: later.set_result(None))
        await asyncio.sleep(0)
        assert not later.done()
        async with asyncio.timeout(PATIENCE_S):
            await later

    assert story(told) == []
