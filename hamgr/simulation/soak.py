"""A soak: seeds without end, for as long as there is time, going on where the last one ended.

What was done stands in a file with the digest of the code that did it: a mended engine begins a
new count, for what another engine survived says nothing about it. Seeds are never run twice.
"""

import hashlib
import itertools
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct, field

import hamgr
from hamgr.simulation.batch import Options, Progress, Say, Totals, found_line, verdicts
from hamgr.simulation.reach import table

SAVE_EVERY_S = 20
CODE = ("core/*.py", "leader/*.py", "simulation/*.py", "*.py")
"""Files of the package by which a run goes, as patterns."""


class Part(Struct):
    """What one version of the code did."""

    code: str
    """Digest of the code."""
    options: Options
    totals: Totals = field(default_factory=Totals)
    found: list[str] = field(default_factory=list)
    """What was broken, with the command that tells its story."""


class State(Struct):
    """What stands in the file."""

    next_seed: int = 0
    parts: list[Part] = field(default_factory=list)

    def part(self, code: str, options: Options) -> Part:
        """Return the part of this code and these options, begun if there is none."""
        for part in self.parts:
            if (part.code, part.options) == (code, options):
                return part
        self.parts.append(Part(code, options))
        return self.parts[-1]


def soak(path: str, options: Options, *, hours: float, seeds: int, jobs: int, say: Say) -> int:
    """Run seeds until time, number or patience (SIGINT, SIGTERM) is at its end; 1 if any broke.

    `hours`, `seeds`: 0 for no such limit. Raises OSError if the file cannot be written, and
    msgspec.ValidationError or DecodeError if it is no soak's.
    """
    file = Path(path)
    state = msgspec.json.decode(file.read_bytes(), type=State) if file.exists() else State()
    part = state.part(digest(), options)
    say(f"soak: from seed {state.next_seed}; {part.totals.seeds} seeds of this code before; {file}")
    began = saved = time.monotonic()
    progress = Progress(seeds, say)
    chosen = itertools.count(state.next_seed) if not seeds else range(
        state.next_seed, state.next_seed + seeds)
    session = Totals()
    with suppress(KeyboardInterrupt), _terminated_is_interrupted():
        for verdict in verdicts(chosen, options, jobs):
            for totals in (part.totals, session):
                totals.add(verdict)
            state.next_seed = verdict.seed + 1
            if verdict.violations:
                part.found.append(found_line(verdict, options))
                say(part.found[-1])
            progress.step(session)
            if time.monotonic() - saved > SAVE_EVERY_S:
                saved = time.monotonic()
                _save(file, state)
            if hours and time.monotonic() - began > hours * 3600:
                break
    _save(file, state)
    for line in table(Counter(part.totals.reached), part.totals.seeds):
        say(line)
    say("")
    say(f"this time  {session.summary(progress.took_s)}")
    say(f"this code  {part.totals.summary()}")
    return 1 if part.totals.broken else 0


def digest() -> str:
    """Return a digest of the code by which runs go."""
    found = hashlib.sha256()
    root = Path(hamgr.__path__[0])
    for pattern in CODE:
        for path in sorted(root.glob(pattern)):
            found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


class _terminated_is_interrupted:
    """SIGTERM ends a soak as an interrupt does: with what was done kept."""

    def __enter__(self) -> None:
        self._former = signal.signal(signal.SIGTERM, signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._former)


def _save(file: Path, state: State) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    os.replace(draft, file)
