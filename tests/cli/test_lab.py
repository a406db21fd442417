"""`hamgr lab` where no lab can be; what it does with one is tested with real ones (tests/lab)."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from hamgr.cli.main import main
from hamgr.lab import demo
from hamgr.lab.spec import LabError


@pytest.mark.parametrize("interval, why", [("1ms", "at least 5ms"), ("11s", "at most 10s")])
def test_a_lab_whose_times_its_agents_would_refuse_is_not_begun(
        monkeypatch: pytest.MonkeyPatch, interval: str, why: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)  # the next question would be that
    ended = CliRunner().invoke(main, ["lab", "up", "--interval", interval])
    assert (ended.exit_code, ended.output) == (1, f"Error: interval must be {why}\n")


@pytest.mark.parametrize("more", ["", "\nlast lines of a log"], ids=["in a line", "with a log"])
def test_a_demo_that_fails_says_so_in_its_last_line_and_leaves_no_figures_of_before(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    """Only root can raise a lab. That one does not settle, with a log, has to be planted."""
    why = "lab demo7: not within 30 s: n1: has no dead-man's switch"

    def unsettled(*_: object) -> None:
        raise LabError(why + more)

    if more:
        monkeypatch.setattr(demo, "run", unsettled)
    else:
        why = "network namespaces need root"
        monkeypatch.setattr(os, "geteuid", lambda: 1)
    file = tmp_path / "demo.json"
    file.write_text('{"ok": true}')
    ended = CliRunner().invoke(main, ["lab", "demo", "--json", str(file)])
    assert ended.exit_code == 1
    assert ended.output == f"{more}\ndemo: FAILED  {why}\n".lstrip("\n")
    assert not file.exists()
