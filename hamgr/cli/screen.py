"""A text that is drawn anew on a terminal each second, without flicker or anything left over.

Only what every terminal of today knows is sent (ECMA-48, xterm's control sequences): a screen of
its own, so that what was there before comes back at the end, and no clearing: each line is written
over the old one, and the rest of it erased.
"""

import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""To the alternate screen, with the cursor hidden, and back."""
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def width() -> int | None:
    """Return the columns of the terminal that standard output is, None if it is none."""
    return _size()[0] if drawable() else None


def drawable() -> bool:
    """Return whether standard output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """The terminal, for as long as the context lasts; what was shown last stays in view then."""

    def __init__(self) -> None:
        self._last = ""

    def __enter__(self) -> Self:
        self._write(_ENTER)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._write(_LEAVE + self._last)

    def show(self, title: str, text: str) -> None:
        """Draw a title and a text that ends with what matters most, as far as there is room."""
        self._last = text
        lines = fitted([title, "", *text.splitlines()], *_size())
        self._write(_HOME + f"{_REST_OF_LINE}\n".join(lines) + _REST_OF_LINE + _REST_OF_SCREEN)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _size() -> tuple[int, int]:
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    return columns or 80, rows or 24  # a serial line does not know


def fitted(lines: Sequence[str], columns: int, rows: int) -> list[str]:
    """Return the lines cut to the width, and to the height in the middle: the last paragraph, the
    verdict, is left whole if it takes no more than half of the rows."""
    if len(lines) > rows:
        last = len(lines) - 1 - [*reversed(lines)].index("") if "" in lines else len(lines)
        end = lines[last + 1:][:max(rows // 2, 1)]
        kept = max(rows - len(end) - 1, 0)
        note = f"... {len(lines) - kept - len(end)} more lines: the window is too small"
        lines = [*lines[:kept], note, *end][:rows]
    return [line if len(line) <= columns else line[:max(columns - 3, 0)] + "..." for line in lines]
