"""Lets libFuzzer, through atheris, look for inputs that reach something new in hamgr.

A process of its own, started by `tests.fuzz`: libFuzzer never returns, and what it sees of the
code is built in while that is imported.

    python tests/fuzz/guided.py TARGET DATAGRAMS FIGURES [libFuzzer's arguments]

ends after so many datagrams, with the figures as JSON. With no DATAGRAMS (0) it does what
libFuzzer's arguments say.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hamgr"]):
    from tests.fuzz import hostile

FIGURES_EVERY = 10_000


def main(target: str, datagrams: int, figures: Path, arguments: list[str]) -> None:
    kind, total = hostile.TARGETS[target], Counter[str]()
    hostile.engines()

    def once(data: bytes) -> None:
        total.update(hostile.seen(hostile.play(kind, data)))
        total["inputs"] += 1
        over = datagrams and hostile.datagrams(total) >= datagrams
        if over or total["inputs"] % FIGURES_EVERY == 0:
            figures.write_text(json.dumps(total))
        if over:
            os._exit(0)  # new inputs are on disk already, and libFuzzer knows no other end

    atheris.Setup([sys.argv[0], *arguments], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
