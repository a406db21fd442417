"""Commands, and a ZooKeeper that asks who comes: what they say when they are not let in."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from hamgr.cli import from_agent, render
from hamgr.cli.main import main
from hamgr.config.document import load
from hamgr.daemon import Place
from hamgr.lab.lab import Lab
from hamgr.lab.spec import LabError, LabSpec
from tests.cli import cluster
from tests.config.files import changed

LINES = """\
[zookeeper]
ca_file = "/nowhere/ca.pem"
user = "hamgr"
password_file = "/nowhere/password"

[heartbeat]
"""
CA = ("zookeeper.ca_file: /nowhere/ca.pem: cannot be read: No such file or directory; copy the "
      "certificate of whoever signs the servers' to every node")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hamgr.toml"
    path.write_text(changed(("[heartbeat]\n", LINES)))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments], prog_name="hamgr")


def test_check_looks_into_the_files_unless_told_not_to(file: Path) -> None:
    found = run("config", "check", file)
    assert found.exit_code == 1
    assert f"{file}:7: {CA}" in found.output.splitlines()
    assert f"{file}: 2 faults: cannot be used" in found.output
    found = run("config", "check", "--no-files", file)
    assert found.exit_code == 0 and f"{file}: ok: cluster crm" in found.output


def test_show_needs_no_file_and_shows_no_secret(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct-horse-battery\n")
    secret.chmod(0o600)
    file.write_text(file.read_text().replace("/nowhere/password", str(secret)))
    shown = run("config", "show", file).output
    assert f'password_file = "{secret}"' in shown and "protect = false" in shown
    assert "correct-horse" not in shown and "cert_file" not in shown


def test_an_agent_does_not_start_and_says_why(file: Path, tmp_path: Path) -> None:
    folders = "--run-dir", tmp_path / "run", "--state-dir", tmp_path / "state"
    found = run("agent", "--config", file, "--node", "n1", *folders)
    assert found.exit_code == 78
    assert f"{file}:7: {CA}" in found.output.splitlines()


def test_cleaning_up_needs_no_zookeeper(
        file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[Place] = []
    monkeypatch.setattr("hamgr.cli.agent.cleanup", cleaned.append)
    found = run("agent", "--config", file, "--node", "n1", "--cleanup")
    assert found.exit_code == 0
    assert [place.document for place in cleaned] == [load(file)]


@pytest.mark.parametrize("command", [["history"], ["switchover", "crm", "--yes"]])
def test_a_command_that_asks_zookeeper_itself_names_the_file(
        file: Path, tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGR_RUN_DIR", str(tmp_path))
    found = run(*command, "--config", file)
    assert found.exit_code == 3
    assert "/nowhere/password: cannot be read: No such file or directory" in found.output


@pytest.mark.parametrize("options, secure", [((), False), (("--secure",), True)])
def test_a_lab_is_secure_when_asked_to_be(
        options: tuple[str, ...], secure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def up(spec: LabSpec, **_: object) -> Lab:
        raise LabError(f"secure: {spec.secure}")

    monkeypatch.setattr(Lab, "up", up)
    assert run("lab", "up", *options).output == f"Error: secure: {secure}\n"


@pytest.mark.parametrize("refusal, why, problem", [
    ("", "no server answers", "no ZooKeeper server answers this node"),
    ("zk1:2281 does not speak TLS", "zk1:2281 does not speak TLS",
     "ZooKeeper refuses this node (zk1:2281 does not speak TLS)")])
def test_status_says_who_refuses_this_node(refusal: str, why: str, problem: str) -> None:
    view = cluster.status(cluster.snapshot(zookeeper=False, zookeeper_why="not connected"))
    survey = from_agent.survey(replace(view, zookeeper_trouble=refusal), {})
    assert survey.zookeeper == f"down ({why})"
    assert f"zookeeper down ({why})   heartbeats" in render.text(survey, 200)
    assert (f"{problem}: nothing stops for that, and the heir can take over once, but "
            "nothing can be planned") in [found.text for found in survey.problems]
