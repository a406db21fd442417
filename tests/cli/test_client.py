"""Whatever is in the agent's place, a command says so in words, and goes on without it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from hamgr.cli import direct
from hamgr.cli.main import main
from tests.cli import cluster
from tests.config.files import GOOD

COMMANDS = (["status"], ["doctor"], ["key", "show"], ["config", "diff"])
Agent = Callable[[bytes], Path]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("answer", "why"), [
    (msgspec.json.encode({"status": cluster.status()})[:200], "broke off in the middle of an"),
    (b"rubbish\n", "broke off in the middle of an answer"),
    (b"[]\n", "broke off in the middle of an answer"),
    (b'{"status": {"node": "n2", "spec": 7}}\n', "is of another version than this command"),
    (b'{"mood": "good"}\n', "is of another version than this command"),
], ids=["dies", "rubbish", "list", "other types", "other words"])
def test_an_answer_that_cannot_be_read_is_told(
        agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Sequence[str],
        answer: bytes, why: str) -> None:
    """After an upgrade, say, when the agent has not been restarted yet."""
    def visit(*_: object) -> None:
        raise direct.ZooKeeperDown("ZooKeeper cannot be asked")

    monkeypatch.setattr(direct, "_visit", visit)
    file = tmp_path / "hamgr.toml"
    file.write_text(GOOD.replace("/etc/hamgr", str(tmp_path)).replace(
        '"10.0.0.11:2181", "10.0.0.12:2181", "10.0.0.13:2181"', '"127.0.0.1:1"'))
    file.with_name("cluster.key").write_text("ab" * 32)
    file.with_name("cluster.key").chmod(0o600)
    done = CliRunner().invoke(main, [*command, "--run-dir", str(agent(answer)),
                                     "--config", str(file)])
    assert isinstance(done.exception, SystemExit | None), repr(done.exception)
    assert why in " ".join(done.output.split())
