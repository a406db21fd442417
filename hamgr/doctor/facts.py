"""What checks are made of: everything that was looked at, or why it could not be."""

from msgspec import Struct, field

from hamgr.agent.facts import AgentStatus
from hamgr.config.schema import Document
from hamgr.core.types import GroupName, NodeName, ServiceName


class Missing(Struct, frozen=True):
    """A fact that could not be had: checks that need it say so."""

    why: str
    matters: bool = True
    """False: what it would have told is only good to know."""


class ConfigFile(Struct, frozen=True, kw_only=True):
    """The configuration file, as the check of the file sees it."""

    path: str
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Here(Struct, frozen=True, kw_only=True):
    """This node, and the document that says what it should be."""

    node: NodeName
    document: Document
    digest: str
    """Of the document."""


class KeyFile(Struct, frozen=True, kw_only=True):
    """The cluster key on this node's disk."""

    path: str
    keys: tuple[str, ...] = ()
    """Fingerprints, the one that signs first."""
    fault: str = ""
    """Why it cannot be used, with the remedy."""


class Link(Struct, frozen=True, kw_only=True):
    """One network interface."""

    name: str
    mtu: int
    """Bytes."""
    fault: str = ""
    """Down, without carrier; empty: well."""
    addresses: tuple[str, ...] = ()
    """With their prefix lengths; VIPs included."""
    settings: dict[str, int] = field(default_factory=dict)
    """net.ipv4.conf.NAME.*, where the kernel takes the greater of `all` and the interface: so here;
    and disable_ipv6."""


class VipPlace(Struct, frozen=True, kw_only=True):
    """Where a VIP of this node's groups is, or would go."""

    address: str
    interface: str
    """Empty: no interface fits."""


class Network(Struct, frozen=True, kw_only=True):
    """This node's interfaces, and what the kernel would do with them."""

    links: tuple[Link, ...]
    vips: tuple[VipPlace, ...] = ()
    sources: dict[str, str] = field(default_factory=dict)
    """From which own address the kernel would talk to each address of a peer; empty: no route."""
    settings: dict[str, int] = field(default_factory=dict)
    """ipv4.ip_nonlocal_bind, ipv6.ip_nonlocal_bind."""

    def link_of(self, address: str) -> Link | None:
        """Return the interface that has an address, given without its prefix length."""
        return next((link for link in self.links for one in link.addresses
                     if one.partition("/")[0] == address), None)


class Server(Struct, frozen=True, kw_only=True):
    """One ZooKeeper server, as it answers four-letter words (ZooKeeper Administrator's Guide)."""

    name: str
    """host:port."""
    fault: str = ""
    """Why it cannot be reached; empty: a connection was made."""
    refusal: str = ""
    """What keeps it and this node from speaking by TLS, and whose file that is."""
    answer_ms: float = 0.0
    """How long `srvr` took, connecting included."""
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    """By word (srvr, mntr, conf): its lines. A word that is missing got no answer."""
    forbidden: tuple[str, ...] = ()
    """Words that are not in its whitelist."""
    serves: bool = True
    """False: it says itself that it serves nobody, since it is in no majority."""

    def tells(self, word: str, key: str) -> str:
        """Return one value, or an empty string."""
        return self.answers.get(word, {}).get(key, "")

    def number(self, word: str, key: str) -> float | None:
        """Return one value as a number, None if it is not told."""
        try:
            return float(self.tells(word, key))
        except ValueError:
            return None


class Ensemble(Struct, frozen=True, kw_only=True):
    """Every ZooKeeper server of the configuration."""

    servers: tuple[Server, ...]


class Clock(Struct, frozen=True, kw_only=True):
    """What adjtimex(2) says of this kernel's clock."""

    slew: float
    """By how much faster (or slower, negative) CLOCK_MONOTONIC is made to run: 0.08 is 8 %."""
    synchronised: bool
    """Whether somebody disciplines the wall clock."""


class WallClocks(Struct, frozen=True, kw_only=True):
    """How far the wall clocks of peers are ahead of this one, in seconds."""

    ahead: dict[NodeName, float]


class Managers(Struct, frozen=True, kw_only=True):
    """Who else changes interfaces and addresses here."""

    processes: dict[str, int] = field(default_factory=dict)
    """Known programs that run in this network namespace, with a process id."""
    networkd: dict[str, str] = field(default_factory=dict)
    """Interfaces that systemd-networkd manages, with their KeepConfiguration= ("": not set)."""
    networkmanager: tuple[str, ...] = ()
    """Interfaces that NetworkManager manages."""


