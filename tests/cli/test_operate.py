"""The commands that change something: what they ask for, what they print, how they exit."""

import json
import os
import pwd
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from hamgr.cli.operate import maintenance, resume, standby, switchover

Agent = Callable[[bytes], Path]


def lines(*answers: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(answer).encode() + b"\n" for answer in answers)


def answered(state: str, why: str) -> dict[str, Any]:
    return {"answer": {"id": "7", "kind": "switchover", "state": state, "why": why}}


PROGRESS = {"progress": "plan 7: n1 hands over to n2"}
DONE = answered("done", "n2 is active")


def run(command: click.Command, run_dir: Path, *argv: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, [*argv, "--run-dir", str(run_dir), "--config",
                                          str(run_dir / "none.toml")])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, re.sub(r"\d+\.\d s\)", "N s)", result.output)


def asked(run_dir: Path) -> dict[str, Any]:
    order: dict[str, Any] = json.loads((run_dir / "asked").read_bytes())
    return order


def test_it_shows_progress_and_says_what_it_did(agent: Agent) -> None:
    run_dir = agent(lines(PROGRESS, DONE))
    assert run(switchover, run_dir, "crm", "--to", "n2", "--yes") == (
        0, "  plan 7: n1 hands over to n2\nswitchover crm n2: done: n2 is active (N s)\n")


@pytest.mark.parametrize(("sudo", "name"), [
    ("1", pwd.getpwuid(1).pw_name), ("4000000000", "4000000000"), (None, None), ("", None),
    ("me", None), ("-1", None), ("\u00b2", None)])
def test_a_request_names_who_asks_also_through_sudo(
        agent: Agent, monkeypatch: pytest.MonkeyPatch, sudo: str | None, name: str | None) -> None:
    """What sudo would not say is not believed, and no bug of ours."""
    monkeypatch.delenv("SUDO_UID", raising=False)
    if sudo is not None:
        monkeypatch.setenv("SUDO_UID", sudo)
    run_dir = agent(lines(DONE))
    assert run(switchover, run_dir, "crm", "--yes")[0] == 0
    who = name or pwd.getpwuid(os.getuid()).pw_name
    assert asked(run_dir)["request"]["by"] == f"{who}@{os.uname().nodename}"


def test_a_refusal_comes_with_its_reason(agent: Agent) -> None:
    run_dir = agent(lines(answered("refused", "n9 is not among the group's nodes")))
    assert run(switchover, run_dir, "crm", "--to", "n9", "--yes") == (
        1, "switchover crm n9: refused: n9 is not among the group's nodes (N s)\n")


@pytest.mark.parametrize("switch", ["on", "off"])
def test_a_result_is_called_as_its_command(agent: Agent, switch: str) -> None:
    code, output = run(maintenance, agent(lines(DONE)), switch, "--group", "crm", "--yes")
    assert (code, output) == (0, f"maintenance {switch} crm: done: n2 is active (N s)\n")


def test_no_answer_in_time_is_no_verdict(agent: Agent) -> None:
    code, output = run(switchover, agent(lines({"answer": None})), "crm", "--yes")
    assert code == 3
    assert "cannot tell: no answer within 60 s; it may be done yet" in output


def test_what_the_agent_cannot_do_is_said(agent: Agent) -> None:
    code, output = run(switchover, agent(lines({"error": "not connected"})), "crm", "--yes")
    assert (code, output) == (3, "switchover crm: cannot tell: not connected (N s)\n")


def test_with_nobody_to_ask_nothing_is_done(tmp_path: Path) -> None:
    code, output = run(switchover, tmp_path, "crm", "--yes")
    assert code == 3
    assert "no agent runs here" in output and "asking ZooKeeper" in output
    assert "none.toml: cannot be read" in output


def test_an_agent_that_goes_away_is_not_the_end(agent: Agent) -> None:
    code, output = run(switchover, agent(lines(PROGRESS)), "crm", "--yes")
    assert code == 3
    assert "the agent here went away before the end; asking ZooKeeper" in output


