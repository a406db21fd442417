"""Everything that a node can want done, in the imperative; done in the order given."""

from msgspec import Struct, field

from hamgr.core.heartbeat import Heartbeat
from hamgr.core.reasons import Reason
from hamgr.core.records import Record
from hamgr.core.types import DeviceName, Duration, Epoch, GroupName, Instant, NodeName, ServiceName


class SendHeartbeat(Struct, frozen=True, kw_only=True):
    """Send over every ring that leads to the node, or over one ring only (answers)."""

    to: NodeName
    heartbeat: Heartbeat


class Op(Struct, frozen=True, kw_only=True):
    """One operation of a transaction."""

    kind: str
    """check, set, create or delete."""
    path: str
    version: int = -1
    """check, set, delete: the version that must be there. create ignores it."""
    record: Record | None = None


class Write(Struct, frozen=True, kw_only=True):
    """One transaction in ZooKeeper: all operations or none. Answered by WriteAnswered."""

    write: int
    ops: tuple[Op, ...]


class Read(Struct, frozen=True, kw_only=True):
    """Read these records again, though no watch has fired. Answered by RecordRead."""

    paths: tuple[str, ...]
    """Empty: all there are."""


class KeepFacts(Struct, frozen=True, kw_only=True):
    """Keep on this node's disk what a restart must know: cluster id and plan revision (rule 25)."""

    cluster_id: str
    revision: int


class KeepMaintenance(Struct, frozen=True, kw_only=True):
    """Keep on disk that a group is in maintenance here, or no more. Answered by MaintenanceKept."""

    group: GroupName
    epoch: Epoch
    on: bool


class SetDeadline(Struct, frozen=True, kw_only=True):
    """Hand the lease deadline to the dead-man's switch. Answered by DeadlineSet if `confirm`."""

    deadline: Instant
    serial: int
    confirm: bool = False


class ArmSwitch(Struct, frozen=True, kw_only=True):
    """From now on the switch withdraws this group's addresses when the deadline passes."""

    group: GroupName


class DisarmSwitch(Struct, frozen=True, kw_only=True):
    """The switch leaves this group alone: it is withdrawn, or in maintenance."""

    group: GroupName


class ClaimAddresses(Struct, frozen=True, kw_only=True):
    """Put the group's addresses on this node and announce them. Answered by AddressesClaimed."""

    group: GroupName
    epoch: Epoch
    probe: str = "before"
    """Conflict probe (RFC 5227, DAD): before, beside or none."""


class WithdrawAddresses(Struct, frozen=True, kw_only=True):
    """Take the group's addresses off this node, cut local TCP sockets on them, verify.

    Answered by AddressesWithdrawn; done also when they were never there.
    """

    group: GroupName
    epoch: Epoch


class LoosenAddresses(Struct, frozen=True, kw_only=True):
    """Maintenance begins: unlimited lifetime, no renewal (rule 22)."""

    group: GroupName


class TightenAddresses(Struct, frozen=True, kw_only=True):
    """Maintenance ends: the addresses that are there get lifetimes and renewal again.

    Answered by AddressesClaimed: not ok if an address is not there.
    """

    group: GroupName
    epoch: Epoch


class RunService(Struct, frozen=True, kw_only=True):
    """Run one action of a service, never in the agent's loop. Answered by ServiceAnswered."""

    run: int
    group: GroupName
    service: ServiceName
    action: str
    """probe, start, promote, demote, stop or monitor. probe: find out what runs, change nothing."""
    epoch: Epoch
    """0 where the group is not active here."""
    timeout: Duration
    active: bool = True
    """monitor: whether the service shall be active, or a replica in standby."""
    origin: NodeName = ""
    """From which node the group comes, if known."""
    target: NodeName = ""
    """To which node it goes, if known."""
    reason: str = ""
    planned: bool = False


class CancelService(Struct, frozen=True, kw_only=True):
    """Kill a run that is still going on; its ServiceAnswered comes all the same, not ok."""

    run: int


class TellReplicas(Struct, frozen=True, kw_only=True):
    """What rests here learns what has become of another node's replicas (OCF's notifications)."""

    group: GroupName
    node: NodeName
    action: str
    """promote or demote: what has been done there."""
    epoch: Epoch


class RunDevice(Struct, frozen=True, kw_only=True):
    """Have a fence device do something to a node, or say something of it. Answered by
    DeviceAnswered."""

    run: int
    device: DeviceName
    node: NodeName
    action: str
    """off, on, status or monitor, in the words of the fence agents' API."""
    timeout: Duration
    delay: Duration = 0
    """Wait so long first; not part of the timeout."""
    delay_max: Duration = 0
    """Wait up to so much longer, at random."""


class Report(Struct, frozen=True, kw_only=True):
    """One line for people: what changed, and why."""

    reason: Reason
    group: GroupName = ""
    node: NodeName = ""
    facts: dict[str, str | int] = field(default_factory=dict)


class BeginNewLife(Struct, frozen=True, kw_only=True):
    """This incarnation is over, everything exclusive has stopped: clean up, start a new engine."""

    incarnation_above: int
    """The next incarnation must be greater than this."""
    why: str = ""


class Exit(Struct, frozen=True, kw_only=True):
    """The orderly stop is complete."""


Effect = (SendHeartbeat | Write | Read | KeepFacts | KeepMaintenance | SetDeadline | ArmSwitch
          | DisarmSwitch | ClaimAddresses | WithdrawAddresses | LoosenAddresses
          | TightenAddresses | RunService | CancelService | TellReplicas | RunDevice
          | Report | BeginNewLife | Exit)
