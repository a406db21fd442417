"""The management board of a machine: speaks IPMI 2.0, and its power switch really kills.

    python -m tests.bmc --address 10.0.0.2 --user hamgr --password-file F --cgroup G -- COMMAND...

Power off kills everything in the control group, power on runs the command, which is to start the
machine in that group; the machine is on while anything runs there. A machine of a lab is the group
hamgr-lab/LAB/NODE below where cgroup2 is mounted (hamgr.lab.cgroup). It prints "listening" when it
is; then a line for each thing that it is told. SIGTERM ends it, and the machine stays as it is.

`--deaf-to off` has it say that it has switched off, or on, and do nothing: as boards do.
"""

import argparse
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pyghmi.ipmi.bmc import Bmc

from hamgr.lab.cgroup import Cgroup, mount
from hamgr.lab.netns import NETNS
from hamgr.lab.spec import Owner

MACHINES = "hamgr-tests"
"""Control group above those of `machine`. Not that of the labs: each lab that starts removes there
what has no owner any more."""
PORT = 623
"""Of RMCP (IPMI 2.0, section 13.1.2). The board has an address of its own, as real ones do."""


class Board(Bmc):  # type: ignore[misc] # pyghmi has no types
    """A board that has one machine."""

    def __init__(self, address: str, users: dict[str, str], machine: Cgroup,
                 start: list[str], deaf_to: tuple[str, ...] = ()) -> None:
        super().__init__(users, port=PORT, address=address)
        self._machine, self._start, self._deaf_to = machine, start, deaf_to
        self._children: list[subprocess.Popen[bytes]] = []

    def get_power_state(self) -> str:
        """Return what the machine is, in the words of pyghmi."""
        state = "on" if self._machine.populated else "off"
        self.say(f"status: {state}")
        return state

    def power_off(self) -> None:
        """Cut it off, as a board does that holds the button down: nothing is asked first."""
        self.say("off")
        if "off" not in self._deaf_to:
            self._machine.kill()

    def power_on(self) -> None:
        """Start it, if it is not on."""
        self.say("on")
        if "on" not in self._deaf_to and not self._machine.populated:
            self._children = [child for child in self._children if child.poll() is None]
            # It outlives the board, and must not hold its output open.
            self._children.append(subprocess.Popen(
                self._start, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True))

    def say(self, what: str) -> None:
        """Tell whoever runs the board."""
        sys.stdout.write(f"{what}\n")
        sys.stdout.flush()


def machine() -> Cgroup:
    """Make a control group for one machine; remove what test runs that were killed have left."""
    owner, above = Owner.current(), mount() / MACHINES
    for path in above.glob("*-*-*"):
        pid, started, _ = path.name.split("-")
        if not Owner(int(pid, 16), int(started, 16)).alive:
            with suppress(FileNotFoundError):  # another run removes it too
                Cgroup(path).remove()
    made = Cgroup(above / f"{owner.pid:x}-{owner.started:x}-{secrets.token_hex(4)}")
    made.make()
    return made


class Listening:
    """A board that runs beside the test."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.said: list[str] = []
        """What it was told, in its order: "status: on", "off"."""
        self._process = process
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, seconds: float) -> None:
        """Wait until it listens."""
        assert self._ready.wait(seconds) and self.said, f"no board listens: {self.said}"

    def orders(self) -> list[str]:
        """What it was told to do: not what it was only asked."""
        return [line for line in self.said if line in ("off", "on")]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line.strip())
            self._ready.set()
        self._ready.set()


@contextmanager
def listening(namespace: str, address: str, user: str, password_file: Path, machine: Cgroup,
              start: Sequence[str], deaf_to: Sequence[str] = ()) -> Iterator[Listening]:
    """Run a board in a network namespace; `start` is what makes the machine run in its group.

    Entered with nsenter(1), since `ip netns exec` would hide the control groups.
    """
    deaf = [word for action in deaf_to for word in ("--deaf-to", action)]
    with subprocess.Popen(
            ["nsenter", f"--net={NETNS / namespace}", "--", sys.executable, "-m", "tests.bmc",
             "--address", address, "--user", user, "--password-file", str(password_file),
             "--cgroup", str(machine.path), *deaf, "--", *start],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[1]) as process:
        try:
            board = Listening(process)
            board.wait(60.0)
            yield board
        finally:
            process.kill()


def main() -> None:
    """Be a board until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--cgroup", type=Path, required=True)
    parser.add_argument("--deaf-to", action="append", default=[])
    parser.add_argument("start", nargs="+")
    told = parser.parse_args()
    board = Board(told.address, {told.user: told.password_file.read_text().strip()},
                  Cgroup(told.cgroup), told.start, tuple(told.deaf_to))
    board.say("listening")
    board.listen()


if __name__ == "__main__":
    main()
