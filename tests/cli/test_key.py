"""`hamgr key`: what each step does to the file, and when it is refused; the agent is a canned one.

A whole rotation with real agents is in tests/lab/test_keys.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from hamgr.cli import from_agent, keyring, render
from hamgr.cli.main import main
from hamgr.config.key import read_keys
from hamgr.core.types import SECOND
from hamgr.wire import fingerprint
from tests.cli import cluster
from tests.cli.cluster import peer, snapshot
from tests.config.files import GOOD

OLD, NEW, THIRD = (bytes([number]) * 32 for number in (1, 2, 3))
OLD_ID, NEW_ID = fingerprint(OLD), fingerprint(NEW)
BEFORE, BOTH, USED, AFTER = (OLD_ID,), (OLD_ID, NEW_ID), (NEW_ID, OLD_ID), (NEW_ID,)
Stage = tuple[str, ...]


class Machine:
    """The node n2: its files, and what its agent will answer."""

    def __init__(self, folder: Path, answers: Callable[[bytes], Path]) -> None:
        self.file, self.new = folder / "cluster.key", folder / "new.key"
        self.config = folder / "hamgr.toml"
        self.config.write_text(GOOD.replace("/etc/hamgr/cluster.key", str(self.file)))
        self.has(OLD)
        self._write(self.new, NEW)
        self.run_dir, self._answers = folder / "none", answers

    def _write(self, file: Path, *keys: bytes) -> None:
        file.write_text("".join(key.hex() + "\n" for key in keys))
        file.chmod(0o600)

    def has(self, *keys: bytes) -> None:
        self._write(self.file, *keys)

    def answers(self, n1: Stage, n2: Stage, n3: Stage, **changes: Any) -> None:
        """Have an agent answer that these are the keys in use."""
        status = cluster.status(snapshot(**changes), keys={"n1": n1, "n2": n2, "n3": n3})
        process = replace(status.process, config=str(self.config))
        answer = {"status": replace(status, process=process)}
        self.run_dir = self._answers(msgspec.json.encode(answer) + b"\n")

    def run(self, *words: str | Path) -> Result:
        result = CliRunner().invoke(main, [
            "key", *map(str, words), "--run-dir", str(self.run_dir), "--config", str(self.config)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    @property
    def keys(self) -> tuple[bytes, ...]:
        return read_keys(self.file)


@pytest.fixture
def machine(tmp_path: Path, agent: Callable[[bytes], Path]) -> Machine:
    return Machine(tmp_path, agent)


def test_add_accepts_the_new_key_and_says_who_is_next(machine: Machine) -> None:
    machine.answers(n1=BOTH, n2=BOTH, n3=BEFORE)
    done = machine.run("add", machine.new)
    assert (done.exit_code, machine.keys) == (0, (OLD, NEW))
    assert done.output == (
        f"n2 accepts key {NEW_ID}\nso far also: n1\nnot yet, or not heard: n3; when every node has "
        f"key {NEW_ID}: `hamgr key use {NEW_ID}` on each of them\n")
    assert (machine.run("add", machine.new).exit_code, machine.keys) == (0, (OLD, NEW))


def test_use_signs_with_the_new_key_and_a_second_time_changes_nothing(machine: Machine) -> None:
    machine.has(OLD, NEW)
    machine.answers(n1=BOTH, n2=USED, n3=USED)
    for _ in range(2):
        done = machine.run("use", NEW_ID)
        assert (done.exit_code, machine.keys) == (0, (NEW, OLD)), done.output
    assert f"n2 signs with key {NEW_ID}\nso far also: n3\nnot yet, or not heard: n1" in done.output


def test_drop_removes_the_old_key(machine: Machine) -> None:
    machine.has(NEW, OLD)
    machine.answers(n1=USED, n2=AFTER, n3=AFTER)
    for _ in range(2):
        done = machine.run("drop", OLD_ID)
        assert (done.exit_code, machine.keys) == (0, (NEW,)), done.output
    assert f"n2 has no key {OLD_ID} any more" in done.output


@pytest.mark.parametrize(("file", "n3", "words", "why"), [
    ((OLD, NEW), BEFORE, ("use", NEW_ID), f"not yet every node (n3) has key {NEW_ID}"),
    ((NEW, OLD), BOTH, ("drop", OLD_ID), f"not yet every node (n3) has stopped to sign with key "
                                         f"{OLD_ID}"),
    ((NEW, OLD), USED, ("drop", NEW_ID), f"this node signs with key {NEW_ID}"),
    ((OLD,), BEFORE, ("use", NEW_ID), f"has no key {NEW_ID} ({OLD_ID} signs)"),
    ((OLD, THIRD), BEFORE, ("add", "new.key"), "has two keys already"),
], ids=["use", "drop", "drop the signing one", "use before add", "a third key"])
def test_what_comes_too_early_is_refused_whatever_is_said(
        machine: Machine, file: tuple[bytes, ...], n3: Stage, words: tuple[str, str],
        why: str) -> None:
    machine.has(*file)
    ids = tuple(map(fingerprint, file))
    machine.answers(n1=ids, n2=ids, n3=n3)
    step, what = words
    done = (machine.run(step, machine.new) if step == "add" else
            machine.run(step, what, "--yes"))
    assert (done.exit_code, machine.keys) == (1, file)
    assert f"not done: {why}" in done.stderr or why in done.stderr


@pytest.mark.parametrize("step", ["use", "drop"])
def test_a_node_that_is_not_heard_is_asked_about(machine: Machine, step: str) -> None:
    file, key, then = (((OLD, NEW), NEW_ID, USED) if step == "use" else
                       ((NEW, OLD), OLD_ID, AFTER))
    machine.has(*file)
    machine.answers(n1=USED, n2=then, n3=USED, peers=(peer("n1"), peer("n3", heard_ago=9 * SECOND)))
    done = machine.run(step, key)
    assert (done.exit_code, machine.keys) == (1, file)
    assert "Not heard now: n3. Do the same there before the agent starts" in done.output
    assert machine.run(step, key, "--yes").exit_code == 0
    assert machine.keys != file


def test_an_agent_that_does_not_take_the_key_over_is_told(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hamgr.cli.key.TAKEN_WITHIN_S", 0.1)
    machine.answers(n1=BEFORE, n2=BEFORE, n3=BEFORE)
    done = machine.run("add", machine.new)
    assert (done.exit_code, machine.keys) == (3, (OLD, NEW))
    assert f"is changed, but the agent goes on with {OLD_ID} signs" in done.stderr


def test_without_an_agent_the_file_is_changed_after_a_question(machine: Machine) -> None:
    done = machine.run("add", machine.new)
    assert (done.exit_code, machine.keys) == (0, (OLD, NEW))
    assert "the agent here reads it when it starts" in done.output
    refused = machine.run("use", NEW_ID)
    assert (refused.exit_code, machine.keys) == (1, (OLD, NEW))
    assert "cannot be told: no agent runs here" in refused.output
    assert machine.run("use", NEW_ID, "--yes").exit_code == 0
    assert machine.keys == (NEW, OLD)


def test_a_key_file_that_cannot_be_used_is_refused(machine: Machine) -> None:
    machine.new.chmod(0o644)
    done = machine.run("add", machine.new)
    assert (done.exit_code, machine.keys) == (1, (OLD,))
    assert "others may read or change it (mode 0644)" in done.stderr
    machine.file.chmod(0o640)
    assert "mode 0640" in machine.run("show").stderr


def test_show_tells_file_and_nodes_apart(machine: Machine) -> None:
    machine.has(OLD, NEW)
    machine.answers(n1=BOTH, n2=BEFORE, n3=AFTER)
    assert machine.run("show").output == (
        f"{machine.file}: {OLD_ID} signs, {NEW_ID} is accepted too\n"
        f"n1: {OLD_ID} signs, {NEW_ID} is accepted too\nn2: {OLD_ID} signs\nn3: {NEW_ID} signs\n")
    told = json.loads(machine.run("show", "--json").output)
    assert told == {"schema": 1, "file": str(machine.file), "in_file": [OLD_ID, NEW_ID],
                    "in_use": {"n1": list(BOTH), "n2": [OLD_ID], "n3": [NEW_ID]}}


def test_status_shows_the_keys_of_each_node_and_names_who_is_left_behind() -> None:
    keys = {"n1": USED, "n2": USED, "n3": BEFORE}
    survey = from_agent.survey(cluster.status(keys=keys), {})
    text = (f"n3 lacks key {NEW_ID}, with which n1 and n2 sign, and drops what comes from there: "
            "run `hamgr key add` on n3")
    assert text in [problem.text for problem in survey.problems]
    assert survey.verdict == "degraded"
    shown = render.text(survey)
    assert f"{NEW_ID} +{OLD_ID}  " in shown and f"  {OLD_ID}  " in shown
    assert {row.name: row.keys for row in survey.nodes} == keys


@pytest.mark.parametrize("keys", [
    {"n1": BEFORE, "n2": BEFORE, "n3": BEFORE}, {"n1": BOTH, "n2": BEFORE, "n3": BEFORE},
    {"n1": BOTH, "n2": BOTH, "n3": USED}, {"n1": AFTER, "n2": USED, "n3": USED},
    {"n2": AFTER}, {}], ids=str)
def test_no_stage_of_a_rotation_is_a_problem(keys: dict[str, Stage]) -> None:
    assert [*keyring.key_problems(cluster.status(keys=keys))] == []


def test_a_node_that_is_not_heard_now_is_no_problem_of_the_key() -> None:
    view = snapshot(peers=(peer("n1"), peer("n3", heard_ago=9 * SECOND)))
    keys = {"n1": AFTER, "n2": AFTER, "n3": BEFORE}
    assert [*keyring.key_problems(cluster.status(view, keys=keys))] == []
    assert keyring.accepting(cluster.status(view, keys=keys), NEW_ID) == (("n1",), (), ("n3",))
