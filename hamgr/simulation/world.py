"""The world: hosts, network, ensemble and observers, put together and run for one scenario."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from msgspec import Struct

from hamgr.core import parts
from hamgr.core.effects import Report
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import MILLISECOND, SECOND, Duration, Instant, NodeName
from hamgr.engine import Engine
from hamgr.leader import leadership
from hamgr.simulation.clock import Livelock, Scheduler
from hamgr.simulation.host import Host
from hamgr.simulation.invariants import Verdict, Violated, Watch
from hamgr.simulation.network import Datagram, Network
from hamgr.simulation.peace import PATIENCE
from hamgr.simulation.scenario import Scenario, cluster_spec
from hamgr.simulation.turmoil import Turmoil
from hamgr.simulation.versions import KEY
from hamgr.simulation.zookeeper import Commit, Ensemble, Server
from hamgr.wire import Wire

MakeEngine = Callable[..., Any]


NARROW = 100
"""Bytes: less than any frame, so that every word goes out alone."""
ENCODED = 4
"""One in so many seeds pays for the wire (a tenth of the time), where nothing rests on it."""
HISTORY_KEPT = 10
"""Plans: so few that every run comes to the end of them."""


class Line(Struct, frozen=True):
    """One line of the story of a run."""

    at: Instant
    node: NodeName
    """Empty: the world."""
    text: str
    lanes: str = ""
    """Every node at that moment: its lease, whom it hears, what it serves."""


class World:
    """Everything of one run. A pure function of its scenario (and of the engine)."""

    def __init__(self, scenario: Scenario, *, make_engine: MakeEngine = Engine,
                 record: bool = False) -> None:
        self.scenario = scenario
        self.make_engine = make_engine
        self.spec = self.configuration()
        self.known = {group.name: group for group in self.spec.groups}
        """Every group that there ever was, as it was last."""
        self.scheduler = Scheduler()
        self.story: list[Line] | None = [] if record else None
        self.reached: Counter[str] = Counter()
        """How often each kind of fault struck and each reason was given: see reach.py."""
        self.zookeeper_slowness: dict[NodeName, Duration] = {}
        """How much longer messages between a node and the servers may take."""
        self.zookeeper_cuts: dict[tuple[NodeName, bool], int] = {}
        """(node, towards the server) → by how many faults that direction is cut."""
        self.wire = Wire(self.spec.name, [KEY])
        upgrades = any(fault.kind == "upgrade" for fault in scenario.faults)
        self.encodes = upgrades or scenario.narrow or scenario.seed % ENCODED == 0
        """Heartbeats are encoded, signed and decoded, as on a real network."""
        self.network = Network(self.scheduler, self.rng("network"), scenario.rings,
                               self._deliver)
        names = [node.name for node in self.spec.nodes]
        self.hosts: dict[NodeName, Host] = {}
        self.ensemble = Ensemble(self.scheduler, self.rng("zookeeper"), self.servers(), self.path)
        self.watch = self.observer()
        self.hosts.update((name, Host(self, name)) for name in names)
        self.turmoil = Turmoil(self)
        self.ensemble.on_commit = self._committed

    def configuration(self) -> ClusterSpec:
        """Return what the engines go by."""
        return cluster_spec(self.scenario)

    def servers(self) -> tuple[NodeName, ...]:
        """Return the node that each server of ZooKeeper runs on; empty: a machine of its own."""
        names = [node.name for node in self.spec.nodes]
        return tuple(names[i] if self.scenario.ensemble_inside and i < len(names) else ""
                     for i in range(3))

    def observer(self) -> Watch:
        """Return who watches the run."""
        return Watch(self)

    @property
    def now(self) -> Instant:
        """World time."""
        return self.scheduler.now

    def rng(self, domain: str) -> random.Random:
        """Return the random numbers of one domain: draws in others do not move them."""
        return random.Random(f"{self.scenario.seed}/{domain}")

    def run(self) -> Verdict:
        """Run the scenario to its end or to the first violation."""
        starts = self.rng("starts")
        for host in self.hosts.values():
            self.scheduler.after(int(starts.random() * 200 * MILLISECOND), host.start_agent)
        self.turmoil.schedule()
        try:
            with patch.object(leadership, "HISTORY_KEPT", HISTORY_KEPT), patch.object(
                    parts, "BODY_MAX", NARROW if self.scenario.narrow else parts.BODY_MAX):
                self.scheduler.run_until(self.scenario.peace_at)
                self._make_peace()
        except Violated:
            pass
        except Livelock as error:
            self.watch.note_violation("livelock", str(error))
        except AssertionError as error:
            self.watch.note_violation("assertion", _where(error))
        except Exception as error:  # whatever an engine raises is a finding, with its place
            self.watch.note_violation("raised", f"{type(error).__name__}: {_where(error)}")
        return self.watch.verdict()

    def _make_peace(self) -> None:
        peace = self.watch.begin_peace()
        self.turmoil.end()
        self.scheduler.run_until(self.now + PATIENCE)
        while self.now < self.scenario.end and not peace.settled():
            self.scheduler.run_until(self.now + SECOND)
        self.watch.end_peace()

    def note(self, node: NodeName, text: str) -> None:
        """Add a line to the story, if one is written."""
        if self.story is not None:
            lanes = "  ".join(self.watch.lane(host) for host in self.hosts.values())
            self.story.append(Line(self.now, node, text, lanes))

    def report(self, host: Host, effect: Report) -> None:
        """An engine reported something."""
        self.reached[f"reason {effect.reason.name}"] += 1
        if self.story is not None:
            facts = {"group": effect.group, "peer": effect.node, **effect.facts}
            group = f"{effect.group}: " if effect.group else ""
            self.note(host.name, group + effect.reason.sentence(facts))

    def path(self, sender: NodeName, receiver: NodeName) -> bool:
        """Whether TCP gets through between two hosts, one way (ZooKeeper uses the first ring)."""
        return (sender == receiver
                or (self.network.is_open(sender, receiver)
                    and self.hosts[sender].powered and not self.hosts[sender].paused
                    and self.hosts[receiver].powered and not self.hosts[receiver].paused))

    def is_cut_off(self, node: NodeName, server: Server, to_server: bool) -> bool:
        """Whether a fault keeps this node's client from the servers, one way."""
        del server
        return (node, to_server) in self.zookeeper_cuts

    def power_changed(self, host: Host) -> None:
        """A host was cut off, booted, paused or woken: its server goes with it."""
        for server in self.ensemble.servers:
            if server.host == host.name and server.up != host.powered:
                self.ensemble.set_up(server, host.powered)
        self.ensemble.reconsider()
        self.watch.recheck(host)

    def cut_power(self, node: NodeName) -> None:
        """What a fence device does."""
        self.note(node, "FENCED")
        self.hosts[node].crash()
        self.turmoil.wellness.fenced(node)
        self.watch.fenced()

    def _committed(self, commit: Commit) -> None:
        self.watch.committed(commit)
        self.turmoil.committed(commit)

    def _deliver(self, receiver: NodeName, datagram: Datagram, ring: int) -> None:
        self.hosts[receiver].receive(datagram, ring)


def _where(error: BaseException) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return str(error)
    code = traceback.tb_frame.f_code
    name = code.co_filename.rsplit("/", 1)[-1]
    return f"{error} ({name}:{traceback.tb_lineno} in {code.co_name})"
