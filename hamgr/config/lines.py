"""On which line each key of a TOML file stands, and where a syntax error is.

The standard library's parser does not keep lines. It does say whether a text is complete TOML, so
the file is cut into its statements (a header, or a key with its value) by adding lines until the
parser accepts them; parsed alone, each statement yields its own path.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from hamgr.config.faults import Fault, Path

_WHERE = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)")
_REMEDIES = {
    "Invalid value": "write text in quotes, numbers and true or false without",
    "Cannot overwrite a value": "this key is given twice; keep one of them",
    "Expected '=' after a key": 'write it as key = value, a table as [name]',
    "Cannot declare": "this table is given twice; join the two",
    "Unclosed array": "the ] is missing",
    "Unterminated string": "the closing quote is missing",
    "Expected \"'": "the closing quote is missing",
    "Illegal character": "the closing quote is missing, or a character must be escaped",
    "Expected newline": "write one key a line, and text in quotes",
}


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every key and table of a text that is valid TOML."""
    lines: dict[Path, int] = {}
    lengths: dict[Path, int] = {}
    table: Path = ()
    for number, statement, tree in _statements(text):
        if statement.lstrip().startswith("["):
            table = _header(tree, lengths)
            for length in range(1, len(table) + 1):
                lines.setdefault(table[:length], number)
        else:
            elements = dict(_elements(statement, number, table))
            for path, line in _paths(tree, table, number, elements):
                lines.setdefault(path, line)
    return lines


def syntax_fault(text: str, error: tomllib.TOMLDecodeError) -> Fault:
    """Return the parser's error as a fault: with its line, and with a remedy where one is known."""
    match = _WHERE.fullmatch(str(error))
    what = match["what"] if match else str(error)
    remedy = next((words for start, words in _REMEDIES.items() if what.startswith(start)), "")
    line = int(match["line"]) if match and match["line"] else _unfinished(text)
    return Fault(line=line, key="", text=f"not valid TOML: {what}{remedy and f'; {remedy}'}")


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    first, pending = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        pending += line + "\n"
        try:
            tree = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue  # a value that goes on in the next line
        yield first, pending, tree
        first, pending = number + 1, ""


def _header(tree: dict[str, Any], lengths: dict[Path, int]) -> Path:
    """Return the path that a header opens, counting the elements of arrays of tables."""
    path: Path = ()
    inside: Any = tree
    while inside:
        key, inside = next(iter(inside.items()))
        path += (key,)
        if isinstance(inside, list):
            lengths[path] = lengths.get(path, 0) + 1
            inside = None
        if path in lengths:
            path += (lengths[path] - 1,)
    return path


def _paths(
    value: Any, path: Path, line: int, elements: dict[Path, int]
) -> Iterator[tuple[Path, int]]:
    children = (value.items() if isinstance(value, dict)
                else enumerate(value) if isinstance(value, list) else ())
    for key, child in children:
        here = (*path, key)
        at = elements.get(here, line)
        yield here, at
        yield from _paths(child, here, at, elements)


def _elements(statement: str, first: int, table: Path) -> Iterator[tuple[Path, int]]:
    """Yield the elements of a list that goes over several lines, each with its own line.

    The list is closed after every line; what the parser then finds more than before stands there.
    """
    seen = 0
    parts = statement.rstrip("\n").split("\n")
    for at in range(len(parts) - 1):
        try:
            value: Any = tomllib.loads("\n".join([*parts[:at + 1], "]"]))
        except tomllib.TOMLDecodeError:
            continue
        path = table
        while isinstance(value, dict):
            key, value = next(iter(value.items()))
            path += (key,)
        for index in range(seen, len(value)):
            yield (*path, index), first + at
        seen = len(value)


def _unfinished(text: str) -> int:
    """Return the line of the statement that was still open when the text ended."""
    first = 1
    for number, statement, _ in _statements(text):
        first = number + statement.count("\n")
    return first
