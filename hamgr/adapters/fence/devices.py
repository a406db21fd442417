"""Has fence devices act. Implements the port FenceDevices.

The programs are run by a small process beside the agent (see `services.runs`), each in a process
group of its own; nothing that one leaves behind outlives it: what switches a node off must not do
so once more after somebody has switched it on. A device is asked one thing at a time, in the order
in which it was asked; several devices are asked at once.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

from hamgr.adapters.fence.device import Device
from hamgr.adapters.fence.secrets import Secrets
from hamgr.adapters.fence.words import words
from hamgr.adapters.services.runs import Ended, Runs
from hamgr.core.effects import RunDevice
from hamgr.core.events import DeviceAnswered
from hamgr.core.types import SECOND, DeviceName, Power
from hamgr.ports import Post

log = logging.getLogger(__name__)

OFF = 2
"""Exit status of a status: the node is off."""
GIVEN_UP = "given up before it was begun"


class Order(NamedTuple):
    """What a device is to do, with how it was set up when that was asked."""

    effect: RunDevice
    device: Device


class Devices:
    """Every fence device of a document."""

    def __init__(self, devices: Iterable[Device], post: Post) -> None:
        """Read nothing yet, start nothing yet."""
        self._devices = {device.name: device for device in devices}
        self._post = post
        self._runs = Runs()
        self._secrets = Secrets()
        self._delayed: dict[int, tuple[RunDevice, asyncio.TimerHandle]] = {}
        self._waiting: dict[DeviceName, deque[Order]] = {}
        """By device that is doing something: what comes after that."""
        self._numbers: dict[int, int] = {}
        """By run of a RunDevice: the number of its program."""
        self._times_given_up = 0

    def configure(self, devices: Iterable[Device]) -> None:
        """Use these from the next action on; what was asked already goes on as it was.

        Start anew: there may be secrets to read, and no device was there before.
        """
        self._devices = {device.name: device for device in devices}

    async def start(self) -> None:
        """Start the runner, if there is any device, and read the secrets. Raises OSError.

        A secret that cannot be read stops nobody: it is said, and tried again when it is needed.
        """
        if self._devices:
            self._runs.open()
            for fault in await asyncio.to_thread(self.read_secrets):
                log.error("%s", fault)

    def read_secrets(self) -> tuple[str, ...]:
        """Read them as they are on disk now, and return what is wrong with them. It may block."""
        return self._secrets.read(tuple(self._devices.values()))

    def run(self, effect: RunDevice) -> None:
        """Have a device act, after the effect's delay; exactly one DeviceAnswered follows."""
        loop = asyncio.get_running_loop()
        device = self._devices.get(effect.device)
        if device is None or effect.node not in device.plugs:
            why = ("no such fence device is configured on this node" if device is None else
                   f"fence device {effect.device} is not configured for {effect.node}")
            loop.call_soon(self._answer, effect, False, why)
            return
        delay = effect.delay + random.randint(0, effect.delay_max)
        if not delay:
            self._queue(Order(effect, device))
            return
        timer = loop.call_later(delay / SECOND, self._delay_over, Order(effect, device))
        self._delayed[effect.run] = effect, timer

    def give_up(self) -> None:
        """Kill what runs, and drop what waits: all of it is answered for, as failed."""
        self._times_given_up += 1
        delayed, self._delayed = self._delayed, {}
        dropped = []
        for effect, timer in delayed.values():
            timer.cancel()
            dropped.append(effect)
        for queue in self._waiting.values():
            dropped += (order.effect for order in queue)
            queue.clear()
        for effect in dropped:
            self._answer(effect, False, GIVEN_UP)
        for number in tuple(self._numbers.values()):
            self._runs.cancel(number)

    async def close(self) -> None:
        """Kill whatever still runs."""
        self.give_up()
        await self._runs.close()

    def _delay_over(self, order: Order) -> None:
        del self._delayed[order.effect.run]
        self._queue(order)

    def _queue(self, order: Order) -> None:
        if (queue := self._waiting.get(order.device.name)) is not None:
            queue.append(order)
            return
        self._waiting[order.device.name] = deque()
        self._begin(order)

    def _next(self, device: DeviceName) -> None:
        if self._waiting[device]:
            self._begin(self._waiting[device].popleft())
        else:
            del self._waiting[device]

    def _begin(self, order: Order) -> None:
        """Ask the device, if need be once its secrets have been read."""
        secrets = self._secrets.of(order.device)
        if secrets is not None:
            self._ask(order, secrets)
            return
        reading = asyncio.get_running_loop().run_in_executor(None, self.read_secrets)
        times = self._times_given_up
        reading.add_done_callback(lambda done: self._read(order, times, done.result()))

    def _read(self, order: Order, times_given_up: int, faults: tuple[str, ...]) -> None:
        secrets = self._secrets.of(order.device)
        if times_given_up != self._times_given_up:
            self._ended(order, (), Ended(None, GIVEN_UP))
        elif secrets is None:
            ours = [fault for fault in faults if f" {order.device.name}: " in fault]
            self._ended(order, (), Ended(None, "; ".join(ours) or "its secrets are not known"))
        else:
            self._ask(order, secrets)

    def _ask(self, order: Order, secrets: Mapping[str, str]) -> None:
        effect, device = order
        self._numbers[effect.run] = self._runs.start(
            device.argv, device.environment(effect), effect.timeout / SECOND,
            partial(self._ended, order, tuple(secrets.values())),
            to_read=device.to_read(effect, secrets), whole=True)

    def _ended(self, order: Order, secrets: tuple[str, ...], ended: Ended) -> None:
        effect, device = order
        self._numbers.pop(effect.run, None)
        power, ok = Power.UNKNOWN, ended.ok
        if effect.action == "status":
            power = _power(ended)
            ok = power is not Power.UNKNOWN
        self._answer(effect, ok, words(ended, secrets, well=ok), power)
        self._next(device.name)

    def _answer(self, effect: RunDevice, ok: bool, why: str,
                power: Power = Power.UNKNOWN) -> None:
        self._post(DeviceAnswered(run=effect.run, ok=ok, power=power, why=why))


def _power(ended: Ended) -> Power:
    if ended.ok:
        return Power.ON
    return Power.OFF if ended.code == OFF and not ended.ending else Power.UNKNOWN
