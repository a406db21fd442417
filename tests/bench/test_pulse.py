"""What a machine does that stands still is no outage of the system that is measured."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hamgr.core.types import MILLISECOND
from hamgr.lab.probe import Acknowledged
from tests.bench.figures import Course, down_ms, outage_ms, silences, still_ms
from tests.bench.pulse import Pulse, Standstill, merged, still_between

MS = MILLISECOND
HOG = """
import os, time
os.sched_setaffinity(0, {%d})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))
end = time.monotonic() + 0.04
while time.monotonic() < end:
    pass
"""


def still(*spans: tuple[int, int]) -> list[Standstill]:
    return [Standstill(start * MS, end * MS) for start, end in spans]


def test_processors_that_stand_still_together_do_so_once() -> None:
    assert merged(still((30, 40), (10, 20), (15, 25), (16, 17))) == still((10, 25), (30, 40))
    assert still_between(still((10, 25), (30, 40)), 20 * MS, 35 * MS) == 10 * MS


def test_a_silence_counts_without_what_the_machine_stood_still() -> None:
    replies = [Acknowledged(number, at * MS, at * MS, "n1")
               for number, at in enumerate((0, 50, 51, 80, 81))]
    found = silences(replies, 10 * MS, 81 * MS, still((20, 35), (45, 48), (51, 75), (90, 99)))
    assert [one.length // MS for one in found] == [32, 1, 5, 1, 0]
    assert outage_ms(found, Course(10 * MS, 81 * MS, 81 * MS)) == 32
    assert down_ms(found) == 32, "what is left of the second would not have been noticed"
    assert down_ms(found, 30 * MS) == 12, "of the twenty after it, eight were the machine's"
    assert still_ms(found) == 42


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_processor_that_runs_nothing_else_is_seen(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    with Pulse(tmp_path) as pulse:
        pulse.wait_beating()
        before = time.monotonic_ns()
        subprocess.run([sys.executable, "-c", HOG % cpu], check=True)
        after = time.monotonic_ns()
        spans = pulse.finish()
    assert still_between(spans, before, after) > 20 * MS
