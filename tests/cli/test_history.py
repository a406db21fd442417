"""`hamgr history --local`: from a real recorder's files. What ZooKeeper has is shown with a real
agent (tests/agent/test_life.py)."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hamgr.agent.recorder import Recorder
from hamgr.cli import direct
from hamgr.cli.history import history
from hamgr.core.effects import Report, SetDeadline
from hamgr.core.events import Tick, ZooKeeperChanged
from hamgr.core.reasons import Reason
from tests.config.files import GOOD


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    recorder = Recorder(tmp_path)
    recorder.open()
    recorder.record(1_000, Tick(), [SetDeadline(deadline=9, serial=1)])
    recorder.record(2_000, ZooKeeperChanged(connected=True), [
        Report(reason=Reason.ZOOKEEPER_UP, node="n1"),
        Report(reason=Reason.ACTIVE, group="crm", node="n1", facts={"epoch": 3})])
    recorder.write(recorder.take(3_000))
    return tmp_path


def shown(directory: Path, *argv: str) -> list[str]:
    result = CliRunner().invoke(history, ["--local", "--state-dir", str(directory), *argv])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_reports_are_sentences_with_their_time_of_day(recorded: Path) -> None:
    lines = [line.partition("  ") for line in shown(recorded)]
    assert [text for _, _, text in lines] == ["n1: connected to ZooKeeper",
                                              "crm: n1: active under epoch 3"]
    assert all(len(time) == len("2026-11-23T09:36:22.848+00:00") for time, _, _ in lines)


def test_json_carries_the_monotonic_instant_and_the_facts(recorded: Path) -> None:
    entry = json.loads(shown(recorded, "--json")[-1])
    assert entry["schema"] == 1
    assert entry["monotonic_ns"] == 2_000
    assert (entry["group"], entry["facts"]) == ("crm", {"epoch": 3})


def test_all_shows_every_event_with_what_was_wanted(recorded: Path) -> None:
    assert [line.partition("  ")[2] for line in shown(recorded, "--all")] == [
        "Tick -> SetDeadline", "ZooKeeperChanged -> Report, Report"]


def test_only_the_last(recorded: Path) -> None:
    assert len(shown(recorded, "--last", "1")) == 1


def test_a_reason_of_another_version_is_shown_as_it_is(recorded: Path) -> None:
    for path in recorded.iterdir():
        path.unlink()
    recorder = Recorder(recorded)
    recorder.open()
    report = Report(reason=Reason.ACTIVE, facts={"epoch": 3})
    recorder.record(1, Tick(), [report])
    taken = recorder.take(2).replace(b"active under epoch", b"active under EPOCH")
    recorder.write(taken)
    assert "active under EPOCH {epoch} {'epoch': 3}" in shown(recorded)[0]


def test_nothing_recorded_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(history, ["--local", "--state-dir", str(tmp_path)])
    assert result.exit_code == 3
    assert "no agent has recorded anything" in result.output


def test_all_without_local_is_refused_with_the_remedy() -> None:
    result = CliRunner().invoke(history, ["--all"])
    assert result.exit_code != 0
    assert "add --local" in result.output


def test_without_zookeeper_it_names_what_can_be_read(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise direct.ZooKeeperDown("ZooKeeper cannot be asked: nobody there")

    monkeypatch.setattr(direct, "history", down)
    (tmp_path / "hamgr.toml").write_text(GOOD)
    ended = CliRunner().invoke(history, ["--config", str(tmp_path / "hamgr.toml")])
    assert (ended.exit_code, ended.output) == (
        3, "cannot tell: ZooKeeper cannot be asked: nobody there; `hamgr history --local` shows "
           "what this node saw\n")
