"""Commands that run in the small process beside the agent (see `runner`), seen from the agent.

Neither forking nor a command that hangs in exec costs the loop anything. The process is started
before it is needed, and again if it has died; then what it ran counts as failed.
"""

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from hamgr.adapters.services import runner

log = logging.getLogger(__name__)

PATIENCE_S = 2 * runner.GRACE_S + 2.0
"""How long after a command's timeout its answer may take, before the runner counts as hung."""
WORDS_MAX = 300
"""Characters of a command's output that are told."""
LINES_MAX = 4
"""Lines of a command's output that are told."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int | None
    """Exit status; less than 0: the signal that ended it; None: it was lost, or still runs."""
    ending: str = ""
    """Why it was ended, or lost; empty if it ended by itself."""
    tail: str = ""
    """The end of what it wrote."""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself, and well."""
        return self.code == 0 and not self.ending

    @property
    def unstarted(self) -> bool:
        """Whether there was no such command, or none that can be run."""
        return self.code == runner.NOT_STARTED and self.tail.startswith(runner.NO_START)

    @property
    def words(self) -> str:
        """Its last lines, on one line."""
        lines = self.tail.split("\n")[-LINES_MAX:]
        return " / ".join(lines).strip(" /")[-WORDS_MAX:]

    @property
    def why(self) -> str:
        """Return how it went, in words: "exit status 3: no such table"."""
        if self.ok or self.unstarted:
            return self.words
        return ": ".join(filter(None, (self.how, self.words)))

    @property
    def how(self) -> str:
        """Return what ended it, in words."""
        if self.ending or self.code is None:
            return self.ending
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        return f"exit status {self.code}"


Done = Callable[[Ended], None]


class Runs:
    """Starts commands, and says of each how it ended: exactly once, in the loop's thread."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = 0
        self._running: dict[int, tuple[Done, asyncio.TimerHandle]] = {}
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Start the process, if it does not run. Raises OSError if it cannot."""
        if self._socket is None:
            self._open()

    def start(self, argv: Sequence[str], env: Mapping[str, str], timeout_s: float,
              done: Done, *, to_read: str = "", whole: bool = False) -> int:
        """Start a command, and return its number; `done` is called later, never from here.

        to_read is for its standard input. whole: nothing that it starts outlives it.
        """
        self._numbers += 1
        loop = asyncio.get_running_loop()
        try:
            self._ask({"run": self._numbers, "argv": argv, "timeout": timeout_s, "env": env,
                       "input": to_read, "whole": whole})
        except OSError as error:
            loop.call_soon(done, Ended(None, f"{runner.NO_START}{argv[0]}: {error}"))
            return self._numbers
        timer = loop.call_later(timeout_s + PATIENCE_S, self._lost, "the runner of commands hangs")
        self._running[self._numbers] = (done, timer)
        return self._numbers

    def cancel(self, number: int) -> None:
        """Kill a command that still runs, with all of its process group."""
        if number in self._running:
            try:
                self._ask({"cancel": number})
            except OSError as error:
                self._lost(f"the runner of commands does not listen: {error}")

    async def close(self) -> None:
        """Kill whatever still runs; it has ended when this returns."""
        process = self.process
        self._lost("the agent ends")
        if process is not None:
            await asyncio.to_thread(_gone, process)

    def _ask(self, request: Mapping[str, object]) -> None:
        self.open()
        assert self._socket is not None
        self._socket.send(json.dumps(request).encode())

    def _open(self) -> None:
        if self.process is not None:
            self.process.poll()  # the one that died, to be reaped
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                ours.setblocking(False)
                self.process = subprocess.Popen(
                    [sys.executable, "-I", "-S", runner.__file__, str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError:
            ours.close()
            raise
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read_answer)

    def _read_answer(self) -> None:
        assert self._socket is not None
        try:
            packet = self._socket.recv(runner.PACKET_MAX)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._lost("the runner of commands died")
            return
        answer = json.loads(packet)
        done, timer = self._running.pop(answer["run"])
        timer.cancel()
        done(Ended(answer["code"], answer["ending"], answer["tail"]))

    def _lost(self, why: str) -> None:
        """Give the runner up, which makes it kill what it runs; the next run starts another."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        lost, self._running = self._running, {}
        for done, timer in lost.values():
            timer.cancel()
            done(Ended(None, why))
        if lost:
            log.warning("%d commands are given up: %s", len(lost), why)


def _gone(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(runner.GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
