"""Stories of whole clusters: each file of scripts/ holds commands and what came of them.

    command arguments
    ----
    what the cluster did meanwhile

Run with HAMGR_REWRITE=1 to write down what happens now; the change is reviewed as a diff.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hamgr.core.events import AttributeChanged, ServiceChanged, ServiceScored
from hamgr.core.records import LEADER, PLAN, Plan, Record, Request, Seat
from hamgr.core.spec import ClusterSpec, DeviceSpec, GroupSpec, NodeSpec, ServiceSpec, Tie
from hamgr.core.types import MILLISECOND, SECOND, Duration, Found, OnFailure, Role
from hamgr.snapshot import snapshot
from hamgr.times import times_for
from tests.core.cluster import Cluster

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
REWRITE = "HAMGR_REWRITE"
ENSEMBLE = "zookeeper"


def duration(text: str) -> Duration:
    """Read "400ms" or "2s"."""
    if text.endswith("ms"):
        return int(float(text[:-2]) * MILLISECOND)
    return int(float(text.removesuffix("s")) * SECOND)


class Story:
    """One script's cluster, and the commands that a script knows."""

    def __init__(self) -> None:
        self.cluster: Cluster | None = None
        self._requests = 0
        self._file: dict[str, str] = {}
        self._copy: dict[str, tuple[Record, int]] = {}

    def run(self, command: str) -> list[str]:
        """Carry out one command and return the lines that came of it."""
        name, *words = command.split()
        named = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        before = len(self.cluster.lines) if self.cluster is not None else 0
        shown = getattr(self, f"do_{name}")(*plain, **named) or []
        assert self.cluster is not None
        return self.cluster.lines[before:] + shown

    @property
    def _there(self) -> Cluster:
        assert self.cluster is not None, "a script begins with `cluster`"
        return self.cluster

    def do_cluster(self, **file: str) -> None:
        """Make a cluster and boot all of it; see `_spec`."""
        self._file = file
        self.cluster = Cluster(_spec(**file))
        for node in self.cluster.spec.nodes:
            self.cluster.boot(node.name)

    def do_configure(self, on: str = "", **file: str) -> None:
        """Change the file: all nodes go by it at once, or those that are named."""
        self._file |= file
        nodes = on.split(",") if on else list(self._there.engines)
        self._there.configure(_spec(**self._file), nodes)

    def do_groups(self, *names: str) -> None:
        """Every file has only these groups from now on: agents read it when they start."""
        spec = self._there.spec
        self._there.spec = replace(spec, groups=tuple(
            group for group in spec.groups if group.name in names))

    def do_advance(self, time: str) -> None:
        self._there.advance(duration(time))

    def do_boot(self, node: str) -> None:
        self._there.boot(node)

    def do_wipe(self, node: str) -> None:
        """A node without power gets an empty disk."""
        cluster = self._there
        cluster.lives.pop(node)
        cluster.facts.pop(node, None)
        cluster.kept[node].clear()

    def do_crash(self, *nodes: str) -> None:
        for node in nodes:
            self._there.crash(node)

    def do_stop(self, node: str) -> None:
        self._there.stop(node)

    def do_stall(self, node: str, time: str) -> None:
        self._there.stall(node, duration(time))

    def do_cut(self, sender: str, receiver: str, ways: str = "both") -> None:
        self._there.cuts.add((sender, receiver))
        if ways == "both":
            self._there.cuts.add((receiver, sender))

    def do_isolate(self, node: str) -> None:
        for other in self._there.spec.nodes:
            self.do_cut(node, other.name)

    def do_heal(self) -> None:
        self._there.cuts.clear()

    def do_zookeeper(self, state: str, *nodes: str) -> None:
        for node in nodes or [one.name for one in self._there.spec.nodes]:
            if state == "up":
                self._there.connect(node)
            else:
                self._there.disconnect(node)

    def do_writes(self, time: str) -> None:
        """From now on ZooKeeper takes so long to write."""
        self._there.write_takes = duration(time)

    def do_actions(self, time: str) -> None:
        """From now on services take so long to answer."""
        self._there.action_takes = duration(time)

    def do_lose(self, *paths: str) -> None:
        """ZooKeeper's data is lost, or some of it."""
        cluster = self._there
        for path in list(cluster.tree):
            if not paths or path in paths:
                del cluster.tree[path]
                cluster.publish(path)

    def do_backup(self) -> None:
        """Keep a copy of ZooKeeper's data."""
        self._copy = dict(self._there.tree)

    def do_restore(self) -> None:
        """Put the copy in the place of ZooKeeper's data; nobody must be connected."""
        self._there.tree = dict(self._copy)

    def do_rebuild(self, node: str, down: str = "") -> None:
        self._there.rebuild(node, tuple(one for one in down.split(",") if one))

    def do_request(self, kind: str, group: str = "", node: str = "", voters: str = "",
                   interval: str = "", confirmed: str = "") -> None:
        self._requests += 1
        times = times_for(duration(interval)) if interval else None
        self._there.ask(Request(
            id=f"r{self._requests:02}", kind=kind, group=group, node=node, times=times,
            voters=tuple(one for one in voters.split(",") if one), confirmed=bool(confirmed)))

    def do_fail(self, node: str, action: str, times: str = "1") -> None:
        self._there.failing[node, action] = int(times)

    def do_forget(self, node: str) -> None:
        """A node's disk says nothing of maintenance any more: there is nothing in place."""
        self._there.kept[node].clear()

    def do_device(self, name: str, state: str, action: str = "") -> None:
        """A fence device `fails` from now on, at one action or at all, or `works`; it `lies` if it
        says that it has cut off whom it has not."""
        known = self._there.fence_fails
        if state == "works":
            known -= {one for one in known if one[0] == name}
        else:
            known.add((name, "lies" if state == "lies" else action))

    def do_kill(self, node: str, group: str, service: str) -> None:
        """A service dies; whoever looks finds it stopped."""
        self._there.roles[node, group, service] = Role.STOPPED

    def do_noticed(self, node: str, group: str, service: str, found: str, *why: str) -> None:
        """A driver notices by itself what has become of a service."""
        if found == "stopped":
            self.do_kill(node, group, service)
        self._there.hand(node, ServiceChanged(group=group, service=service, found=Found(found),
                                              why=" ".join(why)))

    def do_score(self, node: str, group: str, service: str, score: str) -> None:
        self._there.hand(node, ServiceScored(group=group, service=service, score=int(score)))

    def do_attribute(self, node: str, name: str, value: str = "") -> None:
        """An attribute of a node is set, or deleted."""
        self._there.hand(node, AttributeChanged(name=name, value=value or None))

    def do_condition(self, node: str, group: str, *why: str) -> None:
        self._there.condition(node, group, " ".join(why))

    def do_show(self, what: str) -> list[str]:
        return getattr(self, f"_show_{what}")()

    def _show_plan(self) -> list[str]:
        plan = self._there.tree[PLAN][0]
        assert isinstance(plan, Plan)
        lines = [f"revision {plan.revision}, voters {plan.voters.number}: "
                 f"{' '.join(plan.voters.names)}"]
        for name, group in plan.groups.items():
            rights = {"holder": group.holder, "heir": group.heir}
            words = [f"{role} {right.node} ({right.incarnation}.{right.round}) epoch {right.epoch}"
                     for role, right in rights.items() if right is not None]
            words += [f"leaving {right.node} epoch {right.epoch}" for right in group.leaving]
            if group.maintenance.value != "off":
                words.append(f"maintenance {group.maintenance.value}")
            lines.append(f"{name}: {', '.join(words) or 'nobody'}")
        return lines

    def _show_seats(self) -> list[str]:
        seats = sorted((path, record) for path, (record, _) in self._there.tree.items()
                       if isinstance(record, Seat))
        return [f"{path} {record.incarnation}.{record.round} {record.state.value}"
                for path, record in seats]

    def _show_leader(self) -> list[str]:
        record = self._there.tree[LEADER][0]
        return [f"{record.node or 'vacant'} in term {record.term}"]  # type: ignore[union-attr]

    def _show_requests(self) -> list[str]:
        found = sorted((record for record, _ in self._there.tree.values()
                        if isinstance(record, Request)), key=lambda one: one.id)
        return [f"{one.id} {one.kind} {one.state}: {one.why}" for one in found]

    def _show_active(self) -> list[str]:
        cluster = self._there
        return [f"{node}: {view.name} {view.phase} epoch {view.epoch}"
                f"{' in maintenance' if view.maintenance else ''}"
                for node, engine in sorted(cluster.engines.items())
                for view in snapshot(engine, cluster.now).groups if view.phase != "inactive"]

    def _show_services(self) -> list[str]:
        cluster = self._there
        return [f"{node}: {view.name} " + ", ".join(
                    f"{one.name} {one.state}{f' ({one.failures} failures)' if one.failures else ''}"
                    for one in view.services) + (f" (unfit: {view.unfit_why})" if not view.fit
                                                 else "")
                for node, engine in sorted(cluster.engines.items())
                for view in snapshot(engine, cluster.now).groups]

    def _show_writes(self) -> list[str]:
        written, self._there.writes = self._there.writes, 0
        return [f"{written} writes since last asked"]


