"""A stand-in for `hamgr agent` that has one service of the driver systemd, under the real unit.

It starts app.service, says READY=1, and stops that unit when it is told to stop itself. What became
of both it says in its log.
"""

import asyncio
import logging
import signal
import sys

from hamgr.adapters.services.systemd import Units
from hamgr.adapters.systemd import Notifier, log_handler
from hamgr.core.effects import RunService
from hamgr.core.events import Event
from hamgr.core.types import SECOND

logger = logging.getLogger("standin")


async def agent() -> None:
    notifier, told, over = Notifier(), asyncio.Queue[Event](), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    units = Units({("g", "app"): "app.service"}, told.put_nowait)
    await units.start()
    await act(units, told, "start")
    notifier.tell("READY=1")
    await over.wait()
    await act(units, told, "stop")
    await units.close()


async def act(units: Units, told: "asyncio.Queue[Event]", action: str) -> None:
    units.run(RunService(run=1, group="g", service="app", action=action, epoch=1,
                         timeout=10 * SECOND))
    logger.info("%s", await told.get())


logging.basicConfig(level=logging.INFO, handlers=[log_handler()])
if "--cleanup" not in sys.argv:
    asyncio.run(agent())
