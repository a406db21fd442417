"""What the composition root tells an agent about itself and about the process around it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hamgr.agent.facts import AskAttributes, Attribute, KernelAddress
from hamgr.agent.loop import Timer
from hamgr.core.records import Config, Plan
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import Duration, Instant, NodeName


class Candidate(Protocol):
    """A document that this node could go by."""

    @property
    def refusal(self) -> str:
        """Say why it cannot, or nothing."""

    @property
    def digest(self) -> str:
        """Of its meaning."""

    @property
    def spec(self) -> ClusterSpec:
        """What decisions depend on."""

    @property
    def leftovers(self) -> ClusterSpec:
        """The same, with all that former documents may have left here."""

    @property
    def rings(self) -> dict[NodeName, tuple[str, ...]]:
        """The heartbeat addresses of each node."""

    async def widen(self) -> None:
        """Have the adapters know all that is new in it. Raises OSError."""


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
    applied: Config
    """The document that it begins with; of revision 0 if it was never applied."""
    leftovers: ClusterSpec
    """The same as `spec`, with all that former documents may have left here."""
    former: bool
    """There are such documents."""
    run_dir: Path
    state_dir: Path


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Functions that no port is worth: each is called in the loop's thread and returns at once."""

    notify: Callable[[str], None]
    """Tells systemd, if there is one."""
    watchdog: Duration
    """systemd's WatchdogSec, 0 without."""
    call_at: Callable[[Instant, Callable[[], None]], Timer]
    """Calls back once, at an instant; setting it again forgets the former one."""
    settle: Callable[[], None]
    """Ends automatic collection of garbage, at the end of a start."""
    collect: Callable[[], None]
    """Collects garbage."""
    awake: Callable[[Instant], None]
    """Tells the adapters that the loop is awake anyway: what is due nearly can be done now."""
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
    attributes: Callable[[AskAttributes], tuple[Attribute, ...]]
    """Changes one attribute of a node, if any is named, and returns all of that node. Raises
    ValueError with what is wrong."""
    consider: Callable[[Config, Plan | None], Candidate]
    """Looks at another document. Runs in the disk thread."""
    seal: Callable[[Config], Config]
    """Seals a document with the cluster's key. Raises OSError; runs in the disk thread."""
    keep: Callable[[Config, bool], None]
    """Keeps a document on disk, together with those before it, or (True) instead of them. Raises
    OSError; runs in the disk thread."""
    enter: Callable[[Candidate], None]
    """It is the agent's own from now on."""
    narrow: Callable[[], Awaitable[None]]
    """Has the adapters forget what only former documents name. Raises OSError."""
    switch_alive: Callable[[], bool]
    switch_ends_with_us: Callable[[], bool]
    """Whether systemd would kill it with this process."""
    realtime: str = ""
    """The scheduling class that was got, or why there is none."""
    memory_locked: bool = False
