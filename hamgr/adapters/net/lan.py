"""What this node says and hears about its VIPs on all of its interfaces."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from hamgr.adapters.net.frames import FrameRequest, Frames, build_frames
from hamgr.adapters.net.vip import Nic, Place, Vip
from hamgr.adapters.net.voices import Voice
from hamgr.adapters.net.wire import Wire

logger = logging.getLogger(__name__)

_READY_S = 10.0
"""What waits for frames goes on without them then: they are built when they can be."""
_RETRY_S = 5.0
"""Until frames are asked for again that could not be built."""


class Lan:
    """Frames and wires for every VIP that has a place; rebuilt when a place changes."""

    def __init__(self, *, heard: Callable[[Vip, bytes], None],
                 rebuilt: Callable[[], None]) -> None:
        """heard: another machine, of this MAC, speaks for a VIP. rebuilt: frames are new."""
        self._heard, self._rebuilt = heard, rebuilt
        self._places: dict[Vip, Place] = {}
        self._frames: dict[Vip, Frames] = {}
        """Of VIPs that have a place, with the MAC that this has."""
        self._requests: dict[Vip, FrameRequest] = {}
        self._wires: dict[int, Wire] = {}
        """By index: one for each interface that a place is on."""
        self._vips: dict[bytes, Vip] = {}
        self._own_macs: Collection[bytes] = ()
        self._started = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Build the frames that are wanted by now. Raises OSError."""
        await self._build()
        self._started = True

    def follow(self, places: Mapping[Vip, Place], nics: Mapping[int, Nic]) -> None:
        """Open the wires of these interfaces, and ask for frames: they take half a second.

        Before start() nothing is built yet. Raises OSError if a wire cannot be opened; the wires
        are the former ones then, and whoever has moved is silent until a later call succeeds.
        """
        self._settle(places, nics)
        if self._started and self._requests and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._build_until_done())

    async def ready(self) -> None:
        """Wait until the frames that were asked for last are built, or cannot be for now."""
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=_READY_S)

    def announce(self, vip: Vip) -> None:
        """Tell everybody that the VIP is here."""
        if vip in self._frames:
            for frame in self._frames[vip].announcements:
                self._wires[self._places[vip].nic.index].send(frame)

    def ask(self, vip: Vip) -> bool:
        """Ask whose the VIP is; return whether there is a wire to ask on."""
        if vip not in self._frames:
            return False
        self._wires[self._places[vip].nic.index].send(self._frames[vip].question)
        return True

    async def close(self) -> None:
        """Close the wires."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for wire in self._wires.values():
            wire.close()
        self._wires.clear()

    def _settle(self, places: Mapping[Vip, Place], nics: Mapping[int, Nic]) -> None:
        # One's own answer through another interface on the same network ("ARP flux") is no rival.
        self._own_macs = frozenset(nic.mac for nic in nics.values())
        for vip in {**self._places, **places}:
            if _frame_key(self._places.get(vip)) != _frame_key(places.get(vip)):
                # Whatever comes next: with a MAC of before, they would lead clients astray.
                self._frames.pop(vip, None)
                self._requests.pop(vip, None)
        wired = {vip: place for vip, place in places.items() if place.nic.ethernet}
        self._open_wires(wired)
        self._places, self._vips = wired, {vip.packed: vip for vip in wired}
        for vip, place in wired.items():
            if vip not in self._frames and vip not in self._requests:
                self._requests[vip] = FrameRequest(vip.address, place.nic.mac.hex(":"),
                                                   _routes(place.nic.name))

    def _open_wires(self, places: Mapping[Vip, Place]) -> None:
        """Open those that these places need, and close the others: all of it or nothing."""
        wanted = {place.nic.index: place.nic for place in places.values()}
        opened: dict[int, Wire] = {}
        try:
            for index, nic in wanted.items():
                addresses = [vip.packed for vip, place in places.items()
                             if place.nic.index == index]
                old = self._wires.get(index)
                if old is None or old.addresses != frozenset(addresses):
                    opened[index] = Wire(nic, addresses, self._hear)
        except OSError:
            for wire in opened.values():
                wire.close()
            raise
        for index in [index for index in self._wires if index in opened or index not in wanted]:
            self._wires.pop(index).close()
        self._wires |= opened

    async def _build(self) -> None:
        while requests := dict(self._requests):
            built = await build_frames(list(requests.values()))
            for (vip, request), frames in zip(requests.items(), built, strict=True):
                if self._requests.get(vip) == request:
                    self._frames[vip] = frames
                    del self._requests[vip]

    async def _build_until_done(self) -> None:
        while True:
            try:
                await self._build()
            except OSError as error:
                logger.error("VIPs cannot be announced from their new interface: %s", error)
                await asyncio.sleep(_RETRY_S)
            else:
                self._rebuilt()
                return

    def _hear(self, voice: Voice) -> None:
        if voice.mac not in self._own_macs and voice.packed in self._vips:
            self._heard(self._vips[voice.packed], voice.mac)


def _frame_key(place: Place | None) -> tuple[int, bytes] | None:
    return None if place is None else (place.nic.index, place.nic.mac)


def _routes(interface: str) -> bool:
    path = Path("/proc/sys/net/ipv6/conf") / interface / "forwarding"
    return path.exists() and path.read_text().strip() != "0"
