"""What the journal has of an agent that does not answer: its last warnings, and its last line.

Read through systemd-python, which gives the interpreter lock back while it reads; in a thread, so
that a journal on a disk that hangs costs a moment and no more. Without the library or a journal
there are no last words, and nothing else changes.
"""

import threading
from pathlib import Path
from typing import Any

from hamgr.cli.survey import LastWord

AT_MOST = 5
"""Warnings and worse."""
PATIENCE_S = 1.0
WARNING = 4
"""Of syslog(3): the less, the worse."""
LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")

_AGENT = {"SYSLOG_IDENTIFIER": "hamgr", "_UID": "0"}
"""The user is the journal's word, not the sender's: anybody may call himself hamgr there."""
_MANAGER = {"UNIT": "hamgr.service", "_PID": "1"}
"""What systemd says of the unit: an agent that was killed cannot say so itself."""


def last_words(journal: Path | None = None, patience_s: float = PATIENCE_S) -> tuple[LastWord, ...]:
    """Return them, oldest first; empty if they cannot be had in time.

    journal is a directory of journal files, None for this machine's own.
    """
    found: list[tuple[LastWord, ...]] = []

    def look() -> None:
        try:
            found.append(_read(journal))
        except (ImportError, OSError):
            found.append(())  # no library, or no journal

    reading = threading.Thread(target=look, daemon=True, name="last words")
    reading.start()
    reading.join(patience_s)
    return found[0] if found else ()


def _read(journal: Path | None) -> tuple[LastWord, ...]:
    from systemd.journal import Reader

    with Reader(path=str(journal) if journal else None) as reader:
        reader.add_match(**_AGENT)
        last = _newest(reader, 1)
        reader.flush_matches()
        reader.log_level(WARNING)
        reader.add_match(**_AGENT)
        reader.add_disjunction()
        reader.log_level(WARNING)
        reader.add_match(**_MANAGER)
        entries = _newest(reader, AT_MOST) | last
    return tuple(_word(entries[when]) for when in sorted(entries))


def _newest(reader: Any, count: int) -> dict[tuple[Any, str], dict[str, Any]]:
    """Return the newest entries that match, by time and place in the journal."""
    reader.seek_tail()
    entries = {}
    for _ in range(count):
        if not (entry := reader.get_previous()):
            break
        entries[entry["__REALTIME_TIMESTAMP"], entry["__CURSOR"]] = entry
    return entries


def _word(entry: dict[str, Any]) -> LastWord:
    said = entry.get("MESSAGE", "")
    text = said if isinstance(said, str) else repr(said)
    priority = entry.get("PRIORITY")
    return LastWord(
        time=entry["__REALTIME_TIMESTAMP"].astimezone().isoformat(timespec="milliseconds"),
        level=LEVELS[priority] if isinstance(priority, int) and 0 <= priority < 8 else "",
        by=str(entry.get("SYSLOG_IDENTIFIER", "")), text=text)
