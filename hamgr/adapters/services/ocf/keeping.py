"""What a node knows of all attributes, in a file of its own: for a restart without ZooKeeper.

It is a copy of what ZooKeeper has, and what has not come there yet; whoever finds it unreadable
goes without. It is written behind the loop's back, once for all changes of a fifth of a second.
"""

import asyncio
import logging
import os
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from hamgr.adapters.services.ocf.attributes import Lifetime

log = logging.getLogger(__name__)

WAIT_S = 0.2
CLOSE_S = 2.0
FILE = "attributes.json"
BOOT = "boot"
"""In the run directory, which a reboot empties: a name for this boot of the machine."""


class Kept(Struct, frozen=True, kw_only=True):
    """The file."""

    boot: str = ""
    """In which boot of this machine it was written."""
    records: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """As they were in ZooKeeper when they were read last."""
    pending: tuple[tuple[str, Lifetime, str, str | None], ...] = ()
    """Record, lifetime, name and value of what has not come there yet."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """What hamgr keeps of this node alone, and of this boot."""


class Keeping:
    """Reads and writes the file of one node."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hamgr-attributes")
        self._due: asyncio.TimerHandle | None = None
        self._collect: Callable[[], Kept] | None = None
        self._writing: Future[None] | None = None
        """The last write that was handed over; they are done in order."""
        self._said = ""

    def load(self) -> Kept:
        """Return what was kept; nothing if there is no such file, or none that can be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return Kept()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s is left aside, attributes are read from ZooKeeper alone: %s",
                        self._path, error)
            return Kept()

    def keep(self, collect: Callable[[], Kept]) -> None:
        """Write soon what is to be kept then."""
        self._collect = collect
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(WAIT_S, self._hand_over)

    async def close(self) -> None:
        """Write what is still to be written; return when it is on disk, or after CLOSE_S."""
        if self._due is not None:
            self._due.cancel()
            self._hand_over()
        if self._writing is not None:
            await asyncio.wait((asyncio.wrap_future(self._writing),), timeout=CLOSE_S)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _hand_over(self) -> None:
        assert self._collect is not None
        self._due = None
        self._writing = self._thread.submit(self._write, msgspec.json.encode(self._collect()))

    def _write(self, content: bytes) -> None:
        """A power cut leaves the old file or the new one; a full disk is told of once."""
        new = self._path.with_name(self._path.name + ".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            new.rename(self._path)
            self._said = ""
        except OSError as error:
            if str(error) != self._said:
                self._said = str(error)
                log.error("attributes are not kept on disk: %s", error)


def boot_of(run_dir: Path, machine: str) -> str:
    """Return a name for this boot of the node; the same until it is booted again. Raises OSError.

    `machine`: the kernel's name for it. That is not enough where nodes share a kernel, and the file
    is not where the run directory outlives a boot.
    """
    path = run_dir / BOOT
    if not path.exists():
        path.write_text(uuid.uuid4().hex[:12])
    return f"{machine}.{path.read_text().strip()}"
