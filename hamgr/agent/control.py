"""The control socket: one JSON request a line, one JSON answer a line, or several of them.

It is a Unix stream socket in the run directory, for root alone. Whatever a client sends or fails
to read costs the agent a bounded amount of memory and none of its time: a line has at most
256 KiB, there are at most 16 clients, and one that takes no answer for five seconds is cut off.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, assert_never

import msgspec

from hamgr.agent.facts import (
    AgentStatus,
    Ask,
    AskApply,
    AskAttributes,
    AskConfiguration,
    AskExplain,
    AskRebuild,
    AskRecorder,
    AskReload,
    AskRequest,
    AskStatus,
    AskStop,
    AskWatch,
    Attribute,
)
from hamgr.core.records import Config, Request
from hamgr.core.types import GroupName, NodeName
from hamgr.explain import Explanation

SOCKET = "control.sock"
LINE_BYTES_MAX = 256 << 10
"""A document of 64 KiB fits, however its text has to be escaped."""
CLIENTS_MAX = 16
TAKE_S = 5.0
WITHIN_S_MAX = 3600.0
WATCH_MS_MIN = 100
PROGRESS_MAX = 100
"""Lines of progress that may wait for a slow client; what comes beyond is dropped."""

logger = logging.getLogger("hamgr.control")


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What the control socket can do, by the functions that do it."""

    status: Callable[[], AgentStatus]
    ask: Callable[[Request, Callable[[str], None], float], Awaitable[Request | None]]
    explain: Callable[[GroupName, NodeName], Explanation]
    attributes: Callable[[AskAttributes], tuple[Attribute, ...]]
    """Raises ValueError with what is wrong."""
    stop: Callable[[str], None]
    reload: Callable[[], Awaitable[tuple[str, ...]]]
    recorder: Callable[[int], list[dict[str, Any]]]
    configuration: Callable[[], dict[str, Any]]
    apply: Callable[[Config, Callable[[str], None]], Awaitable[Config]]
    rebuild: Callable[[tuple[NodeName, ...], Callable[[str], None]], Awaitable[str]]


class Control:
    """Serves the socket."""

    def __init__(self, run_dir: Path, desk: Desk, take_s: float = TAKE_S) -> None:
        self._path, self._desk, self._take_s = run_dir / SOCKET, desk, take_s
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError if the run directory is not usable."""
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._accept, self._path, limit=LINE_BYTES_MAX)
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Stop listening and cut every client off."""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None, "a client is served by a task"
        self._clients.add(me)
        client = _Client(writer, self._take_s)
        try:
            if len(self._clients) > CLIENTS_MAX:
                await client.say({"error": f"{CLIENTS_MAX} clients are connected already"})
            else:
                await self._serve(reader, client)
        except (ConnectionError, TimeoutError, asyncio.CancelledError) as error:
            logger.debug("a client of the control socket is gone: %r", error)
        except Exception:
            # Whatever is wrong here, no lease depends on it: it must not end the agent.
            logger.exception("a request at the control socket failed")
            client.stuck = True
        finally:
            self._clients.discard(me)
            writer.transport.abort() if client.stuck else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, client: "_Client") -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                await client.say({"error": f"a request has at most {LINE_BYTES_MAX} bytes"})
                return
            if not line:
                return
            try:
                ask = msgspec.json.decode(line, type=Ask)
            except msgspec.DecodeError as error:
                await client.say({"error": f"not a request: {error}"})
                continue
            await self._answer(ask, reader, client)

    async def _answer(self, ask: Ask, reader: asyncio.StreamReader, client: "_Client") -> None:
        match ask:
            case AskStatus():
                await client.say({"status": self._desk.status()})
            case AskWatch():
                await self._watch(ask, reader, client)
            case AskRequest():
                within_s = min(ask.within_s, WITHIN_S_MAX)
                await self._follow(lambda say: self._desk.ask(ask.request, say, within_s), client)
            case AskExplain(group=group, node=node):
                await client.say({"explanation": self._desk.explain(group, node)})
            case AskConfiguration():
                await client.say(self._desk.configuration())
            case AskApply(config=config):
                await self._follow(lambda say: self._desk.apply(config, say), client)
            case AskRebuild(down=down):
                await self._follow(lambda say: self._desk.rebuild(down, say), client)
            case AskAttributes():
                await client.say(self._attributes(ask))
            case AskStop():
                self._desk.stop(ask.why)
                await client.say({"stopping": True})
            case AskReload():
                await client.say({"reloaded": await self._desk.reload()})
            case AskRecorder():
                await client.say({"entries": self._desk.recorder(ask.count)})
            case _:
                assert_never(ask)

    def _attributes(self, ask: AskAttributes) -> dict[str, Any]:
        try:
            return {"attributes": self._desk.attributes(ask)}
        except ValueError as error:
            return {"error": str(error)}

    async def _watch(self, ask: AskWatch, reader: asyncio.StreamReader, client: "_Client") -> None:
        pause_s = max(ask.every_ms, WATCH_MS_MIN) / 1000
        while not reader.at_eof():
            await client.say({"status": self._desk.status()})
            try:
                # A client that watches says nothing more: whatever comes is the end of it.
                async with asyncio.timeout(pause_s):
                    await reader.read(LINE_BYTES_MAX)
                    return
            except TimeoutError:
                continue

    async def _follow(self, asked: Callable[[Callable[[str], None]], Awaitable[Any]],
                      client: "_Client") -> None:
        """Tell the client what happens, then the answer, or why there is none."""
        said: asyncio.Queue[str | None] = asyncio.Queue()

        def progress(text: str) -> None:
            if said.qsize() < PROGRESS_MAX:
                said.put_nowait(text)

        asking = asyncio.ensure_future(asked(progress))
        asking.add_done_callback(lambda _: said.put_nowait(None))
        try:
            while (text := await said.get()) is not None:
                await client.say({"progress": text})
            await client.say({"answer": await asking})
        except ConnectionError as error:
            if not asking.done():
                raise
            await client.say({"error": str(error)})
        finally:
            asking.cancel()


class _Client:
    def __init__(self, writer: asyncio.StreamWriter, take_s: float) -> None:
        self._writer, self._take_s = writer, take_s
        self.stuck = False

    async def say(self, answer: dict[str, Any]) -> None:
        self._writer.write(msgspec.json.encode(answer) + b"\n")
        self.stuck = True
        async with asyncio.timeout(self._take_s):
            await self._writer.drain()
        self.stuck = False
