"""The limits that hamgr has set itself, each with what was measured."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tests.bench.figures import Results, Run, System
from tests.bench.settings import HAMGR, KEEPALIVED
from tests.bench.table import Side, of, outage

KERNEL_LIFETIME_MS = 2000 + 1250
"""valid_lft, and the second and a quarter by which the kernel may be late."""
_TWO_OWNERS_MS = {"process_freeze": 20, "process_kill": 20, "all_freeze": KERNEL_LIFETIME_MS}
"""How long the address may be on two nodes; never in any other scenario."""
_INTERVALS = (100.0, 20.0)


class Verdict(NamedTuple):
    """One limit, and whether it was kept."""

    what: str
    figure: float
    limit: float
    goal: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the figure is within the limit."""
        return self.figure <= self.limit

    def __str__(self) -> str:
        goal = "" if self.goal is None else f", goal {self.goal:g}"
        state = "ok" if self.reached else "not reached"
        if self.reached and self.goal is not None and self.figure > self.goal:
            state = "ok, short of the goal"
        return f"{self.what}: {self.figure:.3g} (limit {self.limit:g}{goal}): {state}"


def verdicts(results: Results) -> list[Verdict]:
    """Return a verdict on everything that was measured; what was not has none."""
    return [verdict for part in (_crashes, _orders, _owners, _edges, _loss, _costs, _failures)
            for verdict in part(results)]


def _worst(what: Callable[[Run], float], runs: Sequence[Run]) -> float:
    return max(what(run) for run in runs)


def _ours(interval_ms: float) -> Side:
    return HAMGR, interval_ms


def _ratio(results: Results, one: tuple[str, Side], two: tuple[str, Side]) -> Iterator[float]:
    """Yield how the median outage of one compares with that of the other, if there are both."""
    first, second = of(results, *one), of(results, *two)
    if first and second:
        yield outage(first) / outage(second)


def _crashes(results: Results) -> Iterator[Verdict]:
    for ms in _INTERVALS:
        plain = ("node_crash", _ours(ms))
        for ratio in _ratio(results, plain, ("node_crash", (KEEPALIVED, ms))):
            yield Verdict(f"node_crash at {ms:g} ms, hamgr / keepalived", ratio, 1.0, 0.9)
        for name in ("node_crash_zk_leader", "node_crash_zk_down", "five_nodes", "witness",
                     "deaf_active"):
            for ratio in _ratio(results, (name, _ours(ms)), plain):
                yield Verdict(f"{name} at {ms:g} ms / node_crash", ratio, 1.1)
    defaults = ("node_crash", _ours(100)), ("node_crash", (KEEPALIVED, 1000.0))
    for ratio in _ratio(results, *defaults):
        yield Verdict("node_crash at the defaults, hamgr / keepalived", ratio, 0.12)


def _orders(results: Results) -> Iterator[Verdict]:
    for name in ("planned_switchover", "graceful_stop", "vip_link_cut"):
        for ms in _INTERVALS:
            if runs := of(results, name, _ours(ms)):
                yield Verdict(f"{name} at {ms:g} ms, median in ms", outage(runs), 10,
                              None if name == "vip_link_cut" else 5)


def _owners(results: Results) -> Iterator[Verdict]:
    for name in dict.fromkeys(run.scenario for run in results.runs):
        for ms in _INTERVALS:
            if runs := of(results, name, _ours(ms)):
                yield Verdict(f"{name} at {ms:g} ms, address on two nodes, worst in ms",
                              _worst(lambda run: run.two_owners_ms, runs),
                              _TWO_OWNERS_MS.get(name, 0))


def _edges(results: Results) -> Iterator[Verdict]:
    for ms in _INTERVALS:
        if runs := of(results, "isolate", _ours(ms)):
            yield Verdict(f"isolate at {ms:g} ms, client down after it heals, worst in ms",
                          _worst(lambda run: run.healed_down_ms, runs), 20)
    for name in ("two_voters", "crash_early", "crash_twice"):
        if runs := of(results, name, _ours(100)):
            yield Verdict(f"{name}, runs in which nobody served again",
                          sum(not run.served for run in runs), 0)


def _loss(results: Results) -> Iterator[Verdict]:
    if runs := of(results, "loss20", _ours(100)):
        moved = sum(run.takeovers > 0 for run in runs)
        yield Verdict("loss20 at 100 ms, share of the runs with a takeover", moved / len(runs), 0.1)
        yield Verdict("loss20 at 100 ms, client down, worst in ms",
                      _worst(lambda run: run.down_ms, runs), 1000)


def _costs(results: Results) -> Iterator[Verdict]:
    for one in results.systems:
        if (one.system, one.interval_ms) == _ours(100):
            yield Verdict("idle at 100 ms, percent of a core", one.cpu_percent, 1.5, 1.0)
            yield Verdict("idle at 100 ms, PSS in MiB", one.pss_mib, 80, 60)
            yield Verdict("idle at 100 ms, memory that is not locked", _unlocked(one), 0)
            if one.zookeeper_writes is not None:
                yield Verdict(f"idle, writes to ZooKeeper in {one.seconds:.0f} s",
                              one.zookeeper_writes, 0)


def _failures(results: Results) -> Iterator[Verdict]:
    """Yield one for each scenario in which not every run of ours came to a figure.

    Where nobody serves again in time, there is no run that could say so.
    """
    ours = Counter((one.scenario, one.interval_ms) for one in results.failures
                   if one.system == HAMGR)
    for (name, ms), count in ours.items():
        yield Verdict(f"{name} at {ms:g} ms, runs that came to nothing", count, 0)


def _unlocked(one: System) -> float:
    """Return 1 if less is locked than is in memory; what is locked counts shared pages whole."""
    return float(one.locked_mib < one.pss_mib)
