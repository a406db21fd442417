"""What the end of an agent's action means: done or not, in which state, and why in words. Pure.

Source: Pacemaker Administration, "OCF Return Codes" and the exceptions below them; the OCF
resource agent API 1.1, section 3.5.
"""

from typing import NamedTuple

from hamgr.adapters.services.ocf.environment import REASON_PREFIX
from hamgr.adapters.services.runs import LINES_MAX, WORDS_MAX, Ended
from hamgr.core.types import Found

OK, GENERIC, ARGS, UNIMPLEMENTED, PERM, INSTALLED, CONFIGURED, NOT_RUNNING = range(8)
PROMOTED, FAILED_PROMOTED = 8, 9
DEGRADED, DEGRADED_PROMOTED = 190, 191
WORDS = {
    OK: "running", GENERIC: "failed", ARGS: "cannot work with these parameters here",
    UNIMPLEMENTED: "the agent does not know this action", PERM: "not permitted here",
    INSTALLED: "not installed here", CONFIGURED: "wrongly configured", NOT_RUNNING: "not running",
    PROMOTED: "promoted", FAILED_PROMOTED: "failed while promoted",
    DEGRADED: "runs, but degraded", DEGRADED_PROMOTED: "promoted, but degraded"}
_FOUND = {OK: Found.STARTED, DEGRADED: Found.STARTED, PROMOTED: Found.PROMOTED,
          DEGRADED_PROMOTED: Found.PROMOTED, NOT_RUNNING: Found.STOPPED}
_CANNOT_RUN_HERE = frozenset({INSTALLED, ARGS})
"""What says this when it is probed does not run (pcmk_xe_mask_probe_failure of Pacemaker)."""
_FINE_BUT = frozenset({DEGRADED, DEGRADED_PROMOTED})
"""Statuses that are fine, and yet worth a word."""
_DONE = {"start": {OK, DEGRADED}, "promote": {OK, DEGRADED, PROMOTED, DEGRADED_PROMOTED},
         "demote": {OK, DEGRADED, NOT_RUNNING}, "stop": {OK, NOT_RUNNING}}
"""A degraded success is a success. What does not run is certainly not promoted."""


class Verdict(NamedTuple):
    """How an action ended."""

    ok: bool
    found: Found = Found.UNKNOWN
    why: str = ""
    unable: bool = False
    """probe: nothing runs here, and nothing can."""


def verdict(action: str, ended: Ended, promotable: bool, active: bool) -> Verdict:
    """Judge an action's end; `action` is hamgr's, with probe and monitor apart."""
    if ended.unstarted:
        # Pacemaker's executor says the same of an agent that is not there.
        ended = Ended(INSTALLED, "", ended.tail)
    if ended.ending or ended.code is None or ended.code < 0:
        return Verdict(False, why=_told(ended.how, ended))
    match action:
        case "probe":
            return _probed(ended.code, ended, promotable)
        case "monitor":
            return _monitored(ended.code, ended, promotable, active)
    ok = ended.code in _DONE[action]
    return Verdict(ok, why=_told("" if ended.code == OK else named(ended.code), ended))


def named(code: int) -> str:
    """Return an exit status in words, with its number."""
    return f"{WORDS[code]} (exit status {code})" if code in WORDS else f"exit status {code}"


def _probed(code: int, ended: Ended, promotable: bool) -> Verdict:
    if code in _CANNOT_RUN_HERE:
        return Verdict(True, Found.STOPPED, _told(named(code), ended), unable=True)
    found = _found(code, promotable)
    quiet = code in (OK, NOT_RUNNING, PROMOTED)
    return Verdict(found is not Found.FAILED, found,
                   "" if quiet else _told(named(code), ended))


def _monitored(code: int, ended: Ended, promotable: bool, active: bool) -> Verdict:
    if code == UNIMPLEMENTED:
        # Pacemaker: a recurring action that is not implemented causes no recovery.
        return Verdict(True, Found.UNKNOWN, _told(named(code), ended))
    found = _found(code, promotable)
    wanted = Found.PROMOTED if promotable and active else Found.STARTED
    if found is wanted:
        return Verdict(True, found, _told(named(code), ended) if code in _FINE_BUT else "")
    return Verdict(False, found, _told(_wrong(found, code), ended))


def _wrong(found: Found, code: int) -> str:
    match found:
        case Found.STARTED:
            return "runs, but is not promoted"
        case Found.PROMOTED:
            return "is promoted, and should not be"
    return named(code)


def _found(code: int, promotable: bool) -> Found:
    found = _FOUND.get(code, Found.FAILED)
    return Found.STARTED if found is Found.PROMOTED and not promotable else found


def _told(how: str, ended: Ended) -> str:
    """Add to what happened what the agent says of it, or else its last lines."""
    return ": ".join(filter(None, (how, complaint(ended.tail) or ended.words)))


def complaint(output: str) -> str:
    """Return the last lines in which an agent says what is wrong, each once; empty if in none.

    Agents give the reason for a failure in a line with a prefix (ocf_exit_reason), and log errors
    to stderr; what they log for information only is left out where there is one of those.
    """
    lines = [line.removeprefix(REASON_PREFIX).removeprefix("ERROR:").strip()
             for line in output.splitlines() if line.startswith((REASON_PREFIX, "ERROR:"))]
    return " / ".join(dict.fromkeys(filter(None, lines[-LINES_MAX:])))[-WORDS_MAX:]
