"""What is compared: which system, with which interval and which priorities, on what kind of lab."""

import os

from msgspec import Struct

from hamgr.core.types import MILLISECOND, SECOND, Duration
from hamgr.lab.spec import LabSpec

HAMGR, KEEPALIVED = "hamgr", "keepalived"
HIGHEST, SECOND_RING = "keepalived-254", "keepalived-ring2"
"""Kinds of keepalived that are shown, and judge nobody: with the priorities that make it quickest,
and with adverts on another ring than the VIP's, whose interface it tracks."""


class Shape(Struct, frozen=True, kw_only=True):
    """The lab that a scenario needs."""

    nodes: int = 3
    rings: int = 1
    witnesses: int = 0
    bystanders: int = 0
    """Nodes that only run a ZooKeeper server."""


class Setting(Struct, frozen=True, kw_only=True):
    """One system as it is set up."""

    system: str
    interval: Duration
    """Between two heartbeats, or adverts (advert_int)."""
    priorities: tuple[int, ...] = (110, 100, 90)
    """keepalived's, in the order of the nodes."""
    advert_ring: int = 1
    """keepalived's adverts go over this one; hamgr's heartbeats over all that there are."""

    @property
    def interval_ms(self) -> float:
        """The interval in milliseconds."""
        return self.interval / MILLISECOND

    def __str__(self) -> str:
        return f"{self.system} at {self.interval_ms:g} ms"

    def spec(self, shape: Shape) -> LabSpec:
        """Return the lab for it; keepalived needs no ZooKeeper, so none runs beside it."""
        ours = self.system == HAMGR
        return LabSpec(name=f"bench{os.getpid()}", nodes=shape.nodes, rings=shape.rings,
                       witnesses=shape.witnesses, bystanders=shape.bystanders,
                       interval=self.interval, agents=ours, zookeeper=ours)


SHORT, USUAL, LONG = 20 * MILLISECOND, 100 * MILLISECOND, SECOND
"""USUAL is hamgr's default, LONG is keepalived's."""

SETTINGS = (
    Setting(system=HAMGR, interval=USUAL),
    Setting(system=KEEPALIVED, interval=USUAL),
    Setting(system=HAMGR, interval=SHORT),
    Setting(system=KEEPALIVED, interval=SHORT),
    Setting(system=KEEPALIVED, interval=LONG),
    *(Setting(system=HIGHEST, interval=interval, priorities=(254, 253, 252))
      for interval in (USUAL, SHORT)),
    Setting(system=SECOND_RING, interval=USUAL, advert_ring=2),
)
"""In the order of their turns: those that are compared stand side by side."""
