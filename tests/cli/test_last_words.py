"""The last words of an agent that is down, as `hamgr status` tells them. That they are in a real
journal is shown by tests/adapters/test_systemd_agent.py.
"""

import json
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from hamgr.cli import from_records, render
from hamgr.cli.last_words import last_words
from hamgr.cli.status import status as command
from hamgr.cli.survey import LastWord

LAST_WORDS = (
    LastWord(time="2026-11-23T11:03:58.420+00:00", level="warning", by="hamgr",
             text="crm: n1: blocked\x1b[2J"),
    LastWord(time="2026-11-23T11:03:59.001+00:00", level="", by="systemd", text="Failed\nmore"))


def test_last_words_stand_before_the_verdict_one_line_each() -> None:
    survey = replace(from_records.nothing("crm", ["no agent runs here"]), last_words=LAST_WORDS)
    assert render.text(survey) == """\
cluster crm
asked: nobody answers

last words of the agent here, from the journal:
  2026-11-23T11:03:58.420+00:00  warning  hamgr    crm: n1: blocked [2J
  2026-11-23T11:03:59.001+00:00  -        systemd  Failed

unknown:
  no agent runs here
"""


def test_without_library_or_journal_there_are_no_last_words(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert last_words(tmp_path) == () == last_words(tmp_path / "none")
    monkeypatch.setitem(sys.modules, "systemd.journal", None)
    assert last_words() == ()


def test_a_journal_that_hangs_costs_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs cannot be had here: a reader that waits stands in for it."""
    go = threading.Event()

    def hang(path: str | None) -> None:
        go.wait()
        raise OSError

    monkeypatch.setitem(sys.modules, "systemd.journal", types.SimpleNamespace(Reader=hang))
    try:
        assert last_words(patience_s=0.05) == ()
    finally:
        go.set()


@pytest.mark.parametrize(("answer", "machines"), [(None, True), (None, False), (b"refused", True)])
def test_only_the_machines_agent_that_is_down_has_last_words(
        monkeypatch: pytest.MonkeyPatch, agent: Callable[[bytes], Path], tmp_path: Path,
        answer: bytes | None, machines: bool) -> None:
    monkeypatch.setattr("hamgr.cli.last_words.last_words", lambda: LAST_WORDS)
    run_dir = tmp_path / "none" if answer is None else agent(b'{"error": "too many"}\n')
    if machines:
        monkeypatch.setattr("hamgr.cli.status.RUN_DIR", run_dir)
    result = CliRunner().invoke(command, ["--run-dir", str(run_dir), "--json", "--config",
                                          str(tmp_path / "none.toml")])
    told = [word["by"] for word in json.loads(result.output)["last_words"]]
    assert told == (["hamgr", "systemd"] if machines and answer is None else [])
