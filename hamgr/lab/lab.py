"""A whole cluster on this machine: nodes in network namespaces, real agents, real ZooKeeper.

    with Lab.raised(LabSpec(name="x")) as lab, lab.probe() as probe:
        lab.crash(probe.served_by)
        ...

Everything that `hamgr lab` does goes through here. A lab is found again by its name, from any
process; what it is stands in its record (spec.LabState), which is written first and removed last.
"""

import fcntl
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hamgr.core.types import Instant
from hamgr.lab import document, foreground, network, probe, settled, sweep, watch, zookeeper
from hamgr.lab.cgroup import Cgroup
from hamgr.lab.hooked import HookRun, hook_runs
from hamgr.lab.node import AGENT, EXEC, Node
from hamgr.lab.spec import (
    CLIENT,
    VIP,
    Faults,
    LabError,
    LabSpec,
    LabState,
    Owner,
    directory,
    load,
    namespace,
    save,
)

_SETTLED_WITHIN_S = 30.0
_STEP_S = 0.02
Say = Callable[[str], None]


class Lab:
    """One lab. Raise it with `raised` or `up`, find one that is up with `find`."""

    def __init__(self, spec: LabSpec) -> None:
        self.spec = spec
        self.directory = directory(spec.name)
        self.nodes = {name: Node(spec, name) for name in spec.node_names}
        self._numbers = itertools.count(1)

    @classmethod
    def up(cls, spec: LabSpec, *, say: Say = lambda text: None, owned: bool = False) -> "Lab":
        """Raise a lab, and sweep away first what dead labs left. Raises LabError.

        One that is `owned` belongs to this process: when that dies, the next `up` removes it.
        """
        if faults := spec.faults():
            raise LabError("; ".join(faults))
        if os.geteuid() != 0:
            raise LabError("network namespaces need root")
        with sweep.registry():
            for name in sweep.sweep():
                say(f"removed what was left of lab {name}")
            if directory(spec.name).exists():
                raise LabError(f"lab {spec.name} is up: hamgr lab down --name {spec.name}")
            sweep.enter(LabState(spec=spec, owner=Owner.current()))
            Cgroup.of_lab(spec.name).make()
        lab = cls(spec)
        try:
            lab._raise(say)
        except BaseException:
            lab.down()
            raise
        with lab._changing() as state:
            state.ready = True
            state.owner = state.owner if owned else None
        return lab

    @classmethod
    @contextmanager
    def raised(cls, spec: LabSpec, say: Say = lambda text: None) -> Iterator["Lab"]:
        """Have a lab for a while: it goes with the block, or, at the latest, after this process."""
        lab = cls.up(spec, say=say, owned=True)
        try:
            yield lab
        finally:
            lab.down()

    @classmethod
    def find(cls, name: str) -> "Lab":
        """Return a lab that is up. Raises LabError."""
        state = load(directory(name))
        if state is None:
            raise LabError(f"no lab {name} is up: hamgr lab up --name {name}")
        return cls(state.spec)

    def down(self) -> None:
        """Take the lab down: nothing of it is left, whatever state it is in."""
        with sweep.registry():
            sweep.remove(self.spec.name)

    @property
    def faults(self) -> Faults:
        """What is broken just now, as far as somebody broke it."""
        return self._state().faults

    # Processes

    def exec(self, host: str, argv: Sequence[str]) -> int:
        """Run a command on a node or on the client, on this terminal; return its exit status."""
        return foreground.run(self._joined(host, argv), self._environment(host))

    def output(self, host: str, argv: Sequence[str]) -> str:
        """Return what a command prints on a node or the client. Raises LabError if it fails."""
        done = self._captured(host, argv)
        if done.returncode:
            raise LabError(f"{host}: {' '.join(argv)}: exit status {done.returncode}\n"
                           f"{done.stdout}{done.stderr}")
        return done.stdout

    def hamgr(self, host: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a `hamgr` command for operators on a node, and return what came of it."""
        return self._captured(host, [sys.executable, "-m", "hamgr", *words])

    def recorders(self) -> dict[str, list[dict[str, Any]]]:
        """Return the newest entries of the flight recorder of every agent that answers."""
        return {name: node.recorder() for name, node in self.nodes.items()}

    def probe(self, address: str = VIP, host: str = CLIENT) -> probe.Probe:
        """Start a client of an address, on the client's machine or on a node."""
        record = self.directory / f"probe-{os.getpid()}-{next(self._numbers)}"
        return probe.Probe(self._joined(host, probe.command(address, record)), record)

    def watch(self) -> watch.Watch:
        """Start to watch who has the VIPs."""
        spaces = {name: node.namespace for name, node in self.nodes.items()}
        return watch.Watch(self._joined(CLIENT, watch.command(self.spec.vips, spaces)))

    # Faults; each returns the instant at which it was set about

    def crash(self, *names: str) -> Instant:
        """Cut the power of nodes: links first, then every process, then what their kernels hold.

        Their processes stand still meanwhile: links go one after the other, and an owner that sees
        the first one go would hand over by the second. Returns the instant by which links and
        processes were gone.
        """
        with self._changing() as state:
            self._check_power(names, state.faults, on=True)
            for name in names:
                power = self._node(name).cgroup
                power.freeze(True)
                power.wait_frozen()
                network.unplug(self.spec, name)
                power.kill()
                power.freeze(False)
            at = time.monotonic_ns()
            for name in names:
                self._node(name).cgroup.wait_empty()
                network.remove_links(self.spec, name)
            state.faults.off += names
        return at

    def boot(self, *names: str) -> None:
        """Give nodes their power back, all if none is named: same disks, new kernel."""
        with self._changing() as state:
            self._check_power(names, state.faults, on=False)
            names = names or tuple(state.faults.off)
            for name in names:
                state.faults.off.remove(name)
                network.plug_in(self.spec, name)
                self._node(name).forget_run_dir()
            network.apply(self.spec, state.faults)
            self._start_parts(*names)  # under the lock: a fence device may be at work

    def kill_agent(self, name: str) -> Instant:
        """SIGKILL a node's agent alone."""
        return self._do(self._node(name).kill_agent)

    def kill_switch(self, name: str) -> Instant:
        """SIGKILL a node's dead-man's switch alone."""
        return self._do(self._node(name).kill_switch)

    def freeze(self, name: str) -> Instant:
        """SIGSTOP a node's agent alone; its switch goes on."""
        return self._do(self._node(name).freeze_agent)

    def freeze_all(self, name: str) -> Instant:
        """Stop a node's agent and its switch at once."""
        return self._do(self._node(name).freeze_all)

    def thaw(self, name: str) -> Instant:
        """Let a node's agent and switch go on."""
        return self._do(self._node(name).thaw)

    def stop_agent(self, name: str) -> Instant:
        """Stop a node's agent in order; return when it has ended."""
        return self._do(self._node(name).stop_agent)

    def start_agent(self, name: str) -> Instant:
        """Start a node's agent, and wait until it answers."""
        def start() -> None:
            self._node(name).start_agent()
            self._node(name).wait_agent()
        return self._do(start)

    def cut(self, name: str, ring: int = 1) -> Instant:
        """Have a node's link of one ring lose its carrier."""
        if ring not in self.spec.rings_of(name):
            raise LabError(f"no ring {ring}; there are {self.spec.rings}")
        return self._break(lambda faults: faults.cut.append((self._node(name).name, ring)))

    def isolate(self, name: str) -> Instant:
        """Cut a node off from everybody on every ring, ZooKeeper too; its links keep carrier."""
        def both(faults: Faults) -> None:
            faults.mute.append(self._node(name).name)
            faults.deaf.append(name)
        return self._break(both)

    def deafen(self, name: str) -> Instant:
        """Have a node receive nothing; what it sends arrives."""
        return self._break(lambda faults: faults.deaf.append(self._node(name).name))

    def mute(self, name: str) -> Instant:
        """Have nothing arrive that a node sends; it receives."""
        return self._break(lambda faults: faults.mute.append(self._node(name).name))

    def block(self, source: str, target: str, one_way: bool = False) -> Instant:
        """Let nothing pass between two nodes, or nothing from the first to the second."""
        ways = [(self._node(source).name, self._node(target).name)]
        if not one_way:
            ways.append((target, source))
        return self._break(lambda faults: faults.blocked.extend(ways))

    def lose(self, percent: int, *, heartbeats: bool = False) -> Instant:
        """Lose a share of the frames between nodes, or of heartbeats alone, each drawn anew."""
        if not 0 <= percent <= 100:
            raise LabError(f"loss {percent}: from 0 to 100 percent")
        what = "heartbeat_loss" if heartbeats else "loss"
        return self._break(lambda faults: setattr(faults, what, percent))

    def hook(self, name: str, action: str, how: str, service: str = "") -> Instant:
        """Have a hook of a node, of one service or of all, fail, or hang until it is healed."""
        if not (self.spec.hooks or self.spec.own):
            raise LabError("this lab has no hooks: raise one with hamgr lab up --hooks")
        bad = (self._node(name).name, action, how, service)
        return self._break(lambda faults: faults.hooks.append(bad))

    def mend_hooks(self) -> Instant:
        """Let all hooks go well again, and nothing else."""
        return self._break(lambda faults: faults.hooks.clear())

    def zookeeper_down(self, *names: str) -> Instant:
        """Kill ZooKeeper servers, all if none is named."""
        at = time.monotonic_ns()
        for name in names or self.spec.servers:
            self._node(name).kill_zookeeper()
        return at

    def zookeeper_up(self, *names: str) -> None:
        """Start ZooKeeper servers, all if none is named, and wait until they serve."""
        for name in names or self.spec.servers:
            self._node(name).start_zookeeper()
        for name in names or self.spec.servers:
            self._node(name).wait_zookeeper()

    def hook_runs(self) -> list[HookRun]:
        """Return what the hooks of all nodes did, in the order in which they began."""
        return hook_runs(self.directory)

    def zookeeper_leader(self) -> str:
        """Return the node with ZooKeeper's leader; empty while there is none."""
        return next((name for name in self.spec.servers
                     if zookeeper.mode(self.spec, name) == "leader"), "")

    def heal(self) -> None:
        """Bring everything back: network, power, ZooKeeper, agents; wait until it is settled."""
        with self._changing() as state:
            state.faults = Faults(off=state.faults.off)
            network.apply(self.spec, state.faults)
        for node in self.nodes.values():
            node.thaw()
        self.boot()
        self._start_parts(*self.nodes)
        self._wait_up()

    def wait_settled(self, within_s: float = _SETTLED_WITHIN_S) -> None:
        """Return once every node is a member and every group has a holder and an heir."""
        self._wait(lambda: not self._unsettled(), within_s, self._unsettled)

    def wait_status(self, wanted: Callable[[dict[str, Any]], bool], what: str,
                    within_s: float = _SETTLED_WITHIN_S) -> None:
        """Return once the snapshot of every agent that answers is as wanted."""
        def reached() -> bool:
            found = (node.status() for node in self.nodes.values())
            return all(status["snapshot"] is not None and wanted(status["snapshot"])
                       for status in found if status is not None)

        self._wait(reached, within_s, lambda: f"agents {what}")

    # Inside

    def _raise(self, say: Say) -> None:
        say(f"lab {self.spec.name}: {self.spec.nodes} nodes, {self.spec.rings} rings")
        network.build(self.spec)
        document.write(self.spec, self.directory)
        for node in self.nodes.values():
            node.prepare()
        self._start_parts(*self.nodes)
        self._wait_up(say)

    def _start_parts(self, *names: str) -> None:
        for name in names:
            self._node(name).start_machine()
        for name in names:
            self._node(name).start_rest()

    def _wait_up(self, say: Say = lambda text: None) -> None:
        for name in self.spec.servers:
            self._node(name).wait_zookeeper()
        if self.spec.agents:
            say("ZooKeeper serves; waiting for a holder and an heir")
            for name in self.spec.members:
                self._node(name).wait_agent()
            self.wait_settled()

    @staticmethod
    def _do(action: Callable[[], None]) -> Instant:
        at = time.monotonic_ns()
        action()
        return at

    def _break(self, change: Callable[[Faults], None]) -> Instant:
        with self._changing() as state:
            change(state.faults)
            at = time.monotonic_ns()
            network.apply(self.spec, state.faults)
        return at

    def _wait(self, reached: Callable[[], bool], within_s: float, why: Callable[[], str]) -> None:
        end = time.monotonic() + within_s
        while not reached():
            if time.monotonic() > end:
                tails = "\n".join(node.tail(AGENT) for node in self.nodes.values())
                raise LabError(f"lab {self.spec.name}: not within {within_s:g} s: {why()}\n{tails}")
            time.sleep(_STEP_S)

    def _unsettled(self) -> str:
        """Return what still keeps the cluster from being ready for anything; empty if nothing."""
        return settled.obstacle({name: self._node(name).status() for name in self.spec.members},
                                self.spec.group_names, self.spec.everywhere)

    def _check_power(self, names: Sequence[str], faults: Faults, on: bool) -> None:
        for name in names:
            if (self._node(name).name not in faults.off) is not on:
                raise LabError(f"{name} has {'no power' if on else 'power'} already")

    def _node(self, name: str) -> Node:
        if name not in self.nodes:
            raise LabError(f"no node {name}; there are {', '.join(self.nodes)}")
        return self.nodes[name]

    def _captured(self, host: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._joined(host, argv), check=False, capture_output=True,
                              text=True, env=self._environment(host))

    def _environment(self, host: str) -> dict[str, str]:
        """Return this environment, with the same hamgr first in the path, and a node's files."""
        own = {} if host == CLIENT else self._node(host).environment()
        path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "PATH": path, **own}

    def _joined(self, host: str, argv: Sequence[str]) -> list[str]:
        if host != CLIENT:
            return self._node(host).joined(argv)
        group = Cgroup.of_lab(self.spec.name).below(CLIENT, EXEC)
        return group.joined(namespace(self.spec.name, CLIENT), argv)

    def _state(self) -> LabState:
        state = load(self.directory)
        if state is None:
            raise LabError(f"lab {self.spec.name} is gone")
        return state

    @contextmanager
    def _changing(self) -> Iterator[LabState]:
        """Change the record, one command at a time."""
        self._state()
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            state = self._state()
            yield state
            save(self.directory, state)
        finally:
            os.close(descriptor)
