"""Which document this agent goes by, and how it takes another one over while it runs.

The record `config` in ZooKeeper says what is applied. A cluster that has none gets the leader's own
document, and so does one whose data was restored from before the document that runs here. What is
newer is taken over: first the adapters learn of all that is new, so that nothing has to be prepared
once it is wanted; then it is kept on disk, together with the document before it; then the engine
goes by it; and when what is gone from it has stopped here, adapters and disk forget that.
A document that this node cannot use is refused in words, and looked at again every ten seconds;
the node goes on with the one it has.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct

from hamgr.agent.answers import Answers
from hamgr.agent.disk import Disk
from hamgr.agent.outside import Candidate
from hamgr.agent.tasks import watched
from hamgr.core.effects import Op, Write
from hamgr.core.events import ConfigurationApplied, Event, RecordRead, WriteAnswered
from hamgr.core.records import CONFIG, Config, Plan
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import Outcome
from hamgr.engine import Engine
from hamgr.ports import Coordinator

LOOK_S = 1.0
"""Between two looks without an event: a leader changes, what was in the way goes. Where what is
applied is used, there is nothing to look at."""
HEIRS_S, HEIRS_STEP_S = 3.0, 0.02
"""For so long heirs are waited for, and so often it is looked whether they know."""
AGAIN_S = 10.0
"""Before a document that was refused is considered again."""

logger = logging.getLogger("hamgr.configuration")


class Refusal(Struct, frozen=True):
    """Why the applied document is not used here."""

    revision: int
    why: str
    again_at: float


class Parts(Struct, frozen=True, kw_only=True):
    """What the taking over works with, by the functions that do it."""

    engine: Callable[[], Engine | None]
    """The engine that is fed, if any."""
    consider: Callable[[Config, Plan | None], Candidate]
    """Looks at a document; runs in the disk thread."""
    seal: Callable[[Config], Config]
    """Seals a document with the cluster's key; runs in the disk thread, raises OSError."""
    narrow: Callable[[], Awaitable[None]]
    """Has the adapters forget what only former documents name. Raises OSError."""
    keep: Callable[[Config, bool], None]
    """Keeps a document on disk, together with those before it, or (True) instead of them."""
    enter: Callable[[Candidate], None]
    """Called when it is the agent's own, before the engine is told."""
    post: Callable[[Event], None]


