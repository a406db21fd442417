"""The document that an operator writes, as typed structs: every key, its type and its default.

docs/configuration.md explains each key; a test holds the two together.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

from hamgr.config.values import Address, Command, Interface, LongSpan, Plugs, Server, Span
from hamgr.core.spec import MANDATORY
from hamgr.core.timing import Timing
from hamgr.core.types import MILLISECOND, SECOND, DeviceName, GroupName, NodeName
from hamgr.times import times_for

COMMANDS = ("start", "promote", "demote", "stop")
"""What a service may be told, in the order of its life."""
Preference = Annotated[int, "preference"]
"""What a node is worth to a group; "never" for FORBIDDEN."""
LinkName = Annotated[str, "link"]
"""The name of a network interface."""


class Cluster(Struct, frozen=True, kw_only=True):
    """[cluster]: which cluster this is, and where its records are."""

    name: Annotated[str, Meta(examples=['"crm"'])]
    zookeeper: Annotated[tuple[Server, ...], Meta(examples=['["10.0.0.11:2181"]'])]
    key_file: Annotated[str, Meta(examples=['"/etc/hamgr/cluster.key"'])]


class Heartbeat(Struct, frozen=True, kw_only=True):
    """[heartbeat]: how soon a death is noticed."""

    interval: Span = Span(100 * MILLISECOND)
    lease: Span | None = None
    detection: Span | None = None
    port: int = 7410


class ZooKeeper(Struct, frozen=True, kw_only=True):
    """[zookeeper]: the session that is asked for, how long a claim stands, and who may come in."""

    session: Span = Span(4 * SECOND)
    claim: Span | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    user: str | None = None
    password_file: str | None = None
    protect: bool = False


class AddressLife(Struct, frozen=True, kw_only=True):
    """[address]: how long a VIP outlives everything that guards it."""

    valid_lft: Span = Span(2 * SECOND)
    renewal: Span = Span(500 * MILLISECOND)


class Watchdog(Struct, frozen=True, kw_only=True):
    """[watchdog]: what resets a machine that hangs."""

    device: Annotated[str | None, Meta(examples=['"/dev/watchdog"'])] = None
    timeout: Span = Span(10 * SECOND)


class Node(Struct, frozen=True, kw_only=True):
    """[node.NAME]: one machine."""

    addresses: Annotated[tuple[Address, ...], Meta(examples=['["10.0.0.11", "10.1.0.11"]'])]
    witness: bool = False
    voter: bool = True
    start: str = "auto"
    attributes: dict[str, str] = field(default_factory=dict)


class Fencing(Struct, frozen=True, kw_only=True):
    """[fencing]: what holds for all fence devices."""

    max_per_hour: int = 5
    test_every: LongSpan = LongSpan(30 * 24 * 3600 * SECOND)


class Fence(Struct, frozen=True, kw_only=True):
    """[fence.NAME]: one fence device."""

    agent: str = ""
    command: Annotated[Command | None, Meta(examples=['["/usr/local/sbin/cut-off"]'])] = None
    nodes: Annotated[Plugs, Meta(examples=['["n1"]'])]
    options: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    level: int = 1
    timeout: Span = Span(60 * SECOND)
    retries: int = 1
    delay: Span = Span(0)
    delay_max: Span = Span(0)
    action: str = "reboot"
    status: bool = True


class Vip(Struct, frozen=True, kw_only=True):
    """One address that moves: "10.0.0.100/24", or a table that names the interface too."""

    address: Annotated[Interface, Meta(examples=['"10.0.0.100/24"'])]
    interface: LinkName = ""
    """Empty: the interface that has an address in the same subnet."""


class Monitor(Struct, frozen=True, kw_only=True):
    """monitor: what tells whether a service works, and how often it is asked."""

    command: Annotated[Command | None, Meta(examples=['"/usr/local/lib/app/check"'])] = None
    interval: Span = Span(2 * SECOND)
    timeout: Span = Span(5 * SECOND)


class Service(Struct, frozen=True, kw_only=True):
    """[[group.NAME.service]]: one service of the group, started in the order of the file."""

    name: Annotated[str, Meta(examples=['"app"'])]
    driver: str = "hook"
    promotable: bool = False
    start: Command | None = None
    stop: Command | None = None
    promote: Command | None = None
    demote: Command | None = None
    unit: str = ""
    agent: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    notify: bool | None = None
    """None: whether it is promotable."""
    check_level: int = 0
    monitor: Monitor | None = None
    start_timeout: Span = Span(30 * SECOND)
    stop_timeout: Span = Span(30 * SECOND)
    promote_timeout: Span = Span(30 * SECOND)
    demote_timeout: Span = Span(30 * SECOND)
    restarts: int = 3
    window: Span = Span(60 * SECOND)
    on_failure: str = "move"

    @property
    def actions(self) -> tuple[str, ...]:
        """Return what its driver can do with it, beside looking at it."""
        if self.driver == "hook":
            return tuple(action for action in COMMANDS if getattr(self, action))
        return COMMANDS if self.promotable else ("start", "stop")


class Near(Struct, frozen=True, kw_only=True):
    """One group in `with` or `apart`: "db", or a table that makes it a wish of some weight."""

    group: Annotated[str, Meta(examples=['"db"'])]
    score: int = MANDATORY


class Group(Struct, frozen=True, kw_only=True):
    """[group.NAME]: what moves together."""

    nodes: Annotated[tuple[NodeName, ...], Meta(examples=['["n1", "n2"]'])]
    vips: tuple[Vip, ...] = ()
    mode: str = "active-passive"
    fencing: str = "lease"
    stop_within: Span = Span(0)
    needs: dict[str, str] = field(default_factory=dict)
    prefer: dict[NodeName, Preference] = field(default_factory=dict)
    stickiness: int = 0
    failback: str = "never"
    priority: int = 0
    beside: tuple[Near, ...] = field(default=(), name="with")
    apart: tuple[Near, ...] = ()
    requires: tuple[str, ...] = ()
    service: tuple[Service, ...] = ()

    @property
    def failback_after(self) -> Span | None:
        """How long a better node must have been fit before the group goes there; None: never."""
        word, _, after = self.failback.partition(" ")
        return Span.parse(after) if word == "after" else None


class Document(Struct, frozen=True, kw_only=True):
    """The whole file. Nodes and groups stand in the natural order of their names (n2, n10)."""

    cluster: Cluster
    heartbeat: Heartbeat = Heartbeat()
    zookeeper: ZooKeeper = ZooKeeper()
    address: AddressLife = AddressLife()
    watchdog: Watchdog = Watchdog()
    node: dict[NodeName, Node] = field(default_factory=dict)
    fencing: Fencing = Fencing()
    fence: dict[DeviceName, Fence] = field(default_factory=dict)
    group: dict[GroupName, Group] = field(default_factory=dict)

    @property
    def timing(self) -> Timing:
        """The times of the protocol: what the file gives, else what follows from the interval."""
        beat, claim = self.heartbeat, self.zookeeper.claim
        follows = times_for(beat.interval)
        detection = follows.detection if beat.detection is None else beat.detection
        return Timing(
            interval=int(beat.interval),
            lease=int(follows.lease if beat.lease is None else beat.lease),
            detection=int(detection),
            claim=int(max(follows.claim, 5 * detection) if claim is None else claim),
        )
