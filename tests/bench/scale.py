"""Heartbeats, bytes and engine CPU of one node, against the size of the cluster.

`python -m tests.bench.scale` runs real engines in virtual time, seven voters and the rest workers,
and prints a table: what is counted is one second of a calm cluster. `python -m tests.bench.scale
groups` prints what engines take to plan and take over when a node of many groups is lost.
"""

import math
import sys
import time
from collections import Counter

from hamgr.coding import encode
from hamgr.core.effects import ClaimAddresses, Effect, SendHeartbeat, Write
from hamgr.core.events import Event, HeartbeatReceived
from hamgr.core.parts import VOTERS_MAX
from hamgr.core.records import PLAN
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec
from hamgr.core.types import MILLISECOND, SECOND
from hamgr.engine import Engine
from hamgr.wire import Wire
from tests.core.cluster import HEARTBEAT_TAKES, Cluster

SIZES = (3, 7, 16, 100, 1000)
GROUPS = ((3, 100), (3, 1000), (7, 1000))
"""(nodes, groups)."""
WIRE = Wire("scale", [b"k" * 32])
JOINING = 6 * SECOND
MEASURED = SECOND
UDP_AND_IP_BYTES = 28


class Counted(Cluster):
    """A cluster that counts what each node sends and receives, and what its engine costs."""

    def __init__(self, spec: ClusterSpec) -> None:
        super().__init__(spec)
        self.took_ns = 0
        """The last call of an engine."""
        self.cpu_ns: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def forget(self) -> None:
        """Begin to count anew."""
        for counter in (self.cpu_ns, self.sent, self.received, self.bytes):
            counter.clear()

    def hand(self, node: str, event: Event) -> None:
        engine = self.engines.get(node)
        if engine is None:
            return
        began = time.thread_time_ns()
        effects = engine.handle(event, self.now)
        self.took_ns = time.thread_time_ns() - began
        self.cpu_ns[node] += self.took_ns
        for effect in effects:
            self._carry_out(node, engine, effect)
        self._arm_timer(node, engine)

    def _carry_out(self, node: str, engine: Engine, effect: Effect) -> None:
        if not isinstance(effect, SendHeartbeat):
            super()._carry_out(node, engine, effect)
            return
        size = len(WIRE.encode(effect.heartbeat, effect.to)) + UDP_AND_IP_BYTES
        event = HeartbeatReceived(heartbeat=effect.heartbeat)
        self.sent[node] += 1
        self.received[effect.to] += 1
        self.bytes[node] += size
        self.bytes[effect.to] += size
        self._after(HEARTBEAT_TAKES, lambda: self.hand(effect.to, event), node)


def spec_of(nodes: int) -> ClusterSpec:
    """Return a cluster of seven voters at most, with a group for every three workers (or nodes).

    A thousand nodes have the groups of a hundred, so that nothing but the nodes grows.
    """
    names = [f"node-{number:04}" for number in range(nodes)]
    workers = names[VOTERS_MAX:100] or names
    groups = tuple(GroupSpec(name=f"group-{at // 3:03}", nodes=tuple(workers[at:at + 3]))
                   for at in range(0, len(workers) - 1, 3))
    return ClusterSpec(
        name="scale", groups=groups,
        nodes=tuple(NodeSpec(name=name, voter=at < VOTERS_MAX) for at, name in enumerate(names)))


def measure(nodes: int) -> list[tuple[str, float, float, float, float]]:
    """Return for a voter and a worker (mean): sent, received, KiB, engine ms, each a second."""
    cluster = Counted(spec_of(nodes))
    for node in cluster.spec.nodes:
        cluster.boot(node.name)
        cluster.advance(1 * MILLISECOND)
    cluster.advance(JOINING)
    cluster.forget()
    cluster.advance(MEASURED)
    rows = []
    for kind, votes in (("voter", True), ("worker", False)):
        chosen = [one.name for one in cluster.spec.nodes if one.voter is votes]
        if chosen:
            share = len(chosen) * MEASURED / SECOND
            rows.append((kind, sum(map(cluster.sent.__getitem__, chosen)) / share,
                         sum(map(cluster.received.__getitem__, chosen)) / share,
                         sum(map(cluster.bytes.__getitem__, chosen)) / share / 1024,
                         sum(map(cluster.cpu_ns.__getitem__, chosen)) / share / 1e6))
    return rows


