"""What is done every so often rides along with other wake-ups, and does not need them."""

import asyncio
import time

from hamgr.adapters.errand import Errand

EVERY_S = 0.1


def runs(occasions_s: tuple[float, ...], for_s: float) -> list[float]:
    """Return when the errand ran, in seconds since its start, with these occasions for it."""
    ran: list[float] = []

    async def story() -> None:
        began = time.monotonic()
        errand = Errand(EVERY_S, lambda: ran.append(time.monotonic() - began))
        errand.start()
        for at in occasions_s:
            await asyncio.sleep(began + at - time.monotonic())
            errand.awake(time.monotonic_ns())
        await asyncio.sleep(began + for_s - time.monotonic())
        errand.stop()
        errand.awake(time.monotonic_ns() + 10 ** 12)
        await asyncio.sleep(2 * EVERY_S)

    asyncio.run(story())
    return ran


def test_without_an_occasion_it_runs_by_itself_until_it_is_stopped() -> None:
    ran = runs((), 2.5 * EVERY_S)
    assert len(ran) == 2
    assert ran[0] >= EVERY_S and ran[1] - ran[0] >= EVERY_S


def test_an_occasion_just_before_its_time_is_taken_and_an_early_one_is_not() -> None:
    ran = runs((0.5 * EVERY_S, 0.95 * EVERY_S, 0.96 * EVERY_S), 1.5 * EVERY_S)
    assert len(ran) == 1, "once, and the next is a whole time later"
    assert ran[0] >= 0.9 * EVERY_S
