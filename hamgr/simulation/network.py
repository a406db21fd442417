"""The heartbeat network: per ring and direction delay, loss, duplication, lateness and cuts."""

import random
from collections.abc import Callable
from typing import NamedTuple

from hamgr.core.heartbeat import Heartbeat
from hamgr.core.types import MICROSECOND, MILLISECOND, Duration, NodeName
from hamgr.simulation.clock import Scheduler

Datagram = bytes | Heartbeat
"""What goes over the network; unencoded where coding is not what a run is about."""
Deliver = Callable[[NodeName, Datagram, int], None]
Link = tuple[int, NodeName, NodeName]

DELAY_MIN = 100 * MICROSECOND
DELAY_SPREAD = 400 * MICROSECOND
TAIL_SHARE = 0.002
TAIL_DELAY = 25 * MILLISECOND
"""A busy switch now and then; longer delays are weather."""


class Weather(NamedTuple):
    """What happens to datagrams to and from one node, or between all of them."""

    node: NodeName
    """Empty: everywhere."""
    loss: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    """Share of datagrams that come late by up to `lateness`, behind newer ones."""
    lateness: Duration = 0


class Network:
    """Links between every two nodes; a cut is counted, so that overlapping faults heal in order."""

    def __init__(self, scheduler: Scheduler, rng: random.Random, rings: int,
                 deliver: Deliver) -> None:
        self.rings = rings
        self.sent = 0
        self._scheduler = scheduler
        self._rng = rng
        self._deliver = deliver
        self._cuts: dict[Link, int] = {}
        self._weathers: list[Weather] = []

    def cut(self, sender: NodeName, receiver: NodeName, ring: int | None = None) -> None:
        """Lose everything that goes this one way, on one ring or on all."""
        for link in self._links(sender, receiver, ring):
            self._cuts[link] = self._cuts.get(link, 0) + 1

    def mend(self, sender: NodeName, receiver: NodeName, ring: int | None = None) -> None:
        """Undo one cut of this direction."""
        for link in self._links(sender, receiver, ring):
            left = self._cuts.pop(link, 0) - 1
            if left > 0:
                self._cuts[link] = left

    def is_open(self, sender: NodeName, receiver: NodeName, ring: int = 0) -> bool:
        """Whether anything gets through this one way."""
        return (ring, sender, receiver) not in self._cuts

    def set_weather(self, weather: Weather) -> None:
        """Let it storm."""
        self._weathers.append(weather)

    def end_weather(self, weather: Weather) -> None:
        """End one storm, if it has not ended."""
        if weather in self._weathers:
            self._weathers.remove(weather)

    def heal(self) -> None:
        """Undo every cut and all weather."""
        self._cuts.clear()
        self._weathers.clear()

    def cuts(self) -> list[Link]:
        """Return the directions that are cut, in a fixed order."""
        return sorted(self._cuts)

    def send(self, sender: NodeName, receiver: NodeName, datagram: Datagram) -> None:
        """Send one datagram over every ring."""
        for ring in range(self.rings):
            if self._cuts and (ring, sender, receiver) in self._cuts:
                continue
            self.sent += 1
            delay = DELAY_MIN + int(self._rng.random() * DELAY_SPREAD)
            if self._rng.random() < TAIL_SHARE:
                delay += int(self._rng.random() * TAIL_DELAY)
            if self._weathers:
                self._storm(sender, receiver, datagram, ring, delay)
            else:
                self._scheduler.after(delay, self._deliver, receiver, datagram, ring)

    def _storm(self, sender: NodeName, receiver: NodeName, datagram: Datagram, ring: int,
               delay: Duration) -> None:
        copies = 1
        for weather in self._weathers:
            if weather.node and weather.node not in (sender, receiver):
                continue
            if self._rng.random() < weather.loss:
                return
            if self._rng.random() < weather.late:
                delay += int(self._rng.random() * weather.lateness)
            if self._rng.random() < weather.duplicate:
                copies += 1
        for copy in range(copies):
            after = delay + copy * int(self._rng.random() * 200 * MILLISECOND)
            self._scheduler.after(after, self._deliver, receiver, datagram, ring)

    def _links(self, sender: NodeName, receiver: NodeName, ring: int | None) -> list[Link]:
        rings = range(self.rings) if ring is None else (ring,)
        return [(number, sender, receiver) for number in rings]
