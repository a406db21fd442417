"""The configuration while it changes: its record in ZooKeeper, and how an agent takes one over.

Like hamgr.agent.applying, without the adapters: heirs of a group that goes altogether are waited
for, then the document is kept on disk, then the engine goes by it. The text of a document is JSON
here, since all that the engines see of one is its ClusterSpec.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from hamgr.core.events import RecordRead
from hamgr.core.records import CONFIG, Config
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import MILLISECOND, SECOND, Duration, GroupName, Instant, Maintenance

if TYPE_CHECKING:
    from hamgr.simulation.agent import Agent

CONSIDERING: Duration = 40 * MILLISECOND
HEIRS_STEP: Duration = 20 * MILLISECOND
HEIRS_PATIENCE: Duration = 3 * SECOND
LOOK_AGAIN: Duration = 1 * SECOND
REFUSED_FOR: Duration = 10 * SECOND
"""Of hamgr.agent.applying: HEIRS_STEP_S, HEIRS_S, LOOK_S and AGAIN_S."""


def document(spec: ClusterSpec, revision: int) -> Config:
    """Return the record of a configuration."""
    return Config(revision=revision, document=msgspec.json.encode(spec).decode(),
                  digest=f"#{revision}", applied_by="operator")


def spec_of(record: Config) -> ClusterSpec:
    """Return what a record says."""
    return msgspec.json.decode(record.document, type=ClusterSpec)


class Following:
    """Follows the record in one agent process."""

    def __init__(self, agent: "Agent", enter: Callable[[ClusterSpec, str], None]) -> None:
        self._agent = agent
        self._enter = enter
        self._record: Config | None = None
        self._busy = False

    def read(self, event: RecordRead) -> None:
        """Look at what was read, before the engine has seen it."""
        if event.path == CONFIG and isinstance(event.record, Config):
            self._record = event.record
            self._look_in(int(self._agent.rng.random() * CONSIDERING))

    def _look_in(self, delay: Duration) -> None:
        if not self._busy:
            self._busy = True
            self._later(delay, self._look)

    def _later(self, delay: Duration, action: Callable[..., None], *args: object) -> None:
        self._agent.host.world.scheduler.after(delay, self._agent.in_process, action, *args)

    def _look(self) -> None:
        self._busy = False
        record, host, engine = self._record, self._agent.host, self._agent.engine
        kept = host.disk.document
        if record is None or (kept is not None and kept.revision >= record.revision):
            return
        if engine is None or engine.knowledge.unsound():
            self._look_in(LOOK_AGAIN)
        elif host.disk.full or not self._is_usable(spec_of(record)):
            self._look_in(REFUSED_FOR)
        else:
            self._busy = True
            self._wait_for_heirs(record, host.world.now + HEIRS_PATIENCE)

    def _is_usable(self, spec: ClusterSpec) -> bool:
        """Tell whether this node is named, and nothing changes that is in maintenance."""
        knowledge, names = self._agent.engine.knowledge, [node.name for node in spec.nodes]
        plan = knowledge.plan.groups if knowledge.plan is not None else {}
        return self._agent.host.name in names and not any(
            group.maintenance is not Maintenance.OFF
            and spec.group(name) != knowledge.spec.group(name) for name, group in plan.items())

    def _wait_for_heirs(self, record: Config, until: Instant) -> None:
        agent = self._agent
        if agent.engine is not None and agent.host.world.now < until and any(
                self._unaware(record, name) for name in self._going(record)):
            self._later(HEIRS_STEP, self._wait_for_heirs, record, until)
        else:
            agent.disk_work.submit(lambda: self._keep(record), lambda: self._take(record))

    def _going(self, record: Config) -> list[GroupName]:
        spec = spec_of(record)
        return [name for name, rights in self._agent.engine.activity.groups.items()
                if rights.local.is_active and spec.group(name) is None]

    def _unaware(self, record: Config, group: GroupName) -> bool:
        knowledge = self._agent.engine.knowledge
        planned = knowledge.plan.groups.get(group) if knowledge.plan is not None else None
        heir = planned.heir if planned is not None else None
        peer = knowledge.liveness.peers.get(heir.node) if heir is not None else None
        return (peer is not None and peer.heartbeat is not None
                and peer.heartbeat.config != record.digest)

    def _keep(self, record: Config) -> None:
        self._agent.host.disk.document = record

    def _take(self, record: Config) -> None:
        self._busy = False
        if self._agent.engine is not None:
            self._enter(spec_of(record), record.digest)
        self._look_in(0)
