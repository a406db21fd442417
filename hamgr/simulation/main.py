"""The command line of the simulator: many seeds with a summary, or one with its story."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from hamgr.simulation.batch import Options, Progress, Totals, found_line, scenario_of, verdicts
from hamgr.simulation.incidents import INCIDENTS
from hamgr.simulation.reach import table
from hamgr.simulation.scenario import Scenario
from hamgr.simulation.shrink import describe, shrink
from hamgr.simulation.soak import soak
from hamgr.simulation.trace import story
from hamgr.simulation.world import World

DAY_S = 86_400
SEEDS_A_DAY = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 if any invariant was broken."""
    parsed = _parser().parse_args(arguments)
    if parsed.what == "mistakes":
        from hamgr.simulation.mistakes import report_mistakes
        return report_mistakes(_say, parsed.only)
    options = Options(parsed.nodes, parsed.seconds, parsed.incident, parsed.reach)
    if parsed.what == "soak":
        try:
            return soak(parsed.state, options, hours=parsed.hours, seeds=parsed.seeds or 0,
                        jobs=parsed.jobs, say=_say)
        except (OSError, msgspec.DecodeError) as error:
            sys.stderr.write(f"{parsed.state}: {error}; name another file with --state\n")
            return 2
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
    add = parser.add_argument
    add("what", nargs="?", choices=("run", "mistakes", "soak"), default="run",
        help="run scenarios; see that planted mistakes are found; run and go on another day")
    add("--seeds", type=int, help="how many seeds to run (100; a soak: as many as fit)")
    add("--first", type=int, default=0, help="the first of them")
    add("--fresh", action="store_true", help="count from the seed of the day: other ones each day")
    add("--seed", type=int, help="run this one seed and tell its story")
    add("--scenario", metavar="FILE", help="run the scenario in this JSON file")
    add("--nodes", type=int, default=0, help="nodes (0: as drawn)")
    add("--seconds", type=int, default=14, help="length of the turmoil")
    add("--incident", default="", choices=("", *sorted(INCIDENTS)), metavar="NAME",
        help="play this incident only")
    add("--jobs", type=int, default=1, help="processes")
    add("--reach", action="store_true", help="count what was reached, rule by rule")
    add("--trace", action="store_true", help="the whole story, if nothing broke")
    add("--lines", type=int, default=60, help="lines of the story")
    add("--shrink", action="store_true", help="make a failing scenario smaller")
    add("--only", default="", help="mistakes: only these letters, such as a,b,z")
    add("--state", default="build/soak.json", metavar="FILE", help="soak: what was done so far")
    add("--hours", type=float, default=0.0, help="soak: end after so long (0: when interrupted)")
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
    totals = Totals()
    totals.add(verdict)
    _say(totals.summary())
    return 1 if verdict.violations else 0


def _many(parsed: argparse.Namespace, options: Options) -> int:
    seeds = 100 if parsed.seeds is None else parsed.seeds
    first, day = parsed.first, int(time.time()) // DAY_S * SEEDS_A_DAY
    of_the_day = f" of the day, which begins with {day}" if parsed.fresh else ""
    first += day if parsed.fresh else 0
    _say(f"simulation: {seeds} seeds from {first}{of_the_day}")
    totals, progress = Totals(), Progress(seeds, _say)
    for verdict in verdicts(range(first, first + seeds), options, parsed.jobs):
        totals.add(verdict)
        if verdict.violations:
            _say(found_line(verdict, options))
        progress.step(totals)
    if parsed.reach:
        for line in table(Counter(totals.reached), totals.seeds):
            _say(line)
        _say("")
    _say(totals.summary(progress.took_s))
    return 1 if totals.broken else 0
