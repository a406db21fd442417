"""What an agent shows of itself, from what it knows: pure functions."""

import os
from collections.abc import Iterable
from pathlib import Path

from hamgr.agent.applying import Applying
from hamgr.agent.facts import SWITCH, SWITCH_CHILD, WATCHDOG, KernelAddress, Process
from hamgr.agent.outside import About, Outside
from hamgr.core.types import MILLISECOND, SECOND, Duration, GroupName
from hamgr.snapshot import GroupView, Snapshot


def process(
    about: About,
    outside: Outside,
    applying: Applying,
    *,
    started_ago_s: float,
    stopping: bool,
    running: bool,
    why: str,
    worst_lateness: Duration,
) -> Process:
    """Return the facts of this process."""
    return Process(
        pid=os.getpid(), version=about.version, started_ago_s=round(started_ago_s, 3),
        phase="stopping" if stopping else "running" if running else "starting", why=why,
        realtime=outside.realtime, memory_locked=outside.memory_locked,
        switch_alive=outside.switch_alive(), switch_ends_with_us=outside.switch_ends_with_us(),
        worst_lateness_ms=round(worst_lateness / MILLISECOND, 3),
        collections=outside.collections(), watchdog_s=outside.watchdog / SECOND,
        network_namespace=Path("/proc/self/ns/net").stat().st_ino,
        config=about.config, state_dir=str(about.state_dir),
        config_digest=applying.own.digest,
        config_revision=applying.own.revision,
        config_refused=applying.refusal.why if applying.refusal is not None else "")


def layers(
    snapshot: Snapshot | None, kernel: Iterable[KernelAddress], me: Process, watchdog: bool
) -> dict[GroupName, tuple[str, ...]]:
    """Return which layers guard each group that is active here (PROTOCOL: table).

    `watchdog`: its device is held. systemd's watchdog is not that layer: it restarts an agent that
    hangs, and covers neither kernel nor machine. Fencing devices are in no group's list yet.
    """
    if snapshot is None:
        return {}
    present = [address for address in kernel if address.present]
    return {group.name: _layers(group, [a for a in present if a.group == group.name], me,
                                 watchdog)
            for group in snapshot.groups if group.phase != "inactive"}


def _layers(group: GroupView, present: list[KernelAddress], me: Process,
            watchdog: bool) -> tuple[str, ...]:
    if group.maintenance:
        return ()
    there = (
        ("deadline", True),
        (SWITCH_CHILD if me.switch_ends_with_us else SWITCH, group.armed and me.switch_alive),
        ("lifetime", bool(present) and all(a.lifetime_s is not None for a in present)),
        (WATCHDOG, group.armed and watchdog),
    )
    return tuple(name for name, is_there in there if is_there)


def status_line(snapshot: Snapshot) -> str:
    """Return one line for systemd's STATUS."""
    active = [group.name for group in snapshot.groups if group.phase == "active"]
    heard = sum(1 for peer in snapshot.peers if peer.heard_ago is not None and not peer.accused)
    words = [
        f"{snapshot.lease} in round {snapshot.round}",
        f"active for {', '.join(active)}" if active else "active for nothing",
        f"hears {heard} of {len(snapshot.peers)}",
        "ZooKeeper connected" if snapshot.zookeeper else "without ZooKeeper",
    ]
    return ("leads; " if snapshot.leading else "") + ", ".join(words)
