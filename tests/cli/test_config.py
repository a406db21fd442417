"""`hamgr config`: what it prints, and its exit status."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hamgr.cli.main import main
from hamgr.config.document import digest, load
from hamgr.config.key import read_keys
from tests.config.files import GOOD, changed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hamgr.toml"


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["config", *map(str, arguments)], prog_name="hamgr")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_check_of_a_good_file(file: Path) -> None:
    file.write_text(GOOD)
    result = run("check", file)
    assert result.exit_code == 0
    assert result.output == (f"{file}: ok: cluster crm, 3 nodes, 1 group, 1 VIP, "
                             f"digest {digest(load(file))}\n")


def test_check_names_every_fault_with_its_place(file: Path) -> None:
    file.write_text(changed(("[address]", "[adress]"), ('nodes = ["n1", "n2"]', "nodes = []"),
                            ('"10.0.0.13:2181"]', "]")))
    result = run("check", file)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f'{file}:9: adress: unknown key; did you mean "address"?',
        f"{file}:21: group.crm.nodes: is empty; name the nodes that may run this group, the "
        "preferred one first",
        f"{file}:3: cluster.zookeeper: 2 servers survive no more losses than 1; use an odd number "
        "(warning)",
        f"{file}: 2 faults, 1 warning: cannot be used",
    ]


def test_warnings_do_not_fail(file: Path) -> None:
    file.write_text(changed(('"10.0.0.13:2181"]', "]")))
    result = run("check", file)
    assert result.exit_code == 0
    assert "(warning)" in result.output
    assert f"{file}: ok, 1 warning: cluster crm" in result.output


def test_check_as_json(file: Path) -> None:
    file.write_text(changed(("[address]", "[adress]")))
    result = run("check", "--json", file)
    assert result.exit_code == 1
    assert json.loads(result.output) == {
        "schema": 1, "file": str(file), "ok": False, "warnings": [],
        "faults": [{"line": 9, "key": "adress", "text": 'unknown key; did you mean "address"?'}]}


def test_the_file_is_that_of_the_environment_for_every_command(
        file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is checked is what would be applied."""
    file.write_text(GOOD)
    monkeypatch.setenv("HAMGR_CONFIG", str(file))
    assert run("check").output.startswith(f"{file}: ok")
    assert json.loads(run("show", "--json").output)["file"] == str(file)


def test_a_missing_file_is_said_once(file: Path) -> None:
    result = run("check", file)
    assert result.exit_code == 1
    assert result.output == (f"{file}: cannot be read: No such file or directory\n"
                             f"{file}: 1 fault: cannot be used\n")


def test_show_fills_in_every_default_and_passes_the_check(file: Path, tmp_path: Path) -> None:
    file.write_text(GOOD)
    result = run("show", file)
    assert result.exit_code == 0
    shown = tomllib.loads(result.output)
    assert shown["heartbeat"]["lease"] == "280ms"
    assert shown["group"]["crm"]["service"][0]["promote_timeout"] == "30s"
    again = tmp_path / "shown.toml"
    again.write_text(result.output)
    assert digest(load(again)) == digest(load(file))


def test_show_as_json(file: Path) -> None:
    file.write_text(GOOD)
    shown = json.loads(run("show", "--json", file).output)
    assert (shown["schema"], shown["digest"]) == (1, digest(load(file)))
    assert shown["document"]["node"]["n3"] == {
        "addresses": ["10.0.0.13", "10.1.0.13"], "witness": True, "voter": True,
        "start": "auto", "attributes": {}}


def test_show_of_a_faulty_file_shows_the_faults(file: Path) -> None:
    file.write_text(changed(("[address]", "[adress]")))
    result = run("show", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f'{file}:9: adress: unknown key; did you mean "address"?\n'


def test_new_key_makes_a_key_once(tmp_path: Path) -> None:
    key = tmp_path / "cluster.key"
    result = run("new-key", key)
    assert result.exit_code == 0
    assert f"{key}: made" in result.output
    (made,) = read_keys(key)
    again = run("new-key", key)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert read_keys(key) == (made,)


def test_without_anybody_to_ask_it_cannot_be_told_what_is_applied(
        file: Path, tmp_path: Path) -> None:
    file.write_text(GOOD)
    nobody = ("--run-dir", tmp_path, "--config", tmp_path / "none.toml")
    for command in (("diff",), ("apply", "--yes")):
        result = run(*command, file, *nobody)
        assert result.exit_code == 3
        assert result.output.startswith("it cannot be told what is applied: no agent runs here")
    told = json.loads(run("diff", file, "--json", *nobody).output)
    assert told["verdict"] == "unknown" and "no agent runs here" in told["why"]


def test_the_faults_of_a_file_are_told_even_then(file: Path, tmp_path: Path) -> None:
    file.write_text(changed(("[address]", "[adress]")))
    result = run("diff", file, "--run-dir", tmp_path, "--config", file)
    assert result.exit_code == 2
    assert f'{file}:9: adress: unknown key; did you mean "address"?' in result.output
