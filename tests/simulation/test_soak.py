"""A soak goes on where the last one ended, and keeps what it found."""

from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest

from hamgr.engine import Engine
from hamgr.simulation import soak as soaking
from hamgr.simulation.main import main
from hamgr.simulation.soak import State

QUICK = ("--nodes", "2", "--seconds", "5")


def state_of(file: Path) -> State:
    return msgspec.json.decode(file.read_bytes(), type=State)


def soak(file: Path, seeds: int) -> int:
    return main(["soak", "--state", str(file), "--seeds", str(seeds), *QUICK])


def test_the_next_soak_begins_where_the_last_one_ended(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "build" / "soak.json"
    assert soak(file, 2) == 0
    assert soak(file, 1) == 0
    told = capsys.readouterr().out
    assert "soak: from seed 2; 2 seeds of this code before" in told
    assert "this time  simulation: 1 seeds" in told
    assert "this code  simulation: 3 seeds" in told
    state = state_of(file)
    assert (state.next_seed, [part.totals.seeds for part in state.parts]) == (3, [3])


def test_what_another_engine_survived_is_counted_apart(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    soak(file, 1)
    with patch.object(soaking, "digest", lambda: "another code"):
        soak(file, 1)
    assert [(part.code == "another code", part.totals.seeds) for part in state_of(file).parts] == [
        (False, 1), (True, 1)]


def test_what_broke_is_kept_with_the_command_that_tells_its_story(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    with patch.object(Engine, "handle", side_effect=AssertionError("planted")):
        assert soak(file, 1) == 1
    found = state_of(file).parts[0].found
    assert len(found) == 1
    assert "assertion: planted" in found[0]
    assert found[0].endswith("python -m hamgr.simulation --seed 0 --trace --nodes 2 --seconds 5")


def test_a_file_that_is_no_soaks_is_named_and_left_alone(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "notes.json"
    file.write_text('{"next_seed": "many"}')
    assert soak(file, 1) == 2
    told = capsys.readouterr().err
    assert str(file) in told
    assert "next_seed" in told
    assert "--state" in told
    assert file.read_text() == '{"next_seed": "many"}'
