"""The loop by itself: order, lateness, timers. Clock and engine are stand-ins, so that a stall is a
number and not a sleep."""

from collections.abc import Callable

from hamgr.agent.loop import LATE, Loop
from hamgr.core.effects import Effect, Read
from hamgr.core.events import (
    ConditionChanged,
    DeadlineSet,
    Event,
    LoopWasLate,
    RecordRead,
    StopAsked,
    Tick,
    WriteAnswered,
    ZooKeeperChanged,
)
from hamgr.core.records import Request
from hamgr.core.types import MILLISECOND, NEVER, Instant, Outcome
from hamgr.snapshot import Snapshot


class Timer:
    def __init__(self, at: Instant, callback: Callable[[], None]) -> None:
        self.at, self.callback, self.cancelled = at, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A clock that is set by hand, the timers, and an engine that notes what it is told."""

    def __init__(self) -> None:
        self.now: Instant = 1_000 * MILLISECOND
        self.told: list[tuple[Event, Instant]] = []
        self.answers: dict[type[Event], list[Effect]] = {}
        self.next: Callable[[Instant], Instant] = lambda now: now + 100 * MILLISECOND
        self.done: list[Effect] = []
        self.on_effect: Callable[[Effect], None] = lambda effect: None
        self.errors: list[Exception] = []
        self.recorded: list[Event] = []
        self.timers: list[Timer] = []
        self.due: Instant = NEVER
        self.loop = Loop(perform=self.perform, failed=self.errors.append, call_at=self.call_at,
                         record=lambda now, event, effects: self.recorded.append(event),
                         clock=lambda: self.now)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        self.told.append((event, now))
        if isinstance(event, Tick):
            self.due = self.next(now)
        return self.answers.get(type(event), [])

    def deadline(self) -> Instant:
        return self.due

    def snapshot(self, now: Instant) -> Snapshot:
        raise NotImplementedError

    def perform(self, effect: Effect) -> None:
        self.done.append(effect)
        self.on_effect(effect)

    def call_at(self, at: Instant, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, callback))
        return self.timers[-1]

    def armed(self) -> Timer:
        (timer,) = [timer for timer in self.timers if not timer.cancelled]
        return timer

    def wake(self, at: Instant) -> None:
        """Let the armed timer fire at that instant."""
        timer = self.armed()
        timer.cancelled = True
        self.now = at
        timer.callback()

    def events(self) -> list[str]:
        return [type(event).__name__ for event, _ in self.told]


def effect(name: str) -> Read:
    return Read(paths=(name,))


def begun() -> World:
    world = World()
    world.loop.begin(world)
    world.told.clear()
    return world


def test_the_first_event_is_a_tick() -> None:
    world = World()
    world.loop.begin(world)
    assert world.told == [(Tick(), world.now)]


def test_the_timer_is_armed_for_the_engine_s_deadline() -> None:
    world = begun()
    assert world.armed().at == world.due


def test_a_timer_that_fires_early_waits_on() -> None:
    world = begun()
    due = world.due
    world.wake(due - 1)
    assert world.told == []
    assert world.armed().at == due
    world.wake(due)
    assert world.told == [(Tick(), due)]


def test_only_one_timer_is_armed_at_a_time() -> None:
    world = begun()
    for number in range(5):
        world.due = world.now + (number + 2) * MILLISECOND
        world.loop.post(StopAsked())
    assert world.armed().at == world.now + 6 * MILLISECOND


def test_effects_are_carried_out_before_what_they_post_is_handled() -> None:
    world = begun()
    world.answers = {StopAsked: [effect("a"), effect("b")], DeadlineSet: [effect("c")]}

    def post_at_once(done: Effect) -> None:
        if done == effect("a"):
            world.loop.post(DeadlineSet(serial=1))
            assert world.events() == ["StopAsked"], "handled in the middle of another's effects"

    world.on_effect = post_at_once
    world.loop.post(StopAsked())
    assert world.done == [effect("a"), effect("b"), effect("c")]
    assert world.events() == ["StopAsked", "DeadlineSet"]


def test_an_event_is_handled_before_post_returns() -> None:
    world = begun()
    world.loop.post(StopAsked())
    assert world.events() == ["StopAsked"]


def test_a_late_loop_tells_so_before_anything_received() -> None:
    world = begun()
    late = world.due + 40 * MILLISECOND
    world.now = late
    world.loop.post(StopAsked())  # asyncio runs readers before timers
    assert world.told == [(LoopWasLate(lateness=40 * MILLISECOND), late), (Tick(), late),
                          (StopAsked(), late)]
    assert world.loop.worst_lateness == 40 * MILLISECOND


def test_lateness_below_the_threshold_is_not_worth_a_word() -> None:
    world = begun()
    world.wake(world.due + LATE)
    assert world.events() == ["Tick"]


def test_slow_effects_count_as_lateness() -> None:
    world = begun()
    world.answers = {StopAsked: [effect("slow")]}
    due = world.due

    def stall(done: Effect) -> None:
        world.now = due + 300 * MILLISECOND

    world.on_effect = stall
    world.loop.post(StopAsked())
    assert world.told[1][0] == LoopWasLate(lateness=300 * MILLISECOND)


def test_a_deadline_in_the_past_does_not_hold_the_loop_up() -> None:
    world = World()
    world.next = lambda now: now - 1
    world.loop.begin(world)
    assert world.events() == ["Tick"], "a second tick without leaving the loop to others"
    assert world.armed().at > world.now


def test_a_bug_of_the_engine_ends_the_feeding_once() -> None:
    world = begun()
    bug = AssertionError("two holders")

    def raises(event: Event, now: Instant) -> list[Effect]:
        raise bug

    world.handle = raises  # type: ignore[method-assign]
    world.loop.post(StopAsked())
    world.loop.post(StopAsked())
    assert world.errors == [bug]
    assert world.loop.engine is None
    assert all(timer.cancelled for timer in world.timers)


def test_an_effect_that_raises_is_a_bug_too() -> None:
    world = begun()
    world.answers = {StopAsked: [effect("a"), effect("b")]}

    def raises(done: Effect) -> None:
        raise KeyError("no such group")

    world.on_effect = raises
    world.loop.post(StopAsked())
    assert len(world.errors) == 1
    assert world.done == [effect("a")], "nothing goes on after a bug"


def test_the_next_engine_is_told_what_is_known() -> None:
    world = begun()
    facts: list[Event] = [
        ConditionChanged(group="crm", ok=False), ZooKeeperChanged(connected=True),
        RecordRead(path="leader", record=None, version=-1),
        RecordRead(path="plan", record=None, version=-1),
        RecordRead(path="leader", record=None, version=3),
    ]
    for fact in facts:
        world.loop.post(fact)
    world.loop.end()
    between = RecordRead(path="plan", record=None, version=9)
    world.loop.post(between)
    world.told.clear()
    world.loop.begin(world)
    assert [event for event, _ in world.told] == [Tick(), facts[0], facts[1], facts[4], between]


def test_requests_that_are_gone_are_forgotten() -> None:
    world = begun()
    world.loop.post(RecordRead(path="requests/1", record=Request(id="1", kind="clear"), version=0))
    world.loop.post(RecordRead(path="requests/1", record=None, version=-1))
    assert world.loop.known.events() == []


def test_records_of_a_lost_connection_are_not_told_again() -> None:
    world = begun()
    world.loop.post(ZooKeeperChanged(connected=True))
    world.loop.post(RecordRead(path="plan", record=None, version=9))
    world.loop.post(ZooKeeperChanged(connected=False))
    world.loop.end()
    world.told.clear()
    world.loop.begin(world)
    assert world.events() == ["Tick", "ZooKeeperChanged"]


def test_what_is_intercepted_does_not_reach_the_engine() -> None:
    world = begun()
    seen: list[Event] = []

    def own(event: Event) -> bool:
        seen.append(event)
        return isinstance(event, WriteAnswered) and event.write < 0

    world.loop.intercept = own
    mine, theirs = (WriteAnswered(write=write, outcome=Outcome.DONE) for write in (-1, 1))
    world.loop.post(mine)
    world.loop.post(theirs)
    assert seen == [mine, theirs]
    assert [event for event, _ in world.told] == [theirs]


def test_everything_handled_is_recorded_in_its_order() -> None:
    world = begun()
    world.now = world.due + 40 * MILLISECOND
    world.loop.post(StopAsked())
    assert [type(event).__name__ for event in world.recorded[-3:]] == [
        "LoopWasLate", "Tick", "StopAsked"]


def test_housekeeping_comes_when_the_engine_has_nothing_left_to_do() -> None:
    world = begun()
    calls: list[tuple[Instant, list[str]]] = []
    world.loop.idle = lambda now, due: calls.append((due, world.events()))
    world.answers = {StopAsked: [effect("a")]}
    world.on_effect = lambda done: world.loop.post(DeadlineSet(serial=1))
    world.loop.post(StopAsked())
    assert calls == [(world.due, ["StopAsked", "DeadlineSet"])], "not between the two"
    at = world.due
    world.wake(at)
    assert calls[1:] == [(at + 100 * MILLISECOND, ["StopAsked", "DeadlineSet", "Tick"])]
