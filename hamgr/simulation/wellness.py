"""Availability while faults go on: who is well, what must be served, which failovers were needed.

A node is well while no fault is at work on it, and has been for a while. Where a majority of voters
has been well for long, with each other and with ZooKeeper, every group that one of them may run is
served, whatever happens to the rest. And a group does not leave a node that is well, amid a
majority that is, unless somebody asked for that.
"""

from typing import TYPE_CHECKING

from hamgr.core.types import (
    MILLISECOND,
    NEVER,
    SECOND,
    Duration,
    GroupName,
    Instant,
    Maintenance,
    NodeName,
)
from hamgr.simulation.service_conduct import broken_replica, may_block

if TYPE_CHECKING:
    from hamgr.simulation.scenario import Fault
    from hamgr.simulation.world import World

WELL: Duration = 6 * SECOND
"""After the last fault on a node: its claims, scars, failures and warm-up are over by then."""
SERVED_WITHIN: Duration = 7 * SECOND
"""Since a majority is well and the group dark: a node that cannot read ends its round after ten
detections, a claim is abandoned after 2.2 s, what was scarred is healed one after the other."""
LOOK: Duration = 500 * MILLISECOND
BY_OPERATORS = ("switchover", "standby", "resume", "maintenance_on", "maintenance_off", "clear",
                "drain", "voters", "times", "configure", "remove_node", "upgrade")
HARMLESS = ("cast", "clear", "disk_full", "fence_fails", "fence_hangs", "fence_lies",
            "fence_denies", "duplicated")
"""What moves nothing by itself. A device matters to fenced groups alone."""


class Wellness:
    """Keeps account of the faults at work, and judges availability by it."""

    def __init__(self, world: "World") -> None:
        self.unneeded = 0
        """Failovers from a node that was well."""
        self._world = world
        self._count = 0
        self._at_work: dict[int, tuple[NodeName, ...]] = {}
        self._hurt_at: dict[NodeName, Instant] = dict.fromkeys(world.hosts, 0)
        self._asked_at: Instant = -WELL * 10
        self._well_since: Instant = NEVER
        """Since when a majority has been well, and ZooKeeper with it; NEVER: it is not."""
        self._dark_since: dict[GroupName, Instant] = {}
        self._owners: dict[GroupName, NodeName] = {}
        self._stopped_at: dict[GroupName, Instant] = {}

    def begins(self, fault: "Fault", target: NodeName, peer: NodeName) -> int:
        """A fault strikes; return its number."""
        self._count += 1
        if fault.kind in BY_OPERATORS:
            self._asked_at = self._world.now
        if fault.kind in HARMLESS:
            return self._count
        named = tuple(name for name in (target, peer) if name)
        alone = named and not fault.kind.startswith("zk_") and fault.kind != "partition"
        hurt = named if alone else tuple(self._world.hosts)
        with_server = fault.kind in ("crash", "pause", "pause_jump") and (
            self._world.scenario.ensemble_inside)
        self._hurt(tuple(self._world.hosts) if with_server else hurt)
        self._at_work[self._count] = hurt
        return self._count

    def ends(self, number: int) -> None:
        """A fault is undone, or was over at once."""
        self._hurt(self._at_work.pop(number, ()))

    def watch(self) -> None:
        """Look now and then who is well, and until peace at what must be served."""
        world = self._world
        world.scheduler.after(LOOK, self.watch)
        well = self._well(0)
        if not self._is_majority(well) or world.ensemble.leader is None:
            self._well_since = NEVER
            return
        self._well_since = min(self._well_since, world.now)
        if world.watch.peace is not None or world.now - self._asked_at <= WELL:
            return
        for group in [spec.name for spec in world.spec.groups]:
            if not self._must_be_served(group, well):
                self._dark_since.pop(group, None)
                continue
            since = max(self._dark_since.setdefault(group, world.now), self._well_since,
                        self._asked_at + WELL)
            if world.now - since > SERVED_WITHIN:
                world.watch.violate("dark", f"{group} is served by nobody, though "
                                            f"{', '.join(well)} have long been well")

    def fenced(self, node: NodeName) -> None:
        """A fence device cut a node's power."""
        self._hurt((node,))

    def stopped(self, group: GroupName) -> None:
        """A group has stopped on a node."""
        self._stopped_at[group] = self._world.now

    def started(self, group: GroupName, node: NodeName) -> None:
        """A group starts on a node under a new epoch."""
        before = self._owners.get(group, "")
        self._owners[group] = node
        world, spec = self._world, self._world.spec.group(group)
        if spec is None or spec.may_be_moved:
            return
        if before in ("", node) or world.now - self._asked_at < 6 * WELL:
            return
        # What is fenced first may take long: asked is who was well when the former owner stopped.
        well = self._well(WELL + world.now - self._stopped_at.get(group, world.now))
        # A group that was lost for want of a majority or of ZooKeeper starts anew within that time.
        if before in well and self._is_majority(well) and (
                world.now - self._well_since > SERVED_WITHIN):
            self.unneeded += 1
            world.note("", f"UNNEEDED failover of {group} from {before}")

    def _must_be_served(self, name: GroupName, well: list[NodeName]) -> bool:
        world, plan = self._world, self._world.turmoil.plan()
        spec = world.spec.group(name)
        if plan is None or spec is None or spec.fencing_required or spec.everywhere or (
                spec.may_be_moved or spec.requires or may_block(spec)):
            return False
        planned = plan.groups.get(name)
        free = planned is None or planned.maintenance is Maintenance.OFF
        able = [node for node in spec.nodes if node in well and node not in plan.standby
                and not broken_replica(world.hosts[node], spec)]
        return free and bool(able) and not any(
            host.serving(name) for host in world.hosts.values())

    def _well(self, lately: Duration) -> list[NodeName]:
        ill = {name for names in self._at_work.values() for name in names}
        return [name for name, host in self._world.hosts.items()
                if name not in ill and host.powered and not host.paused
                and self._world.now - self._hurt_at[name] >= lately]

    def _is_majority(self, names: list[NodeName]) -> bool:
        plan = self._world.turmoil.plan()
        voters = plan.voters.names if plan is not None else self._world.spec.voters
        return 2 * sum(name in names for name in voters) > len(voters)

    def _hurt(self, names: tuple[NodeName, ...]) -> None:
        for name in names:
            self._hurt_at[name] = self._world.now
