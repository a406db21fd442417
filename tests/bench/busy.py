"""How busy this machine is, whoever makes it so: a benchmark that is not alone says so."""

from pathlib import Path
from typing import NamedTuple

_STAT = Path("/proc/stat")
_IDLE, _IOWAIT, _COUNTED = 3, 4, 8
"""Fields of proc(5); behind the first eight, time is counted that is in others already."""


class Busy(NamedTuple):
    """Processor time since boot, in clock ticks."""

    idle: int
    all: int

    @classmethod
    def now(cls) -> "Busy":
        """Read it."""
        fields = [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1:]]
        return cls(fields[_IDLE] + fields[_IOWAIT], sum(fields[:_COUNTED]))

    def percent_since(self, before: "Busy") -> float:
        """Return how much of the time since then all processors together were busy."""
        passed = self.all - before.all
        return round(100 * (1 - (self.idle - before.idle) / passed), 1) if passed else 0.0
