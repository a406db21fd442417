"""Mistakes planted on purpose are found; a world in which nothing breaks would prove nothing."""

import pytest

from hamgr.core.types import SECOND
from hamgr.engine import Engine
from hamgr.simulation.mistakes import MISTAKES, hunt
from hamgr.simulation.scenario import Fault
from hamgr.simulation.shrink import shrink
from hamgr.simulation.swarm import scenario_for
from hamgr.simulation.trace import story
from hamgr.simulation.world import World

CHEAP = ("b", "c", "e", "g", "h", "m", "r", "s", "t", "u", "v", "x", "y", "z-lead",
         "z-scars", "aa", "stop", "within", "fence", "fences", "file", "standby",
         "paused", "kept", "epoch", "order", "reverse", "replica", "rests", "probe", "down",
         "requires", "apart")
"""Found within some ten schedules; `python -m hamgr.simulation mistakes` hunts for all."""


@pytest.mark.parametrize("letter", CHEAP)
def test_a_planted_mistake_is_found(letter: str) -> None:
    mistake = MISTAKES[letter]
    assert any(mistake.found_in(verdict) for verdict in hunt(mistake))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("letter", [one for one in MISTAKES if one not in CHEAP])
def test_a_planted_mistake_is_found_in_the_end(letter: str) -> None:
    mistake = MISTAKES[letter]
    assert any(mistake.found_in(verdict) for verdict in hunt(mistake))


class DeafEngine(Engine):
    """An engine that says it is broken as soon as a node was silent: something to be found."""

    def handle(self, event, now):  # type: ignore[no-untyped-def]
        effects = super().handle(event, now)
        assert not any(peer.is_accused for peer in self.knowledge.liveness.peers.values())
        return effects


def test_a_violation_is_told_with_the_command_that_repeats_it_and_shrinks_to_its_cause() -> None:
    scenario = scenario_for(1, turmoil=6 * SECOND)
    crash = Fault(at=6 * SECOND, kind="crash", target="holder")
    noise = tuple(Fault(at=(4 + i) * SECOND, kind="switchover") for i in range(3))
    from msgspec.structs import replace
    scenario = replace(scenario, faults=(*noise, crash))

    def fails(candidate) -> bool:  # type: ignore[no-untyped-def]
        return bool(World(candidate, make_engine=DeafEngine).run().violations)

    small = shrink(scenario, fails)
    assert small.faults == (crash,)
    world = World(small, make_engine=DeafEngine, record=True)
    world.run()
    told = "\n".join(story(world))
    assert "VIOLATION" in told
    assert "python -m hamgr.simulation --seed 1 --trace" in told
    assert "FAULT crash" in told
