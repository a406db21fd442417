"""Who has the watchdog device open: by a FIFO, which has no driver that could say more; and what
its driver grants."""

import os
from pathlib import Path

import pytest

from hamgr.config.schema import Watchdog
from hamgr.doctor.facts import Missing, WatchdogDevice
from hamgr.doctor.finding import Severity
from hamgr.doctor.look.watchdog import watchdog
from hamgr.doctor.watchdog import watchdog as check
from tests.doctor import healthy
from tests.doctor.healthy import process

NOBODY = Missing("no agent")


@pytest.fixture
def device(tmp_path: Path):
    path = tmp_path / "dog"
    os.mkfifo(path)
    return str(path)


def test_none_is_configured() -> None:
    assert watchdog(Watchdog(), NOBODY) == WatchdogDevice(device="")


def test_it_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "dog")
    assert watchdog(Watchdog(device=path), NOBODY) == WatchdogDevice(device=path, there=False)


def test_nobody_has_it_open(device: str) -> None:
    seen = watchdog(Watchdog(device=device), NOBODY)
    assert (seen.holder, seen.ours, seen.timeout_s, seen.counts) == ("", False, 10, False)


def test_who_has_it_open_is_named(device: str) -> None:
    held = os.open(device, os.O_RDWR)
    try:
        seen = watchdog(Watchdog(device=device), NOBODY)
        assert seen.holder_pid == os.getpid() and seen.holder and not seen.ours
        assert watchdog(Watchdog(device=device), process(pid=os.getpid())).ours
    finally:
        os.close(held)


@pytest.mark.parametrize(("limits", "words"), [
    ({"shortest_s": 11}, "takes no timeout below 11 s, and is to have 10"),
    ({"longest_s": 9}, "takes no timeout above 9 s, and is to have 10"),
])
def test_a_timeout_that_is_not_granted_is_a_fault(limits: dict[str, int], words: str) -> None:
    finding, = check(healthy.watchdog(**limits))
    assert (finding.severity, finding.what) == (Severity.FAULT, words)


def test_one_that_nobody_needs_now_is_well() -> None:
    seen = healthy.watchdog(holder="", holder_pid=0, ours=False, counts=False)
    finding, = check(seen)
    assert finding.severity is Severity.OK and "closed, since nothing is active" in finding.what
