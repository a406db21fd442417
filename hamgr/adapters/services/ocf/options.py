"""The options of Pacemaker's commands, read as GLib reads them (GOptionContext). Pure."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class UsageError(ValueError):
    """An option is unknown, or lacks its value; says which."""


class Option(NamedTuple):
    """One option, under whichever of its names it was given."""

    key: str
    value: str = ""


Table = Mapping[str, tuple[str, str]]
"""By name without hyphens: the key, and whether a value follows ("=", "?": may follow, "": not)."""


def table(text: str) -> Table:
    """Return a table from "name=,n delete,D promotion?,p": key, kind and further names of each."""
    found = {}
    for word in text.split():
        first, *others = word.split(",")
        key = first.rstrip("=?")
        found.update(dict.fromkeys((key, *others), (key, first[len(key):])))
    return found


def read(known: Table, arguments: tuple[str, ...]) -> Iterator[Option]:
    """Yield the options in their order; other words are yielded with an empty key."""
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and word != "--":
            yield _long(known, word, rest)
        elif word.startswith("-") and word not in ("-", "--"):
            yield from _short(known, word[1:], rest)
        elif word != "--":
            yield Option("", word)


def _long(known: Table, word: str, rest: list[str]) -> Option:
    name, given, value = word[2:].partition("=")
    key, kind = _find(known, name, f"--{name}")
    if given:
        return Option(key, value)
    return _with_value(key, kind, f"--{name}", rest)


def _short(known: Table, letters: str, rest: list[str]) -> Iterator[Option]:
    """Several letters may share a hyphen; a value follows its letter at once, or as a word."""
    for place, letter in enumerate(letters):
        key, kind = _find(known, letter, f"-{letter}")
        if kind and letters[place + 1:]:
            yield Option(key, letters[place + 1:])
            return
        yield _with_value(key, kind, f"-{letter}", rest)


def _find(known: Table, name: str, shown: str) -> tuple[str, str]:
    if name not in known:
        raise UsageError(f"unknown option {shown}")
    return known[name]


def _with_value(key: str, kind: str, shown: str, rest: list[str]) -> Option:
    if kind == "=":
        if not rest:
            raise UsageError(f"option {shown} needs a value")
        return Option(key, rest.pop(0))
    if kind == "?" and rest and not rest[0].startswith("-"):
        return Option(key, rest.pop(0))
    return Option(key)
