"""What [watchdog] must fulfil: a device, and a timeout that goes with lease and stop_within."""

from hamgr.config.faults import Findings, Path
from hamgr.config.schema import Document, Watchdog
from hamgr.config.values import Span
from hamgr.core.types import SECOND, Duration
from hamgr.times import reset_within

_DEVICE: Path = ("watchdog", "device")
_TIMEOUT: Path = ("watchdog", "timeout")


def check_watchdog(document: Document, findings: Findings) -> None:
    """Note everything that is wrong with the watchdog."""
    watchdog = document.watchdog
    if watchdog.device is None:
        if watchdog != Watchdog():
            findings.fault(_TIMEOUT, 'is for a device; write device = "/dev/watchdog" beside it')
        return
    if not watchdog.device.startswith("/"):
        findings.fault(_DEVICE, f'"{watchdog.device}" is not a full path; write one such as '
                       '"/dev/watchdog"')
    if findings.rejected(_TIMEOUT):
        return
    if watchdog.timeout < SECOND or watchdog.timeout % SECOND:
        findings.fault(_TIMEOUT, f"timeout ({watchdog.timeout}) must be a whole number of "
                       'seconds, since the kernel counts it so; write "5s", "10s" or more')
        return
    _against_lease(document, findings)
    for name, group in document.group.items():
        path: Path = ("group", name, "stop_within")
        promised = group.mode != "everywhere" and group.fencing != "required"
        if promised and 0 < group.stop_within < reset_within(watchdog.timeout):
            _against_stop(group.stop_within, watchdog.timeout, path, findings)


def _against_lease(document: Document, findings: Findings) -> None:
    shortest = 2 * document.timing.detection
    if document.watchdog.timeout < shortest:
        findings.fault(_TIMEOUT, f"timeout ({document.watchdog.timeout}) must be at least twice "
                       f"detection ({Span(shortest)}), or a pause that only costs the lease would "
                       "cost the machine; raise timeout or lower detection")


def _against_stop(promise: Span, timeout: Duration, path: Path, findings: Findings) -> None:
    findings.fault(
        path, f"stop_within ({promise}) must be 0s or at least 2.2 x timeout of [watchdog] + 1s "
        f"({Span(reset_within(timeout))}), because another node starts the group when it has "
        "passed, and a machine that hangs must have been reset by then; raise stop_within, or "
        "lower timeout")
