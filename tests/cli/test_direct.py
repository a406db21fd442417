"""What commands make of ZooKeeper's records where no agent answers, with a stand-in for it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from hamgr.adapters.zookeeper import Tree
from hamgr.cli import direct
from hamgr.cli.apply import diff
from hamgr.cli.history import history
from hamgr.cli.status import status
from hamgr.config.document import cluster_spec, parse
from hamgr.core.records import Config
from tests.config.files import GOOD
from tests.records import tree

GIVEN = parse(GOOD).document
NEWER = b'{"format": 2, "revision": 9}'
Said = Callable[..., None]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """Have ZooKeeper hold these records."""
    def say(**records: bytes) -> None:
        @asynccontextmanager
        async def connected(*_: Any, **__: Any) -> AsyncIterator[Tree]:
            yield tree(**records)

        monkeypatch.setattr(direct, "connected", connected)

    return say


@pytest.mark.parametrize(("config", "why"), [
    (NEWER, "the record 'config' in ZooKeeper cannot be read: a newer version of hamgr wrote it"),
    (b"rubbish", "the record 'config' in ZooKeeper cannot be read: JSON is malformed"),
])
def test_what_cannot_be_read_is_not_taken_for_what_is_not_there(
        said: Said, tmp_path: Path, config: bytes, why: str) -> None:
    said(config=config)
    file = tmp_path / "hamgr.toml"
    file.write_text(GOOD)
    words = [str(file), "--run-dir", str(tmp_path), "--config", str(file)]
    found = CliRunner().invoke(diff, words)
    assert found.exit_code == 3
    assert why in found.output and "no configuration of the cluster yet" not in found.output
    said()
    assert "no configuration of the cluster yet" in CliRunner().invoke(diff, words).output


def test_over_what_cannot_be_read_nothing_is_applied(said: Said) -> None:
    assert GIVEN is not None
    said(config=NEWER)
    with pytest.raises(direct.ZooKeeperDown, match="a newer version of hamgr wrote it"):
        direct.apply(GIVEN, Config(revision=10, document=GOOD))


@pytest.mark.parametrize("session", [b"", b"[]", b'{"macs": 7}', b'{"macs": null}'], ids=str)
def test_status_does_without_what_a_session_does_not_say(
        said: Said, tmp_path: Path, session: bytes) -> None:
    said(sessions__n1=session)
    file = tmp_path / "hamgr.toml"
    file.write_text(GOOD)
    found = CliRunner().invoke(status, ["--run-dir", str(tmp_path), "--config", str(file)])
    assert found.exit_code == 2, found.output
    assert "ZooKeeper, since no agent runs here" in found.output


ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b1m"


def record(**fields: Any) -> bytes:
    return msgspec.json.encode(fields)


@pytest.mark.parametrize("command", [status, history, diff], ids=["status", "history", "diff"])
def test_what_stands_in_zookeeper_does_nothing_to_the_terminal(
        said: Said, tmp_path: Path, command: click.Command) -> None:
    """Anybody may have written it, and it is root who reads it."""
    assert GIVEN is not None
    group = {"why": f"why {ESCAPE}"}
    said(plan=record(revision=9, by="n1", groups={"crm": group}, voters={
            "number": 1, "names": ["n1", "n2", "n3"]}, times=cluster_spec(GIVEN).timing),
         config=record(revision=7, document=GOOD, digest="", applied_by=f"root {ESCAPE}"),
         history__7=record(revision=7, by="n1", lines=[f"it moved {ESCAPE}"]))
    file = tmp_path / "hamgr.toml"
    file.write_text(GOOD)
    words = ["--config", str(file), *(() if command is history else ("--run-dir", str(tmp_path)))]
    found = CliRunner().invoke(command, [*([str(file)] if command is diff else []), *words])
    assert "owned" in found.output
    assert [char for char in found.output if not char.isprintable() and char != "\n"] == []
