"""`hamgr attribute`: what it prints, what it asks the agent, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hamgr.cli import attribute as module
from hamgr.cli.client import AgentDown, AgentRefused
from hamgr.cli.main import main

SET = ({"name": "disk", "value": "ssd", "kept": "document"},
       {"name": "master-db", "value": "100\x1b[2J", "kept": "reboot"})


class Agent:
    """In place of the agent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Any = {"attributes": SET}
        monkeypatch.setattr(module, "first", self.first)

    def first(self, run_dir: Path, request: dict[str, Any]) -> Any:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    return Agent(monkeypatch)


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["attribute", *words])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("words, printed", [
    (["n1"], "NAME       VALUE    KEPT\ndisk       ssd      document\n"
             "master-db  100\N{REPLACEMENT CHARACTER}[2J  reboot\n"),
    (["n1", "disk"], "ssd\n")])
def test_it_prints_what_is_set(agent: Agent, words: list[str], printed: str) -> None:
    assert run(*words) == (0, printed, "")
    assert agent.asked == [{"do": "attributes", "node": "n1"}]


def test_json(agent: Agent) -> None:
    code, out, _ = run("n1", "--json")
    assert (code, json.loads(out)) == (0, {"schema": 1, "node": "n1", "attributes": [*SET]})
    assert json.loads(run("n1", "disk", "--json")[1])["attributes"] == [SET[0]]


@pytest.mark.parametrize("words, asked", [
    (["n1", "disk", "hdd"], {"node": "n1", "name": "disk", "value": "hdd", "reboot": False}),
    (["n1", "disk", ""], {"node": "n1", "name": "disk", "value": "", "reboot": False}),
    (["n1", "disk", "1", "--reboot"], {"node": "n1", "name": "disk", "value": "1",
                                       "reboot": True}),
    (["n1", "disk", "--delete"], {"node": "n1", "name": "disk", "value": None, "reboot": False}),
    (["@cluster", "x", "1"], {"node": "", "name": "x", "value": "1", "reboot": False})])
def test_it_changes_one(agent: Agent, words: list[str], asked: dict[str, Any]) -> None:
    assert run(*words) == (0, "", "")
    assert agent.asked == [{"do": "attributes", **asked}]


@pytest.mark.parametrize("answer, words, code, error", [
    (AgentRefused("no node is named 'n9'"), ["n9"], 1, "refused: no node is named 'n9'\n"),
    (AgentDown("no agent runs here"), ["n1"], 3, "cannot tell: no agent runs here\n"),
    ({"attributes": []}, ["n1", "disk"], 1, "n1 has no attribute disk\n")])
def test_what_cannot_be_is_said(agent: Agent, answer: Any, words: list[str], code: int,
                                error: str) -> None:
    agent.answer = answer
    assert run(*words) == (code, "", error)


@pytest.mark.parametrize("words", [
    ["n1", "--delete"], ["n1", "disk", "x", "--delete"], ["n1", "disk", "--reboot"], []])
def test_a_command_line_that_says_nothing_is_refused(agent: Agent, words: list[str]) -> None:
    assert run(*words)[0] == 64 and agent.asked == []
