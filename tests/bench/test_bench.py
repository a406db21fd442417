"""A short sample of the benchmark: it judges no times, and its JSON has the promised shape."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import keepalived
from tests.bench.figures import Results
from tests.bench.settings import HAMGR, KEEPALIVED, SETTINGS, USUAL
from tests.bench.table import text
from tests.bench.turns import alone, take, turns
from tests.lab.traces import traces

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not keepalived.available(),
                       reason="keepalived is not installed: .ci/setup --tests"),
]
SAMPLE = ("node_crash", "planned_switchover")
OTHERS_END_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def results() -> Iterator[Results]:
    settings = [one for one in SETTINGS
                if one.system in (HAMGR, KEEPALIVED) and one.interval == USUAL]
    found = Results()
    with alone(OTHERS_END_WITHIN_S):
        for turn in turns(SAMPLE, 1, settings):
            take(turn, found, print)
            assert traces(turn.setting.spec(turn.shape).name) == {}
    yield found


def test_both_systems_are_hit_and_serve_again(results: Results) -> None:
    assert results.failures == []
    assert [(run.system, run.interval_ms, run.scenario, run.run) for run in results.runs] == [
        (system, 100, scenario, 0) for system in (HAMGR, KEEPALIVED) for scenario in SAMPLE]
    for run in results.runs:
        assert run.served and run.takeovers >= 1, run
        assert run.outage_ms > 0 and run.phases, run
    ours = [run for run in results.runs if run.system == HAMGR]
    assert [run.two_owners_ms for run in ours] == [0, 0]
    crash = next(run for run in ours if run.scenario == "node_crash")
    assert {"detection", "evidence", "decision", "address", "first reply"} == set(crash.phases)
    assert sum(crash.phases.values()) == pytest.approx(crash.outage_ms, abs=0.1)
    assert any("is blocked" in line for line in crash.timeline)


def test_the_file_has_the_promised_shape(results: Results, tmp_path: Path) -> None:
    file = tmp_path / "build" / "bench.json"
    results.save(file)
    written = json.loads(file.read_text())
    assert {"runs", "systems"} <= set(written)
    for run in written["runs"]:
        assert {"system", "interval_ms", "scenario", "run", "outage_ms", "down_ms",
                "two_owners_ms", "takeovers"} <= set(run)
    lines = list(text(results))
    assert any(line.startswith("node_crash") and HAMGR in line for line in lines)
