"""What must hold once faults have ended: every group served, by one node, and nothing written.

The bound sums what may stand between the end of all faults and a served group: an election in
ZooKeeper, claims of the dead and of the scarred, warm-up, and a fence that fails at first.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hamgr.core.records import REQUESTS, SEATS
from hamgr.core.spec import GroupSpec
from hamgr.core.types import SECOND, Duration, GroupName, Instant, NodeName
from hamgr.simulation.zookeeper import Commit
from hamgr.snapshot import Snapshot, snapshot

if TYPE_CHECKING:
    from hamgr.simulation.world import World

PATIENCE: Duration = 10 * SECOND
"""Peace lasts so long at least: elections, claims of the dead, what operators ask after it."""
SETTLED: Duration = 4 * SECOND
"""Served and nothing written for so long: the rest of peace would look the same."""


class Peace:
    """Watches the time after the last fault."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.began: Instant = world.now
        self.longest_dark: Duration = 0
        self.fenced = 0
        """Machines that a fence device cut off in peace: it was asked before, and is slow."""
        groups = [group for group in world.watch.groups() if not _everywhere(world, group)]
        self._dark_since: dict[GroupName, Instant] = dict.fromkeys(groups, world.now)
        self._served_by: dict[GroupName, NodeName] = {}
        self._changes: dict[GroupName, list[NodeName]] = {}
        self._written: list[tuple[Instant, str]] = []
        self._history: list[tuple[Instant, NodeName]] = []
        for group in groups:
            self.look(group)

    def look(self, group: GroupName) -> None:
        """Note who serves a group now."""
        if _everywhere(self._world, group):
            return
        able = [host.name for host in self._world.hosts.values() if host.serving(group)]
        before = self._served_by.get(group, "")
        # A machine that wakes beside the present owner is an overlap, not a change.
        serving = before if before in able else next(iter(able), "")
        if serving == before:
            return
        now = self._world.now
        self._served_by[group] = serving
        self._history.append((now, serving))
        if serving:
            since = self._dark_since.pop(group, now)
            self.longest_dark = max(self.longest_dark, now - since)
            changes = self._changes.setdefault(group, [])
            if now - self.began < self._world.spec.timing.detection:
                changes.clear()  # who wakes now from the last fault may serve for a moment more
            if not changes or changes[-1] != serving:
                changes.append(serving)
        else:
            self._dark_since[group] = now

    def committed(self, commit: Commit) -> None:
        """A transaction was written in peace."""
        paths = [path for path, _ in commit.changed]
        is_node = commit.by in self._world.hosts
        if is_node and self._world.watch.on_claim(commit.by) and all(
                path.startswith(f"{SEATS}/") for path in paths):
            return
        if not all(path.startswith(REQUESTS) for path in paths):
            self._written.append((self._world.now, f"{commit.by} wrote {', '.join(paths)}"))

    def settled(self) -> bool:
        """Whether everything is served, and has been quiet, for so long that it will stay so."""
        now = self._world.now
        dark = [group for group in self._dark_since if self._expected(group)]
        lately = max((at for at, _ in self._written), default=self.began)
        changed = max((at for at, _ in self._history), default=self.began)
        lacking = any(True for _ in self._world.watch.conduct.services.lacking())
        return not dark and not lacking and now - max(lately, changed) >= SETTLED

    def faults(self) -> list[tuple[str, str]]:
        """Return what did not hold, as (kind, text)."""
        found: list[tuple[str, str]] = []
        now = self._world.now
        for group, since in self._dark_since.items():
            if self._expected(group):
                self.longest_dark = max(self.longest_dark, now - since)
                found.append(("dark", f"{group} is served by nobody since "
                                      f"{(now - since) / SECOND:.1f} s"))
        for group, nodes in self._changes.items():
            # One change is the cluster's own healing, another one its policy's.
            spec = self._world.spec.group(group)
            by_policy = int(spec is not None and spec.may_be_moved)
            if len(nodes) > 2 + by_policy + self.fenced:
                found.append(("flapping", f"{group} went {' → '.join(nodes)} in peace"))
        found += [("apart", text) for text in self._ties_broken()]
        found += [("scarred", text) for text in self._scars()]
        found += [("lacking", text) for text in self._world.watch.conduct.services.lacking()]
        late = [text for at, text in self._written if at > now - SETTLED]
        if late:
            found.append(("restless", f"{len(late)} writes at the end of peace, such as: "
                                      f"{late[-1]}"))
        return found

    def _ties_broken(self) -> Iterator[str]:
        """Say which groups are not where the policies of others want them."""
        for spec in self._world.spec.groups:
            here = self._served_by.get(spec.name, "")
            for tie in spec.beside:
                there = self._served_by.get(tie.group, "")
                if here and here != there and not _everywhere(self._world, tie.group):
                    yield f"{spec.name} is on {here}, and {tie.group} on {there or 'no node'}"
            for tie in spec.apart:
                if here and here == self._served_by.get(tie.group, ""):
                    yield f"{spec.name} and {tie.group} are both on {here}"

    def _may_be_nowhere(self, spec: GroupSpec) -> bool:
        """Tell whether other groups may keep one from every node."""
        served = self._served_by
        return any(not served.get(tie.group, "") for tie in spec.beside) or any(
            tie.group in served for tie in spec.apart) or any(
            not served.get(name, "") for name in spec.requires)

    def _scars(self) -> list[str]:
        """Return who stands accused by a voter that hears it (rule 19)."""
        detection, plan = self._world.spec.timing.detection, self._world.turmoil.plan()
        voting = plan.voters.voting if plan is not None else ()
        return [f"{snapshot.node} hears {peer.node} and accuses it"
                for snapshot in self._snapshots() if snapshot.node in voting
                for peer in snapshot.peers
                if peer.accused and peer.heard_ago is not None and peer.heard_ago < detection]

    def _snapshots(self) -> list[Snapshot]:
        return [snapshot(host.agent.engine, host.clock.now())
                for host in self._world.hosts.values()
                if host.agent is not None and host.agent.engine is not None]

    def _expected(self, group: GroupName) -> bool:
        spec = self._world.spec.group(group)
        if spec is None or spec.everywhere or self._may_be_nowhere(spec):
            return False
        plan = self._world.turmoil.plan()
        standby = plan.standby if plan is not None else ()
        blocked = any(view.name == group and view.phase == "failed"
                      for snapshot in self._snapshots() for view in snapshot.groups)
        able = [node for node in spec.nodes
                if self._world.hosts[node].powered and node not in standby]
        return bool(able) and not blocked


def _everywhere(world: "World", name: GroupName) -> bool:
    group = world.spec.group(name)
    return group is not None and group.everywhere
