"""`hamgr status --watch` on a real (pseudo) terminal, and how a text is fitted into one."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from hamgr.cli import from_agent, render
from hamgr.cli.client import SOCKET
from hamgr.cli.screen import fitted
from tests.cli import cluster
from tests.netns import PATIENCE_S, interrupts

HOME, ENTER, LEAVE = "\x1b[H", "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
ANSWER = msgspec.json.encode({"status": cluster.status()}) + b"\n"


class Terminal:
    """A terminal with the command in it, and everything that it was sent."""

    def __init__(self, run_dir: Path, columns: int, rows: int) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hamgr", "status", "--watch", "--run-dir", str(run_dir),
             "--config", str(run_dir / "none.toml")],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, "TERM": "xterm"})
        os.close(theirs)
        self.sent = ""

    def resize(self, columns: int, rows: int) -> None:
        termios.tcsetwinsize(self._ours, (rows, columns))

    def until(self, pattern: str) -> str:
        """Read until the last frame begun, or what follows it, has this; return that."""
        end = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.frame(), re.DOTALL):
            left_s = max(0.0, end - time.monotonic())
            assert select.select([self._ours], [], [], left_s)[0] and left_s, self.sent[-3000:]
            try:
                self.sent += os.read(self._ours, 65536).decode().replace("\r\n", "\n")
            except OSError:  # its end (EIO)
                assert re.search(pattern, self.frame(), re.DOTALL), self.sent[-3000:]
        return self.frame()

    def frame(self) -> str:
        return self.sent.rpartition(HOME)[2]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminals(agent: Callable[[bytes], Path]) -> Iterator[Callable[[int, int], Terminal]]:
    made: list[Terminal] = []

    def start(columns: int, rows: int) -> Terminal:
        with interrupts():
            made.append(Terminal(agent(ANSWER), columns, rows))
        return made[-1]

    yield start
    for terminal in made:
        terminal.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_terminal_is_given_back_with_the_last_view_on_it(
        terminals: Callable[[int, int], Terminal], how: signal.Signals) -> None:
    terminal = terminals(120, 40)
    terminal.until("hamgr status at .*lives in another.*\x1b\\[J")
    assert terminal.sent.startswith(ENTER) and "\x1b[2J" not in terminal.sent
    terminal.process.send_signal(how)
    assert terminal.process.wait(PATIENCE_S) == 0
    drawn, _, left = terminal.until(re.escape(LEAVE) + ".*namespace\n$").partition(LEAVE)
    lines = drawn.partition("\x1b[J")[0].replace("\x1b[K", "").split("\n")
    assert lines[0].startswith("hamgr status at ") and lines[2:] == left.splitlines()


def test_in_the_background_of_a_script_it_is_ended_as_other_commands_are(
        agent: Callable[[bytes], Path]) -> None:
    """The shell has it ignore SIGINT: that is for what is in front. SIGTERM ends it."""
    with interrupts(signal.SIG_IGN):
        terminal = Terminal(agent(ANSWER), 120, 40)
    try:
        terminal.until("hamgr status at .*lives in another.*\x1b\\[J")
        terminal.process.send_signal(signal.SIGINT)
        terminal.resize(60, 12)
        terminal.until(r"the window is too small.*namespace\x1b\[K\x1b\[J")
        assert terminal.process.poll() is None
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(PATIENCE_S) == 0
        terminal.until(re.escape(LEAVE))
    finally:
        terminal.close()


def test_it_follows_the_size_of_the_window(terminals: Callable[[int, int], Terminal]) -> None:
    terminal = terminals(120, 40)
    terminal.until("survives now: 1 more node\x1b.*\x1b\\[J")
    terminal.resize(60, 12)
    terminal.until(r"the window is too small.*namespace\x1b\[K\x1b\[J")
    lines = terminal.frame().partition("\x1b[J")[0].split("\n")
    assert len(lines) == 12
    assert max(len(line.removesuffix("\x1b[K")) for line in lines) <= 60


def test_it_says_when_the_agent_is_gone(
        terminals: Callable[[int, int], Terminal], tmp_path: Path) -> None:
    terminal = terminals(120, 40)
    terminal.until("degraded:")
    (tmp_path / SOCKET).rename(tmp_path / "away")
    terminal.until("unknown:.*no agent runs here")
    gone = [frame for frame in terminal.sent.split(HOME) if "NO NEWS SINCE" in frame]
    assert len(gone) == 1 and "survives now" in gone[0] and "no agent runs here" in gone[0]
    (tmp_path / "away").rename(tmp_path / SOCKET)
    terminal.until("hamgr status at .*degraded:")


def test_a_narrow_window_folds_between_facts_and_in_the_last_column() -> None:
    text = render.text(from_agent.survey(cluster.on_the_owner(), {}), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "voters\n  survives now: 0 more nodes\n" in text
    assert re.search(r"  deadline,\n {60,}switch,\n {60,}lifetime\n", text)


def test_the_verdict_stays_in_view() -> None:
    lines = ["title", "", *(f"n{n}" for n in range(20)), "", "degraded:", "  n1 is down"]
    assert fitted(lines, 60, 8) == [
        "title", "", "n0", "n1", "n2", "... 18 more lines: the window is too small",
        "degraded:", "  n1 is down"]
    assert fitted(lines, 60, 25) == lines
    assert fitted(["a" * 20], 10, 5) == ["a" * 7 + "..."]
    for columns, rows in ((1, 1), (2, 2), (5, 3)):
        assert len(fitted(lines, columns, rows)) == rows
