"""The vocabulary that every other module of the core uses: names, instants, lives."""

from enum import Enum, IntEnum
from typing import NamedTuple

NodeName = str
GroupName = str
ServiceName = str
DeviceName = str
Epoch = int
"""Names one right, once, ever; grows with every right that a group is given. 0 is none."""
Instant = int
"""Nanoseconds on one node's CLOCK_MONOTONIC. Never compared across nodes."""
Duration = int
"""Nanoseconds."""

MICROSECOND: Duration = 1_000
MILLISECOND: Duration = 1_000_000
SECOND: Duration = 1_000_000_000
NEVER: Instant = 2**62
"""Later than every instant that a node can reach."""


class Life(NamedTuple):
    """One incarnation of a node in one round: what credits, accusations and rights belong to.

    Compared as a pair: a later incarnation is later whatever its round.
    """

    incarnation: int
    round: int


NO_LIFE = Life(0, 0)


class SeatState(str, Enum):
    """What a node's seat in ZooKeeper says of it (PROTOCOL: Words)."""

    CLAIMED = "claimed"
    MEMBER = "member"
    DEAD = "dead"
    LEFT = "left"


class Outcome(str, Enum):
    """What became of a request to ZooKeeper."""

    DONE = "done"
    CONFLICT = "conflict"
    """A version did not match, or a record existed or was missing: certainly not written."""
    UNKNOWN = "unknown"
    """The answer was lost or late: it may have been written, or be written yet."""
    REFUSED = "refused"
    """Never sent, since no connection was there: certainly not written."""


class Maintenance(str, Enum):
    """How far a group is into maintenance (rule 22)."""

    OFF = "off"
    ENTERING = "entering"
    ON = "on"
    ENDING = "ending"


class Role(IntEnum):
    """How much of a service runs on a node; each one contains those before it."""

    STOPPED = 0
    STARTED = 1
    """Where there is something to promote: a replica in standby."""
    PROMOTED = 2


class OnFailure(str, Enum):
    """What a service that failed more often than its limit allows does to its group."""

    MOVE = "move"
    BLOCK = "block"
    """Nothing more is done to it, until an operator clears it."""
    IGNORE = "ignore"
    FENCE = "fence"
    """Its node is not to be trusted, and is cut off; the group starts elsewhere then."""


class Power(str, Enum):
    """What a fence device says of a node's power."""

    UNKNOWN = "unknown"
    ON = "on"
    OFF = "off"


class Found(str, Enum):
    """In which state a service was found."""

    UNKNOWN = "unknown"
    """It cannot be told, or was not asked: whoever needs it stopped has to stop it."""
    STOPPED = "stopped"
    STARTED = "started"
    """It runs; one that has replicas is in standby."""
    PROMOTED = "promoted"
    FAILED = "failed"
    """It runs, or is in between, and does not work."""
