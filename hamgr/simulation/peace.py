"""What must hold once faults have ended: every group served, by one node, and nothing written.

The bound sums what may stand between the end of all faults and a served group: an election in
ZooKeeper, claims of the dead and of the scarred, warm-up, and a fence that fails at first.
"""

from typing import TYPE_CHECKING

from hamgr.core.records import REQUESTS, SEATS
from hamgr.core.types import SECOND, Duration, GroupName, Instant, NodeName
from hamgr.simulation.zookeeper import Commit

if TYPE_CHECKING:
    from hamgr.simulation.world import World

QUIET: Duration = 5 * SECOND
"""The last seconds of peace, in which nothing may be written but renewals of claims."""


class Peace:
    """Watches the time after the last fault."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.began: Instant = world.now
        self.longest_dark: Duration = 0
        self._dark_since: dict[GroupName, Instant] = {
            group.name: world.now for group in world.spec.groups}
        self._served_by: dict[GroupName, NodeName] = {}
        self._changes: dict[GroupName, list[NodeName]] = {
            group.name: [] for group in world.spec.groups}
        self._unquiet: list[str] = []
        for group in world.spec.groups:
            self.look(group.name)

    def look(self, group: GroupName) -> None:
        """Note who serves a group now."""
        serving = next((host.name for host in self._world.hosts.values()
                        if host.serving(group)), "")
        if serving == self._served_by.get(group, ""):
            return
        now = self._world.now
        self._served_by[group] = serving
        if serving:
            since = self._dark_since.pop(group, now)
            self.longest_dark = max(self.longest_dark, now - since)
            changes = self._changes[group]
            if not changes or changes[-1] != serving:
                changes.append(serving)
        else:
            self._dark_since[group] = now

    def committed(self, commit: Commit) -> None:
        """A transaction was written in peace."""
        if self._world.now < self._world.scenario.end - QUIET:
            return
        paths = [path for path, _ in commit.changed]
        renewal = all(path.startswith(f"{SEATS}/") for path in paths) and self._world.watch \
            .on_claim(commit.by)
        if not renewal and not all(path.startswith(REQUESTS) for path in paths):
            self._unquiet.append(f"{commit.by} wrote {', '.join(paths)}")

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
            # One change is the cluster's own healing; an operator's resume may ask for none.
            if len(nodes) > 2:
                found.append(("flapping", f"{group} went {' → '.join(nodes)} in peace"))
        if self._unquiet:
            found.append(("restless", f"{len(self._unquiet)} writes at the end of peace, such "
                                      f"as: {self._unquiet[-1]}"))
        return found

    def _expected(self, group: GroupName) -> bool:
        spec = self._world.spec.group(group)
        assert spec is not None, f"no group {group}"
        plan = self._world.turmoil.plan()
        standby = plan.standby if plan is not None else ()
        views = [host.agent.engine.snapshot(host.clock.now())
                 for host in self._world.hosts.values()
                 if host.agent is not None and host.agent.engine is not None]
        blocked = any(view.name == group and view.phase == "failed"
                      for snapshot in views for view in snapshot.groups)
        able = [node for node in spec.nodes
                if self._world.hosts[node].powered and node not in standby]
        return bool(able) and not blocked
