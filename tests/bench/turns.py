"""All runs in their order: the systems take turns in labs of their own, one lab at a time."""

import fcntl
import itertools
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from hamgr.core.types import SECOND
from hamgr.lab.lab import Lab
from hamgr.lab.spec import LabError
from tests.bench import frames, idle
from tests.bench.contender import Contender, Hamgr
from tests.bench.figures import Failure, Results
from tests.bench.keepalived import Keepalived
from tests.bench.scenarios import SCENARIOS, Scenario
from tests.bench.settings import HAMGR, HIGHEST, SETTINGS, Setting, Shape
from tests.bench.stage import perform

LOCK = Path("/run/hamgr-bench.lock")
NAMES = (idle.NAME, *(scenario.name for scenario in SCENARIOS))
_LAB_S = {True: 10.0, False: 2.0}
_READY_S = {True: 3.0, False: 2.0}
"""What it takes about to raise a lab, and to have a system ready again: hamgr's (with ZooKeeper),
and keepalived's, to which four of its intervals are added."""
_STEP_S = 0.2
_FAILURES = 2
"""So many failures of one system in one turn, and the rest of that turn is left out."""
Say = Callable[[str], None]


class Turn(Struct, frozen=True):
    """What one system does in one lab."""

    setting: Setting
    shape: Shape
    runs: tuple[tuple[Scenario, int], ...]
    """Which scenarios, how often."""
    idle_s: float = 0.0
    """For how long its costs are measured; 0: not."""

    @property
    def seconds(self) -> float:
        """About how long it takes."""
        ours = self.setting.system == HAMGR
        ready_s = _READY_S[ours] + (0 if ours else 4 * self.setting.interval / SECOND)
        return _LAB_S[ours] + self.idle_s + sum(
            count * (ready_s + scenario.hold(self.setting) + scenario.after_s)
            for scenario, count in self.runs)


@contextmanager
def alone(within_s: float, say: Say = lambda text: None) -> Iterator[None]:
    """Have no other benchmark run beside this one. Raises LabError if one does not end in time."""
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + within_s
        while not _locked(descriptor):
            if time.monotonic() > end:
                raise LabError(f"another benchmark runs: it holds {LOCK}")
            say("another benchmark runs: waiting for its end")
            say = _mute
            time.sleep(_STEP_S)
        yield
    finally:
        os.close(descriptor)


def _mute(text: str) -> None:
    """Say it no second time."""


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def turns(names: Collection[str] = NAMES, runs: int = 0,
          settings: Sequence[Setting] = SETTINGS) -> list[Turn]:
    """Return what is to be done; `runs` other than 0 takes the place of each scenario's number."""
    labs = dict.fromkeys((scenario.turn, scenario.shape) for scenario in SCENARIOS)
    found = []
    for (number, shape), setting in itertools.product(labs, settings):
        kind = (setting.system, setting.interval)
        wanted = tuple((one, runs or one.runs[kind]) for one in SCENARIOS
                       if (one.turn, one.shape) == (number, shape)
                       and one.name in names and kind in one.runs)
        costs = number == 1 and idle.NAME in names and setting.system != HIGHEST \
            and setting.advert_ring == 1
        if wanted or costs:
            found.append(Turn(setting, shape, wanted, idle.seconds(setting) if costs else 0.0))
    return found


@contextmanager
def raised(setting: Setting, shape: Shape) -> Iterator[Contender]:
    """Have a system in a lab of its own, ready for faults."""
    with Lab.raised(setting.spec(shape)) as lab:
        frames.count(lab)
        if setting.system == HAMGR:
            yield Hamgr(setting, lab)
        else:
            contender = Keepalived(setting, lab)
            contender.start()
            yield contender


def take(turn: Turn, results: Results, say: Say) -> None:
    """Do everything of a turn. A run that fails is noted, and the next one has a fresh lab.

    So is each that is left out: a figure of some runs must not pass for one of all.
    """
    steps = _steps(turn)
    failures = 0
    while steps and failures < _FAILURES:
        try:
            with raised(turn.setting, turn.shape) as contender:
                while steps:
                    _step(contender, steps[0], turn, results, say)
                    del steps[0]
        except (LabError, OSError) as error:  # a system that dies cuts the connections to it
            failures += 1
            why = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
            _failed(turn, _name(steps.pop(0)) if steps else "the end", why, results, say)
    for step in steps:
        _failed(turn, _name(step), f"left out, after {failures} failures", results, say)


def _failed(turn: Turn, name: str, why: str, results: Results, say: Say) -> None:
    results.failures.append(Failure(
        system=turn.setting.system, interval_ms=turn.setting.interval_ms, scenario=name, why=why))
    say(f"{turn.setting}  {name}: {why.splitlines()[0]}")


Step = tuple[Scenario | None, int]
"""A run by its number, or, without a scenario, the measuring of costs."""


def _steps(turn: Turn) -> list[Step]:
    costs: list[Step] = [(None, 0)] if turn.idle_s else []
    return costs + [(scenario, number) for scenario, count in turn.runs for number in range(count)]


def _name(step: Step) -> str:
    return step[0].name if step[0] is not None else idle.NAME


def _step(contender: Contender, step: Step, turn: Turn, results: Results, say: Say) -> None:
    scenario, number = step
    if scenario is None:
        costs = idle.measure(contender, turn.idle_s)
        results.systems.append(costs)
        say(f"{turn.setting}  idle  {costs.cpu_percent:.2f} % of a core, {costs.pss_mib:.1f} MiB")
        return
    run = perform(contender, scenario, number)
    results.runs.append(run)
    owners = f", on two nodes for {run.two_owners_ms:.1f} ms" if run.two_owners_ms else ""
    say(f"{turn.setting}  {scenario.name} {number}  outage {run.outage_ms:.1f} ms, "
        f"down {run.down_ms:.0f} ms, takeovers {run.takeovers}{owners}")
