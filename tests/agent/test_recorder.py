"""The flight recorder: what goes in comes out, in bounds, whatever is cut off."""

import os
from pathlib import Path

import msgspec
import pytest

from hamgr.agent import recorder as module
from hamgr.agent.recorder import Recorder, read, segments
from hamgr.core.effects import Report, SetDeadline
from hamgr.core.events import LoopWasLate, StopAsked
from hamgr.core.reasons import Reason
from hamgr.core.types import SECOND


def opened(directory: Path, segment_bytes: int = module.SEGMENT_BYTES) -> Recorder:
    recorder = Recorder(directory, segment_bytes)
    recorder.open()
    return recorder


def keep(recorder: Recorder, *instants: int) -> None:
    for at in instants:
        recorder.record(at, LoopWasLate(lateness=at), [])
    recorder.write(recorder.take(max(instants)))


def instants(directory: Path) -> list[int]:
    return [entry.at for entry in read(directory)]


def test_an_entry_comes_back_as_it_was(tmp_path: Path) -> None:
    recorder = opened(tmp_path)
    recorder.record(7, StopAsked(why="SIGTERM"), [
        SetDeadline(deadline=9, serial=2),
        Report(reason=Reason.LEFT, node="n1", facts={"why": "SIGTERM"})])
    recorder.write(recorder.take(8))
    (entry,) = read(tmp_path)
    assert (entry.at, entry.event, entry.fields) == (7, "StopAsked", {"why": "SIGTERM"})
    assert entry.effects == (
        ("SetDeadline", {"deadline": 9, "serial": 2, "confirm": False}),
        ("Report", {"reason": Reason.LEFT.value, "group": "", "node": "n1",
                    "facts": {"why": "SIGTERM"}}))


def test_entries_of_several_agents_follow_each_other(tmp_path: Path) -> None:
    keep(opened(tmp_path), 1, 2)
    keep(opened(tmp_path), 3)
    assert instants(tmp_path) == [1, 2, 3]


def test_the_ring_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    recorder = opened(tmp_path, segment_bytes=2_000)
    for at in range(500):
        keep(recorder, at)
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 4_000
    kept = instants(tmp_path)
    assert kept == list(range(kept[0], 500))
    assert len(kept) > 20


def test_the_order_does_not_rest_on_the_wall_clock(tmp_path: Path) -> None:
    """The clock is set back by an hour: the newer segment looks older, and stays the newer one."""
    recorder = opened(tmp_path, segment_bytes=2_000)
    for at in range(60):
        keep(recorder, at)
    newer = segments(tmp_path)[recorder._segment]
    facts = newer.stat()
    os.utime(newer, ns=(facts.st_atime_ns, facts.st_mtime_ns - 3600 * SECOND))
    before = instants(tmp_path)
    assert before == sorted(before)
    again = opened(tmp_path, segment_bytes=2_000)
    keep(again, 60)
    assert segments(tmp_path)[again._segment] == newer
    assert instants(tmp_path) == [*before, 60]
    at = 60
    while segments(tmp_path)[again._segment] == newer:  # until the other one is in use
        keep(again, at := at + 1)
    for path in segments(tmp_path):
        os.utime(path, ns=(0, 0))
    kept = instants(tmp_path)
    assert kept == sorted(kept) and kept[-1] == at


def test_segments_without_numbers_are_read_by_their_times(tmp_path: Path) -> None:
    """As a former version wrote them."""
    for path, at in zip(segments(tmp_path), (5, 3), strict=True):
        recorder = opened(tmp_path / path.name)
        recorder.record(at, LoopWasLate(lateness=at), [])
        entry = msgspec.msgpack.encode([at, "LoopWasLate", {"lateness": at}, []])
        recorder.write(b"\x92" + msgspec.msgpack.encode([at, 7]) + entry)
        (tmp_path / path.name / "recorder.0").rename(tmp_path / f"{path.name}.old")
        (tmp_path / path.name).rmdir()
        (tmp_path / f"{path.name}.old").rename(path)
    os.utime(segments(tmp_path)[0], ns=(2, 2))
    os.utime(segments(tmp_path)[1], ns=(1, 1))
    assert instants(tmp_path) == [3, 5]
    keep(opened(tmp_path), 7)
    assert instants(tmp_path) == [3, 5, 7]


def test_a_wall_clock_that_is_set_is_told_in_words(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    set_by = [0]
    recorder = opened(tmp_path)
    for second, (step, words) in enumerate((
            (0, ""), (0, ""), (-3600, "set back by 3600.0 s: no lease rests on it"), (0, ""),
            (7200, "set forward by 7200.0 s"), (0, ""))):
        now = second * SECOND
        set_by[0] += step * SECOND
        monkeypatch.setattr(module.time, "time_ns", lambda now=now: now + set_by[0])
        caplog.clear()
        keep(recorder, now)
        said = " ".join(record.message for record in caplog.records)
        assert (words in said) if words else said == ""


def test_a_block_that_was_cut_short_is_left_out_and_told(tmp_path: Path) -> None:
    recorder = opened(tmp_path)
    keep(recorder, 1)
    keep(recorder, 2)
    first, _ = segments(tmp_path)
    first.write_bytes(first.read_bytes()[:-3])
    told: list[str] = []
    assert [entry.at for entry in read(tmp_path, told.append)] == [1]
    assert len(told) == 1 and str(first) in told[0]


def test_an_agent_goes_on_after_a_block_that_was_cut_short(tmp_path: Path) -> None:
    recorder = opened(tmp_path)
    keep(recorder, 1)
    first, _ = segments(tmp_path)
    first.write_bytes(first.read_bytes() + b"HGR1\x00\x00")
    keep(opened(tmp_path), 2)
    assert instants(tmp_path) == [1, 2]


def test_a_disk_that_takes_nothing_costs_bounded_memory(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUFFER_BYTES_MAX", 1_000)
    recorder = opened(tmp_path)
    for at in range(1_000):
        recorder.record(at, LoopWasLate(lateness=at), [])
    assert recorder.lost > 900
    assert len(recorder.take(1)) < 1_200


def test_the_tail_needs_no_disk(tmp_path: Path) -> None:
    recorder = opened(tmp_path)
    for at in range(5):
        recorder.record(at, StopAsked(why=str(at)), [])
    assert [entry["fields"]["why"] for entry in recorder.tail(2)] == ["3", "4"]


def test_nothing_recorded_is_nothing_to_write(tmp_path: Path) -> None:
    assert opened(tmp_path).take(5) == b""
