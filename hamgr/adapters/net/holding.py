"""How one group's VIPs stand on this node."""

import asyncio
from enum import Enum

from hamgr.adapters.net.vip import Vip
from hamgr.core.types import Epoch, GroupName


class State(Enum):
    """What a node does with a group's VIPs."""

    IDLE = "not here"
    PROBING = "asked for on the wire, not added yet"
    HELD = "added, announced, renewed and guarded"
    LOOSE = "in maintenance: there, and left alone"


class Group:
    """The VIPs of one group."""

    def __init__(self, name: GroupName, vips: tuple[Vip, ...]) -> None:
        self.name, self.vips = name, vips
        self.coming: tuple[Vip, ...] = ()
        """To be its own as soon as they can be announced."""
        self.state = State.IDLE
        self.epoch: Epoch = 0
        self.missing = ""
        """Why a VIP has no interface on this node."""
        self.timers: list[asyncio.TimerHandle] = []

    def enter(self, state: State) -> None:
        """Change the state; a probe that is going on ends."""
        self.state = state
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
