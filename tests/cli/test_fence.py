"""`hamgr fence`: what it asks for, and how often it asks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hamgr.cli import operate
from hamgr.cli.operate import fence
from tests.cli.test_operate import Agent, answered, asked, lines, run

DONE = lines(answered("done", "n1 was cut off"))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Run a command on a terminal with these lines typed."""
    monkeypatch.setattr(operate, "somebody_sits_here", lambda: True)

    def on_terminal(run_dir: Path, text: str, *argv: str) -> tuple[int, str]:
        result = CliRunner().invoke(fence, [*argv, "--run-dir", str(run_dir), "--config",
                                            str(run_dir / "none.toml")], input=text)
        return result.exit_code, result.output
    return on_terminal


def test_it_asks_for_a_fence(agent: Agent) -> None:
    run_dir = agent(DONE)
    assert run(fence, run_dir, "n1", "--yes") == (0, "fence n1: done: n1 was cut off (N s)\n")
    assert (asked(run_dir)["request"]["kind"], asked(run_dir)["request"]["node"]) == ("fence", "n1")


def test_a_word_that_a_node_is_down_fences_nothing(agent: Agent) -> None:
    run_dir = agent(lines(answered("refused", "n1 is not down: it is heard by n2")))
    assert run(fence, run_dir, "n1", "--confirm", "--yes") == (
        1, "fence --confirm n1: refused: n1 is not down: it is heard by n2 (N s)\n")
    assert asked(run_dir)["request"]["kind"] == "down"


@pytest.mark.parametrize(("text", "status"), [
    ("y\nn1\n", 0), ("y\nn2\n", 1), ("n\n", 1)])
def test_a_word_is_asked_for_twice(agent: Agent, typed: Any, text: str, status: int) -> None:
    run_dir = agent(DONE)
    exit_status, output = typed(run_dir, text, "n1", "--confirm")
    assert exit_status == status, output
    assert "Look at its power, not at its network." in output
    assert (run_dir / "asked").exists() == (status == 0)


def test_nobody_is_asked_where_nobody_sits(agent: Agent) -> None:
    run_dir = agent(DONE)
    code, output = run(fence, run_dir, "n1", "--confirm", "--json")
    assert code == 1
    assert json.loads(output.splitlines()[-1])["why"] == operate.NOBODY_TO_ASK
