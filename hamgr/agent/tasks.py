"""Tasks in the background whose failure is never silent."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def watched(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run it in the background; what it raises goes to the loop's exception handler at once."""
    task = asyncio.get_running_loop().create_task(coroutine)
    task.add_done_callback(_surface)
    return task


def _surface(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        task.get_loop().call_exception_handler(
            {"message": "a background task failed", "exception": error, "task": task})
