"""What a lab is: its size, its names and addresses, and the record of it on disk."""

import os
import re
from pathlib import Path

import msgspec
from msgspec import Struct, field

from hamgr.core.parts import VOTERS_MAX
from hamgr.core.timing import timing_faults
from hamgr.core.types import MILLISECOND, SECOND, Duration
from hamgr.lab.own import Own, read
from hamgr.times import times_for

ROOT = Path("/run/hamgr-lab")
"""One directory a lab, with everything of it that is a file."""
STATE_FILE = "lab.json"
CLIENT = "client"
SWITCH = "switch"
GROUP = "app"
"""The first group of the generated configuration; further ones are app2, app3 and so on."""
INTERVAL_MAX = 10 * SECOND
"""As in a configuration file."""
_UNIT = re.compile(r"[\w:.@\\-]+\.(service|socket|target|mount|automount|path|timer|slice|swap)")
"""systemd.unit(5)"""
SERVERS = 3
"""ZooKeeper servers, on the first nodes: as on real clusters of three; or on nodes of their own."""


class LabError(Exception):
    """The lab cannot do what was asked, said in words; with the tail of a log where one helps."""


class LabSpec(Struct, frozen=True, kw_only=True):
    """What to raise."""

    name: str = "lab"
    nodes: int = 3
    """Seven of them vote at most."""
    witnesses: int = 0
    """How many of them, the last ones with an agent, vote but run no group."""
    bystanders: int = 0
    """How many of the nodes, the last ones, have no agent and are no part of the cluster: only the
    machine of a ZooKeeper server, where two nodes alone are to be had. Three: ZooKeeper is theirs,
    and outlives every node of the cluster."""
    rings: int = 2
    interval: Duration = 100 * MILLISECOND
    """Between two heartbeats, in nanoseconds."""
    zookeeper: bool = True
    agents: bool = True
    groups: int = 1
    """Each with a VIP of its own, and preferring another node than the one before it."""
    hooks: bool = False
    """Give the first group a service, whose hooks record themselves (hamgr.lab.hook)."""
    own: str = ""
    """Groups of one's own in place of the generated ones: TOML (hamgr.lab.own)."""
    systemd: bool = False
    """Each node has a systemd of its own (hamgr.lab.booted), whose units can be services."""
    units: dict[str, str] = field(default_factory=dict)
    """Unit files for it, by name; {here} stands for what it does in groups of one's own."""
    secure: bool = False
    """ZooKeeper with TLS, SASL and access lists; nothing of it can be reached without."""

    def faults(self) -> list[str]:
        """Return what is wrong with it, in words."""
        found = []
        if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", self.name):
            found.append(f"name {self.name!r}: a lower-case letter, then up to 15 of a-z and 0-9, "
                         f"since namespaces and control groups are named by it")
        if not SERVERS <= self.nodes <= 16:
            found.append(f"nodes {self.nodes}: from {SERVERS} (one ZooKeeper server each) to 16")
        if not 0 <= self.bystanders <= self.nodes - 2:
            found.append(f"bystanders {self.bystanders}: from 0 to two fewer than nodes")
        elif not 0 <= self.witnesses <= min(len(self.members) - 2, VOTERS_MAX):
            found.append(f"witnesses {self.witnesses}: from 0 to {VOTERS_MAX}, and to two fewer "
                         "than nodes, since a group needs a holder and an heir")
        if not 1 <= self.rings <= 4:
            found.append(f"rings {self.rings}: from 1 to 4")
        if not 1 <= self.groups <= 16:
            found.append(f"groups {self.groups}: from 1 to 16")
        found += [text for name, text in timing_faults(times_for(self.interval))
                  if name == "interval"]  # the others follow from it
        if self.interval > INTERVAL_MAX:
            found.append(f"interval must be at most {INTERVAL_MAX // SECOND}s")
        found += self._own_faults()
        if self.units and not self.systemd:
            found.append("unit files are for nodes with a systemd of their own")
        found += [f"units: {name} is not the name of a unit that has a file"
                  for name in self.units if not _UNIT.fullmatch(name)]
        if self.secure and not self.zookeeper:
            found.append("only ZooKeeper can be secure, and there is none")
        if self.agents and not self.zookeeper:
            found.append("agents need ZooKeeper")
        return found

    def _own_faults(self) -> list[str]:
        if self.own and (self.hooks or self.groups != 1):
            return ["groups of one's own come in place of others, and with hooks of their own"]
        try:
            self._own()
        except ValueError as error:
            return [f"groups: {error}"]
        return []

    def _own(self) -> Own | None:
        return read(self.own) if self.own else None

    @property
    def at_home(self) -> bool:
        """Whether each node has a directory for itself, at the same path on all."""
        return bool(self.own) or self.systemd

    @property
    def node_names(self) -> tuple[str, ...]:
        """The nodes, in order."""
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))

    @property
    def members(self) -> tuple[str, ...]:
        """The nodes of the cluster: all but the bystanders."""
        return self.node_names[:self.nodes - self.bystanders]

    @property
    def group_nodes(self) -> tuple[str, ...]:
        """The nodes that run groups: all members but the witnesses, in order."""
        return self.members[:len(self.members) - self.witnesses]

    @property
    def voters(self) -> tuple[str, ...]:
        """The nodes that vote: every witness, and the first of the others."""
        return (*self.group_nodes[:VOTERS_MAX - self.witnesses],
                *self.members[len(self.members) - self.witnesses:])

    @property
    def servers(self) -> tuple[str, ...]:
        """The nodes that run a ZooKeeper server: bystanders alone, if there are enough."""
        if not self.zookeeper:
            return ()
        apart = self.bystanders >= SERVERS
        return self.node_names[-SERVERS:] if apart else self.node_names[:SERVERS]

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups that are on one node at a time, in order."""
        if (mine := self._own()) is not None:
            return mine.moving
        return (GROUP, *(f"{GROUP}{number}" for number in range(2, self.groups + 1)))

    @property
    def everywhere(self) -> tuple[str, ...]:
        """The groups that run on every node."""
        mine = self._own()
        return () if mine is None else mine.everywhere

    @property
    def vips(self) -> tuple[str, ...]:
        """The addresses of all groups."""
        return tuple(vip for group in self.group_names for vip in self.vips_of(group))

    def vips_of(self, group: str) -> tuple[str, ...]:
        """Return the addresses of one group."""
        mine = self._own()
        return vips(group) if mine is None else mine.vips[group]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Everything with a namespace, beside the switch."""
        return (*self.node_names, CLIENT)

    def rings_of(self, host: str) -> range:
        """Return the rings that a host is on: the client is on the first alone."""
        return range(1, 2 if host == CLIENT else self.rings + 1)