def _spec(nodes: str = "3", groups: str = "crm", witness: str = "", services: str = "",
          stop_within: str = "0ms", fencing: str = "lease", voters: str = "", run: str = "",
          monitor: str = "500ms", addresses: str = "yes", mode: str = "active-passive",
          on_failure: str = "move", restarts: str = "3", everywhere: str = "",
          devices: str = "", clean: str = "", **policies: str) -> ClusterSpec:
    """Return what a file says. `run`: the nodes that may run groups, if not all.

    Policies are by group: order=app:n2.n1 beside=app:db apart=app:web requires=app:db
    failback=app:2s priority=app:10 prefer=app:n2 needs=app:disk.ssd

    Devices are named with their nodes and levels: ipmi-n1:n1 pdu:n1.n2.n3:2, one of its own for
    each node where fencing is required and none is given. `clean`: who starts clean.

    A service is a hook (promote, demote), a unit (start, stop) or has replicas: db:replica.
    """
    names = [f"n{number}" for number in range(1, int(nodes) + 1)]
    voting = voters.split(",") if voters else names
    running = tuple(run.split(",") if run else (name for name in names if name != witness))
    return ClusterSpec(
        name="t", timing=times_for(100 * MILLISECOND),
        nodes=tuple(NodeSpec(name=name, witness=name == witness, voter=name in voting,
                             start_clean=name == clean) for name in names),
        devices=tuple(_devices(devices or (" " if fencing != "required" else
                                           ",".join(f"ipmi-{name}:{name}" for name in names)))),
        groups=tuple(GroupSpec(
            name=group, **{"nodes": running, **_policy(group, policies)},
            stop_within=duration(stop_within), fencing_required=fencing == "required",
            everywhere=mode == "everywhere" or group == everywhere,
            has_addresses=addresses == "yes" and mode != "everywhere" and group != everywhere,
            services=tuple(_service(one, monitor_interval=duration(monitor),
                                    on_failure=OnFailure(on_failure), restarts=int(restarts))
                           for one in services.split(",") if one))
            for group in groups.split(",") if group))