class Timed(Counted):
    """A cluster that notes how long the longest calls of engines take, by what they led to."""

    def __init__(self, spec: ClusterSpec) -> None:
        super().__init__(spec)
        self.longest_ns: Counter[str] = Counter()

    def _carry_out(self, node: str, engine: Engine, effect: Effect) -> None:
        kind = "other"
        if isinstance(effect, Write) and any(op.path == PLAN for op in effect.ops):
            kind = "plan"
        elif isinstance(effect, ClaimAddresses):
            kind = "take over"
        self.longest_ns[kind] = max(self.longest_ns[kind], self.took_ns)
        super()._carry_out(node, engine, effect)


def with_groups(nodes: int, groups: int) -> ClusterSpec:
    """Return a cluster whose groups may run on three nodes each, spread evenly."""
    names = [f"node-{number:04}" for number in range(nodes)]
    return ClusterSpec(
        name="scale", nodes=tuple(NodeSpec(name=name, voter=at < VOTERS_MAX)
                                  for at, name in enumerate(names)),
        groups=tuple(GroupSpec(name=f"group-{at:04}", nodes=tuple(
            names[(at + step) % nodes] for step in range(3))) for at in range(groups)))


def measure_groups(nodes: int, groups: int) -> tuple[float, float, int]:
    """Return, of the loss of one node: longest ms to plan, to take over; bytes of the plan."""
    cluster = Timed(with_groups(nodes, groups))
    for node in cluster.spec.nodes:
        cluster.boot(node.name)
        cluster.advance(1 * MILLISECOND)
    cluster.advance(JOINING)
    cluster.longest_ns.clear()
    cluster.crash(cluster.spec.nodes[1].name)
    cluster.advance(MEASURED)
    plan = cluster.tree[PLAN][0]
    return (cluster.longest_ns["plan"] / 1e6, cluster.longest_ns["take over"] / 1e6,
            len(encode(plan)))


def main(sizes: tuple[int, ...] = SIZES) -> None:
    """Print the table, and a plot of the heartbeats with a mark for each doubling."""
    say = sys.stdout.write
    plot: dict[str, list[str]] = {"worker": [], "voter": []}
    say("| nodes | one | heartbeats sent/s | received/s | KiB/s | engine, ms of CPU/s |\n")
    say("| --- | --- | --- | --- | --- | --- |\n")
    for nodes in sizes:
        for kind, sent, received, kib, cpu in measure(nodes):
            say(f"| {nodes} | {kind} | {sent:.0f} | {received:.0f} | {kib:.0f} | {cpu:.1f} |\n")
            marks = "#" * round(math.log2(sent))
            plot[kind].append(f"{kind:6} {nodes:5} {marks:14} {sent:.0f}")
            sys.stdout.flush()
    say("\n" + "\n".join((*plot["worker"], *plot["voter"])) + "\n")


def tell_groups() -> None:
    """Print the other table."""
    say = sys.stdout.write
    say("| nodes | groups | planning, ms | taking over, ms | plan record, KiB |\n")
    say("| --- | --- | --- | --- | --- |\n")
    for nodes, groups in GROUPS:
        plan, over, size = measure_groups(nodes, groups)
        say(f"| {nodes} | {groups} | {plan:.1f} | {over:.1f} | {size / 1024:.0f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["groups"]:
        tell_groups()
    else:
        main(tuple(map(int, sys.argv[1:])) or SIZES)
