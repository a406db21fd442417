"""What must go to disk, in order, in one thread of its own: an fsync never holds the loop up."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from hamgr.agent.tasks import watched

RETRY_S = 1.0
"""Between two attempts at a job that failed (a full disk): more often would only fill the log."""

T = TypeVar("T")

logger = logging.getLogger("hamgr.disk")


class Job(NamedTuple):
    """Something to be done on disk."""

    what: str
    """In words, for the log: "cannot <what>"."""
    run: Callable[[], None]
    done: Callable[[], None]
    retry: bool


class Disk:
    """Runs jobs one after the other."""

    def __init__(self, retry_s: float = RETRY_S) -> None:
        self._retry_s = retry_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hamgr-disk")
        self._jobs: deque[Job] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._said = ""

    def start(self) -> None:
        """Start the thread now, so that none has to be started later."""
        self._thread.submit(int).result()

    def submit(
        self,
        what: str,
        run: Callable[[], None],
        done: Callable[[], None] = lambda: None,
        *,
        retry: bool = True,
    ) -> None:
        """Run a job after all that were submitted before, and then `done` in the loop's thread.

        A job that raises OSError is tried again until it succeeds, or logged and left if it is
        not to be tried again.
        """
        self._jobs.append(Job(what, run, done, retry))
        if self._worker is None or self._worker.done():
            self._worker = watched(self._work())

    async def call(self, what: str, run: Callable[[], T]) -> T:
        """Run it after all that were submitted before and return its result. Raises OSError."""
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        outcome: list[T | OSError] = []

        def attempt() -> None:
            try:
                outcome.append(run())
            except OSError as error:
                outcome.append(error)

        def finish() -> None:
            if result.cancelled():
                return
            if isinstance(outcome[0], OSError):
                result.set_exception(outcome[0])
            else:
                result.set_result(outcome[0])

        self.submit(what, attempt, finish)
        return await result

    async def close(self, within_s: float) -> None:
        """Wait for what is left, so long at most, and end the thread."""
        if self._worker is not None and not self._worker.done():
            await asyncio.wait((self._worker,), timeout=within_s)
            self._worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._jobs:
            job = self._jobs[0]
            try:
                await loop.run_in_executor(self._thread, job.run)
                self._said = ""
            except OSError as error:
                self._say(f"cannot {job.what}: {error}")
                if job.retry:
                    await asyncio.sleep(self._retry_s)
                    continue
            self._jobs.popleft()
            job.done()

    def _say(self, complaint: str) -> None:
        if complaint != self._said:
            self._said = complaint
            logger.error("%s", complaint)
