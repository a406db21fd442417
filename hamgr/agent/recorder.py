"""The flight recorder: the last minutes of every event and effect, on disk, in a bounded ring.

Theory. Encoding an entry costs a few microseconds and happens at once; compressing and writing
are left to the disk thread: within a second, or five in the steady state. Nothing is synced: a
killed agent loses nothing that was written, a machine that lost its power loses some seconds.

Format. Two segment files, `recorder.0` and `recorder.1`, are filled in turn; the older is emptied
when the newer is full. A segment is a sequence of blocks: the bytes `HGR1`, the length of the
rest (4 bytes, big-endian), and a zlib-compressed MessagePack array: first [instant, wall time,
number] of the block, then [instant, event name, event fields, [[effect name, effect fields], …]]
for each event. Instants are nanoseconds on CLOCK_MONOTONIC; the wall time gives people times of
day; the number, which goes on in the next life, tells the order, since wall clocks are set back.
"""

import logging
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from hamgr.core.effects import Effect
from hamgr.core.events import Event
from hamgr.core.types import SECOND, Duration, Instant

SEGMENT_BYTES = 8 << 20
BUFFER_BYTES_MAX = 1 << 20
"""What may wait for a disk that does not take it; beyond, entries are lost and counted."""
TAIL_ENTRIES = 500
STEP: Duration = SECOND
"""By how much the wall clock must be set for a word on it; slewing takes far longer for that."""
MAGIC = b"HGR1"
_HEADER = struct.Struct(">4sI")
_ARRAY_32 = struct.Struct(">BI")
"""The head of a MessagePack array, so that entries encoded one by one make one value."""


logger = logging.getLogger("hamgr.recorder")


class Entry(Struct, frozen=True, kw_only=True):
    """One event and what the engine wanted because of it."""

    at: Instant
    """On the CLOCK_MONOTONIC of that boot."""
    wall_ns: int
    """Nanoseconds since 1970 by the wall clock, to a second or so; for people."""
    event: str
    fields: dict[str, Any]
    effects: tuple[tuple[str, dict[str, Any]], ...] = ()


