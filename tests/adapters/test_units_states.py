"""What systemd's states come to, and which changes are told, by signals as systemd 252 sends."""

import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamgr.adapters.services.systemd import states
from hamgr.adapters.services.systemd.states import End
from hamgr.adapters.services.systemd.watched import Watched
from hamgr.core.types import Found

FIRST, SECOND = b"first", b"second"


@pytest.mark.parametrize(("active", "found"), [
    ("active", Found.STARTED), ("reloading", Found.STARTED), ("refreshing", Found.STARTED),
    ("inactive", Found.STOPPED), ("failed", Found.FAILED), ("activating", Found.FAILED),
    ("deactivating", Found.FAILED), ("maintenance", Found.FAILED), ("invented", Found.FAILED),
])
def test_a_state_comes_to(active: str, found: Found) -> None:
    assert states.found(active) is found


@pytest.mark.parametrize(("end", "why"), [
    (End(), ""),
    (End("success", 1, 0), ""),
    (End("exit-code", 1, 3), "exit status 3"),
    (End("exit-code", 1, 203), "exit status 203: its program cannot be executed"),
    (End("exit-code", 0, 0), "a command like ExecStartPre= failed"),
    (End("exit-code", 2, 15), "a command like ExecStartPre= failed"),
    (End("signal", 2, 9), "killed by SIGKILL"),
    (End("signal", 2, 200), "killed by signal 200"),
    (End("core-dump", 3, 6), "killed by SIGABRT, with a core dump"),
    (End("oom-kill", 2, 9), "killed since memory was out"),
    (End("watchdog", 3, 6), "its watchdog was not fed in time (WatchdogSec=)"),
    (End("invented", 1, 1), "invented"),
])
def test_a_failure_is_told_in_words(end: End, why: str) -> None:
    assert states.failure(end) == why


def test_every_result_has_words() -> None:
    assert states.job("canceled") == "its job was cancelled"
    assert states.job("invented") == "invented"


def unit(active: str = "active", invocation: bytes = FIRST, **more: Any) -> dict[str, Any]:
    """The signal of the interface Unit."""
    job = more.pop("job", 0)
    return {"ActiveState": active, "SubState": "x", "InvocationID": invocation,
            "Job": (job, "/job"), **more}


def service(result: str = "success", code: int = 0, status: int = 0,
            restarts: int = 0) -> dict[str, Any]:
    """The signal of the interface Service, which comes first."""
    return {"Result": result, "ExecMainCode": code, "ExecMainStatus": status,
            "NRestarts": restarts}


def changes(*signals: dict[str, Any], before: dict[str, Any] | None = None) -> list[Any]:
    watched = Watched("x.service")
    watched.take(service() | (before or unit()))
    watched.settle()
    told = []
    for signal in signals:
        watched.take(signal)
        if "ActiveState" in signal and (change := watched.change()):
            told.append((change.found, change.why))
    return told


STOP = (service(), unit(job=7), service(), unit("deactivating", job=7),
        service(code=2, status=15), unit("inactive", job=7), unit("inactive"))
RESTART = (unit(job=8), unit("deactivating", job=8), service(code=2, status=15),
           unit("inactive", job=8), unit("inactive", SECOND, job=8), unit("active", SECOND, job=8),
           service(), unit("active", SECOND))
AGAIN = (service("signal", 2, 9, 1), unit("activating", job=9), service(restarts=1),
         unit("inactive", SECOND, job=9), unit("active", SECOND, job=9), unit("active", SECOND))
KILLED = (service("signal", 2, 9), unit("failed"))


@pytest.mark.parametrize(("signals", "told"), [
    (KILLED, [(Found.FAILED, "killed by SIGKILL")]),
    ((service("exit-code", 1, 1), unit("deactivating"), unit("failed")),
     [(Found.FAILED, "exit status 1")]),
    (STOP, [(Found.STOPPED, "stopped by somebody else")]),
    (RESTART, [(Found.STARTED, "restarted by somebody else")]),
    ((*KILLED, unit("activating"), *AGAIN),
     [(Found.FAILED, "killed by SIGKILL"), (Found.STARTED, "started by systemd (Restart=)")]),
    (AGAIN, [(Found.STARTED, "restarted by systemd (Restart=)")]),
    ((unit(job=5), unit("reloading", job=5), unit("active", job=5), unit(), *KILLED),
     [(Found.FAILED, "killed by SIGKILL")]),
    ((unit(), unit()), []),
    ((service(code=1), unit("inactive")),
     [(Found.STOPPED, "it ended by itself: exit status 0")]),
    ((unit("inactive"),), [(Found.STOPPED, "it ended by itself")]),
    ((unit("maintenance"),), [(Found.FAILED, "it is maintenance (x)")]),
], ids=["killed", "slowly", "stop", "restart", "again", "unseen", "reload", "calm", "ends",
        "no process", "other"])
def test_each_change_is_told_once(signals: tuple[dict[str, Any], ...], told: list[object]) -> None:
    assert changes(*signals) == told


STATES = ("active", "inactive", "failed", "activating", "deactivating", "reloading")


@given(st.lists(st.builds(unit, st.sampled_from(STATES), st.sampled_from((FIRST, SECOND)),
                          job=st.sampled_from((0, 0, 5, 6)))))
def test_what_was_told_last_is_so_whatever_happened(signals: list[dict[str, Any]]) -> None:
    told = [(Found.STARTED, ""), *changes(*signals, unit(signals[-1]["ActiveState"]))] \
        if signals else [(Found.STARTED, "")]
    last = signals[-1]["ActiveState"] if signals else "active"
    assert told[-1][0] is states.found(last)
    for (before, _), (after, why) in pairwise(told):
        assert why
        assert before is not after or "start" in why


def test_a_start_by_somebody_else_is_told() -> None:
    assert changes(unit("inactive", SECOND, job=3), unit("active", SECOND, job=3),
                   unit("active", SECOND), before=unit("inactive")) == [
        (Found.STARTED, "started by somebody else")]


def test_nothing_is_told_of_a_unit_that_was_never_looked_at() -> None:
    watched = Watched("x.service")
    watched.take(unit("failed"))
    assert watched.change() is None


def test_our_own_action_accounts_for_its_changes_and_for_no_later_one() -> None:
    watched = Watched("x.service")
    watched.take(unit("inactive"))
    watched.settle()
    watched.ours += 1
    watched.queued(4)
    for signal in (unit("inactive", SECOND, job=4), unit("active", SECOND, job=4)):
        watched.take(signal)
        assert watched.change() is None
    watched.take(unit("active", SECOND))
    watched.ours -= 1
    watched.settle()
    assert watched.change() is None
    watched.take(service("signal", 2, 9) | unit("failed", SECOND))
    assert watched.change() == (Found.FAILED, "killed by SIGKILL")


def test_who_has_no_systemd_services_does_not_load_the_library() -> None:
    script = ("import sys, asyncio\n"
              "import hamgr.cli.main, hamgr.daemon\n"
              "from hamgr.adapters.services.systemd import Units\n"
              "asyncio.run(Units({}, print).start())\n"
              "sys.exit('dbus_fast' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
