"""What the shell needs of the outside world: one protocol for each adapter.

Adapters run in the agent's event loop unless they say otherwise, and report back by calling the
`post` that they were built with, in the loop's thread. They decide nothing: what is wanted comes
as an effect, what happened goes back as an event.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from hamgr.core.effects import RunDevice, RunService, TellReplicas, Write
from hamgr.core.events import Event
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.types import Epoch, GroupName, Instant, NodeName

Post = Callable[[Event], None]
"""Hands an event to the engine, in the loop's thread."""


class Transport(Protocol):
    """Heartbeats over every ring."""

    async def start(self) -> None:
        """Open one socket a ring. Raises OSError if an own address cannot be bound."""

    def send(self, to: NodeName, heartbeat: Heartbeat) -> None:
        """Send at once, never block; a full buffer or a dead peer is counted, not raised."""

    def counters(self) -> Mapping[str, int]:
        """Return datagrams sent, received, and dropped by reason."""

    async def close(self) -> None:
        """Close the sockets."""


class Coordinator(Protocol):
    """The records in ZooKeeper: followed at all times, written on demand."""

    async def start(self) -> None:
        """Begin to connect; return without waiting for it."""

    def write(self, write: Write) -> None:
        """Send one transaction; exactly one WriteAnswered follows, within the call deadline."""

    def read(self, paths: tuple[str, ...]) -> None:
        """Read these records again; RecordRead follows for each that can be read."""

    @property
    def trouble(self) -> str:
        """In words, who does not let this node in, or write, and why; empty if nobody refuses."""

    async def close(self, within_s: float) -> None:
        """End the session; whatever happens, return within that many seconds."""


class Addresses(Protocol):
    """The VIPs of the groups on this node's interfaces, and their announcement."""

    async def start(self) -> None:
        """Open all sockets, build all frames and messages: nothing of this is left for later."""

    async def clean(self, keep: frozenset[GroupName]) -> None:
        """Remove every configured VIP but those of `keep`. Raises OSError if one stays."""

    def hold_until(self, deadline: Instant) -> None:
        """Add and renew nothing after this instant: the lease deadline, as the switch has it."""

    def announce_again(self) -> None:
        """Announce what is held anew: after a stall of this process, others may have spoken."""

    def claim(self, group: GroupName, epoch: Epoch, probe: str) -> None:
        """Add and announce; AddressesClaimed follows."""

    def withdraw(self, group: GroupName, epoch: Epoch) -> None:
        """Remove, cut local sockets, verify; AddressesWithdrawn follows."""

    def loosen(self, group: GroupName) -> None:
        """Make lifetimes unlimited (maintenance); tried again until it works."""

    def tighten(self, group: GroupName, epoch: Epoch) -> None:
        """Give lifetimes again to what is there; AddressesClaimed follows."""

    async def close(self) -> None:
        """Close the sockets; addresses in maintenance stay."""


class Switch(Protocol):
    """The dead-man's switch: a second process that withdraws addresses at the deadline."""

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises OSError if it cannot."""

    def set_deadline(self, deadline: Instant, serial: int, confirm: bool) -> None:
        """Hand over the deadline; DeadlineSet follows if `confirm`."""

    def arm(self, group: GroupName) -> None:
        """From now on withdraw this group's addresses at the deadline. In force on return."""

    def disarm(self, group: GroupName) -> None:
        """Leave this group alone. In force on return."""

    async def close(self) -> None:
        """End the process in order: nothing is withdrawn that is disarmed."""


class WatchdogFacts(Struct, frozen=True, kw_only=True):
    """What status tells of the watchdog device."""

    device: str = ""
    """Its path; empty: none is configured."""
    identity: str = ""
    """What its driver calls itself."""
    timeout_s: int = 0
    """As granted; while it is not held, as configured."""
    held: bool = False
    """It is open: without feeding the machine is reset."""
    trouble: str = ""
    """Why it is not, although it should be."""


class Watchdog(Protocol):
    """The kernel's watchdog device: held while something is armed, fed by progress and lease."""

    @property
    def facts(self) -> WatchdogFacts:
        """What status tells."""

    def set_deadline(self, deadline: Instant) -> None:
        """Feed until then, or beyond it as long as stop_within allows."""

    def arm(self, group: GroupName) -> None:
        """Hold the device from now on. Tried again until it works."""

    def disarm(self, group: GroupName) -> None:
        """Close it in order, if nothing else is armed."""

    def progress(self, now: Instant) -> None:
        """Tell that all is handled that came or was due."""

    def swept(self) -> None:
        """Tell that nothing exclusive runs here, also of a former life."""

    async def close(self) -> None:
        """Let go of it; while something is armed, the machine is reset in time."""


class Services(Protocol):
    """The services of the groups, by their drivers."""

    async def start(self) -> None:
        """Prepare to run actions: nothing of this is left for later. Raises OSError."""

    def run(self, effect: RunService) -> None:
        """Start the action; exactly one ServiceAnswered follows."""

    def cancel(self, run: int) -> None:
        """Kill a run that is going on."""

    def tell(self, effect: TellReplicas) -> None:
        """Tell the replicas of a group here what has become of another node's: best effort."""

    def retell(self) -> None:
        """Post again what a new engine does not know: scores and attributes."""

    async def close(self) -> None:
        """Kill whatever still runs."""


class FenceDevices(Protocol):
    """The fence devices of the document, by their drivers."""

    async def start(self) -> None:
        """Prepare to run actions: nothing of this is left for later. Raises OSError."""

    def run(self, effect: RunDevice) -> None:
        """Have a device act, after the effect's delay; exactly one DeviceAnswered follows."""

    def give_up(self) -> None:
        """Kill what runs, and drop what waits: whoever asked for it is gone. It is answered."""

    async def close(self) -> None:
        """Kill whatever still runs."""


class Store(Protocol):
    """What a node keeps on its own disk (state directory)."""

    def next_incarnation(self, above: int) -> int:
        """Return a new incarnation, greater than any before and `above`, on disk already."""

    def facts(self) -> tuple[str, int]:
        """Return the cluster id and plan revision kept, or ("", 0)."""

    def keep_facts(self, cluster_id: str, revision: int) -> None:
        """Keep them, atomically."""

    def maintenance(self) -> Mapping[GroupName, Epoch]:
        """Return the groups that are in maintenance here, with the epoch that is in place."""

    @property
    def rebooted(self) -> bool:
        """Tell whether the machine was booted since a maintenance was kept: nothing runs on."""

    def keep_maintenance(self, group: GroupName, epoch: Epoch, on: bool) -> None:
        """Keep it, on disk on return."""