def test_json_is_one_line(agent: Agent) -> None:
    run_dir = agent(lines(PROGRESS, DONE))
    code, output = run(switchover, run_dir, "crm", "--yes", "--json")
    answer = json.loads(output)
    assert code == 0
    assert answer.pop("seconds") >= 0
    assert answer.pop("id") == asked(run_dir)["request"]["id"]
    assert answer == {"schema": 1, "kind": "switchover", "group": "crm", "node": "",
                      "state": "done", "why": "n2 is active", "source": "agent", "staying": []}


STAYS = answered("done", "n1 is in standby; crm stays there, no other node can take it")
STAYS["answer"] |= {"kind": "standby", "node": "n1", "staying": ["crm"]}


def test_a_node_with_a_group_that_stays_is_not_free_to_be_switched_off(agent: Agent) -> None:
    code, output = run(standby, agent(lines(STAYS)), "n1", "--yes")
    assert code == 4
    assert output == ("standby n1: done: n1 is in standby; crm stays there, no other node can take "
                      "it (N s)\n")


def test_a_script_is_told_which_groups_stay(agent: Agent) -> None:
    code, output = run(standby, agent(lines(STAYS)), "n1", "--yes", "--json")
    assert (code, json.loads(output)["staying"]) == (4, ["crm"])


@pytest.mark.parametrize(("command", "argv", "wanted"), [
    (switchover, ["crm", "--to", "n2"], {"kind": "switchover", "group": "crm", "node": "n2"}),
    (standby, ["n2"], {"kind": "standby", "group": "", "node": "n2"}),
    (resume, ["n2"], {"kind": "resume", "group": "", "node": "n2"}),
    (maintenance, ["on"], {"kind": "maintenance-on", "group": "", "confirmed": False}),
    (maintenance, ["off", "--group", "crm", "--owner-is-down"],
     {"kind": "maintenance-off", "group": "crm", "confirmed": True}),
])
def test_the_request(
        agent: Agent, command: click.Command, argv: list[str], wanted: dict[str, Any]) -> None:
    run_dir = agent(lines(DONE))
    assert run(command, run_dir, *argv, "--yes")[0] == 0
    request = asked(run_dir)["request"]
    assert {key: request[key] for key in wanted} == wanted
    assert "@" in request["by"]


@pytest.mark.parametrize(("command", "argv", "danger"), [
    (switchover, ["crm"], "crm is stopped where it runs and started on its heir"),
    (standby, ["n2"], "Every group that runs on n2 is moved"),
    (maintenance, ["on"], "nothing takes over every group when a node dies"),
    (maintenance, ["off", "--owner-is-down"], "two will be active"),
])
def test_what_can_hurt_is_not_done_unasked(
        agent: Agent, command: click.Command, argv: list[str], danger: str) -> None:
    run_dir = agent(lines(DONE))
    code, output = run(command, run_dir, *argv)
    assert code == 1
    assert danger in output and "give --yes" in output
    assert not (run_dir / "asked").exists()


def test_json_is_one_object_also_when_nobody_can_be_asked(agent: Agent) -> None:
    run_dir = agent(lines(DONE))
    result = CliRunner().invoke(switchover, ["crm", "--json", "--run-dir", str(run_dir)])
    assert result.exit_code == 1
    assert "crm is stopped where it runs" in result.stderr
    answer = json.loads(result.stdout)
    assert (answer["state"], answer["source"]) == ("refused", "nothing")
    assert "give --yes" in answer["why"]
    assert not (run_dir / "asked").exists()


def test_an_option_that_would_mean_nothing_is_refused(agent: Agent) -> None:
    run_dir = agent(lines(DONE))
    code, output = run(maintenance, run_dir, "on", "--owner-is-down", "--yes")
    assert code != 0
    assert "--owner-is-down goes with `maintenance off` alone: leave it out" in output
    assert not (run_dir / "asked").exists()


@pytest.mark.parametrize(("command", "argv"), [(resume, ["n2"]), (maintenance, ["off"])])
def test_what_cannot_hurt_is_done_unasked(
        agent: Agent, command: click.Command, argv: list[str]) -> None:
    assert run(command, agent(lines(DONE)), *argv)[0] == 0
