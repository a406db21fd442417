"""fence_ipmilan and ipmitool, as Debian has them, against a board whose power switch really kills:
a machine is a control group, with a process in it, and the board is on a network of its own."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from hamgr.adapters.fence import AGENTS, Device
from hamgr.core.events import DeviceAnswered
from hamgr.core.types import SECOND, Power
from tests.adapters.fencing import Asked, Told, story
from tests.netns import Segment

pytest.importorskip("pyghmi", reason="the board needs pyghmi")
from tests import bmc  # noqa: E402 # only with pyghmi

pytestmark = [pytest.mark.real, pytest.mark.skipif(
    not (AGENTS / "fence_ipmilan").exists(),
    reason="fence-agents is not installed (.ci/setup --tests)")]
PASSWORD = "c0rrect-h0rse"
USER = "hamgr"
Then = Callable[[Asked], Awaitable[None]]


class Room:
    """A machine with its board, and a node that asks it."""

    def __init__(self, lan: Segment, folder: Path) -> None:
        self.lan, self.folder = lan, folder
        self.machine = bmc.machine()
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD + "\n")

    def board(self, *deaf_to: str) -> AbstractContextManager["bmc.Listening"]:
        start = self.machine.joined(self.lan.namespace("board"), ["sleep", "10000"])
        return bmc.listening(self.lan.namespace("board"), self.lan.address("board"), USER,
                             self.password_file, self.machine, start, deaf_to)

    def story(self, then: Then, password: str = PASSWORD, **options: str) -> None:
        """Tell a story on the node."""
        device = Device(
            name="d", agent="fence_ipmilan", plugs={"n1": ""},
            options={"ip": self.lan.address("board"), "username": USER, "lanplus": "1",
                     "cipher": "3", "power_wait": "0", **options},
            secrets={"password": Told(password)})
        self.lan.call("n2", story, then, device)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Segment("n2", "board") as lan:
        found = Room(lan, tmp_path)
        try:
            yield found
        finally:
            found.machine.remove()


def test_power_is_cut_seen_and_given_again(room: Room) -> None:
    async def then(devices: Asked) -> None:
        assert room.machine.populated is False
        assert (await devices.ask("on")).ok
        assert room.machine.populated
        assert (await devices.ask("status")).power is Power.ON
        before = room.machine.pids()
        off = await devices.ask("off")
        assert (off.ok, off.why) == (True, "Success: Powered OFF")
        assert not room.machine.populated, "its processes are dead, not only told to end"
        assert (await devices.ask("status")).power is Power.OFF
        assert room.machine.populated is False
        assert (await devices.ask("on")).ok
        assert room.machine.populated and not {*before} & {*room.machine.pids()}

    with room.board() as board:
        room.story(then)
        assert board.orders() == ["on", "off", "on"]


def test_to_look_switches_nothing(room: Room) -> None:
    async def then(devices: Asked) -> None:
        monitor = await devices.ask("monitor")
        assert (monitor.ok, monitor.power, monitor.why) == (True, Power.UNKNOWN, "")
        assert (await devices.ask("status")).power is Power.OFF

    with room.board() as board:
        room.story(then)
        assert board.orders() == []


def test_to_cut_off_who_is_off_is_done_at_once(room: Room) -> None:
    async def then(devices: Asked) -> None:
        off = await devices.ask("off")
        assert (off.ok, off.why) == (True, "Success: Already OFF")

    with room.board():
        room.story(then)


def test_a_board_that_says_off_and_does_nothing_is_found_out(room: Room) -> None:
    async def then(devices: Asked) -> None:
        assert (await devices.ask("on")).ok
        off = await devices.ask("off")
        assert not off.ok and off.why.startswith("exit status 1: ") and "OFF" in off.why
        assert (await devices.ask("status")).power is Power.ON

    with room.board("off"):
        room.story(then, power_timeout="1")
        assert room.machine.populated


def test_a_wrong_password_is_said_and_not_shown(room: Room) -> None:
    answers: list[DeviceAnswered] = []

    async def then(devices: Asked) -> None:
        answers.append(await devices.ask("status"))
        answer = answers[0]
        assert (answer.ok, answer.power) == (False, Power.UNKNOWN)
        assert answer.why == ("exit status 1: Failed: Unable to obtain correct plug status or plug "
                              "is not available")

    with room.board():
        room.story(then, password="wr0ng-but-secret", login_timeout="1")


def test_a_board_out_of_reach_is_no_answer_in_time(room: Room) -> None:
    """What asks it is ended at the timeout, with the ipmitool that it started."""
    async def then(devices: Asked) -> None:
        answer = await devices.ask("off", within=2 * SECOND)
        assert (answer.ok, answer.power) == (False, Power.UNKNOWN)
        assert answer.why.startswith("no answer in 2 s")

    with room.board() as board:
        room.lan.unplug("board")
        room.story(then, login_timeout="60", shell_timeout="60")
        assert "ipmitool" not in _programs(room.lan, "n2")
        assert board.orders() == []


def _programs(lan: Segment, machine: str) -> list[str]:
    pids = lan.run("n2", "ip", "netns", "pids", lan.namespace(machine)).split()
    return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids
            if Path(f"/proc/{pid}/comm").exists()]
