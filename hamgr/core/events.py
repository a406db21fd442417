"""Everything that can happen to a node, in the past tense; what failed comes back as well."""

from msgspec import Struct

from hamgr.core.heartbeat import Heartbeat
from hamgr.core.records import Record
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import (
    Duration,
    Epoch,
    Found,
    GroupName,
    Outcome,
    Power,
    ServiceName,
)


class Tick(Struct, frozen=True, kw_only=True):
    """The deadline that the engine asked for has come."""


class LoopWasLate(Struct, frozen=True, kw_only=True):
    """The node's own loop ran later than it should have (rule 8)."""

    lateness: Duration


class HeartbeatReceived(Struct, frozen=True, kw_only=True):
    """An authentic heartbeat arrived on a ring (counted from 0)."""

    heartbeat: Heartbeat
    ring: int = 0


class ZooKeeperChanged(Struct, frozen=True, kw_only=True):
    """The connection to ZooKeeper came up or went down. A fact about calls, not about leases."""

    connected: bool


class RecordRead(Struct, frozen=True, kw_only=True):
    """A record was read, at first, or since it changed."""

    path: str
    record: Record | None
    """None: it does not exist."""
    version: int
    """ZooKeeper's version of it; -1 when it does not exist."""


class WriteAnswered(Struct, frozen=True, kw_only=True):
    """A Write effect has an outcome."""

    write: int
    outcome: Outcome
    versions: tuple[int, ...] = ()
    """If done: the version after each operation, in their order (-1 for deletes and checks)."""


class DeadlineSet(Struct, frozen=True, kw_only=True):
    """The dead-man's switch holds the deadline of this serial number."""

    serial: int


class AddressesClaimed(Struct, frozen=True, kw_only=True):
    """A ClaimAddresses effect ended. Not ok: none of the group's addresses is left on this node."""

    group: GroupName
    epoch: Epoch
    ok: bool
    why: str = ""


class AddressesWithdrawn(Struct, frozen=True, kw_only=True):
    """A WithdrawAddresses effect ended. Ok only if verified: none of the addresses is there."""

    group: GroupName
    epoch: Epoch
    ok: bool
    why: str = ""


class AddressesDisturbed(Struct, frozen=True, kw_only=True):
    """Something else removed an address of ours (it was put back), or a rival answers for it."""

    group: GroupName
    what: str
    """removed or rival."""
    detail: str = ""


class ConditionChanged(Struct, frozen=True, kw_only=True):
    """This node's own condition for a group (carrier of its interface) changed (rule 12)."""

    group: GroupName
    ok: bool
    why: str = ""


class ServiceAnswered(Struct, frozen=True, kw_only=True):
    """A RunService effect ended."""

    run: int
    group: GroupName
    service: ServiceName
    action: str
    ok: bool
    why: str = ""
    """In words: "exit status 3", "no answer in 5 s"."""
    found: Found = Found.UNKNOWN
    """probe and monitor: the state in which the service is."""


class ServiceChanged(Struct, frozen=True, kw_only=True):
    """A driver noticed by itself, without a monitor, in which state a service is."""

    group: GroupName
    service: ServiceName
    found: Found
    why: str = ""


class ServiceScored(Struct, frozen=True, kw_only=True):
    """A service says how well this node would do as its active one."""

    group: GroupName
    service: ServiceName
    score: int
    """Higher is better; less than 0: not at all."""
    why: str = ""


class AttributeChanged(Struct, frozen=True, kw_only=True):
    """An attribute of this node has another value (None: it has none any more)."""

    name: str
    value: str | None


class MaintenanceKept(Struct, frozen=True, kw_only=True):
    """A KeepMaintenance effect is on disk."""

    group: GroupName
    on: bool


class ConfigurationApplied(Struct, frozen=True, kw_only=True):
    """This node goes by another document from now on; the adapters know all that is new in it."""

    spec: ClusterSpec
    digest: str = ""


class DeviceAnswered(Struct, frozen=True, kw_only=True):
    """A RunDevice effect ended. Not ok: the device failed, or gave no answer in time."""

    run: int
    ok: bool
    power: Power = Power.UNKNOWN
    """What it says of the node's power, where it was asked (status)."""
    why: str = ""


class StopAsked(Struct, frozen=True, kw_only=True):
    """The agent was told to stop: hand over, say done, leave."""

    why: str = ""


News = (LoopWasLate | ZooKeeperChanged | RecordRead | WriteAnswered | DeadlineSet
        | AddressesClaimed | AddressesWithdrawn | AddressesDisturbed | ConditionChanged
        | ServiceAnswered | ServiceChanged | ServiceScored | AttributeChanged
        | DeviceAnswered | MaintenanceKept | ConfigurationApplied | StopAsked)
Event = Tick | HeartbeatReceived | News
