"""The directory of commands that agents find as HA_SBIN_DIR, and the socket that answers them.

The directory is made anew at each start, so it is always of the version that runs. It must lie on
a file system from which programs can be run: on many Debian machines /run is not such a one
(noexec). Socket and directory are root's alone.
"""

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from hamgr.adapters.services.ocf import shim
from hamgr.adapters.services.ocf.answers import USAGE, Answer, Desk

COMMANDS, SOCKET = "bin", "shims.sock"
QUESTION_MAX = 64 << 10
"""Bytes of a question: values that agents leave for each other are short."""
TAKE_S = 5.0
"""How long a shim may take to ask, and to take its answer; then it is cut off."""

log = logging.getLogger(__name__)


class Shims:
    """Serves the shims of one node."""

    def __init__(self, directory: Path, desk: Desk) -> None:
        self.commands, self.socket = directory / COMMANDS, directory / SOCKET
        self._desk = desk
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Make the commands, and listen. Raises OSError, also if they could not be run."""
        if self._server is not None:
            return
        install(self.commands, self._desk.commands)
        self.socket.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self.socket)
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.socket.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TAKE_S):
                question = await _question(reader)
                writer.write(_encoded(self._answer(question)))
                await writer.drain()
        except (OSError, TimeoutError) as error:
            log.info("a command of a resource agent is gone: %r", error)
        except Exception:
            # Whatever is wrong here, no lease depends on it: it must not end the agent.
            log.exception("a command of a resource agent could not be answered")
        finally:
            writer.close()

    def _answer(self, question: bytes) -> Answer:
        if len(question) > QUESTION_MAX:
            return Answer(USAGE, "", f"a command has at most {QUESTION_MAX} bytes\n")
        resource, *words = question.decode(errors="replace").split("\0")
        return self._desk.answer(resource, "".join(words[:1]), tuple(words[1:]))


async def _question(reader: asyncio.StreamReader) -> bytes:
    """Return what is asked, a byte more than is allowed at most."""
    question = b""
    while len(question) <= QUESTION_MAX and (part := await reader.read(QUESTION_MAX)):
        question += part
    return question


def _encoded(answer: Answer) -> bytes:
    out = answer.out.encode()
    return f"{answer.code}\n{len(out)}\n".encode() + out + answer.err.encode()


def install(directory: Path, names: Iterable[str]) -> None:
    """Make a directory that holds a command of each name, and nothing else. Raises OSError.

    The program is started without site packages and by the interpreter itself instead of the
    virtual environment's link to it: either doubles the time that each call takes.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    program = directory / ".shim"
    interpreter = os.path.realpath(sys.executable)
    program.write_text(f"#!{interpreter} -IS\n{Path(shim.__file__).read_text()}")
    program.chmod(0o700)
    if not os.access(program, os.X_OK):
        raise PermissionError(f"no program can be run from {directory}: it is mounted noexec")
    for name in names:
        (directory / name).symlink_to(program.name)
