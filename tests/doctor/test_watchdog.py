"""Who has the watchdog device open: by a FIFO, which has no driver that could say more."""

import os
from pathlib import Path

import pytest

from hamgr.config.schema import Watchdog
from hamgr.doctor.facts import Missing, WatchdogDevice
from hamgr.doctor.look.watchdog import watchdog
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
