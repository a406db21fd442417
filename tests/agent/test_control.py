"""The control socket, over a real socket; only what lies behind it is a stand-in."""

import asyncio
import json
import logging
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hamgr.agent import control as module
from hamgr.agent.control import CLIENTS_MAX, LINE_BYTES_MAX, Control, Desk
from hamgr.agent.facts import AgentStatus, AskAttributes, Attribute, Process
from hamgr.core.records import Config, Request
from hamgr.core.spec import ClusterSpec, NodeSpec
from hamgr.explain import Explanation

STATUS = AgentStatus(
    process=Process(pid=1, version="0", started_ago_s=1.0, phase="running"), node="n1",
    spec=ClusterSpec(name="crm", nodes=(NodeSpec(name="n1"),)), rings={}, snapshot=None)
ORDER = {"do": "request", "request": {"id": "7", "kind": "switchover", "group": "crm"}}


async def reloads() -> tuple[str, ...]:
    return ("hamgr.toml has not changed",)


async def leads(request: Request, progress: Callable[[str], None], within: float) -> Request | None:
    progress("before the leader")
    await asyncio.sleep(0)
    return Request(id=request.id, kind=request.kind, state="done", why="n2 took over")


async def applies(config: Config, progress: Callable[[str], None]) -> Config:
    if not config.document:
        raise ConnectionError("this node cannot use it")
    progress("every node takes it over")
    return config


async def rebuilds(down: tuple[str, ...], progress: Callable[[str], None]) -> str:
    if not down:
        raise ConnectionError("n3 is not heard")
    progress("ZooKeeper is asked")
    return "plan 7 is written anew"


def attributes(ask: AskAttributes) -> tuple[Attribute, ...]:
    if ask.node != "n1":
        raise ValueError(f"no node is named {ask.node!r}")
    value = "old" if ask.value is None else ask.value
    return (Attribute(name="disk", value=value, kept="reboot" if ask.reboot else "forever"),)


def desk(**parts: Any) -> Desk:
    return Desk(**{"explain": lambda group, node: Explanation(lines=(group, node)),
                   "status": lambda: STATUS, "ask": leads, "stop": lambda why: None,
                   "reload": reloads,
                   "recorder": lambda count: [{"at": 1}] * count,
                   "configuration": dict, "apply": applies,
                   "rebuild": rebuilds, "attributes": attributes, **parts})


class Client:
    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / module.SOCKET

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_unix_connection(self._path, limit=1 << 24)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, line: bytes | dict[str, Any]) -> None:
        self.writer.write((json.dumps(line).encode() if isinstance(line, dict) else line) + b"\n")
        await self.writer.drain()

    async def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self.reader.readline())
        return answer

    async def ask(self, line: bytes | dict[str, Any]) -> dict[str, Any]:
        await self.send(line)
        return await self.answer()


def served(run_dir: Path, story: Callable[[Control], Awaitable[None]],
           take_s: float = module.TAKE_S, **parts: Any) -> None:
    async def run() -> None:
        control = Control(run_dir, desk(**parts), take_s)
        await control.start()
        try:
            async with asyncio.timeout(30):
                await story(control)
        finally:
            await control.close()

    asyncio.run(run())