class Units(Struct, frozen=True, kw_only=True):
    """hamgr's units, by what `systemctl is-enabled` says of each."""

    enabled: dict[str, str]


class ServiceUnit(Struct, frozen=True, kw_only=True):
    """The systemd unit of one service of this node's groups."""

    group: GroupName
    service: ServiceName
    unit: str
    load: str
    """LoadState (org.freedesktop.systemd1(5)); empty: systemd does not know it."""
    state: str = ""
    """UnitFileState: enabled, disabled, static and so on."""
    wanted_by: tuple[str, ...] = ()
    """Units that have it started when they start, or keep it running: by Wants=, Requires=,
    BindsTo=, Upholds=, or the links that `systemctl enable` makes."""
    triggered_by: tuple[str, ...] = ()
    """Enabled sockets, timers and paths that start it."""


class ServiceUnits(Struct, frozen=True, kw_only=True):
    """The units of all services whose driver is "systemd"."""

    units: tuple[ServiceUnit, ...] = ()


class Misfit(Struct, frozen=True, kw_only=True):
    """What does not fit between a service and its resource agent, and the remedy."""

    key: str
    """Of the service's table: "parameters.configfile"."""
    text: str
    severe: bool = True
    """The service cannot work like this."""


class ServiceAgent(Struct, frozen=True, kw_only=True):
    """The resource agent of one service of this node's groups."""

    group: GroupName
    service: ServiceName
    agent: str
    misfits: tuple[Misfit, ...] = ()


class ResourceAgents(Struct, frozen=True, kw_only=True):
    """The resource agents of all services whose driver is "ocf", by their own meta-data."""

    services: tuple[ServiceAgent, ...] = ()


class FenceDevice(Struct, frozen=True, kw_only=True):
    """One fence device, and what it answered to this node when it was asked to switch nothing."""

    name: str
    agent: str = ""
    """Empty: a command of one's own."""
    misfits: tuple[Misfit, ...] = ()
    """Between the device's table and what its agent says of itself."""
    secrets: tuple[str, ...] = ()
    """Which cannot be used here, and why, with the remedy."""
    asked: bool = True
    """False: without agent or secrets there is nobody to ask."""
    refusal: str = ""
    """What is wrong with it by its own word (monitor), or with the way to it; empty: nothing."""
    powers: dict[NodeName, str] = field(default_factory=dict)
    """What it says of its nodes: on, off."""
    silences: dict[NodeName, str] = field(default_factory=dict)
    """Of which nodes it says nothing, and why."""


class FenceDevices(Struct, frozen=True, kw_only=True):
    """All fence devices of the configuration."""

    devices: tuple[FenceDevice, ...] = ()


class AgentHome(Struct, frozen=True, kw_only=True):
    """Where the agent's process lives."""

    unit: str
    """The systemd unit of its control group; empty: none."""


class Disk(Struct, frozen=True, kw_only=True):
    """The disk under the state directory."""

    path: str
    free: int
    """Bytes that the agent may still write."""
    read_only: bool = False


class WatchdogDevice(Struct, frozen=True, kw_only=True):
    """The watchdog device of the configuration, as the kernel has it (sysfs-class-watchdog)."""

    device: str
    """Its path; empty: none is configured."""
    timeout_s: int = 0
    """As configured."""
    there: bool = True
    identity: str = ""
    shortest_s: int = 0
    longest_s: int = 0
    """Between these its driver grants a timeout; 0: it does not say."""
    nowayout: bool = False
    """Once open, it cannot be stopped."""
    counts: bool = False
    """Without feeding it will reset the machine."""
    holder: str = ""
    """The process that has it open; empty: none."""
    holder_pid: int = 0
    ours: bool = False
    """That is the agent."""
    trouble: str = ""
    """Why the agent does not hold it, although it should."""


class Facts(Struct, frozen=True, kw_only=True):
    """All that is known; a check's parameters are names of these fields."""

    config: ConfigFile
    here: Here | Missing
    agent: AgentStatus | Missing
    key: KeyFile | Missing
    network: Network | Missing
    ensemble: Ensemble | Missing
    clock: Clock | Missing
    wall_clocks: WallClocks | Missing
    managers: Managers | Missing
    units: Units | Missing
    service_units: ServiceUnits | Missing
    resource_agents: ResourceAgents | Missing
    fence_devices: FenceDevices | Missing
    home: AgentHome | Missing
    disk: Disk | Missing
    watchdog: WatchdogDevice | Missing
