"""`hamgr fence --test`: what it asks the agent for, what it prints, how it exits."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hamgr.cli import operate
from hamgr.cli.operate import fence
from tests.cli.test_operate import Agent, asked, lines, run

PROGRESS = {"progress": "ipmi-n1: n1 is on (0.26 s)"}
DEVICE = {"device": "ipmi-n1", "level": 1, "state": "passed", "power": "on", "says": "n1 is on",
          "took_s": 0.256}
PASSED = {"node": "n1", "by": "n2", "state": "passed", "why": "", "devices": [DEVICE],
          "recorded": True}
FAILED = {**PASSED, "state": "failed", "why": "ipmi-n1: no answer in 3 s", "recorded": False}
CYCLE = {"off_s": 0.362, "back_s": 6.62, "groups": [
    {"group": "crm", "node": "n2", "after_s": 0.43}, {"group": "app", "node": "", "after_s": None}]}


def answer(result: dict[str, Any]) -> bytes:
    return lines(PROGRESS, {"answer": result})


@pytest.mark.parametrize(("result", "status", "verdict"), [
    (PASSED, 0, "passed, asked by n2"),
    ({**PASSED, "recorded": False}, 0, "passed, asked by n2; ZooKeeper does not have the record "
     "yet: see `hamgr status`"),
    (FAILED, 1, "failed: ipmi-n1: no answer in 3 s, asked by n2"),
    ({**FAILED, "state": "unknown"}, 3, "cannot tell: ipmi-n1: no answer in 3 s, asked by n2"),
])
def test_a_line_for_each_device_and_a_verdict(
        agent: Agent, result: dict[str, Any], status: int, verdict: str) -> None:
    run_dir = agent(answer(result))
    assert run(fence, run_dir, "n1", "--test") == (
        status, f"  ipmi-n1: n1 is on (0.26 s)\nfence --test n1: {verdict} (N s)\n")
    assert asked(run_dir) == {"do": "fence-test", "node": "n1", "cycle": None, "within_s": 60.0}


def test_json_is_one_line(agent: Agent) -> None:
    code, output = run(fence, agent(answer({**PASSED, "cycle": CYCLE})), "n1", "--test", "--json")
    told = json.loads(output)
    assert (code, told.pop("seconds") >= 0) == (0, True)
    assert told == {"schema": 1, **PASSED, "cycle": CYCLE}


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_what_cannot_be_tested_here_is_no_failure(agent: Agent, as_json: tuple[str, ...]) -> None:
    code, output = run(fence, agent(lines({"error": "n1 does not cut itself off"})), "n1", "--test",
                       *as_json)
    assert code == 3
    if as_json:
        told = json.loads(output)
        assert (told["state"], told["why"]) == ("unknown", "n1 does not cut itself off")
    else:
        assert output == "fence --test n1: cannot tell: n1 does not cut itself off (N s)\n"


def test_without_an_agent_there_is_nobody_to_ask(tmp_path: Path) -> None:
    code, output = run(fence, tmp_path, "n1", "--test")
    assert code == 3 and "no agent runs here" in output and "ZooKeeper" not in output


def test_an_agent_that_goes_away_is_said(agent: Agent) -> None:
    code, output = run(fence, agent(lines(PROGRESS)), "n1", "--test")
    assert code == 3 and "went away before the end" in output


def test_a_cycle_is_measured(agent: Agent) -> None:
    result = {**PASSED, "cycle": CYCLE, "state": "unknown", "why": "app is active nowhere"}
    run_dir = agent(answer(result))
    code, output = run(fence, run_dir, "n1", "--test", "--cycle", "--yes")
    assert code == 3
    assert output == """\
  ipmi-n1: n1 is on (0.26 s)
AFTER THE ORDER    TIME
n1 confirmed off   362 ms
crm active on n2   430 ms
app active         -
n1 a member again  6.6 s
fence --test --cycle n1: cannot tell: app is active nowhere, asked by n2 (N s)
"""
    order = asked(run_dir)
    assert (order["cycle"]["kind"], order["cycle"]["node"], order["within_s"]) == (
        "fence", "n1", 600.0)
    assert "@" in order["cycle"]["by"]


def test_how_long_a_cycle_may_take_can_be_said(agent: Agent) -> None:
    run_dir = agent(answer(PASSED))
    run(fence, run_dir, "n1", "--test", "--cycle", "--yes", "--timeout", "60")
    assert asked(run_dir)["within_s"] == 60.0


@pytest.mark.parametrize(("text", "status"), [("y\nn1\n", 0), ("y\nn2\n", 1), ("n\n", 1)])
def test_a_cycle_is_asked_for_twice(
        agent: Agent, monkeypatch: pytest.MonkeyPatch, text: str, status: int) -> None:
    monkeypatch.setattr(operate, "somebody_sits_here", lambda: True)
    run_dir = agent(answer(PASSED))
    found = CliRunner().invoke(fence, ["n1", "--test", "--cycle", "--run-dir", str(run_dir)],
                               input=text)
    assert found.exit_code == status, found.output
    assert "n1 is really switched off" in found.output
    assert (run_dir / "asked").exists() == (status == 0)


def test_where_nobody_sits_a_cycle_is_not_begun(agent: Agent) -> None:
    run_dir = agent(answer(PASSED))
    found = CliRunner().invoke(fence, ["n1", "--test", "--cycle", "--json", "--run-dir",
                                       str(run_dir)])
    assert found.exit_code == 1 and not (run_dir / "asked").exists()
    told = json.loads(found.stdout)
    assert (told["state"], told["why"]) == ("refused", operate.NOBODY_TO_ASK)


@pytest.mark.parametrize("options", [["--cycle"], ["--test", "--confirm"]])
def test_options_that_do_not_go_together(agent: Agent, options: list[str]) -> None:
    run_dir = agent(answer(PASSED))
    code, output = run(fence, run_dir, "n1", *options, "--yes")
    assert code == 2 and "--test goes without --confirm" in output
    assert not (run_dir / "asked").exists()
