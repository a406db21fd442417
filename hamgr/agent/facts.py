"""What an agent answers when it is asked for its status: the vocabulary of the control socket."""

from msgspec import Struct, field

from hamgr.core.records import Config, Request
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import GroupName, Instant, NodeName
from hamgr.ports import WatchdogFacts
from hamgr.snapshot import Snapshot

SCHEMA = 1
"""Of everything that the control socket says. Fields are added, never changed."""

WATCHDOG = "watchdog"
"""The layer of the kernel's watchdog device."""
SWITCH, SWITCH_CHILD = "switch", "switch (child)"
"""The layer of the dead-man's switch. A child of an agent that a service manager runs does not
cover an agent that is killed: it is killed with what is left of its control group."""


class KernelAddress(Struct, frozen=True, kw_only=True):
    """One configured VIP, as this node's kernel has it."""

    group: GroupName
    address: str
    """With its prefix length."""
    interface: str
    """Where it is, or where it belongs; empty when no interface fits."""
    present: bool
    lifetime_s: int | None = None
    """What is left of its kernel lifetime when present; None is unlimited."""


class Process(Struct, frozen=True, kw_only=True):
    """The agent as a process."""

    pid: int
    version: str
    started_ago_s: float
    phase: str
    """starting, running or stopping."""
    why: str = ""
    """What a start still waits for."""
    realtime: str = ""
    """The scheduling class, or why there is none."""
    memory_locked: bool = False
    switch_alive: bool = False
    switch_ends_with_us: bool = False
    """It is a child of an agent that a service manager runs."""
    worst_lateness_ms: float = 0.0
    collections: tuple[tuple[Instant, Instant], ...] = ()
    """Begin and end of the newest collections of garbage."""
    watchdog_s: float = 0.0
    """systemd's watchdog; 0 when there is none."""
    network_namespace: int = 0
    """Its inode: a probe of the wire means nothing from another."""
    config: str = ""
    """Path of the configuration file."""
    config_digest: str = ""
    """Of the document that it goes by."""
    config_revision: int = 0
    """As it was applied; 0: it is the file's, and no applied one was read yet."""
    config_refused: str = ""
    """Why the document that is applied is not used here."""
    state_dir: str = ""


class AgentStatus(Struct, frozen=True, kw_only=True):
    """One agent's answer to `status`."""

    schema: int = SCHEMA
    process: Process
    node: NodeName
    spec: ClusterSpec
    """The nodes and groups of the document that it goes by."""
    rings: dict[NodeName, tuple[str, ...]]
    """The heartbeat addresses of each node."""
    snapshot: Snapshot | None
    """None while the agent has no engine yet."""
    addresses: tuple[KernelAddress, ...] = ()
    zookeeper_trouble: str = ""
    """Who of ZooKeeper's servers refuses this node, and why; empty if none does."""
    layers: dict[GroupName, tuple[str, ...]] = field(default_factory=dict)
    """Of the layers that guard a group here, those that are really there."""
    watchdog: WatchdogFacts = WatchdogFacts()
    """The kernel's watchdog device; systemd's watchdog is in `process`."""
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    keys: dict[NodeName, tuple[str, ...]] = field(default_factory=dict)
    """The fingerprints of each node's keys by its last heartbeat, the one that signs first; a node
    that was never heard is missing."""


class AskStatus(Struct, frozen=True, tag_field="do", tag="status", forbid_unknown_fields=True):
    """Answered by one line {"status": AgentStatus}."""


class AskWatch(Struct, frozen=True, tag_field="do", tag="watch", forbid_unknown_fields=True):
    """Answered by such a line now and every so often, until the client goes."""

    every_ms: int = 1000


class AskRequest(Struct, frozen=True, tag_field="do", tag="request", forbid_unknown_fields=True):
    """Answered by lines {"progress": text}, then {"answer": Request or null for a timeout}."""

    request: Request
    within_s: float = 60.0


class AskExplain(Struct, frozen=True, tag_field="do", tag="explain", forbid_unknown_fields=True):
    """Answered by one line {"explanation": Explanation}."""

    group: GroupName
    node: NodeName = ""
    """Why the group is not there; empty: where it is, and why."""


class AskConfiguration(Struct, frozen=True, tag_field="do", tag="configuration",
                       forbid_unknown_fields=True):
    """Answered by {"applied": Config or null, "own": Config, "refused": why it is not used}."""


class AskApply(Struct, frozen=True, tag_field="do", tag="apply", forbid_unknown_fields=True):
    """Answered by lines {"progress": text}, then {"answer": Config}, as it was written.

    Its revision is one more than that of the document whose place it takes.
    """

    config: Config


class AskRebuild(Struct, frozen=True, tag_field="do", tag="rebuild", forbid_unknown_fields=True):
    """Answered by lines {"progress": text}, then {"answer": text}."""

    down: tuple[NodeName, ...] = ()
    """Nodes that the operator vouches for as powered off."""


class Attribute(Struct, frozen=True, kw_only=True):
    """One value of a node."""

    name: str
    value: str
    kept: str
    """reboot, forever, document, or private: hamgr's own, until a reboot, on this node alone."""


class AskAttributes(Struct, frozen=True, tag_field="do", tag="attributes",
                    forbid_unknown_fields=True):
    """Answered by {"attributes": [Attribute, …]}, or by {"error": text} if one cannot be set."""

    node: NodeName
    """Empty: the values of the whole cluster."""
    name: str = ""
    """The one to be changed; empty: none."""
    value: str | None = None
    """None: it is deleted."""
    reboot: bool = False
    """The value is kept until the node reboots, and not for ever."""


class AskStop(Struct, frozen=True, tag_field="do", tag="stop", forbid_unknown_fields=True):
    """The orderly stop. Answered by {"stopping": true} when it has begun."""

    why: str = "an operator's word"


class AskReload(Struct, frozen=True, tag_field="do", tag="reload", forbid_unknown_fields=True):
    """What SIGHUP does. Answered by {"reloaded": [in words what came of it, …]} when it is done."""


class AskRecorder(Struct, frozen=True, tag_field="do", tag="recorder", forbid_unknown_fields=True):
    """Answered by {"entries": […]}: the newest ones of the flight recorder."""

    count: int = 100


Ask = (AskStatus | AskWatch | AskRequest | AskConfiguration | AskApply | AskRebuild | AskStop
       | AskReload | AskRecorder | AskExplain | AskAttributes)
