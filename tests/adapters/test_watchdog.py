"""When the watchdog device is opened, fed and closed: by a stand-in for it, and a clock by hand."""

import asyncio
import threading
from pathlib import Path

import pytest

from hamgr.adapters.watchdog import KernelWatchdog, device
from hamgr.adapters.watchdog.holder import Settings
from hamgr.adapters.watchdog.left import EVERY, MARKER, Leftover
from hamgr.core.types import SECOND
from hamgr.times import reset_within
from tests.netns import eventually

TIMEOUT = 10 * SECOND
PROMISE = 60 * SECOND
RESERVE = reset_within(TIMEOUT)
NOW = 1000 * SECOND


class Kennel:
    """Opens stand-ins; all that is done to them is one list of words."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.refusal = ""
        self.granted = 0
        self.sick = False
        self.gate = threading.Event()
        self.gate.set()

    def open(self, path: str) -> "Kennel":
        self.gate.wait()
        if self.refusal:
            raise OSError(self.refusal)
        self.words.append(f"open {path}")
        return self

    identity = "stand-in"

    def set_timeout(self, seconds: int) -> int:
        self.words.append(f"timeout {seconds}")
        return self.granted or seconds

    def feed(self) -> None:
        if self.sick:
            raise OSError("gone")
        self.words.append("feed")

    def close(self, *, stop: bool) -> None:
        self.words.append("V" if stop else "close")


class Bench:
    """A watchdog, its device, and the time."""

    def __init__(self, folder: Path, **promises: int) -> None:
        self.now = NOW
        self.folder, self.kennel = folder, Kennel()
        self.dog = KernelWatchdog(folder, self.kennel.open, lambda: self.now)
        self.configure(**promises)

    def configure(self, timeout: int = TIMEOUT, device: str = "/dog", **promises: int) -> None:
        self.dog.configure(Settings(device=device, timeout=timeout), promises)

    def settled(self) -> list[str]:
        """Wait until the thread has done all that it was told; return what it did."""
        done = threading.Event()
        self.dog._holder.submit(done.set)
        assert done.wait(60)
        return self.kennel.words

    def fed(self, after: int) -> bool:
        """Make progress so much later; tell whether that fed the device."""
        before = self.settled().count("feed")
        self.now += after
        self.dog.progress(self.now)
        return self.settled().count("feed") > before

    def marked(self) -> bool:
        return (self.folder / MARKER).exists()


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(**promises: int) -> Bench:
        made.append(Bench(tmp_path, **promises))
        return made[-1]

    yield make
    for one in made:
        one.kennel.gate.set()
        asyncio.run(one.dog.close())


@pytest.fixture
def armed(bench):
    """Two groups, one of them active with a lease of an hour."""
    made = bench(crm=PROMISE, web=0)
    made.dog.set_deadline(NOW + 3600 * SECOND)
    made.dog.arm("crm")
    return made


def test_it_is_open_before_the_first_start_and_closed_after_the_last_stop(armed) -> None:
    assert armed.kennel.words == ["open /dog", "timeout 10"], "when arm returns"
    assert armed.dog.facts.held and armed.dog.facts.identity == "stand-in"
    assert armed.marked()
    armed.dog.arm("web")
    armed.dog.disarm("crm")
    assert armed.settled() == ["open /dog", "timeout 10"]
    armed.dog.disarm("web")
    assert armed.settled()[2:] == ["V"]
    assert not armed.dog.facts.held and not armed.marked()


def test_nothing_is_opened_while_nothing_is_armed(bench) -> None:
    made = bench(crm=PROMISE)
    made.dog.set_deadline(NOW + SECOND)
    assert not made.fed(after=0)
    assert made.kennel.words == []
    assert made.dog.facts.device == "/dog" and not made.dog.facts.held


def test_what_is_armed_again_at_once_is_open_again(armed) -> None:
    armed.kennel.gate.clear()
    armed.dog.disarm("crm")
    armed.dog.arm("crm")
    armed.kennel.gate.set()
    assert armed.settled()[2:] == ["V", "open /dog", "timeout 10"]


def test_progress_feeds_it_eight_times_in_a_timeout(armed) -> None:
    assert armed.fed(after=TIMEOUT // 8)
    assert not armed.fed(after=TIMEOUT // 8 - 1)
    assert armed.fed(after=1)


def test_without_progress_it_starves(armed) -> None:
    armed.now += 10 * TIMEOUT
    assert "feed" not in armed.settled()


def test_beyond_the_lease_it_is_fed_as_long_as_a_reset_still_comes_in_time(armed) -> None:
    armed.dog.set_deadline(NOW + SECOND)
    end = NOW + SECOND + PROMISE - RESERVE
    assert armed.fed(after=end - NOW - 1)
    assert not armed.fed(after=TIMEOUT)
    armed.now = end
    assert not armed.fed(after=0)


@pytest.mark.parametrize("promise", [0, RESERVE])
def test_without_a_promise_beyond_it_feeding_ends_with_the_lease(bench, promise: int) -> None:
    made = bench(crm=promise)
    made.dog.set_deadline(NOW + TIMEOUT)
    made.dog.arm("crm")
    assert made.fed(after=TIMEOUT - 1)
    assert not made.fed(after=TIMEOUT)


def test_the_shortest_promise_of_what_is_armed_counts(bench) -> None:
    made = bench(crm=PROMISE, db=PROMISE // 2, web=0, gone=1)
    made.dog.set_deadline(NOW + SECOND)
    for group in ("crm", "db", "web"):
        made.dog.arm(group)
    assert made.dog.until == NOW + SECOND + PROMISE // 2 - RESERVE
    made.dog.disarm("db")
    assert made.dog.until == NOW + SECOND + PROMISE - RESERVE


def test_a_lease_that_is_given_up_ends_now_and_not_when_it_would_have(bench) -> None:
    made = bench(crm=0)
    made.dog.arm("crm")
    made.dog.set_deadline(NOW + 3600 * SECOND)
    made.dog.set_deadline(0)
    assert made.dog.until == NOW
    made.now += SECOND
    made.dog.set_deadline(0)
    assert made.dog.until == NOW, "said again it ends no later"


def test_a_feeding_that_was_late_is_none(armed) -> None:
    """The right to it may end between the loop's word and the thread's deed."""
    armed.now += TIMEOUT
    hold = threading.Event()
    armed.dog._holder.submit(hold.wait)
    eventually(lambda: armed.dog._holder.idle)
    armed.dog.progress(armed.now)
    armed.now += 3600 * SECOND + PROMISE
    hold.set()
    assert "feed" not in armed.settled()


def test_feedings_do_not_pile_up_behind_one_that_takes_long(armed) -> None:
    hold = threading.Event()
    armed.dog._holder.submit(hold.wait)
    eventually(lambda: armed.dog._holder.idle)
    for _ in range(10):
        armed.now += TIMEOUT
        armed.dog.progress(armed.now)
    hold.set()
    assert armed.settled().count("feed") == 1


def test_hardware_that_takes_its_time_holds_up_no_start(bench) -> None:
    made = bench(crm=PROMISE)
    made.kennel.gate.clear()
    made.dog.arm("crm")
    assert made.kennel.words == [], "arm has not waited for it"
    for _ in range(100):
        made.dog.progress(made.now)
    made.kennel.gate.set()
    assert made.settled() == ["open /dog", "timeout 10"]


def test_a_device_that_cannot_be_had_is_tried_again(bench) -> None:
    made = bench(crm=PROMISE)
    made.kennel.refusal = "busy"
    made.dog.arm("crm")
    made.settled()
    assert made.dog.facts.trouble == "cannot be opened: busy" and not made.dog.facts.held
    assert not made.marked()
    made.kennel.refusal = ""
    made.fed(after=SECOND - 1)
    assert made.kennel.words == []
    made.fed(after=1)
    assert made.kennel.words == ["open /dog", "timeout 10"]
    assert made.dog.facts.held and not made.dog.facts.trouble


def test_a_driver_that_grants_more_is_not_used(bench) -> None:
    made = bench(crm=PROMISE)
    made.kennel.granted = 16
    made.dog.arm("crm")
    assert made.settled() == ["open /dog", "timeout 10", "V"]
    assert made.dog.facts.trouble == "cannot be opened: it grants 16 s, not 10"
    assert not made.marked()


def test_one_that_cannot_be_fed_any_more_is_opened_anew(armed) -> None:
    armed.kennel.sick = True
    armed.fed(after=TIMEOUT)
    assert armed.kennel.words[2:] == ["close"], "without the magic: something may still run"
    assert armed.dog.facts.trouble == "cannot be fed: gone"
    armed.fed(after=TIMEOUT)
    assert armed.kennel.words[3:] == ["open /dog", "timeout 10"]


def test_other_settings_count_at_once(armed) -> None:
    armed.configure(timeout=2 * TIMEOUT, crm=PROMISE)
    armed.configure(device="/cat", timeout=2 * TIMEOUT, crm=PROMISE)
    assert armed.settled()[2:] == ["V", "open /dog", "timeout 20", "V", "open /cat", "timeout 20"]
    armed.dog.configure(None, {})
    assert armed.settled()[8:] == ["V"]
    assert armed.dog.facts.device == ""


def test_an_end_with_something_armed_leaves_it_counting(armed) -> None:
    asyncio.run(armed.dog.close())
    assert armed.kennel.words == ["open /dog", "timeout 10"]
    assert armed.marked(), "who cleans up finds it"


def test_a_sweep_closes_it(armed) -> None:
    armed.dog.swept()
    assert armed.settled()[2:] == ["V"]
    assert not armed.marked()
    assert not armed.fed(after=TIMEOUT)
    assert armed.kennel.words[2:] == ["V"], "nothing is armed any more"


def left(armed, after: int = 0) -> tuple[Leftover, Kennel]:
    """What is left of a watchdog that was fed so long after it was opened, and whose agent died."""
    assert armed.fed(after=after)
    asyncio.run(armed.dog.close())
    kennel = Kennel()
    return Leftover(armed.folder, kennel.open), kennel


def test_a_cleanup_closes_what_an_agent_left_counting(armed) -> None:
    leftover, kennel = left(armed)
    leftover.swept()
    leftover.swept()
    assert kennel.words == ["open /dog", "V"]
    Leftover(armed.folder, kennel.open).swept()
    assert kennel.words == ["open /dog", "V"], "once"


def test_a_cleanup_feeds_it_as_long_as_the_agent_might_have(armed) -> None:
    armed.dog.set_deadline(NOW + SECOND)
    leftover, kennel = left(armed)
    end = NOW + SECOND + PROMISE - RESERVE
    for now in (NOW + EVERY, NOW + 2 * EVERY - 1, NOW + 2 * EVERY, end - 1, end):
        leftover.progress(now)
    assert kennel.words == ["open /dog", "feed", "feed", "feed"]
    leftover.swept()
    assert kennel.words[4:] == ["V"]


def test_a_cleanup_without_a_right_to_feed_does_not_open_it(armed) -> None:
    """That would start it over."""
    armed.dog.set_deadline(NOW + SECOND)
    leftover, kennel = left(armed)
    leftover.progress(NOW + SECOND + PROMISE)
    assert kennel.words == []


def test_a_start_feeds_and_closes_what_an_agent_left_counting(armed, bench) -> None:
    left(armed)
    later = bench(crm=PROMISE)
    later.dog.progress(NOW + EVERY)
    later.dog.swept()
    assert later.settled() == ["open /dog", "feed", "V"]


@pytest.mark.parametrize("first", ["progress", "swept"])
def test_what_is_in_other_hands_is_left_there(armed, first: str) -> None:
    leftover, kennel = left(armed)
    kennel.refusal = "busy"
    if first == "progress":
        leftover.progress(NOW + EVERY)
    leftover.swept()
    assert kennel.words == [] and not armed.marked()


@pytest.mark.parametrize("text", ["", "1", "x\n/dog"])
def test_a_file_that_was_not_written_whole_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    kennel = Kennel()
    leftover = Leftover(tmp_path, kennel.open)
    leftover.progress(NOW)
    assert "feed" not in kennel.words


def test_settings_that_come_too_late_do_not_start_it_over(armed) -> None:
    armed.dog.set_deadline(NOW + SECOND)
    armed.now += SECOND + PROMISE
    armed.configure(timeout=2 * TIMEOUT, crm=PROMISE)
    assert armed.settled() == ["open /dog", "timeout 10"]


def test_a_bug_does_not_end_the_thread(armed) -> None:
    armed.dog._holder.submit(lambda: 1 / 0)
    assert armed.fed(after=TIMEOUT)


def test_one_that_cannot_be_closed_again_is_not_opened(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(device, "attribute", lambda path, name: "1")
    with pytest.raises(OSError, match="nowayout"):
        device.KernelDevice(str(tmp_path / "dog"))
