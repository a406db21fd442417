"""What an input reaches in hamgr, line by line; and the fewest inputs that reach the same."""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import hamgr
from tests.fuzz.hostile import Receiver, play

PACKAGE = str(Path(hamgr.__file__).parent)
Step = tuple[str, int, int]
"""File, line, and the line after it in the same call; 0 at the beginning."""


def reached(target: type[Receiver], data: bytes) -> frozenset[Step]:
    """Return every step from line to line that an input takes."""
    steps: set[Step] = set()

    def called(frame: FrameType, _: str, __: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE):
            return None
        before = 0

        def ran(frame: FrameType, what: str, _: Any) -> Any:
            nonlocal before
            if what == "line":
                steps.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return ran
        return ran

    former = sys.gettrace()
    sys.settrace(called)
    try:
        play(target, data)
    finally:
        sys.settrace(former)
    return frozenset(steps)


def fewest(target: type[Receiver], inputs: Iterable[bytes]) -> tuple[list[bytes], frozenset[Step]]:
    """Return inputs, short ones first, of which each takes a step that none before it takes."""
    kept, steps = list[bytes](), frozenset[Step]()
    for data in sorted(inputs, key=lambda one: (len(one), one)):
        found = reached(target, data)
        if not found <= steps:
            kept.append(data)
            steps |= found
    return kept, steps
