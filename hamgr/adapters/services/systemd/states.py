"""systemd's states and results, as hamgr has them and in words. Pure.

The names are those of org.freedesktop.systemd1(5), which says what a job's result means; that of a
unit's is in systemd.exec(5), $SERVICE_RESULT.
"""

import signal
from typing import NamedTuple

from hamgr.core.types import Found

_FOUND = {
    "active": Found.STARTED, "reloading": Found.STARTED, "refreshing": Found.STARTED,
    "inactive": Found.STOPPED}
"""By ActiveState. A unit serves while it reloads. All others (failed, activating, deactivating,
maintenance) have something running or left that does not work."""
JOBS = {
    "canceled": "its job was cancelled",
    "timeout": "its job timed out (JobTimeoutSec=)",
    "failed": "it failed",
    "dependency": "a unit that it requires failed",
    "skipped": "it was skipped",
    "invalid": "it cannot be done with this unit",
    "assert": "an assertion of the unit was not met (Assert…=)",
    "unsupported": "this machine does not support such a unit",
    "collected": "the unit was unloaded",
    "once": "it may be started once in a boot, and has been"}
"""By the result in JobRemoved, all but "done"."""
_RESULTS = {
    "protocol": "it did not tell systemd what its Type= promises",
    "timeout": "timeout: it took longer than its unit allows (TimeoutStartSec=, TimeoutStopSec=)",
    "watchdog": "its watchdog was not fed in time (WatchdogSec=)",
    "exec-condition": "its ExecCondition= said no",
    "oom-kill": "killed since memory was out",
    "start-limit-hit": "started too often in a short time (StartLimitBurst=)",
    "resources": "systemd could not set it up: see its journal"}
_PROGRAM = {
    200: "its directory cannot be entered", 203: "its program cannot be executed",
    216: "its group is unknown", 217: "its user is unknown",
    226: "its namespaces cannot be made"}
"""Exit statuses that systemd itself gives (systemd.exec(5), process exit codes)."""
CLD_EXITED, CLD_KILLED, CLD_DUMPED = 1, 2, 3
"""ExecMainCode (sigaction(2))."""

_BY_PROCESS = {"exit-code": (CLD_EXITED,), "signal": (CLD_KILLED,), "core-dump": (CLD_DUMPED,)}
"""Results that some process of the unit has caused, and how the main one ends if it was that."""


class End(NamedTuple):
    """How the main process of a service ended, and what systemd thinks of it."""

    result: str = "success"
    """Result of the unit."""
    code: int = 0
    """ExecMainCode: 0, or one of CLD_*."""
    status: int = 0
    """ExecMainStatus: an exit status or a signal."""


def found(active: str) -> Found:
    """Return what an ActiveState comes to."""
    return _FOUND.get(active, Found.FAILED)


def process(end: End) -> str:
    """Say how the main process ended; nothing if it did not, or there was none."""
    if end.code == CLD_EXITED:
        why = _PROGRAM.get(end.status)
        return f"exit status {end.status}" + (f": {why}" if why else "")
    if end.code in (CLD_KILLED, CLD_DUMPED):
        core = ", with a core dump" if end.code == CLD_DUMPED else ""
        return f"killed by {_name(end.status)}{core}"
    return ""


def failure(end: End) -> str:
    """Say why a unit failed; nothing if it did not."""
    if end.result == "success":
        return ""
    if end.result in _BY_PROCESS:
        if end.code in _BY_PROCESS[end.result] and end.status:
            return process(end)
        return "a command like ExecStartPre= failed"
    return _RESULTS.get(end.result, end.result)


def job(result: str) -> str:
    """Say what became of a job that was not done."""
    return JOBS.get(result, result)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
