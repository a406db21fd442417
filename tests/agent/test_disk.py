"""The disk thread: order, retries, and a loop that is never held up."""

import asyncio
import threading

import pytest

from hamgr.agent.disk import Disk


def test_jobs_run_in_their_order_and_report_in_the_loop_s_thread() -> None:
    done: list[tuple[int, bool]] = []
    main = threading.current_thread()

    async def story() -> None:
        disk = Disk()
        disk.start()
        for number in range(5):
            disk.submit("keep it", lambda: None, lambda number=number: done.append(
                (number, threading.current_thread() is main)))
        await disk.call("wait for the rest", lambda: None)
        await disk.close(1)

    asyncio.run(story())
    assert done == [(number, True) for number in range(5)]


def test_a_job_that_fails_is_tried_again_before_the_next(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    def fails_twice() -> None:
        ran.append("first")
        if len(ran) < 3:
            raise OSError(28, "No space left on device")

    async def story() -> None:
        disk = Disk(retry_s=0.001)
        disk.start()
        disk.submit("keep the maintenance of crm", fails_twice)
        await disk.call("go on", lambda: ran.append("second"))
        await disk.close(1)

    asyncio.run(story())
    assert ran == ["first", "first", "first", "second"]
    assert [record.message for record in caplog.records] == [
        "cannot keep the maintenance of crm: [Errno 28] No space left on device"]


def test_what_is_not_worth_a_retry_does_not_hold_up_the_next() -> None:
    def fails() -> None:
        raise OSError("full")

    async def story() -> str:
        disk = Disk(retry_s=3600)
        disk.start()
        disk.submit("write the flight recorder", fails, retry=False)
        result = await disk.call("go on", lambda: "done")
        await disk.close(1)
        return result

    assert asyncio.run(story()) == "done"


def test_a_call_raises_what_the_disk_says() -> None:
    def fails() -> None:
        raise OSError("full")

    async def story() -> None:
        disk = Disk()
        disk.start()
        with pytest.raises(OSError, match="full"):
            await disk.call("keep the incarnation", fails)
        await disk.close(1)

    asyncio.run(story())


def test_the_loop_runs_on_while_the_disk_hangs() -> None:
    hangs = threading.Event()

    async def story() -> bool:
        disk = Disk()
        disk.start()
        disk.submit("hang", lambda: hangs.wait(10) and None)
        turned = asyncio.Event()
        asyncio.get_running_loop().call_soon(turned.set)
        await turned.wait()
        still_hanging = not hangs.is_set()
        hangs.set()
        await disk.close(1)
        return still_hanging

    assert asyncio.run(story())
