"""Feeds one engine: events in, in their order; effects out, in theirs; one timer between them.

Theory. Everything here happens in the thread of the event loop. An event that arrives while no
other is being handled goes straight into the engine, without a hop through the event loop, so a
heartbeat costs no extra wake-up. An event posted by an effect waits until every effect of the
present event has been carried out; so the order of effects is the order of execution.

Before anything received is handed over, time is: an event loop that woke late runs its readers
before its timers, and the lease must be looked at first (rule 4) and the lateness told (rule 8).
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from hamgr.core.effects import Effect
from hamgr.core.events import (
    ConditionChanged,
    Event,
    HeartbeatReceived,
    LoopWasLate,
    RecordRead,
    Tick,
    ZooKeeperChanged,
)
from hamgr.core.records import REQUESTS
from hamgr.core.types import MILLISECOND, NEVER, Duration, GroupName, Instant

LATE: Duration = 5 * MILLISECOND
"""A wake-up this late is told to the engine: the margins of the protocol begin at 10 ms."""
SOON: Duration = MILLISECOND
"""The least time to a tick, so that there is always room for something else."""


class Engine(Protocol):
    """What the loop needs of hamgr.engine.Engine."""

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Take what happened and return what is wanted, in the order of execution."""

    def deadline(self) -> Instant:
        """Return when a Tick is wanted, NEVER if not at all."""


class Timer(Protocol):
    """A callback that has been arranged for."""

    def cancel(self) -> None:
        """Forget it."""


class Known:
    """The newest word on each fact that is told only once, for an engine that starts later."""

    def __init__(self) -> None:
        self.zookeeper: ZooKeeperChanged | None = None
        self.records: dict[str, RecordRead] = {}
        self.conditions: dict[GroupName, ConditionChanged] = {}

    def learn(self, event: Event) -> None:
        """Keep the event if it is such a fact."""
        match event:
            case ZooKeeperChanged():
                self.zookeeper = event
                self.records.clear()
            case RecordRead(path=path, record=None) if path.startswith(REQUESTS):
                self.records.pop(path, None)
            case RecordRead(path=path):
                self.records[path] = event
            case ConditionChanged(group=group):
                self.conditions[group] = event
            case _:
                pass

    def events(self) -> list[Event]:
        """Return them in the order in which an engine expects them."""
        connection = [] if self.zookeeper is None else [self.zookeeper]
        return [*self.conditions.values(), *connection, *self.records.values()]


class Loop:
    """The only place where an engine is called."""

    def __init__(
        self,
        *,
        perform: Callable[[Effect], None],
        record: Callable[[Instant, Event, list[Effect]], None],
        failed: Callable[[Exception], None],
        call_at: Callable[[Instant, Callable[[], None]], Timer],
        clock: Callable[[], Instant] = time.monotonic_ns,
    ) -> None:
        """Build it without an engine.

        perform carries out one effect. record keeps what happened. failed is called once, when
        the engine or an effect raised: that is a bug of ours, and nothing is fed any more.
        call_at arranges for a callback at an instant of the clock.
        """
        self._perform, self._record, self._failed = perform, record, failed
        self._call_at, self._clock = call_at, clock
        self._engine: Engine | None = None
        self._queue: deque[Event] = deque()
        self._busy = False
        self._timer: Timer | None = None
        self._armed_for: Instant = NEVER
        self._due: Instant = NEVER
        self.known = Known()
        self.idle: Callable[[Instant, Instant], None] = lambda now, due: None
        """Called with now and the next deadline whenever the engine has nothing left to do."""
        self.stalled: Callable[[Duration], None] = lambda lateness: None
        """Called with the lateness when a wake-up was late, after the engine was told."""
        self.intercept: Callable[[Event], bool] = lambda event: False
        """Sees every event but heartbeats; returns whether the engine shall not."""
        self.worst_lateness: Duration = 0
        """The latest wake-up since the start."""

    @property
    def engine(self) -> Engine | None:
        """The engine that is being fed, if any."""
        return self._engine

    def begin(self, engine: Engine) -> None:
        """Feed this engine from now on: a Tick first, then what is known already."""
        assert self._engine is None, "the former engine is still being fed"
        self._engine = engine
        self._due = NEVER
        self._queue.clear()
        self._queue.append(Tick())
        self._queue.extend(self.known.events())
        self._run()

    def end(self) -> None:
        """Feed nothing any more until the next `begin`."""
        self._engine = None
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def post(self, event: Event) -> None:
        """Hand over what happened. Returns when it is handled, unless another is being handled."""
        if not isinstance(event, HeartbeatReceived):  # most are, and are for the engine alone
            self.known.learn(event)
            if self.intercept(event):
                return
        if self._engine is None:
            return
        self._queue.append(event)
        if not self._busy:
            self._run()

    def _run(self) -> None:
        self._busy = True
        try:
            self._catch_up()
            while self._queue and self._engine is not None:
                self._handle(self._queue.popleft())
                self._catch_up()
            if self._engine is not None:
                self.idle(self._clock(), self._due)
        except Exception as error:  # a bug of ours, whatever its kind: nothing may go on from it
            self.end()
            self._failed(error)
        finally:
            self._busy = False
        self._arm()

    def _catch_up(self) -> None:
        """Tell the engine the time before it is told anything that was received meanwhile."""
        due, now = self._due, self._clock()
        if self._engine is None or now < due:
            return
        lateness = now - due
        self.worst_lateness = max(self.worst_lateness, lateness)
        if lateness > LATE:
            self._handle(LoopWasLate(lateness=lateness))
            self.stalled(lateness)
        self._handle(Tick())

    def _handle(self, event: Event) -> None:
        if self._engine is None:
            return
        now = self._clock()
        effects = self._engine.handle(event, now)
        self._record(now, event, effects)
        for effect in effects:
            self._perform(effect)
        if self._engine is not None:
            # A deadline in the past is due soon, not now: lateness counts from when it could be
            # known, and no engine can keep a real-time process busy with nothing but ticks.
            self._due = max(self._engine.deadline(), now + SOON)

    def _arm(self) -> None:
        if self._timer is not None:
            if self._armed_for == self._due:
                return
            self._timer.cancel()
            self._timer = None
        if self._engine is not None and self._due < NEVER:
            self._armed_for = self._due
            self._timer = self._call_at(self._due, self._wake)

    def _wake(self) -> None:
        self._timer = None
        if self._clock() < self._due:
            self._arm()
        else:
            self._run()
