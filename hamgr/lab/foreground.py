"""Runs a command on this terminal, which decides itself what an interrupt means."""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command and return its exit status; an interrupt, which it has too, is left to it."""
    with _uninterrupted(), subprocess.Popen(argv, env=environment) as command:
        return command.wait()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let interrupts pass this process by, but not what it starts meanwhile.

    A KeyboardInterrupt that is raised just as Popen.wait has the exit status would lose it, and the
    next wait would make 0 of it. What is ignored stays so, for what is started, too.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