class Recorder:
    """Takes entries in the loop's thread; blocks are written in another."""

    def __init__(self, directory: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory, self._segment_bytes = directory, segment_bytes
        self._encoder = msgspec.msgpack.Encoder()
        self._buffer = bytearray()
        self._count = 0
        self._tail: deque[tuple[Instant, Event, list[Effect]]] = deque(maxlen=TAIL_ENTRIES)
        self._segment = 0
        self._size = 0
        self._number = 1
        self._offset: Duration | None = None
        """Of the wall clock to CLOCK_MONOTONIC, when the last block was taken."""
        self.lost = 0
        """Entries that found the buffer full."""

    def open(self) -> None:
        """Find the place to go on at. Blocking; raises OSError if the directory is not usable."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ages = [_age(path) for path in self._paths()]
        self._segment = int(ages[1] > ages[0])
        path = self._paths()[self._segment]
        if path.exists():
            for body, end in _blocks(path.read_bytes()):
                self._size, self._number = end, _number(body) + 1
            with path.open("r+b") as file:
                file.truncate(self._size)

    def record(self, now: Instant, event: Event, effects: list[Effect]) -> None:
        """Take one entry."""
        self._tail.append((now, event, effects))
        if len(self._buffer) > BUFFER_BYTES_MAX:
            self.lost += 1
            return
        named = [(type(effect).__name__, effect) for effect in effects]
        self._encoder.encode_into((now, type(event).__name__, event, named), self._buffer, -1)
        self._count += 1

    def take(self, now: Instant) -> bytes:
        """Return what has been recorded since the last time, for `write`."""
        if not self._buffer:
            return b""
        wall = time.time_ns()
        self._compare_clocks(wall - now)
        array = _ARRAY_32.pack(0xDD, self._count + 1)
        taken = array + self._encoder.encode((now, wall, self._number)) + self._buffer
        self._number += 1
        self._buffer.clear()
        self._count = 0
        return taken

    def write(self, taken: bytes) -> None:
        """Append it as one block. Blocking, for the disk thread; raises OSError."""
        packed = zlib.compress(taken, 1)
        block = _HEADER.pack(MAGIC, len(packed)) + packed
        if self._size + len(block) > self._segment_bytes:
            self._segment, self._size = 1 - self._segment, 0
        path = self._paths()[self._segment]
        with path.open("r+b" if self._size else "wb") as file:
            # A block that a full disk cut short is overwritten by the next.
            file.seek(self._size)
            file.write(block)
            file.truncate()
        self._size += len(block)

    def tail(self, count: int) -> list[dict[str, Any]]:
        """Return the newest entries, written or not, oldest first."""
        newest = islice(self._tail, max(0, len(self._tail) - count), None)
        return [{"at": now, "event": type(event).__name__, "fields": msgspec.to_builtins(event),
                 "effects": [[type(effect).__name__, msgspec.to_builtins(effect)]
                             for effect in effects]}
                for now, event, effects in newest]

    def _compare_clocks(self, offset: Duration) -> None:
        """Say it when the wall clock was set: what rests on it, and what does not."""
        before, self._offset = self._offset, offset
        if before is not None and abs(offset - before) > STEP:
            way = "back" if offset < before else "forward"
            logger.warning("the wall clock was set %s by %.1f s: no lease rests on it; times of "
                           "day in logs and history jump", way, abs(offset - before) / SECOND)

    def _paths(self) -> tuple[Path, Path]:
        return segments(self._directory)


def segments(directory: Path) -> tuple[Path, Path]:
    """Return the paths of the two segment files."""
    return directory / "recorder.0", directory / "recorder.1"


def read(
    directory: Path, damaged: Callable[[str], None] = lambda why: None, about: bytes = b""
) -> Iterator[Entry]:
    """Yield what a recorder has left in its directory, oldest first.

    about: only blocks in which this stands somewhere, which spares decoding all others.

    damaged is told in words of each segment whose end cannot be read: the agent is writing it
    just now, or was killed while it did. Raises OSError if a file cannot be read.
    """
    existing = [path for path in segments(directory) if path.exists()]
    for path in sorted(existing, key=_age):
        data = path.read_bytes()
        end = 0
        for body, end in _blocks(data):  # noqa: B007 - where the last one ended is used below
            if about in body:
                yield from _entries(body)
        if end < len(data):
            damaged(f"{path}: {len(data) - end} bytes at the end are not a whole block")


def _blocks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each sound block's content and where it ends; stop at the first that is not."""
    start = 0
    while start + _HEADER.size <= len(data):
        magic, length = _HEADER.unpack_from(data, start)
        start += _HEADER.size
        if magic != MAGIC or start + length > len(data):
            return
        try:
            body = zlib.decompress(data[start:start + length])
        except zlib.error:
            return
        start += length
        yield body, start


def _age(path: Path) -> tuple[int, int]:
    """Return what is greater for the newer segment: the number of its first block.

    Where a former version has given none, its time of change has to do.
    """
    try:
        with path.open("rb") as file:
            magic, length = _HEADER.unpack(file.read(_HEADER.size))
            body = next((body for body, _ in _blocks(_HEADER.pack(magic, length)
                                                     + file.read(length))), b"")
        return _number(body) if body else 0, path.stat().st_mtime_ns
    except (FileNotFoundError, struct.error):
        return 0, 0


def _number(body: bytes) -> int:
    clock = msgspec.msgpack.decode(body)[0]
    return int(clock[2]) if len(clock) > 2 else 0


def _entries(body: bytes) -> Iterator[Entry]:
    clock, *values = msgspec.msgpack.decode(body)
    offset = clock[1] - clock[0]
    for at, event, fields, effects in values:
        yield Entry(at=at, wall_ns=at + offset, event=event, fields=fields,
                    effects=tuple((name, wanted) for name, wanted in effects))
