"""When this machine stood still: on a virtual one, its host may give a processor to somebody else.

On each processor a process of the highest priority sleeps a millisecond at a time and writes down
each time that it woke late by more than two: then nothing else ran there either. What a client
waits meanwhile is nobody's outage, whichever system is measured.

Run as `python -m tests.bench.pulse CPU FILE`; it ends when its standard input closes.
"""

import gc
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from hamgr.core.types import MILLISECOND, Duration, Instant

_ROW = struct.Struct("!QQ")
_PRIORITY = 98
"""Of SCHED_FIFO: 99 is the kernel's own."""
_SLEEP: Duration = MILLISECOND
_LATE: Duration = 2 * MILLISECOND


class Standstill(NamedTuple):
    """Nothing ran on one of the processors between these instants."""

    start: Instant
    end: Instant


class Pulse:
    """Watches all processors until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._files = {cpu: folder / f"pulse-{cpu}" for cpu in sorted(os.sched_getaffinity(0))}
        self._watching = [
            subprocess.Popen([sys.executable, "-m", __name__, str(cpu), str(file)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for cpu, file in self._files.items()]

    def __enter__(self) -> "Pulse":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.finish()

    def wait_beating(self) -> None:
        """Return when every processor is watched."""
        for process in self._watching:
            assert process.stdout is not None
            process.stdout.readline()

    def finish(self) -> list[Standstill]:
        """End it and return when any processor stood still, one after the other."""
        for process in self._watching:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            process.wait()
            process.stdout.close()
        found = [Standstill(*row) for file in self._files.values()
                 for row in _ROW.iter_unpack(file.read_bytes())]
        return merged(found)


def merged(found: Collection[Standstill]) -> list[Standstill]:
    """Return the same times as spans that do not overlap, in order."""
    spans: list[Standstill] = []
    for one in sorted(found):
        if spans and one.start <= spans[-1].end:
            spans[-1] = Standstill(spans[-1].start, max(one.end, spans[-1].end))
        else:
            spans.append(one)
    return spans


def still_between(spans: Sequence[Standstill], start: Instant, end: Instant) -> Duration:
    """Return for how long of the time between two instants a processor stood still."""
    return sum(max(0, min(one.end, end) - max(one.start, start)) for one in spans)


def main(cpu: int, file: Path) -> None:
    """Watch one processor."""
    gc.disable()
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    sys.stdout.write("beating\n")
    sys.stdout.flush()
    rows = bytearray()
    slept, stdin = time.monotonic_ns(), sys.stdin.fileno()
    while not select.select([stdin], [], [], _SLEEP / 1e9)[0]:
        now = time.monotonic_ns()
        if now - slept > _SLEEP + _LATE:
            rows += _ROW.pack(slept + _SLEEP, now)
        slept = time.monotonic_ns()
    file.write_bytes(rows)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
