"""Makes a failing scenario smaller: delta debugging over its faults (Zeller's ddmin)."""

from collections.abc import Callable

import msgspec

from hamgr.core.types import SECOND
from hamgr.simulation.scenario import Fault, Scenario

Fails = Callable[[Scenario], bool]
RUNS_MAX = 120


def shrink(scenario: Scenario, fails: Fails) -> Scenario:
    """Return a scenario that still fails, from which no fault can be left out (within limits)."""
    faults = list(scenario.faults)
    runs, parts = 0, 2
    while len(faults) >= 1 and runs < RUNS_MAX:
        size = max(1, len(faults) // parts)
        for start in range(0, len(faults), size):
            fewer = faults[:start] + faults[start + size:]
            runs += 1
            if fails(_with(scenario, fewer)):
                faults, parts = fewer, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(faults), 2 * parts)
    return _simpler(_with(scenario, faults), fails)


def _simpler(scenario: Scenario, fails: Fails) -> Scenario:
    for change in ({"drift_ppm": 0}, {"rings": 1}, {"groups": scenario.groups[:1]},
                   {"stay_dead": 0}, {"witnesses": 0}):
        candidate = msgspec.structs.replace(scenario, **change)
        if candidate != scenario and fails(candidate):
            scenario = candidate
    return scenario


def _with(scenario: Scenario, faults: list[Fault]) -> Scenario:
    return msgspec.structs.replace(scenario, faults=tuple(faults))


def describe(scenario: Scenario) -> list[str]:
    """Return the faults of a scenario, one a line."""
    return [f"{fault.at / SECOND:8.3f} s  {fault.kind:16} {fault.target:8} {fault.peer:8}"
            f" {fault.duration / SECOND:6.2f} s  {fault.amount or ''} {fault.when}".rstrip()
            for fault in scenario.faults]
