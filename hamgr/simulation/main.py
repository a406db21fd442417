"""The command line of the simulator: many seeds with a summary, or one with its story."""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence

import msgspec

from hamgr.core.types import MILLISECOND, SECOND
from hamgr.simulation.invariants import Verdict
from hamgr.simulation.scenario import Scenario
from hamgr.simulation.shrink import describe, shrink
from hamgr.simulation.swarm import scenario_for
from hamgr.simulation.trace import command, story
from hamgr.simulation.world import World


class Options(msgspec.Struct, frozen=True):
    """What decides which scenarios are run."""

    nodes: int = 0
    seconds: int = 14
    name: str = ""


def scenario_of(seed: int, options: Options) -> Scenario:
    """Return the scenario that a seed stands for under these options."""
    return scenario_for(seed, nodes=options.nodes, turmoil=options.seconds * SECOND,
                        incident=options.name)


def verdict_of(work: tuple[int, Options]) -> Verdict:
    """Run one seed."""
    return World(scenario_of(*work)).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 if any invariant was broken."""
    parsed = _parser().parse_args(arguments)
    if parsed.what == "mistakes":
        from hamgr.simulation.mistakes import report_mistakes
        return report_mistakes(_say, parsed.only)
    options = Options(parsed.nodes, parsed.seconds, parsed.incident)
    if parsed.scenario is not None:
        with open(parsed.scenario, "rb") as file:
            scenario = msgspec.json.decode(file.read(), type=Scenario)
        return _tell(scenario, parsed)
    if parsed.seed is not None:
        return _tell(scenario_of(parsed.seed, options), parsed)
    return _many(parsed, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hamgr.simulation", description="whole clusters in virtual time")
    parser.add_argument("what", nargs="?", choices=("run", "mistakes"), default="run",
                        help="run scenarios, or see that planted mistakes are found")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one seed and tell its story")
    parser.add_argument("--scenario", help="run the scenario in this JSON file")
    parser.add_argument("--nodes", type=int, default=0, help="nodes (0: as drawn)")
    parser.add_argument("--seconds", type=int, default=14, help="length of the turmoil")
    parser.add_argument("--incident", default="", help="play this incident only")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--trace", action="store_true", help="the whole story, if nothing broke")
    parser.add_argument("--lines", type=int, default=60, help="lines of the story")
    parser.add_argument("--shrink", action="store_true", help="make a failing scenario smaller")
    parser.add_argument("--only", default="", help="mistakes: only this one")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _tell(scenario: Scenario, parsed: argparse.Namespace) -> int:
    world = World(scenario, record=True)
    verdict = world.run()
    if verdict.violations and parsed.shrink:
        kind = verdict.violations[0].kind
        scenario = shrink(scenario, lambda candidate: any(
            violation.kind == kind for violation in World(candidate).run().violations))
        world = World(scenario, record=True)
        verdict = world.run()
        _say(msgspec.json.encode(scenario).decode())
    for line in describe(scenario):
        _say(line)
    if verdict.violations or parsed.trace:
        for line in story(world, parsed.lines, full=parsed.trace and not verdict.violations):
            _say(line)
    _say(_summary([verdict], 0.0))
    return 1 if verdict.violations else 0


def _many(parsed: argparse.Namespace, options: Options) -> int:
    began = time.monotonic()
    verdicts: list[Verdict] = []
    told = began
    for verdict in _verdicts(parsed, options):
        verdicts.append(verdict)
        if verdict.violations:
            first = verdict.violations[0]
            again = command(scenario_of(verdict.seed, options))
            _say(f"seed {verdict.seed} ({verdict.name}) at {first.at / SECOND:.3f} s: "
                 f"{first.kind}: {first.text}\n    {again}")
        if time.monotonic() - told > 10:
            told = time.monotonic()
            _say(f"... {len(verdicts)} of {parsed.seeds} seeds")
    _say(_summary(verdicts, time.monotonic() - began))
    return 1 if any(verdict.violations for verdict in verdicts) else 0


def _verdicts(parsed: argparse.Namespace, options: Options) -> Iterator[Verdict]:
    work = [(seed, options) for seed in range(parsed.first, parsed.first + parsed.seeds)]
    if parsed.jobs <= 1:
        yield from map(verdict_of, work)
        return
    with multiprocessing.Pool(parsed.jobs) as pool:
        yield from pool.imap(verdict_of, work, chunksize=4)


def _summary(verdicts: list[Verdict], took_s: float) -> str:
    broken = sum(1 for verdict in verdicts if verdict.violations)
    simulated = sum(verdict.duration for verdict in verdicts) / SECOND
    darkest = max(verdicts, key=lambda verdict: verdict.dark)
    rate = f", {simulated / took_s:.0f} cluster-seconds per second" if took_s else ""
    return (f"simulation: {len(verdicts)} seeds, {simulated:.0f} cluster-seconds{rate}; "
            f"{sum(one.activations for one in verdicts)} activations, "
            f"{sum(one.by_heirs for one in verdicts)} by heirs; "
            f"{sum(one.overlaps for one in verdicts)} overlaps within bounds; "
            f"longest dark after peace {darkest.dark // MILLISECOND} ms (seed {darkest.seed}); "
            f"{broken} violations")
