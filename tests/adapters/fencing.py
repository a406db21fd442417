"""Fence devices as the shell of an agent would ask them.

    async with asked(Device(name="ipmi", agent="fence_ipmilan", plugs={"n1": ""})) as devices:
        assert (await devices.ask("off")).ok
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hamgr.adapters.fence import Device, Devices
from hamgr.core.effects import RunDevice
from hamgr.core.events import DeviceAnswered, Event
from hamgr.core.types import SECOND
from tests.netns import PATIENCE_S

LONG = 60 * SECOND


@dataclass(frozen=True)
class Told:
    """A secret that is in no file."""

    text: str

    def __call__(self) -> str:
        return self.text


class Asked:
    """The adapter with some devices, and everything that it posts."""

    def __init__(self, *devices: Device) -> None:
        self.devices = Devices(devices, self._posted)
        self.answers: list[DeviceAnswered] = []
        self._news = asyncio.Event()
        self._runs = 0

    def start(self, action: str = "off", node: str = "n1", device: str = "d",
              timeout: int = LONG, delay: int = 0, delay_max: int = 0) -> int:
        """Ask a device, and return the number of the run."""
        self._runs += 1
        self.devices.run(RunDevice(run=self._runs, device=device, node=node, action=action,
                                   timeout=timeout, delay=delay, delay_max=delay_max))
        return self._runs

    async def answer(self, run: int) -> DeviceAnswered:
        """Wait for the answer to a run, of which there must be but one."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := [one for one in self.answers if one.run == run]):
                self._news.clear()
                await self._news.wait()
        assert len(found) == 1
        return found[0]

    async def ask(self, action: str = "off", node: str = "n1", device: str = "d",
                  within: int = LONG) -> DeviceAnswered:
        """Ask a device, and return its answer."""
        return await self.answer(self.start(action, node, device, within))

    def _posted(self, event: Event) -> None:
        assert isinstance(event, DeviceAnswered)
        self.answers.append(event)
        self._news.set()


@asynccontextmanager
async def asked(*devices: Device) -> AsyncIterator[Asked]:
    """Start the adapter with these, and close it afterwards."""
    with_devices = Asked(*devices)
    try:
        await with_devices.devices.start()
        yield with_devices
    finally:
        await with_devices.devices.close()


def story(then: Callable[[Asked], Awaitable[None]], *devices: Device) -> None:
    """Run a story with these devices."""
    async def told() -> None:
        async with asked(*devices) as with_devices:
            await then(with_devices)
    asyncio.run(told())


def once(device: Device, action: str = "off", timeout: int = LONG) -> DeviceAnswered:
    """Ask once, and return the answer."""
    async def told() -> DeviceAnswered:
        async with asked(device) as with_device:
            return await with_device.ask(action, within=timeout)
    return asyncio.run(told())


def scripted(script: str, **changes: object) -> Device:
    """A device that is a shell script; it finds its action in $HAMGR_FENCE_ACTION."""
    return Device(**{"name": "d", "command": ("/bin/sh", "-c", script),  # type: ignore[arg-type]
                     "plugs": {"n1": "3", "n2": "4"}, **changes})


async def written(path: Path) -> str:
    """Wait until a device has written a whole line to a file."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if (text := _content(path)).endswith("\n"):
                return text
            await asyncio.sleep(0.01)


async def dies(pid: int) -> None:
    """Wait until a process is dead."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if not running(pid):
                return
            await asyncio.sleep(0.01)


def running(pid: int) -> bool:
    """A zombie that nobody has reaped yet is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _content(path: Path) -> str:
    return path.read_text() if path.exists() else ""