class Faults(Struct, kw_only=True):
    """What is broken just now. Processes that are stopped or frozen show it themselves."""

    off: list[str] = field(default_factory=list)
    """Nodes without power."""
    cut: list[tuple[str, int]] = field(default_factory=list)
    """Links (node, ring) without carrier."""
    deaf: list[str] = field(default_factory=list)
    """Nodes to which the switch passes nothing on; with carrier."""
    mute: list[str] = field(default_factory=list)
    """Nodes from which the switch passes nothing on; with carrier."""
    blocked: list[tuple[str, str]] = field(default_factory=list)
    """(from, to): the switch drops what goes this way."""
    loss: int = 0
    """Percent of the frames between nodes that the switch drops, drawn for each receiver."""
    heartbeat_loss: int = 0
    """The same of heartbeats alone."""
    hooks: list[tuple[str, str, str, str]] = field(default_factory=list)
    """(node, action, how, service): how a hook goes that does not go well. No service: of all."""

    def __bool__(self) -> bool:
        return self != Faults()


class Owner(Struct, frozen=True):
    """A process, by pid and start time (clock ticks since boot): pids are used again."""

    pid: int
    started: int

    @classmethod
    def current(cls) -> "Owner":
        """Return this process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> "Owner":
        """Return the process that has this pid now."""
        return cls(pid, _started(pid))

    @property
    def alive(self) -> bool:
        """Whether that very process still runs; a zombie does not."""
        return self.started != 0 and _started(self.pid) == self.started


class LabState(Struct, kw_only=True):
    """The record on disk, written before anything is made. All names follow from the spec."""

    spec: LabSpec
    ready: bool = False
    owner: Owner | None = None
    """Who takes the lab down; a lab whose owner died is swept by the next one. None: a person."""
    faults: Faults = field(default_factory=Faults)


def _started(pid: int) -> int:
    """Return the start time of a process from proc(5), field 22; 0 if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def directory(name: str) -> Path:
    """Return the directory of a lab."""
    return ROOT / name


def namespace(name: str, host: str) -> str:
    """Return the network namespace of a host, as ip-netns(8) knows it."""
    return f"hamgrlab-{name}-{host}"


def address(host: str, ring: int) -> str:
    """Return a host's IPv4 address on a ring."""
    return f"10.77.{ring}.{10 + int(host[1:]) if host != CLIENT else 250}"


def address6(host: str, ring: int) -> str:
    """Return a host's IPv6 address on a ring."""
    return f"fd77:{ring}::{10 + int(host[1:]) if host != CLIENT else 250}"


def vips(group: str) -> tuple[str, str]:
    """Return the VIPs of a group, IPv4 and IPv6."""
    number = 99 + int(group.removeprefix(GROUP) or 1)
    return f"10.77.1.{number}", f"fd77:1::{number}"


VIP, VIP6 = vips(GROUP)
"""Those of the first group."""


def load(path: Path) -> LabState | None:
    """Return the record in a lab's directory, or None where there is none."""
    try:
        return msgspec.json.decode((path / STATE_FILE).read_bytes(), type=LabState)
    except FileNotFoundError:
        return None


def save(path: Path, state: LabState) -> None:
    """Write the record, whole or not at all."""
    fresh = path / f"{STATE_FILE}.new"
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    fresh.replace(path / STATE_FILE)
