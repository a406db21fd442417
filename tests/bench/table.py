"""The results in words: one table for each comparison, then what each system costs."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from tests.bench.figures import Results, Run, System
from tests.bench.settings import HAMGR, HIGHEST, KEEPALIVED, SECOND_RING

Side = tuple[str, float]
"""A system at an interval in milliseconds."""


class Comparison(NamedTuple):
    """hamgr and another, side by side."""

    title: str
    ours: Side
    theirs: Side
    alone: bool = False
    """Whether scenarios stand here that only hamgr has runs of."""


COMPARISONS = (
    Comparison("Both at 100 ms", (HAMGR, 100), (KEEPALIVED, 100), alone=True),
    Comparison("Both at 20 ms", (HAMGR, 20), (KEEPALIVED, 20), alone=True),
    Comparison("Both at their defaults: 100 ms and 1 s", (HAMGR, 100), (KEEPALIVED, 1000)),
    Comparison("Not judged: priorities 254, 253, 252 at 100 ms", (HAMGR, 100), (HIGHEST, 100)),
    Comparison("Not judged: priorities 254, 253, 252 at 20 ms", (HAMGR, 20), (HIGHEST, 20)),
    Comparison("Not judged: adverts over the second ring, the VIP's interface tracked, 100 ms",
               (HAMGR, 100), (SECOND_RING, 100)),
)
_HEAD = ("scenario", "system", "runs", "outage min", "median", "max", "ratio",
         "down", "after heal", "two owners", "takeovers", "still", "busy")
_LEGEND = ("(times in ms; down, after heal, takeovers: median; two owners: the worst; still: how "
           "long the machine itself stood still, in the worst run, not counted; busy: all of this "
           "machine, whoever kept it so)")
_COSTS = ("system", "interval", "CPU %", "others", "PSS MiB", "RSS", "locked", "heartbeats/s",
          "mean", "all packets/s", "ZooKeeper writes", "in s", "busy")


def of(results: Results, scenario: str, side: Side) -> list[Run]:
    """Return the runs of one scenario by one system at one interval."""
    return [run for run in results.runs
            if run.scenario == scenario and (run.system, run.interval_ms) == side]


def outage(runs: Sequence[Run]) -> float:
    """Return the median outage, in milliseconds."""
    return median(run.outage_ms for run in runs)


def phases(runs: Iterable[Run]) -> dict[str, float]:
    """Return the median of each phase, in milliseconds, over the runs that tell of it."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for name, ms in run.phases.items():
            found.setdefault(name, []).append(ms)
    return {name: median(times) for name, times in found.items()}


def text(results: Results) -> Iterator[str]:
    """Yield the lines of everything but the verdicts."""
    names = list(dict.fromkeys(run.scenario for run in results.runs))
    for comparison in COMPARISONS:
        if rows := list(_rows(results, names, comparison)):
            yield from ("", comparison.title, _LEGEND)
            yield from _aligned([_HEAD, *rows])
    if results.systems:
        yield from ("", "Idle, per node: the owner, and the mean of the others")
        yield from _aligned([_COSTS, *map(_costs, results.systems)])
    yield from _beats(results)
    for failure in results.failures:
        yield from ("", f"failed: {failure.system} at {failure.interval_ms:g} ms, "
                    f"{failure.scenario}: {failure.why.splitlines()[0]}")


def _rows(results: Results, names: list[str],
          comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for name in names:
        ours, theirs = of(results, name, comparison.ours), of(results, name, comparison.theirs)
        if ours and (theirs or comparison.alone) or theirs:
            ratio = outage(ours) / outage(theirs) if ours and theirs and outage(theirs) else None
            yield from _side(name, ours, ratio)
            yield from _side("" if ours else name, theirs, None)


def _side(name: str, runs: list[Run], ratio: float | None) -> Iterator[tuple[str, ...]]:
    if not runs:
        return
    times = [run.outage_ms for run in runs]
    yield (name, runs[0].system, str(len(runs)), f"{min(times):.1f}", f"{median(times):.1f}",
           f"{max(times):.1f}", "" if ratio is None else f"{ratio:.2f}",
           f"{median(run.down_ms for run in runs):.0f}",
           f"{median(run.healed_down_ms for run in runs):.0f}",
           f"{max(run.two_owners_ms for run in runs):.0f}",
           f"{median(run.takeovers for run in runs):g}",
           f"{max(run.still_ms for run in runs):.0f}",
           f"{median(run.busy_percent for run in runs):.0f} %")
    unserved = sum(not run.served for run in runs)
    if unserved:
        yield ("", f"  {unserved} of {len(runs)} not served when the fault ended",)
    if told := phases(runs):
        yield ("", "  " + "  ".join(f"{phase} {ms:.1f}" for phase, ms in told.items()),)


def _costs(one: System) -> tuple[str, ...]:
    writes = "-" if one.zookeeper_writes is None else str(one.zookeeper_writes)
    return (one.system, f"{one.interval_ms:g} ms", f"{one.cpu_percent:.2f}",
            f"{one.cpu_percent_others:.2f}", f"{one.pss_mib:.1f}", f"{one.rss_mib:.1f}",
            f"{one.locked_mib:.1f}", f"{one.packets_per_s:.1f}", f"{one.packets_per_s_mean:.1f}",
            f"{one.all_packets_per_s:.1f}", writes, f"{one.seconds:.0f}",
            f"{one.busy_percent:.0f} %")


def _beats(results: Results) -> Iterator[str]:
    """Tell how many heartbeats more are sent while some are lost."""
    idle = {(one.system, one.interval_ms): one.packets_per_s_mean for one in results.systems}
    for run in results.runs:
        side = (run.system, run.interval_ms)
        if run.heartbeats_per_s is not None and run.run == 0:
            counted = [one.heartbeats_per_s for one in of(results, run.scenario, side)
                       if one.heartbeats_per_s is not None]
            usual = f", {idle[side]:.1f} when idle" if side in idle else ""
            yield (f"{run.scenario}: a node of {run.system} at {run.interval_ms:g} ms sent "
                   f"{median(counted):.1f} heartbeats/s{usual}")


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield rows under their heads: words to the left, figures to the right.

    A row of two is a remark, which may be as long as it likes.
    """
    whole = [row for row in rows if len(row) > 2]
    widths = [max(len(row[column]) for row in whole) for column in range(len(whole[0]))]
    for row in rows:
        if len(row) == 2:
            yield f"{'':{widths[0]}}  {row[1]}"
        else:
            yield "  ".join(cell.ljust(width) if column < 2 else cell.rjust(width) for
                            column, (cell, width) in enumerate(zip(row, widths, strict=True)))