def _devices(text: str) -> Iterator[DeviceSpec]:
    for one in filter(None, text.strip().split(",")):
        name, nodes, level = (*one.split(":"), "1")[:3]
        yield DeviceSpec(name=name, nodes=tuple(nodes.split(".")), level=int(level))


KINDS: dict[str, dict[str, Any]] = {
    "hook": {}, "unit": {"actions": ("start", "stop"), "tells": True},
    "replica": {"actions": ("start", "promote", "demote", "stop"), "promotable": True,
                "tells": True}}


def _policy(group: str, policies: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, text in policies.items():
        for name, _, value in (one.partition(":") for one in text.split(",")):
            if name == group:
                found |= READ[key](value)
    return found


READ: dict[str, Any] = {
    "order": lambda text: {"nodes": tuple(text.split("."))},
    "beside": lambda text: {"beside": tuple(map(Tie, text.split(".")))},
    "apart": lambda text: {"apart": tuple(map(Tie, text.split(".")))},
    "requires": lambda text: {"requires": tuple(text.split("."))},
    "needs": lambda text: {"needs": dict([text.split(".")])},
    "failback": lambda text: {"failback": duration(text)},
    "priority": lambda text: {"priority": int(text)},
    "prefer": lambda text: {"prefer": {text: 100}}}


def _service(text: str, **more: Any) -> ServiceSpec:
    name, _, kind = text.partition(":")
    return ServiceSpec(name=name, **KINDS[kind or "hook"], **more)


def blocks(text: str) -> list[tuple[str, str]]:
    """Split a script into (text up to and with the dashes, expected output)."""
    found: list[tuple[str, str]] = []
    head: list[str] = []
    output: list[str] | None = None
    for line in text.splitlines():
        if line == "----":
            head.append(line)
            output = []
        elif output is not None and line:
            output.append(line)
        elif output is not None:
            found.append(("\n".join(head), "\n".join(output)))
            head, output = [], None
        else:
            head.append(line)
    if output is not None:
        found.append(("\n".join(head), "\n".join(output)))
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    story, written, differ = Story(), [], False
    for head, expected in blocks(path.read_text()):
        commands = [line for line in head.splitlines() if line and not line.startswith("#")]
        lines = [line for command in commands[:-1] for line in story.run(command)]
        output = "\n".join(lines) or "nothing"
        differ |= output != expected
        written.append(f"{head}\n{output}\n")
    text = "\n".join(written)
    if os.environ.get(REWRITE):
        path.write_text(text)
    elif differ:
        assert text == path.read_text()


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 20
