"""How long systemd is asked to wait for a clean-up; what one removes is tested on real machines."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from hamgr.agent import cleaning
from hamgr.agent.answers import Answers
from hamgr.agent.cleaning import Sweep
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import MILLISECOND
from hamgr.times import times_for


class Dog:
    """A watchdog to which progress is told."""

    def __init__(self) -> None:
        self.told = asyncio.Event()

    def progress(self, now: int) -> None:
        self.told.set()


def test_cleaning_that_goes_on_feeds_the_watchdog_and_fails_as_it_fails(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "FED_S", 0.01)

    async def story() -> None:
        dog = Dog()

        async def clean() -> None:
            await dog.told.wait()
            raise OSError("something is left")

        await cleaning.feeding(clean(), dog)

    with pytest.raises(OSError, match="something is left"):
        asyncio.run(asyncio.wait_for(story(), 60))


class Stuck:
    """Addresses that are removed when it is said, and a disk without maintenance."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def clean(self, keep: frozenset[str]) -> None:
        await self.may_end.wait()
        raise OSError("something is left")

    def maintenance(self) -> Mapping[str, int]:
        return {}


@pytest.mark.parametrize("times", [0, 1, 10])
def test_systemd_is_asked_to_wait_for_as_long_as_it_may_take_and_no_longer(
        monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    monkeypatch.setattr(cleaning, "PATIENT", 20 * MILLISECOND)
    told: list[str] = []

    async def clean() -> None:
        stuck = cast(Any, Stuck())
        sweep = Sweep("n1", ClusterSpec(name="c", nodes=(), groups=(), timing=times_for(1)),
                      addresses=stuck, services=stuck, store=stuck, answers=Answers())

        def tell(word: str) -> None:
            told.append(word)
            if len(told) == times:
                end_later()

        def end_later() -> None:
            asyncio.get_running_loop().call_later(0.1, stuck.may_end.set)

        if not times:
            end_later()
        with pytest.raises(OSError, match="something is left"):
            await sweep.run_patiently(tell, times * 10 * MILLISECOND)

    asyncio.run(clean())
    assert told == ["EXTEND_TIMEOUT_USEC=10000000"] * times
