"""A stand-in for `hamgr agent` under systemd: all but an engine, so that no cluster is needed.

It guards 10.99.0.100/24 on eth0 with a lease of 280 ms that it renews itself for as long as it
runs. Only its first life puts the address on. With --cleanup it ends an old switch, after a second
in which that could act by itself, and says so.
"""

import asyncio
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

from hamgr.adapters.realtime import become_realtime
from hamgr.adapters.runlock import RunLock
from hamgr.adapters.switch import SwitchProcess
from hamgr.adapters.systemd import Notifier, log_handler
from tests.adapters.feeder import deletion

RUN, STATE = Path("/run/hamgr"), Path("/var/lib/hamgr")
VIP = "10.99.0.100/24"
logger = logging.getLogger("hamgr.engine")


def address(*command: str) -> str:
    return subprocess.run(["ip", "address", *command], capture_output=True, text=True,
                          check=True).stdout


def has_vip() -> bool:
    return VIP in address("show")


async def agent() -> None:
    notifier = Notifier()
    lock = RunLock(RUN)
    lock.take()
    lock.end_old_switch()
    logger.info("%s", become_realtime())
    switch = SwitchProcess(["crm"], lambda event: None, run_dir=RUN, lock_fd=lock.fileno())
    switch.load("crm", (deletion(VIP, "eth0"),))
    await switch.start()
    switch.set_deadline(time.monotonic_ns() + 280_000_000, 0, False)
    if not (STATE / "lived").exists():
        (STATE / "lived").touch()
        switch.arm("crm")
        address("add", VIP, "dev", "eth0")
    logger.info("active", extra={"group": "crm", "reason": "ACTIVE", "facts": {"epoch": 7}})
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    notifier.tell(f"READY=1\nSTATUS=switch in its {switch.facts.home}")
    while not over.is_set():
        switch.set_deadline(time.monotonic_ns() + 280_000_000, 0, False)
        notifier.tell("WATCHDOG=1")
        await asyncio.sleep(0.05)
    notifier.tell("STOPPING=1")
    logger.info("stopping with the address: %s, with a switch: %s", has_vip(), switch.alive)
    await switch.close()


def cleanup() -> None:
    time.sleep(1)
    there = has_vip()
    old = RunLock(RUN).end_old_switch()
    logger.info("cleanup found the address: %s, a switch: %s", there, bool(old))


logging.basicConfig(level=logging.INFO, handlers=[log_handler()])
if "--cleanup" in sys.argv:
    cleanup()
else:
    asyncio.run(agent())
