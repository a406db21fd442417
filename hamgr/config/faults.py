"""What is wrong with a configuration file, all of it at once, each with its place and remedy."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from msgspec import Struct

Item = TypeVar("Item")
Path = tuple[str | int, ...]
"""Where a value stands: ("group", "crm", "vips", 0)."""


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that is wrong, or (among warnings) likely not meant."""

    line: int | None
    """In the file, from 1; None where it cannot be known (a table that is missing)."""
    key: str
    """Dotted path, empty if the fault is in no key (syntax)."""
    text: str
    """What is wrong and the remedy, in one sentence."""

    def __str__(self) -> str:
        """Return "key: sentence": of a document that is no file here."""
        return ": ".join(part for part in (self.key, self.text) if part)

    def located(self, file: str) -> str:
        """Return "FILE:LINE: key: sentence", without the parts that are not known."""
        place = file if self.line is None else f"{file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.text) if part)


class ConfigError(Exception):
    """The configuration cannot be used. Carries every fault that was found."""

    def __init__(self, file: str, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(fault.located(file) for fault in faults))
        self.file = file
        self.faults = faults


class Findings:
    """Collects faults and warnings while a file is read and checked."""

    def __init__(self, lines: Mapping[Path, int]) -> None:
        self._lines = lines
        self._unusable: set[Path] = set()
        self._places: dict[Path, tuple[int, ...]] = {}
        self._faults: list[Fault] = []
        self._warnings: list[Fault] = []

    def reject(self, path: Path, text: str) -> None:
        """Note that the value at `path` cannot be used: whatever is said of it later is noise."""
        self._faults.append(self._fault(path, text))
        self._unusable.add(path)

    def fault(self, path: Path, text: str) -> None:
        """Note a fault, unless the value that it rests on was rejected already."""
        if not self.rejected(path):
            self._faults.append(self._fault(path, text))

    def warn(self, path: Path, text: str) -> None:
        """Note what is allowed but likely not meant."""
        if not self.rejected(path):
            self._warnings.append(self._fault(path, text))

    def keep(self, path: Path, places: Iterable[int]) -> None:
        """Note which items of the list at `path` the document has: the others were rejected."""
        self._places[path] = tuple(places)

    def numbered(self, path: Path, items: Sequence[Item]) -> Iterator[tuple[Path, Item]]:
        """Yield what can be used of the list at `path`, each with its place in the file."""
        places = self._places.get(path, range(len(items)))
        return (((*path, at), item) for at, item in zip(places, items, strict=True))

    def written(self, path: Path) -> bool:
        """Tell whether the file gives a value at `path`, be it that of the default."""
        return path in self._lines

    def rejected(self, path: Path) -> bool:
        """Tell whether the value at `path`, or what contains it, was rejected."""
        return any(path[:length] in self._unusable for length in range(1, len(path) + 1))

    def spoiled(self, path: Path) -> bool:
        """Tell whether anything at or below `path` was rejected."""
        return self.rejected(path) or any(bad[:len(path)] == path for bad in self._unusable)

    def misses(self, path: Path) -> bool:
        """Tell whether the table at `path`, or a whole item of it, was rejected."""
        return self.rejected(path) or any(bad[:-1] == path for bad in self._unusable)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults, in the order of the file; those without a line come first."""
        return _sorted(self._faults)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """All warnings, in the order of the file."""
        return _sorted(self._warnings)

    def _fault(self, path: Path, text: str) -> Fault:
        known = (self._lines.get(path[:length]) for length in range(len(path), 0, -1))
        line = next((number for number in known if number is not None), None)
        return Fault(line=line, key=dotted(path), text=text)


def dotted(path: Path) -> str:
    """Return a path as TOML writes it: group.crm.vips[0], node."n1.example.com".addresses."""
    return "".join(_step(step) for step in path).removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like this one, or nothing if none is near."""
    return next(iter(get_close_matches(word.lower(), list(known), n=1)), "")


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    bare = step and all(char.isascii() and (char.isalnum() or char in "-_") for char in step)
    return f".{step}" if bare else f'."{step}"'


def _sorted(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.line or 0))
