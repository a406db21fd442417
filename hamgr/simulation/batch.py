"""Many runs: from seeds to verdicts, on one core or several, with progress and a sum."""

import gc
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

from msgspec import Struct, field, structs

from hamgr.core.types import MILLISECOND, SECOND, Duration
from hamgr.simulation.invariants import Verdict
from hamgr.simulation.reach import count_rules
from hamgr.simulation.scenario import Scenario
from hamgr.simulation.swarm import scenario_for
from hamgr.simulation.trace import command
from hamgr.simulation.world import World

Say = Callable[[str], None]

PROGRESS_EVERY_S = 10
YOUNG = 200_000
"""Objects between two collections: mostly messages, which die at once (a tenth of the time)."""


class Options(Struct, frozen=True):
    """What decides, beside the seed, which scenario is run, and what is counted meanwhile."""

    nodes: int = 0
    """0: as drawn."""
    seconds: int = 14
    """Length of the turmoil."""
    incident: str = ""
    """Play this one only."""
    reach: bool = False
    """Count the calls of what keeps the rules: a fifth slower."""

    def arguments(self) -> str:
        """Return what the command line needs to draw the same scenario again."""
        words = [f"--nodes {self.nodes}" if self.nodes else "",
                 f"--seconds {self.seconds}" if self.seconds != Options().seconds else "",
                 f"--incident {self.incident}" if self.incident else ""]
        return " ".join(word for word in words if word)


class Totals(Struct):
    """The sum of many verdicts."""

    seeds: int = 0
    broken: int = 0
    simulated: Duration = 0
    activations: int = 0
    by_heirs: int = 0
    overlaps: int = 0
    darkest: Duration = 0
    darkest_seed: int = 0
    reached: dict[str, int] = field(default_factory=dict)

    def add(self, verdict: Verdict) -> None:
        """Count one more run."""
        self.seeds += 1
        self.broken += bool(verdict.violations)
        self.simulated += verdict.duration
        self.activations += verdict.activations
        self.by_heirs += verdict.by_heirs
        self.overlaps += verdict.overlaps
        if verdict.dark > self.darkest:
            self.darkest, self.darkest_seed = verdict.dark, verdict.seed
        for name, count in verdict.reached.items():
            self.reached[name] = self.reached.get(name, 0) + count

    def summary(self, took_s: float = 0.0) -> str:
        """Return the closing line."""
        simulated = self.simulated / SECOND
        rate = f", {simulated / took_s:.0f} cluster-seconds per second" if took_s else ""
        return (f"simulation: {self.seeds} seeds, {simulated:.0f} cluster-seconds{rate}; "
                f"{self.activations} activations, {self.by_heirs} by heirs; "
                f"{self.overlaps} overlaps within bounds; "
                f"longest dark after peace {self.darkest // MILLISECOND} ms "
                f"(seed {self.darkest_seed}); {self.broken} violations")


class Progress:
    """Says now and then how far it is, how fast, and what is left."""

    def __init__(self, seeds: int, say: Say) -> None:
        """`seeds`: how many are to be run; 0: nobody knows."""
        self._seeds = seeds
        self._say = say
        self._done = 0
        self._simulated: Duration = 0
        self._began = self._told = time.monotonic()

    @property
    def took_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def step(self, totals: Totals) -> None:
        """One more run is over."""
        self._done += 1
        if time.monotonic() - self._told < PROGRESS_EVERY_S:
            return
        self._told = time.monotonic()
        rate = totals.simulated / SECOND / self.took_s
        words = [f"{self._done} of {self._seeds} seeds" if self._seeds else f"{self._done} seeds",
                 f"{totals.broken} broken", f"{rate:.0f} cluster-seconds per second"]
        if self._seeds:
            left_s = self.took_s / self._done * (self._seeds - self._done)
            words.append(f"{left_s / 60:.0f} min left" if left_s > 90 else f"{left_s:.0f} s left")
        self._say("... " + ", ".join(words))


def scenario_of(seed: int, options: Options) -> Scenario:
    """Return the scenario that a seed stands for under these options."""
    return scenario_for(seed, nodes=options.nodes, turmoil=options.seconds * SECOND,
                        incident=options.incident)


def verdict_of(work: tuple[int, Options]) -> Verdict:
    """Run one seed."""
    seed, options = work
    world = World(scenario_of(seed, options))
    if not options.reach:
        return world.run()
    reached: Counter[str] = Counter()
    with ExitStack() as stack:
        count_rules(stack, reached)
        verdict = world.run()
    return structs.replace(verdict, reached={**verdict.reached, **reached})


def verdicts(seeds: Iterable[int], options: Options, jobs: int = 1) -> Iterator[Verdict]:
    """Run seeds on so many processes; verdicts come in the order of the seeds."""
    gc.set_threshold(YOUNG)
    work = ((seed, options) for seed in seeds)
    if jobs <= 1:
        yield from map(verdict_of, work)
        return
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap(verdict_of, work)


def found_line(verdict: Verdict, options: Options) -> str:
    """Return what was broken, and the command that tells its story."""
    first = verdict.violations[0]
    again = " ".join((command(scenario_of(verdict.seed, options)), options.arguments())).strip()
    return (f"seed {verdict.seed} ({verdict.name}) at {first.at / SECOND:.3f} s: "
            f"{first.kind}: {first.text}\n    {again}")
