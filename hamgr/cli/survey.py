"""What `hamgr status` says, as data: the schema of its --json, which its text is drawn from."""

from msgspec import Struct, field

from hamgr.core.types import Epoch, GroupName, NodeName

SCHEMA = 1
"""Fields are added, never renamed, removed or given another meaning without raising this."""


class Answer(Struct, frozen=True, kw_only=True):
    """One machine that answers for an address."""

    mac: str
    node: NodeName = ""
    """Whose it is; empty when it is not known."""


class Wire(Struct, frozen=True, kw_only=True):
    """Who answers for an address on the network."""

    asked: bool
    mac: str = ""
    """Of the machine that answered first within 200 ms; empty: none did."""
    node: NodeName = ""
    """Whose it is; empty when it is not known."""
    answers: tuple[Answer, ...] = ()
    """All that answered within 200 ms, in the order in which they did."""
    why: str = ""
    """Why it was not asked."""


class VipRow(Struct, frozen=True, kw_only=True):
    """One address of a group."""

    address: str
    plan: NodeName
    """Where the plan has it; empty: nowhere."""
    kernel: bool | None
    """Whether the node that was asked, or without an agent this one, has it; None: unknown."""
    interface: str = ""
    lifetime_s: int | None = None
    wire: Wire


class GroupRow(Struct, frozen=True, kw_only=True):
    """One group."""

    name: GroupName
    holder: NodeName
    heir: NodeName
    epoch: Epoch
    """The holder's."""
    active: tuple[NodeName, ...]
    """Where all of it runs, by the own word of each."""
    moving: tuple[NodeName, ...] = ()
    """Where it is on its way up or down, likewise."""
    phase: str
    """On the node that was asked: inactive, starting, active, stopping or failed; empty from
    ZooKeeper."""
    active_for_s: float | None = None
    """Of the node that was asked."""
    maintenance: str = "off"
    handover: bool = False
    guarded_by: tuple[str, ...] = ()
    """The layers that the active node really has, as far as can be told from here."""
    vips: tuple[VipRow, ...] = ()
    why: str = ""
    everywhere: bool = False
    """It runs on each of its nodes, and has no holder, heir or epoch. From ZooKeeper it is not
    known where."""


class NodeRow(Struct, frozen=True, kw_only=True):
    """One node of the configuration, alive or not."""

    name: NodeName
    state: str
    """member, claimed, joining, lapsed (alive); silent, down, left, never seen (not)."""
    alive: bool
    voter: bool
    witness: bool
    standby: bool = False
    leads: bool = False
    heard_ms: float | None = None
    incarnation: int = 0
    round: int = 0
    accused_by: tuple[NodeName, ...] = ()
    version: str = ""
    keys: tuple[str, ...] = ()
    """Fingerprints of the keys by its last heartbeat, the one that signs first; empty: unknown."""
    note: str = ""


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be."""

    severity: str
    """degraded, failed or unknown."""
    text: str


class LastWord(Struct, frozen=True, kw_only=True):
    """One entry of the journal of an agent that does not answer."""

    time: str
    """ISO 8601, by the wall clock of this node."""
    level: str
    """warning, error and so on; empty if the entry has none."""
    by: str
    """hamgr, or systemd on hamgr's unit."""
    text: str


class Survey(Struct, frozen=True, kw_only=True):
    """The whole cluster, as seen from one place at one moment."""

    schema: int = SCHEMA
    source: str
    """agent, zookeeper or nothing."""
    asked: str
    """In words, which of them, and why not a better one."""
    cluster: str
    cluster_id: str = ""
    node: NodeName = ""
    """The node that was asked; without an agent, the one whose kernel and wire are told."""
    leader: NodeName = ""
    term: int = 0
    plan_revision: int = 0
    zookeeper: str = ""
    """connected, down or foreign, and why."""
    voters_heard: int = 0
    voters: int = 0
    survives: int = 0
    """Nodes that may still be lost before a majority of voters is gone."""
    nodes: tuple[NodeRow, ...] = ()
    groups: tuple[GroupRow, ...] = ()
    requests: tuple[str, ...] = ()
    """What operators asked for and is not done."""
    last_words: tuple[LastWord, ...] = ()
    """Of the agent on this node if it does not answer, oldest first; empty without a journal."""
    notes: tuple[str, ...] = ()
    """What is good to know, and no problem by itself."""
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    """What the agent that was asked has counted; empty without one."""
    problems: tuple[Problem, ...] = ()
    verdict: str
    """healthy, degraded, failed or unknown."""


EXIT = {"healthy": 0, "degraded": 1, "failed": 2, "unknown": 3}
"""Exit status of `hamgr status` by verdict."""


def verdict(problems: tuple[Problem, ...]) -> str:
    """Return the worst severity, or healthy."""
    return max((problem.severity for problem in problems), key=lambda word: EXIT[word],
               default="healthy")
