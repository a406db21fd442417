"""How long systemd is asked to wait for a clean-up; what one removes is tested on real machines."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from hamgr.agent import cleaning
from hamgr.agent.answers import Answers
from hamgr.agent.cleaning import Sweep
from hamgr.core.spec import ClusterSpec
from hamgr.core.timing import times_for
from hamgr.core.types import MILLISECOND


class Stuck:
    """Addresses that are removed when it is said, and a disk without maintenance."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def clean(self, keep: frozenset[str]) -> None:
        await self.may_end.wait()
        raise OSError("something is left")

    def maintenance(self) -> Mapping[str, int]:
        return {}


@pytest.mark.parametrize("takes_ms", [0, 10, 100])
def test_systemd_is_asked_to_wait_for_as_long_as_it_may_take_and_no_longer(
        monkeypatch: pytest.MonkeyPatch, takes_ms: int) -> None:
    monkeypatch.setattr(cleaning, "PATIENT", 20 * MILLISECOND)
    told: list[str] = []

    async def clean() -> None:
        stuck = cast(Any, Stuck())
        sweep = Sweep("n1", ClusterSpec(name="c", nodes=(), groups=(), timing=times_for(1)),
                      addresses=stuck, services=stuck, store=stuck, answers=Answers())
        running = asyncio.create_task(
            sweep.run_patiently(told.append, takes_ms * MILLISECOND))
        async with asyncio.timeout(10):
            while len(told) < takes_ms / 10:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        stuck.may_end.set()
        with pytest.raises(OSError, match="something is left"):
            await running

    asyncio.run(clean())
    assert told == ["EXTEND_TIMEOUT_USEC=10000000"] * (takes_ms // 10)
