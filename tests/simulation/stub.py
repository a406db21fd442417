"""A scripted engine: it does what it is told, so that a test sees the world below engines alone."""

from typing import Any

from hamgr.core.effects import ArmSwitch, ClaimAddresses, Effect, RunService, SetDeadline
from hamgr.core.events import Event
from hamgr.core.types import NEVER, SECOND, Instant
from hamgr.simulation.scenario import Scenario
from hamgr.simulation.world import World


class StubEngine:
    """Keeps what it was handed, and returns the effects that were put in its queue."""

    def __init__(self, spec: Any, node: str, incarnation: int, now: Instant, **kept: Any) -> None:
        self.spec, self.node, self.incarnation, self.kept = spec, node, incarnation, kept
        self.events: list[tuple[Instant, Event]] = []
        self.queue: list[Effect] = []
        self.wanted: Instant = NEVER

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        self.events.append((now, event))
        effects, self.queue = self.queue, []
        return effects

    def deadline(self) -> Instant:
        return self.wanted

    def of(self, kind: type) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]


def world_of_stubs(**scenario: Any) -> World:
    """Return a world whose agents run stubs, one second after their start; leases go unchecked."""
    world = World(Scenario(seed=1, **scenario), make_engine=StubEngine)
    world.watch.started = lambda *_: None  # type: ignore[method-assign]
    world.watch.changed = lambda *_: None  # type: ignore[method-assign]
    world.watch.recheck = lambda *_: None  # type: ignore[method-assign]
    for host in world.hosts.values():
        host.start_agent()
    world.scheduler.run_until(SECOND)
    return world


def tell(world: World, node: str, *effects: Effect) -> None:
    """Let the engine of a node return these effects, now."""
    from hamgr.core.events import Tick
    agent = world.hosts[node].agent
    assert agent is not None
    agent.engine.queue = list(effects)
    agent.post(Tick())


def make_active(world: World, node: str, lease: int = SECOND) -> None:
    """Put the first group's address on a node, guarded by its switch until the lease ends."""
    until = world.hosts[node].clock.now() + lease
    tell(world, node, SetDeadline(deadline=until, serial=1, confirm=True), ArmSwitch(group="g1"),
         ClaimAddresses(group="g1", epoch=1, probe="none"))
    world.scheduler.run_until(world.now + SECOND // 100)
    assert world.hosts[node].kernel.has("g1")


def promote(run: int = 1) -> RunService:
    """Return the effect that promotes the first group's service."""
    return RunService(run=run, group="g1", service="db", action="promote", epoch=1,
                      timeout=SECOND)
