"""Who had the address, and when: the kernels' view, which no agent can gloss over."""

import sys
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import NamedTuple

from hamgr.core.types import NEVER, Duration, Instant
from hamgr.lab import watcher
from hamgr.lab.lines import Line, Lines
from hamgr.lab.spec import LabError

_READY_WITHIN_S = 10.0


class Tenure(NamedTuple):
    """An address was on a node from `begin` to `end` (NEVER: it still is).

    Both are as the watcher read of it: which of two changes came first is certain, also between
    nodes, but when they came only within its lateness.
    """

    node: str
    address: str
    begin: Instant
    end: Instant
    begin_late: Duration = 0
    """So much before `begin` the address was not there yet."""

    @property
    def earliest(self) -> Instant:
        """When the address came at the earliest."""
        return self.begin - self.begin_late


class Watch:
    """The address events of all nodes, from the moment of its making until it is closed."""

    def __init__(self, command: list[str]) -> None:
        self._lines = Lines(command)
        self._lines.wait(lambda told: any("watching" in line for line in told),
                         _READY_WITHIN_S, "watching the addresses")

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the watch; what it saw stays."""
        self._lines.close()

    def tenures(self, address: str) -> list[Tenure]:
        """Return who had an address when, in the order in which they got it.

        Raises LabError when the watcher has ended by itself: what came then, nobody saw.
        """
        if self._lines.broken:
            raise LabError("the watcher of the addresses has ended by itself")
        return tenures([line for line in self._lines.told if line.get("address") == address])

    def owners(self, address: str) -> list[str]:
        """Return the nodes that have an address now."""
        return [tenure.node for tenure in self.tenures(address) if tenure.end == NEVER]

    def wait_owners(self, address: str, wanted: Collection[str], within_s: float) -> None:
        """Return once exactly these nodes have an address. Raises LabError if not in time."""
        def reached(told: list[Line]) -> bool:
            mine = [line for line in told if line.get("address") == address]
            return {tenure.node for tenure in tenures(mine) if tenure.end == NEVER} == set(wanted)

        self._lines.wait(reached, within_s, f"{address} on {', '.join(wanted) or 'no node'}")


def tenures(lines: list[Line]) -> list[Tenure]:
    """Return the tenures of one address from its events."""
    found: list[Tenure] = []
    for line in lines:
        if line["here"]:
            found.append(Tenure(line["node"], line["address"], line["at"], NEVER,
                                begin_late=line["at"] - line["after"]))
        else:
            found = [tenure._replace(end=line["at"])
                     if tenure.node == line["node"] and tenure.end == NEVER else tenure
                     for tenure in found]
    return found


def owners_at_most(found: Collection[Tenure]) -> int:
    """Return the greatest number of nodes that had the address at one time."""
    return max((len(_met(tenure, found)) + 1 for tenure in found), default=0)


def shared(found: Collection[Tenure], now: Instant) -> Duration:
    """Return for how long, in all, the address was on more than one node, up to `now`.

    Whether it was is certain. For how long is the most that the watcher's lateness leaves room for:
    from the earliest instant at which the second one may have got it to that by which one had lost
    it.
    """
    edges = sorted([(tenure.earliest if _met(tenure, found) else tenure.begin, 1)
                    for tenure in found] + [(min(tenure.end, now), -1) for tenure in found])
    total, owners, since = 0, 0, 0
    for at, step in edges:
        total += (at - since) if owners > 1 else 0
        owners, since = owners + step, at
    return total


def _met(tenure: Tenure, found: Collection[Tenure]) -> list[Tenure]:
    """Return the other tenures that went on when this one began."""
    return [one for one in found if one is not tenure and one.begin <= tenure.begin < one.end]


def command(addresses: Collection[str], namespaces: Mapping[str, str]) -> list[str]:
    """Return the command line of a watcher."""
    return [sys.executable, "-m", watcher.__name__, ",".join(addresses),
            *(f"{node}={namespace}" for node, namespace in namespaces.items())]
