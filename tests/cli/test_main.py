"""The command `hamgr` itself: its table, its laziness, its errors."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hamgr import __version__
from hamgr.cli.main import COMMANDS, Entry, LazyGroup, main

SAMPLE = Path(__file__).parents[2] / "etc/hamgr.toml"
HEAVY = {"kazoo", "pyroute2", "scapy", "asyncio"}

MODULES_AFTER = """
import sys
from hamgr.cli.main import main
try:
    main(sys.argv[1:], prog_name="hamgr")
except SystemExit as end:
    print("exit", end.code, file=sys.stderr)
print(*sys.modules, file=sys.stderr)
"""


def modules_after(*arguments: str) -> set[str]:
    """The top-level packages, and hamgr's modules, that a command has imported when it ends."""
    done = subprocess.run([sys.executable, "-c", MODULES_AFTER, *arguments],
                          capture_output=True, text=True, check=True)
    status, loaded = done.stderr.splitlines()
    assert status == "exit 0"
    return {name if name.startswith("hamgr.") else name.partition(".")[0]
            for name in loaded.split()}


def test_help_imports_no_command() -> None:
    loaded = modules_after("--help")
    assert not loaded & HEAVY
    assert {name for name in loaded if name.startswith("hamgr.")} == {"hamgr.cli",
                                                                      "hamgr.cli.main"}


def test_config_check_imports_only_what_it_needs() -> None:
    loaded = modules_after("config", "check", str(SAMPLE))
    assert not loaded & HEAVY
    assert {name.split(".")[1] for name in loaded if name.startswith("hamgr.")} == {
        "cli", "config", "core", "leader", "times"}


def test_help_lists_every_command_of_the_table() -> None:
    output = CliRunner().invoke(main, ["--help"]).output
    for name, entry in COMMANDS.items():
        assert f"{name} " in output
        assert entry.help in output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name: str) -> None:
    module, _, attribute = COMMANDS[name].target.partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert f"hamgr {name}" in result.output or f"main {name}" in result.output


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS), ("lab", "fault")])
def test_no_line_of_a_help_is_cut_short_on_a_usual_terminal(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*words, "--help"], terminal_width=80).output
    usage, *lines = shown.splitlines()
    assert usage.startswith("Usage: ")
    assert [line for line in lines if line.endswith("...")] == []


def test_a_missing_module_spoils_neither_help_nor_other_commands_but_is_not_hidden() -> None:
    group = LazyGroup({"config": COMMANDS["config"],
                       "gone": Entry("hamgr.cli.gone:gone", "Is not there.")}, help="")
    assert CliRunner().invoke(group, ["--help"]).exit_code == 0
    assert CliRunner().invoke(group, ["config", "check", str(SAMPLE)]).exit_code == 0
    gone = CliRunner().invoke(group, ["gone"])
    assert gone.exit_code == 70
    assert "ModuleNotFoundError" in gone.output


def test_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"hamgr, version {__version__}\n"


@pytest.mark.parametrize(("wrong", "words"), [
    ("swichover", "did you mean 'switchover'?"), ("xyzzy", "No such command 'xyzzy'")])
def test_a_wrong_command_is_refused_with_the_nearest_right_one(wrong: str, words: str) -> None:
    result = CliRunner().invoke(main, [wrong])
    assert result.exit_code == 64
    assert words in result.output


@pytest.mark.parametrize("argv", [
    [], ["--bogus"], ["status", "--bogus"], ["switchover"], ["maintenance", "perhaps"],
    ["config"], ["config", "chek"], ["lab", "fault", "crash"], ["lab", "up", "--nodes", "many"],
    ["history", "--last", "0"]], ids=" ".join)
def test_a_wrong_command_line_looks_like_no_state_of_the_cluster(argv: list[str]) -> None:
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 64, result.output
    assert "Usage: " in result.output


def test_a_bug_looks_like_no_state_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug is planted: none is known."""
    def survey(*_: object) -> None:
        raise AssertionError("planted")

    monkeypatch.setattr("hamgr.cli.status.take", survey)
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 70
    assert "AssertionError: planted" in result.output
    assert "this is a bug of hamgr" in result.output


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "config"])
def test_help_says_what_the_exit_status_means_and_which_variables_are_read(name: str) -> None:
    shown = " ".join(CliRunner().invoke(main, [name, "--help"]).output.split())
    assert "Exit status: 0 " in shown
    command = main.get_command(click.Context(main), name)
    assert command is not None
    for option in command.params:
        if isinstance(option.envvar, str):
            assert f"env var: {option.envvar}" in shown


@pytest.mark.parametrize(("names", "variables"), [
    (["status"], ["HAMGR_NODE", "TERM", "CREDENTIALS_DIRECTORY"]),
    (["switchover", "standby", "resume", "maintenance"], ["SUDO_UID", "CREDENTIALS_DIRECTORY"]),
    (["agent"], ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM",
                 "CREDENTIALS_DIRECTORY"])])
def test_help_names_the_variables_that_no_option_stands_for(
        names: list[str], variables: list[str]) -> None:
    for name in names:
        shown = CliRunner().invoke(main, [name, "--help"]).output
        about = shown.partition("Environment, beside the options': ")[2].partition("\nOptions:")[0]
        assert [one for one in variables if one not in about.split("\n\n")[0]] == []


def test_a_reader_that_goes_away_is_no_bug() -> None:
    command = [sys.executable, "-m", "hamgr", "config", "show", str(SAMPLE)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    with process.stderr as said:
        assert b"bug" not in said.read()
    assert process.wait() == 1


def test_python_m_hamgr_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "hamgr", "--version"], capture_output=True,
                          text=True, check=True)
    assert done.stdout == f"hamgr, version {__version__}\n"
