"""The client's view of the VIP: when it was served, by whom, and when it was not.

All instants are nanoseconds of CLOCK_MONOTONIC, which every namespace of one machine shares, so
they compare with those in the agents' logs.
"""

import sys
import time
from collections.abc import Collection, Iterator
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from hamgr.core.types import MILLISECOND, SECOND, Duration, Instant
from hamgr.lab import prober
from hamgr.lab.lines import Line, Lines

SHORTEST_GAP: Duration = 10 * MILLISECOND


class Gap(NamedTuple):
    """No write was acknowledged between `start`, the last reply, and `end`, the first again."""

    start: Instant
    end: Instant
    before: str
    """The node of the last reply."""
    after: str
    """The node of the first reply; another one: a failover or switchover."""

    @property
    def ms(self) -> float:
        """How long the client was not served, in milliseconds."""
        return (self.end - self.start) / MILLISECOND


class Acknowledged(NamedTuple):
    """One write that was acknowledged."""

    number: int
    sent: Instant
    at: Instant
    node: str


class Record(NamedTuple):
    """What one probe saw."""

    sent: int
    """How many writes."""
    writes: list[Acknowledged]
    """Those that were acknowledged, in the order of their replies."""

    def gaps(self, since: Instant = 0, longer_than: Duration = SHORTEST_GAP) -> list[Gap]:
        """Return the silences that ended after an instant, and every change of the node."""
        return [Gap(one.at, two.at, one.node, two.node)
                for one, two in pairwise(self.in_time)
                if two.at > since and (two.at - one.at > longer_than or one.node != two.node)]

    def outage(self, since: Instant = 0) -> Gap:
        """Return the longest silence that ended after an instant. Raises ValueError if none."""
        return max(self.gaps(since, longer_than=0), key=lambda gap: gap.end - gap.start)

    @property
    def in_time(self) -> list[Acknowledged]:
        """The writes that were acknowledged before any later one.

        A link that comes back may still deliver an old acknowledgement: that tells nothing of who
        serves now.
        """
        newest = accumulate((write.number for write in self.writes), max)
        return [write for write, number in zip(self.writes, newest, strict=True)
                if write.number == number]

    @property
    def nodes(self) -> list[str]:
        """Who served, in order, each as often as it took over."""
        return [node for node, _ in groupby(write.node for write in self.in_time)]


class Probe:
    """A client that writes each millisecond, until it is closed."""

    def __init__(self, command: list[str], record: Path) -> None:
        self._record = record
        self._lines = Lines(command)

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._lines.close()

    @property
    def served_by(self) -> str:
        """The node that serves just now; empty in a silence."""
        told = self._lines.told
        return str(told[-1].get("served", "")) if told else ""

    def wait_served(self, within_s: float, by: Collection[str] = (),
                    other_than: Collection[str] = ()) -> str:
        """Return who serves, once it is one of `by` (or anyone) and none of `other_than`.

        Raises LabError when that does not come about in time.
        """
        def wanted(node: str) -> bool:
            return bool(node) and (not by or node in by) and node not in other_than

        what = f"served by {', '.join(by) or 'a node'}"
        what += f" other than {', '.join(other_than)}" if other_than else ""
        lines = self._lines.wait(
            lambda told: bool(told) and wanted(str(told[-1].get("served", ""))), within_s, what)
        return str(lines[-1]["served"])

    def wait_silent(self, within_s: float) -> None:
        """Return once the client is not served. Raises LabError if it always is."""
        self._lines.wait(lambda told: not told or "silent" in told[-1], within_s, "silence")

    def follow(self, seconds: float) -> Iterator[str]:
        """Yield a sentence whenever the client is served anew, or no more."""
        end, seen = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            for line in self._lines.after(seen, left):
                seen += 1
                yield _sentence(line)

    def finish(self) -> Record:
        """End the client and return what it saw."""
        self._lines.close()
        return read(self._record)


def _sentence(line: Line) -> str:
    if "silent" in line:
        return f"{line['since'] / SECOND:.3f}  {line['silent']} answers no more"
    after = f" after {line['after'] / MILLISECOND:.1f} ms" if line["after"] else ""
    return f"{line['at'] / SECOND:.3f}  {line['served']} answers{after}"


def command(address: str, record: Path) -> list[str]:
    """Return the command line of a client."""
    return [sys.executable, "-m", prober.__name__, address, str(record)]


def read(path: Path) -> Record:
    """Return the record that a client wrote."""
    names, _, rows = path.read_bytes().partition(b"\n")
    nodes = names.decode().split()
    sent, writes = 0, []
    for number, write in enumerate(_rows(rows, nodes)):
        sent = number + 1
        if write is not None:
            writes.append(write)
    return Record(sent, sorted(writes, key=lambda write: write.at))


def _rows(rows: bytes, nodes: list[str]) -> Iterator[Acknowledged | None]:
    for number, (sent, at, node) in enumerate(prober.ROW.iter_unpack(rows)):
        yield Acknowledged(number, sent, at, nodes[node]) if at else None
