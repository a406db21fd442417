"""What a benchmark makes of what it saw: outages, owners, takeovers, phases, verdicts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hamgr.core.types import MILLISECOND, NEVER, SECOND
from hamgr.lab.probe import Acknowledged, Record
from hamgr.lab.spec import VIP, VIP6
from hamgr.lab.watch import Tenure
from tests.bench import idle, turns
from tests.bench.account import Observed, account
from tests.bench.busy import Busy
from tests.bench.figures import (
    Course,
    Failure,
    Results,
    Run,
    System,
    down_ms,
    outage_ms,
    silences,
    takeovers,
    two_owners_ms,
)
from tests.bench.judge import verdicts
from tests.bench.scenarios import SCENARIOS
from tests.bench.settings import HAMGR, KEEPALIVED, SETTINGS, Setting
from tests.bench.table import text

MS = MILLISECOND


def replies(*spans: tuple[int, int, str]) -> Record:
    """Return a record with one reply a millisecond in each span (from, to, node), in ms."""
    at = [(ms, node) for begin, end, node in spans for ms in range(begin, end)]
    return Record(len(at), [Acknowledged(number, ms * MS, ms * MS, node)
                            for number, (ms, node) in enumerate(at)])


def silent(record: Record, since: int, end: int) -> list[tuple[int, int]]:
    return [(one.start // MS, one.end // MS)
            for one in silences(record.in_time, since * MS, end * MS) if one.length > MS]


def test_a_silence_counts_from_the_last_reply_before_the_fault() -> None:
    record = replies((0, 100, "n1"), (420, 500, "n2"))
    assert silent(record, since=110, end=500) == [(99, 420)]


def test_a_client_that_is_never_served_again_is_silent_to_the_end() -> None:
    assert silent(replies((0, 100, "n1")), since=110, end=900) == [(99, 900)]


def test_the_outage_is_the_longest_silence_that_began_before_the_mending() -> None:
    record = replies((0, 100, "n1"), (150, 300, "n2"), (380, 600, "n2"), (5600, 5700, "n2"))
    course = Course(90 * MS, 500 * MS, 5700 * MS)
    found = silences(record.in_time, course.fault, course.end)
    assert outage_ms(found, course) == 81
    assert down_ms(found) == 51 + 81 + 5001
    assert down_ms(found, course.mended) == 5001


def test_short_silences_do_not_count_as_down() -> None:
    found = silences(replies((0, 100, "n1"), (106, 200, "n2")).in_time, 0, 200 * MS)
    assert down_ms(found) == 0


def tenure(node: str, begin: int, end: int = NEVER) -> Tenure:
    return Tenure(node, VIP, begin * MS, end * MS if end != NEVER else end)


@pytest.mark.parametrize("tenures, count", [
    ([tenure("n1", 0)], 0),
    ([tenure("n1", 0, 50), tenure("n2", 60)], 1),
    ([tenure("n1", 0, 50), tenure("n1", 60)], 0),
    ([tenure("n1", 0, 50), tenure("n2", 60, 70), tenure("n1", 80)], 2),
    ([tenure("n1", 0, 5), tenure("n2", 6)], 0),
])
def test_takeovers_are_changes_of_the_node_after_the_fault(tenures: list[Tenure],
                                                           count: int) -> None:
    assert takeovers(tenures, since=10 * MS) == count


def test_two_owners_are_counted_and_a_node_without_power_is_none() -> None:
    tenures = {VIP: [tenure("n1", 0, 500), tenure("n2", 300)], VIP6: [tenure("n1", 0)]}
    assert two_owners_ms(tenures, {}, 1000 * MS) == 200
    assert two_owners_ms(tenures, {"n1": 350 * MS}, 1000 * MS) == 50
    assert two_owners_ms(tenures, {"n1": 200 * MS}, 1000 * MS) == 0


def observed(**changes: Any) -> Observed:
    usual = Observed(
        course=Course(110 * MS, 1000 * MS, 2000 * MS), dead={"n1": 110 * MS}, served=True,
        seen=replies((0, 100, "n1"), (420, 2000, "n2")),
        tenures={VIP: [tenure("n1", 0, 120), tenure("n2", 419)], VIP6: []},
        recorders={}, heartbeats_per_s=None, busy_percent=12.0)
    return usual._replace(**changes)


SETTING = Setting(system=KEEPALIVED, interval=100 * MS)


def test_an_account_without_recorders_has_the_phases_that_kernels_tell() -> None:
    run = account(SETTING, "node_crash", 3, observed())
    assert (run.outage_ms, run.down_ms, run.two_owners_ms, run.takeovers) == (321, 321, 0, 1)
    assert run.phases == {"until the address": 320, "first reply": 1}
    assert run.timeline == ()


def test_an_outage_after_which_the_same_node_serves_has_no_phases() -> None:
    run = account(SETTING, "deaf_active", 0, observed(
        seen=replies((0, 100, "n1"), (420, 2000, "n1"))))
    assert run.outage_ms == 321 and run.phases == {}


def test_a_longer_silence_of_the_same_node_hides_no_phases() -> None:
    run = account(SETTING, "planned_switchover", 0, observed(
        seen=replies((0, 100, "n1"), (130, 200, "n1"), (206, 2000, "n2")),
        tenures={VIP: [tenure("n1", 0, 201), tenure("n2", 205)], VIP6: []}, dead={}))
    assert run.outage_ms == 31 and run.phases == {"until the address": 6, "first reply": 1}


def report(at_ms: float, reason: str, **facts: Any) -> dict[str, Any]:
    return {"at": int(at_ms * MS),
            "effects": [["Report", {"reason": reason, "group": "app", "facts": facts}]]}


def test_an_account_takes_the_phases_from_the_recorders() -> None:
    from hamgr.core.reasons import Reason
    told = [report(410, Reason.ACCUSED.value, peer="n1", incarnation=1, round=1, silence_ms=350),
            report(412, Reason.ACCUSED_BY.value, peer="n3", accused="n1", incarnation=1, round=1),
            report(413, Reason.STARTING.value, epoch=2, why="n1 is blocked")]
    run = account(SETTING, "node_crash", 0, observed(recorders={"n2": told}))
    assert run.phases == {"detection": 311, "evidence": 2, "decision": 1, "address": 6,
                          "first reply": 1}
    assert any("n1 is blocked" in line for line in run.timeline)


def a_run(system: str, interval_ms: float, scenario: str, **changes: Any) -> Run:
    usual = {"outage_ms": 300.0, "down_ms": 300.0, "two_owners_ms": 0.0, "takeovers": 1,
             "healed_down_ms": 0.0, "served": True, "busy_percent": 5.0, "run": 0}
    return Run(system=system, interval_ms=interval_ms, scenario=scenario, **{**usual, **changes})


def missed(*runs: Run, systems: tuple[System, ...] = ()) -> list[str]:
    return [verdict.what for verdict in verdicts(Results(runs=[*runs], systems=[*systems]))
            if not verdict.reached]


THEIRS = a_run(KEEPALIVED, 100, "node_crash", outage_ms=320.0)
OURS = a_run(HAMGR, 100, "node_crash")


@pytest.mark.parametrize("runs, word", [
    ([THEIRS, a_run(HAMGR, 100, "node_crash", outage_ms=330.0)], "hamgr / keepalived"),
    ([a_run(KEEPALIVED, 1000, "node_crash", outage_ms=2400.0), OURS], "at the defaults"),
    ([OURS, a_run(HAMGR, 100, "node_crash_zk_down", outage_ms=340.0)], "zk_down"),
    ([a_run(HAMGR, 20, "planned_switchover", outage_ms=11.0)], "planned_switchover"),
    ([a_run(HAMGR, 100, "node_crash", two_owners_ms=0.5)], "on two nodes"),
    ([a_run(HAMGR, 100, "process_kill", two_owners_ms=21.0)], "process_kill"),
    ([a_run(HAMGR, 100, "all_freeze", two_owners_ms=3251.0)], "all_freeze"),
    ([a_run(HAMGR, 100, "isolate", healed_down_ms=21.0)], "after it heals"),
    ([a_run(HAMGR, 100, "crash_early", served=False)], "nobody served"),
    ([a_run(HAMGR, 100, "loss20", down_ms=20.0)] * 2, "with a takeover"),
    ([a_run(HAMGR, 100, "loss20", takeovers=0, down_ms=1001.0)], "client down"),
])
def test_a_limit_that_is_not_kept_is_said(runs: list[Run], word: str) -> None:
    [found] = missed(*runs)
    assert word in found


def test_what_is_kept_and_what_keepalived_does_is_not_held_against_anybody() -> None:
    assert missed(THEIRS, OURS, a_run(HAMGR, 100, "all_freeze", two_owners_ms=2300.0),
                  a_run(KEEPALIVED, 100, "isolate", two_owners_ms=4000.0)) == []


def test_a_run_of_ours_without_a_figure_is_a_limit_that_was_not_kept() -> None:
    failures = [Failure(system=system, interval_ms=100, scenario="two_voters", why="not served")
                for system in (HAMGR, HAMGR, KEEPALIVED)]
    [found] = verdicts(Results(failures=failures))
    assert (found.what, found.figure, found.reached) == (
        "two_voters at 100 ms, runs that came to nothing", 2, False)


def costs(**changes: Any) -> System:
    usual = {"cpu_percent": 1.4, "cpu_percent_others": 1.0, "pss_mib": 60.0, "rss_mib": 80.0,
             "locked_mib": 90.0, "packets_per_s": 30.0, "packets_per_s_mean": 33.0,
             "all_packets_per_s": 40.0,
             "seconds": 60.0, "busy_percent": 5.0, "zookeeper_writes": 0}
    return System(system=HAMGR, interval_ms=100, **{**usual, **changes})


@pytest.mark.parametrize("changes, word", [
    ({"cpu_percent": 1.6}, "of a core"), ({"pss_mib": 81.0}, "PSS"),
    ({"locked_mib": 0.0}, "not locked"), ({"zookeeper_writes": 1}, "writes"),
])
def test_costs_have_limits(changes: dict[str, float], word: str) -> None:
    assert missed(systems=(costs(),)) == []
    [found] = missed(systems=(costs(**changes),))
    assert word in found


def test_the_table_shows_both_their_ratio_and_what_went_wrong() -> None:
    unserved = a_run(KEEPALIVED, 100, "deaf_active", served=False, outage_ms=4600.0)
    lines = "\n".join(text(Results(runs=[THEIRS, OURS, unserved], systems=[costs()])))
    assert "0.94" in lines and "1 of 1 not served when the fault ended" in lines
    assert "deaf_active" in lines and "1.40" in lines


def test_a_part_of_the_benchmark_is_that_part_alone() -> None:
    todo = turns.turns(["node_crash", "isolate"], runs=5)
    assert {scenario.name for turn in todo for scenario, _ in turn.runs} == {
        "node_crash", "isolate"}
    assert {count for turn in todo for _, count in turn.runs} == {5}
    assert not any(turn.idle_s for turn in todo)


@pytest.mark.parametrize("error", [turns.LabError("n1: agent has ended\nlog"),
                                   ConnectionResetError(), OSError(28, "No space left on device")],
                         ids=lambda error: type(error).__name__)
def test_a_run_that_comes_to_nothing_is_noted_and_the_next_has_a_fresh_lab(
        error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    labs, said = [], []

    @contextmanager
    def raised(*_: Any) -> Iterator[None]:
        labs.append(len(labs))
        yield

    def perform(contender: None, scenario: Any, number: int) -> Run:
        if number == 1:
            raise error
        return a_run(HAMGR, 100, scenario.name, run=number)

    monkeypatch.setattr(turns, "raised", raised)
    monkeypatch.setattr(turns, "perform", perform)
    results = Results()
    [turn] = turns.turns(["node_crash"], 3, SETTINGS[:1])
    turns.take(turn, results, said.append)
    assert [run.run for run in results.runs] == [0, 2] and labs == [0, 1]
    [failure] = results.failures
    assert failure.scenario == "node_crash"
    assert str(error) in failure.why and failure.why.strip()
    assert any("node_crash: " in line and "\n" not in line for line in said)
    assert any(line.startswith("failed: hamgr at 100 ms, node_crash: ") for line in text(results))


def test_what_is_left_out_after_two_failures_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def raised(*_: Any) -> None:
        raise turns.LabError("no lab")

    monkeypatch.setattr(turns, "raised", raised)
    results = Results()
    [turn] = turns.turns(["node_crash", "graceful_stop"], 2, SETTINGS[:1])
    turns.take(turn, results, print)
    assert [(one.scenario, one.why) for one in results.failures] == [
        ("node_crash", "no lab"), ("node_crash", "no lab"),
        *[("graceful_stop", "left out, after 2 failures")] * 2]


def test_the_whole_benchmark_has_every_scenario_and_both_systems_in_it() -> None:
    todo = turns.turns()
    assert {scenario.name for turn in todo for scenario, _ in turn.runs} | {idle.NAME} == {
        *turns.NAMES}
    assert {(turn.setting.system, turn.setting.interval) for turn in todo} == {
        (one.system, one.interval) for one in SETTINGS}
    assert all(count > 0 for one in SCENARIOS for count in one.runs.values())
    assert sum(turn.seconds for turn in todo) < 45 * 60


def test_busy_is_what_was_not_idle() -> None:
    assert Busy(600, 1000).percent_since(Busy(500, 800)) == 50
    assert Busy.now().all > 0


def test_a_second_benchmark_waits_and_gives_up(tmp_path: Any,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LOCK", tmp_path / "lock")
    said: list[str] = []
    with (turns.alone(0.0), pytest.raises(turns.LabError, match="another benchmark"),
          turns.alone(0.3, said.append)):
        pass
    assert len(said) == 1
    with turns.alone(0.0):
        assert SECOND
