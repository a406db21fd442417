"""Talks to the service manager and the journal, if there are any; never waits for either.

sd_notify(3) and the journal's native protocol are each one datagram to a Unix socket. They are
sent here, without blocking: a call of libsystemd blocks while journald does not read (frozen, disk
full), and the Python binding holds the interpreter lock meanwhile, so that no thread would help:
the lease would be lost to a log line. What cannot be sent at once is dropped and counted.
"""

import logging
import os
import select
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from hamgr.core.types import MICROSECOND, Duration

JOURNAL = "/run/systemd/journal/socket"
LONGEST = 32 * 1024
"""Bytes of a field of the journal; what is longer is cut: a datagram has to hold the entry."""
PIPE_BUF = 4096
"""A pipe that poll(2) calls writable takes so much without blocking (pipe(7))."""

_SYSLOG = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class Notifier:
    """The service manager that started this process with Type=notify, if one did."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        """Take over NOTIFY_SOCKET and WATCHDOG_USEC, and remove them, so that no child has them."""
        variables = os.environ if environment is None else environment
        address = variables.pop("NOTIFY_SOCKET", "")
        watchdog = int(variables.pop("WATCHDOG_USEC", "0"))
        owner = variables.pop("WATCHDOG_PID", str(os.getpid()))
        self.watchdog: Duration = watchdog * MICROSECOND if owner == str(os.getpid()) else 0
        """WatchdogSec; 0 if nobody watches this process."""
        self.lost = 0
        """Messages that the manager did not take at once."""
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._address = "\0" + address[1:] if address.startswith("@") else address

    @property
    def managed(self) -> bool:
        """Whether there is one: what it started it may also kill."""
        return self._socket is not None

    def tell(self, state: str) -> None:
        """Send assignments, one a line: READY=1, STATUS=…, STOPPING=1, WATCHDOG=1.

        RELOADING=1 needs MONOTONIC_USEC=… beside it, or managers since 253 wait for it.
        """
        if self._socket is None:
            return
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError:
            self.lost += 1


class JournalHandler(logging.Handler):
    """Sends log records to journald with fields: HAMGR_GROUP, HAMGR_NODE, HAMGR_REASON and so on.

    The fields are a record's extras "group", "node", "reason", and each of the mapping "facts".
    """

    def __init__(self, path: str = JOURNAL, identifier: str = "hamgr") -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._path = path
        self._identifier = identifier
        self.lost = 0
        """Records that journald did not take at once."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one entry, or count it as lost."""
        try:
            entry = b"".join(journal_field(name, value)
                             for name, value in self._fields(record).items())
            self._socket.sendto(entry, self._path)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> dict[str, str]:
        priority = next((syslog for level, syslog in _SYSLOG if record.levelno >= level), 7)
        fields = {"MESSAGE": self.format(record), "PRIORITY": str(priority),
                  "SYSLOG_IDENTIFIER": self._identifier, "LOGGER": record.name,
                  "CODE_FILE": record.pathname, "CODE_LINE": str(record.lineno),
                  "CODE_FUNC": record.funcName or ""}
        return fields | hamgr_fields(record.__dict__)


class StreamHandler(logging.Handler):
    """Writes log records to standard error, unless nobody reads there: then it counts them."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr
        self._poll = select.poll()
        self._poll.register(self._stream.fileno(), select.POLLOUT)
        self.lost = 0
        """Records that could not be written at once."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or count it as lost."""
        line = self.format(record).encode(errors="replace")
        try:
            if any(flags & select.POLLOUT for _, flags in self._poll.poll(0)):
                os.write(self._stream.fileno(), line[:PIPE_BUF - 1] + b"\n")
                return
        except OSError:
            pass
        self.lost += 1


def hamgr_fields(extras: Mapping[str, Any]) -> dict[str, str]:
    """Return the journal fields of a record's extras; those that are empty are left out."""
    values = {name: extras[name] for name in ("group", "node", "reason") if extras.get(name)}
    facts = extras.get("facts")
    if isinstance(facts, dict):
        values = {**facts, **values}
    return {f"HAMGR_{name.upper()}": str(value) for name, value in values.items()}


def journal_field(name: str, value: str) -> bytes:
    """Return one field as journald reads it (systemd, JOURNAL_NATIVE_PROTOCOL)."""
    data = value.encode(errors="replace")[:LONGEST]
    if b"\n" in data:
        return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


def log_handler() -> JournalHandler | StreamHandler:
    """Return the handler that fits: the journal if standard error leads there, else that."""
    if _stderr_is_journal():
        return JournalHandler()
    handler = StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler


def _stderr_is_journal() -> bool:
    """Compare with JOURNAL_STREAM (systemd.exec(5)): device and inode of what leads to journald."""
    here = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{here.st_dev}:{here.st_ino}"
