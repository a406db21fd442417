"""Text in the columns of a terminal. A width of None is no limit."""

import textwrap
from collections.abc import Iterable, Sequence

NARROW = 10
"""Columns below which nothing is folded any more."""


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None
) -> str:
    """Return a table with its columns aligned and two blanks between them, the last one folded."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    room = None if width is None else width - sum(widths[:-1]) - 2 * (len(head) - 1)
    drawn = []
    for line in lines:
        last = [line[-1]] if room is None or room < NARROW else textwrap.wrap(line[-1], room)
        cells = ["  ".join(cell.ljust(each) for cell, each in zip(line, widths[:-1], strict=False))]
        cells += [" " * len(cells[0])] * (len(last) - 1)
        drawn += [f"{before}  {after}".rstrip()
                  for before, after in zip(cells, last or [""], strict=True)]
    return "\n".join(drawn)


def fold(line: str, width: int | None, indent: str = "  ") -> str:
    """Return a line folded between words, what follows indented."""
    return line if width is None or len(line) <= width else textwrap.fill(
        line, max(width, 2 * NARROW), subsequent_indent=indent, break_on_hyphens=False)


def span(seconds: float | None) -> str:
    """Return a length of time as people say it: 31 ms, 4.2 s, 12m05s, 3h07m, 2d04h."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    return f"{hours // 24}d{hours % 24:02}h"


def printable(text: str) -> str:
    """Return a text that a terminal only shows: without what would make it do something.

    What stands in ZooKeeper may be anybody's, and it is root who has it shown.
    """
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}"
                   for char in text)
