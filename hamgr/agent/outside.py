"""What the composition root tells an agent about itself and about the process around it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hamgr.agent.facts import KernelAddress
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import Duration, Instant, NodeName


@dataclass(frozen=True, kw_only=True)
class About:
    """Who this agent is."""

    node: NodeName
    spec: ClusterSpec
    rings: dict[NodeName, tuple[str, ...]]
    """The heartbeat addresses of each node."""
    version: str
    config: str
    """Path of the configuration file."""
    config_digest: str
    run_dir: Path
    state_dir: Path


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Functions that no port is worth: each is called in the loop's thread and returns at once."""

    notify: Callable[[str], None]
    """Tells systemd, if there is one."""
    watchdog: Duration
    """systemd's WatchdogSec, 0 without."""
    settle: Callable[[], None]
    """Ends automatic collection of garbage, at the end of a start."""
    collect: Callable[[], None]
    """Collects garbage."""
    collections: Callable[[], tuple[tuple[Instant, Instant], ...]]
    """Begin and end of the newest collections."""
    kernel: Callable[[], tuple[KernelAddress, ...]]
    """The configured VIPs, as the kernel has them. Raises OSError."""
    counters: Callable[[], dict[str, dict[str, int]]]
    """What the adapters have counted."""
    reload: Callable[[], tuple[str, ...]]
    """Reads configuration and key file again, takes over what can be, and returns in words what
    came of it. Runs in the disk thread; raises OSError."""
    keys: Callable[[], dict[NodeName, tuple[str, ...]]]
    """The fingerprints of every node's keys, the one that signs first."""
    switch_alive: Callable[[], bool]
    switch_ends_with_us: Callable[[], bool]
    """Whether systemd would kill it with this process."""
    realtime: str = ""
    """The scheduling class that was got, or why there is none."""
    memory_locked: bool = False