class Applying:
    """Follows the record, in a task of its own."""

    def __init__(self, own: Config, parts: Parts, *, former: bool, disk: Disk,
                 coordinator: Coordinator, answers: Answers) -> None:
        """own: what the agent has begun with; of revision 0 if it was never applied.

        former: something that only a former document names may be left of the last life.
        """
        self.own = own
        self.refusal: Refusal | None = None
        self._parts, self._disk = parts, disk
        self._coordinator, self._answers = coordinator, answers
        self._read: RecordRead | None = None
        self._news = asyncio.Event()
        self._former = former
        self._busy = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def applied(self) -> Config | None:
        """What the record says, as it was read last."""
        record = self._read.record if self._read is not None else None
        return record if isinstance(record, Config) else None

    def start(self) -> None:
        """Begin to follow, if that has not begun."""
        if self._task is not None:
            return
        self._task = watched(self._follow())

    def close(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()

    def read(self, event: Event) -> None:
        """Look at an event, before the engine has seen it."""
        if isinstance(event, RecordRead) and event.path == CONFIG:
            self._read = event
            self._news.set()

    async def cleaned(self) -> None:
        """Nothing is left here: nor do adapters and disk need former documents. Raises OSError."""
        async with self._busy:
            if self._former:
                await self._forget_former()

    async def apply(self, wanted: Config, progress: Callable[[str], None]) -> Config:
        """Put a document in the place of the one of the revision before it.

        Raises ConnectionError with the reason if that was not done.
        """
        before, engine = self.applied, self._parts.engine()
        if before is None or engine is None or engine.knowledge.unsound():
            raise ConnectionError("this node has not read the applied configuration yet")
        _check_revision(before, wanted)
        try:
            record = await self._sealed(wanted)
            candidate = await self._considered(record, engine)
        except OSError as error:
            raise ConnectionError(f"this node cannot apply it: {error}") from error
        if candidate.refusal:
            raise ConnectionError(f"this node cannot use it: {candidate.refusal}")
        assert self._read is not None
        outcome = await self._write(Op(kind="set", path=CONFIG, record=record,
                                       version=self._read.version))
        if outcome is Outcome.CONFLICT:
            raise ConnectionError("another document is being applied at the same time; see "
                                  "hamgr config diff")
        if outcome is not Outcome.DONE:
            raise ConnectionError("ZooKeeper did not answer; it may be applied yet: see hamgr "
                                  "config diff")
        progress(f"revision {record.revision} is applied, and every node takes it over")
        return record

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(None if self._is_settled() else LOOK_S):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            engine = self._parts.engine()
            if engine is not None:
                async with self._busy:
                    await self._look(engine)

    def _is_settled(self) -> bool:
        """Tell whether only another record can bring anything to do."""
        record, own = self.applied, self.own
        return record is not None and not self._former and (
            (record.revision, record.digest) == (own.revision, own.digest))

    async def _look(self, engine: Engine) -> None:
        if self._former and not something_left(engine):
            try:
                await self._forget_former()
            except OSError as error:
                logger.error("what is configured no more cannot be forgotten yet: %s", error)
        if self._read is None or engine.knowledge.unsound():
            return
        record, own = self.applied, self.own
        if record is None or record.revision < own.revision:
            if engine.leadership.leads and own.document:
                await self._publish(self._read.version)
        elif (record.revision, record.digest) == (own.revision, own.digest):
            self.refusal = None
        elif not self._refused(record):
            await self._take(record, engine)

    def _refused(self, record: Config) -> bool:
        refusal = self.refusal
        return (refusal is not None and refusal.revision == record.revision
                and time.monotonic() < refusal.again_at)

    async def _publish(self, version: int) -> None:
        """Write our own: there is none, or an older one than runs here."""
        own = self.own
        try:
            record = await self._sealed(Config(
                revision=max(1, own.revision), document=own.document, digest=own.digest,
                applied_by=own.applied_by or "the first leader"))
        except OSError as error:
            logger.error("the configuration cannot be put into ZooKeeper: %s", error)
            return
        await self._write(Op(kind="create", path=CONFIG, record=record) if version < 0 else
                          Op(kind="set", path=CONFIG, version=version, record=record))

    async def _take(self, record: Config, engine: Engine) -> None:
        try:
            candidate = await self._considered(record, engine)
            if candidate.refusal:
                raise OSError(candidate.refusal)
            await candidate.widen()
            await self._heirs_know(record, candidate.spec, engine)
            await self._disk.call("keep the configuration",
                                  lambda: self._parts.keep(record, False))
        except OSError as error:
            self._refuse(record, str(error))
            return
        self.own, self._former, self.refusal = record, True, None
        self._parts.enter(candidate)
        self._parts.post(ConfigurationApplied(spec=candidate.spec, digest=record.digest))

    async def _heirs_know(self, record: Config, spec: ClusterSpec, engine: Engine) -> None:
        """Wait a little for the heirs of a group that goes altogether and is active here: one that
        has not read of it yet would take it over for a moment."""
        plan = engine.knowledge.plan
        going = [name for name, rights in engine.activity.groups.items()
                 if rights.local.is_active and spec.group(name) is None]
        heirs = [group.heir.node for name, group in (plan.groups if plan else {}).items()
                 if name in going and group.heir is not None]
        for _ in range(round(HEIRS_S / HEIRS_STEP_S)):
            peers = [engine.knowledge.liveness.peers.get(heir) for heir in heirs]
            if all(peer is None or peer.heartbeat is None
                   or peer.heartbeat.config == record.digest for peer in peers):
                return
            await asyncio.sleep(HEIRS_STEP_S)

    def _refuse(self, record: Config, why: str) -> None:
        if self.refusal is None or (self.refusal.revision, self.refusal.why) != (
                record.revision, why):
            logger.error("configuration %d cannot be used here, and revision %d stays in use: %s",
                         record.revision, self.own.revision, why)
        self.refusal = Refusal(record.revision, why, time.monotonic() + AGAIN_S)

    async def _sealed(self, document: Config) -> Config:
        return await self._disk.call("seal a configuration", lambda: self._parts.seal(document))

    async def _considered(self, document: Config, engine: Engine) -> Candidate:
        plan = engine.knowledge.plan
        return await self._disk.call("consider a configuration",
                                     lambda: self._parts.consider(document, plan))

    async def _forget_former(self) -> None:
        await self._parts.narrow()
        if self.own.revision:
            await self._disk.call("forget former configurations",
                                  lambda: self._parts.keep(self.own, True))
        self._former = False

    async def _write(self, op: Op) -> Outcome:
        number, answer = self._answers.expect()
        self._coordinator.write(Write(write=number, ops=(op,)))
        event = await answer
        assert isinstance(event, WriteAnswered), "a write was answered as a run"
        return event.outcome


def something_left(engine: Engine) -> bool:
    """Tell whether anything that the engine's configuration has no more is still to be stopped."""
    return any((rights.declined and rights.local.is_active)
               or any(service.gone for service in rights.local.services)
               for rights in engine.activity.groups.values())


def _check_revision(before: Config, wanted: Config) -> None:
    if wanted.revision != before.revision + 1:
        raise ConnectionError(
            f"meanwhile {before.applied_by or 'somebody'} applied another document, which is "
            f"revision {before.revision} now; see hamgr config diff, and apply again")