def test_status(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            answer = await client.ask({"do": "status"})
            assert answer["status"]["schema"] == 1
            assert answer["status"]["process"]["phase"] == "running"

    served(tmp_path, story)


def test_only_root_may_ask(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        assert stat.S_IMODE((tmp_path / module.SOCKET).stat().st_mode) == 0o600

    served(tmp_path, story)
    assert not (tmp_path / module.SOCKET).exists()


def test_a_socket_left_by_a_killed_agent_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / module.SOCKET).touch()

    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            assert "status" in await client.ask({"do": "status"})

    served(tmp_path, story)


def test_watch_goes_on_until_the_client_goes(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            await client.send({"do": "watch", "every_ms": 1})
            for _ in range(3):
                assert "status" in await client.answer()

    served(tmp_path, story)


def test_a_request_is_followed_to_its_end(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            assert await client.ask(ORDER) == {"progress": "before the leader"}
            answer = (await client.answer())["answer"]
            assert (answer["state"], answer["why"]) == ("done", "n2 took over")

    served(tmp_path, story)


def test_a_request_without_zookeeper_says_so(tmp_path: Path) -> None:
    async def down(*_: Any) -> Request | None:
        raise ConnectionError("ZooKeeper did not take the request")

    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            assert await client.ask(ORDER) == {"error": "ZooKeeper did not take the request"}
            assert "status" in await client.ask({"do": "status"}), "the client may go on"

    served(tmp_path, story, ask=down)


def test_a_rebuild_is_followed_or_refused_in_words(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            assert await client.ask({"do": "rebuild", "down": ["n3"]}) == {
                "progress": "ZooKeeper is asked"}
            assert await client.answer() == {"answer": "plan 7 is written anew"}
            assert await client.ask({"do": "rebuild"}) == {"error": "n3 is not heard"}

    served(tmp_path, story)


def test_stop(tmp_path: Path) -> None:
    words: list[str] = []

    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            assert await client.ask({"do": "stop", "why": "maintenance"}) == {"stopping": True}

    served(tmp_path, story, stop=words.append)
    assert words == ["maintenance"]


def test_a_reload_is_answered_in_words_when_it_is_done(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            assert await client.ask({"do": "reload"}) == {
                "reloaded": ["hamgr.toml has not changed"]}

    served(tmp_path, story)


def test_attributes_are_shown_set_or_refused_in_words(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            disk = {"name": "disk", "value": "old", "kept": "forever"}
            assert await client.ask({"do": "attributes", "node": "n1"}) == {"attributes": [disk]}
            assert await client.ask({"do": "attributes", "node": "n1", "name": "disk",
                                     "value": "new", "reboot": True}) == {
                "attributes": [{"name": "disk", "value": "new", "kept": "reboot"}]}
            assert await client.ask({"do": "attributes", "node": "n9"}) == {
                "error": "no node is named 'n9'"}

    served(tmp_path, story)


def test_the_recorder_s_tail(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            assert await client.ask({"do": "recorder", "count": 2}) == {
                "entries": [{"at": 1}, {"at": 1}]}

    served(tmp_path, story)


@pytest.mark.parametrize("line", [
    b"", b"no json", b"[]", b'{"do": "fly"}', b'{"do": "status", "more": 1}', b"\xff\xfe",
    b'{"do": "request"}', b'{"do": "watch", "every_ms": "x"}'])
def test_what_is_no_request_is_answered_in_words(tmp_path: Path, line: bytes) -> None:
    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            assert (await client.ask(line))["error"].startswith("not a request: ")
            assert "status" in await client.ask({"do": "status"}), "the client may go on"

    served(tmp_path, story)


def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        async with Client(tmp_path) as client:
            answer = await client.ask(b"x" * (LINE_BYTES_MAX + 1))
            assert answer == {"error": f"a request has at most {LINE_BYTES_MAX} bytes"}
            assert await client.reader.read() == b""

    served(tmp_path, story)


def test_too_many_clients_are_turned_away(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        clients = [await Client(tmp_path).__aenter__() for _ in range(CLIENTS_MAX)]
        for client in clients:
            assert "status" in await client.ask({"do": "status"})
        async with Client(tmp_path) as late:
            assert "clients are connected already" in (await late.answer())["error"]
        for client in clients:
            await client.__aexit__()

    served(tmp_path, story)


def test_a_client_that_takes_no_answer_is_cut_off(tmp_path: Path) -> None:
    async def story(control: Control) -> None:
        cut_off = asyncio.Event()
        watcher = logging.Handler()
        watcher.emit = lambda record: cut_off.set()  # type: ignore[method-assign]
        logger = logging.getLogger("hamgr.control")
        logger.addHandler(watcher)
        logger.setLevel(logging.DEBUG)
        try:
            async with Client(tmp_path) as slow, Client(tmp_path) as other:
                slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
                await slow.send({"do": "recorder", "count": 200_000})
                assert "status" in await other.ask({"do": "status"}), "others are served meanwhile"
                await cut_off.wait()
                slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
                assert not (await slow.reader.read()).endswith(b"\n"), "the whole answer arrived"
        finally:
            logger.removeHandler(watcher)
            logger.setLevel(logging.NOTSET)

    served(tmp_path, story, take_s=0.05)
