"""What the documents say of files, links and commands is so."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from msgspec import Struct, structs

from hamgr.adapters.services.hook import facts
from hamgr.cli import doctor, survey
from hamgr.cli.main import main
from hamgr.config import schema
from hamgr.core.effects import RunService
from hamgr.core.types import SECOND
from hamgr.doctor.registry import CHECKS, name_of
from hamgr.lab import secured

ROOT = Path(__file__).resolve().parent.parent
COMMANDS_PAGE = (ROOT / "docs/commands.md").read_text()
FENCE = re.MULTILINE | re.DOTALL
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "vagrant/README.md"]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]+))?\)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")
            for heading in headings}


def commands(command: click.Command, called: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that can be run, with the words it is called by."""
    if not isinstance(command, click.Group):
        yield called, command
        return
    context = click.Context(command)
    for word in command.list_commands(context):
        found = command.get_command(context, word)
        assert found is not None, f"{called} {word} is listed and cannot be loaded"
        yield from commands(found, f"{called} {word}")


COMMANDS = dict(commands(main, "hamgr"))
VISIBLE = [called for called, command in COMMANDS.items() if not command.hidden]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        found = (page.parent / target) if target else page
        assert found.exists(), f"{name(page)} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(found), f"{name(page)} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_has_one_title(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1


@pytest.mark.parametrize("called", VISIBLE)
def test_every_command_and_option_is_explained(called: str) -> None:
    sections = re.split(r"^## ", COMMANDS_PAGE, flags=re.MULTILINE)
    about = [text for text in sections if f"`{called}" in text]
    assert about, f"docs/commands.md does not explain `{called}`"
    options = (option for parameter in COMMANDS[called].params
               if isinstance(parameter, click.Option) and not parameter.hidden
               for option in parameter.opts if option.startswith("--"))
    assert [option for option in options if not any(option in text for text in about)] == []


def test_documents_name_only_commands_that_exist() -> None:
    """`hamgr word` in a page is a command, unless that line says that it comes later."""
    known = {words.split()[1] for words in COMMANDS}
    for page in PAGES:
        for line in page.read_text().splitlines():
            if "later" not in line:
                unknown = set(re.findall(r"`hamgr ([a-z][a-z-]+)", line)) - known
                assert unknown == set(), f"{name(page)}: {line}"


def named(page: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each code span that begins with `hamgr`: its command, and its other words."""
    known = {tuple(called.split()) for called in COMMANDS}
    for span in re.findall(r"`(hamgr [^`]+)`", re.sub(r"^```.*?^```", "", page, flags=FENCE)):
        words = span.partition(" -- ")[0].split()
        size = max((size for size in range(len(words) + 1) if tuple(words[:size]) in known),
                   default=0)
        yield (" ".join(words[:size]) or span), words[size:]


def options(command: click.Command) -> set[str]:
    return {option for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    # What comes later is said to do so, on its line.
    now = "\n".join(line for line in page.read_text().splitlines() if "later" not in line)
    for called, words in named(now):
        if called in ("hamgr --help", "hamgr COMMAND --help"):
            continue
        assert called in COMMANDS, f"{name(page)} names {called}"
        asked = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(words)))
        assert asked <= options(COMMANDS[called]), f"{name(page)}: {called} has not {asked}"


@pytest.mark.parametrize("section", re.split(r"^## ", COMMANDS_PAGE, flags=re.MULTILINE)[1:],
                         ids=lambda text: text.partition("\n")[0])
def test_an_option_that_a_section_names_is_one_of_its_commands(section: str) -> None:
    known = {option for called, _ in named(section) if called in COMMANDS
             for option in options(COMMANDS[called])}
    assert set(re.findall(r"(?<=`)--[a-z][a-z-]*", section)) <= known


@pytest.mark.parametrize("called", VISIBLE)
def test_the_defaults_in_the_usage_are_the_true_ones(called: str) -> None:
    for about, words in named(COMMANDS_PAGE):
        if about != called:
            continue
        for option, value in re.findall(r"\[(--[a-z-]+) ([a-z0-9]+)\]", " ".join(words)):
            (found,) = [one for one in COMMANDS[called].params if option in one.opts]
            assert str(found.default).removesuffix(".0") == value, f"{called} {option}"


def test_the_exit_statuses_of_status_are_those_of_the_table() -> None:
    about = COMMANDS_PAGE.partition("## Status")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d) \| (\w+) \|", about, re.MULTILINE)
    assert {verdict: int(code) for code, verdict in rows} == survey.EXIT


def test_every_check_of_the_doctor_is_explained_and_no_other() -> None:
    about = COMMANDS_PAGE.partition("## Doctor")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z ]+) \|", about.partition("| check |")[2], re.MULTILINE)
    assert rows == [name_of(check) for check in CHECKS]


def test_the_exit_statuses_of_doctor_are_those_of_the_table() -> None:
    about = COMMANDS_PAGE.partition("## Doctor")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d) \| ([a-z, ]+) \|", about, re.MULTILINE)
    assert {verdict: int(code) for code, verdicts in rows
            for verdict in verdicts.split(", ")} == doctor.EXIT


def test_every_field_of_the_json_of_status_is_explained_and_no_other() -> None:
    _, _, after = COMMANDS_PAGE.partition("### The fields of `hamgr status --json`")
    rows = [line.split("|")[1] for line in after.partition("\n## ")[0].splitlines()
            if line.startswith("| ") and "`" in line.split("|")[1]]
    told = {depth: {field.strip("[]") for row in rows if row.count("…") == depth
                    for field in re.findall(r"`([a-z_\[\]]+)`", row)} for depth in range(3)}
    assert told == {
        0: set(survey.Survey.__struct_fields__),
        1: {*survey.NodeRow.__struct_fields__, *survey.GroupRow.__struct_fields__},
        2: set(survey.VipRow.__struct_fields__)}
    inner = {"wire": {*survey.Wire.__struct_fields__, *survey.Answer.__struct_fields__},
             "problems": set(survey.Problem.__struct_fields__),
             "last_words": set(survey.LastWord.__struct_fields__)}
    for field, fields in inner.items():
        (row,) = [line for line in after.splitlines()
                  if line.startswith("| ") and f"`{field}" in line.split("|")[1]]
        assert fields <= set(re.findall(r"`([a-z_]+)", row)), field


def test_a_key_that_the_page_on_the_configuration_names_exists() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    tables = [each for each in vars(schema).values()
              if isinstance(each, type) and issubclass(each, Struct)]
    known = {field.name for table in tables for field in structs.fields(table)}
    code = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=FENCE))
    keys = {key for span in code for key in re.findall(r"(?:^|[{,.] ?)([a-z_]+) = ", span)}
    keys |= {span for span in code if re.fullmatch(r"[a-z]+(_[a-z]+)+", span)}
    keys |= {key for span in code for key in re.findall(r"^[a-z]+\.([a-z_]+)$", span)}
    # Keepalived's, attributes of examples, and options of fence agents
    others = {"track_script", "pingd", "zone", "ip", "lanplus", "password"}
    assert keys - known - others == set(), "named, and not in the schema"


def test_the_variables_of_hooks_are_explained_and_no_others() -> None:
    effect = RunService(run=1, group="g", service="s", action="promote", epoch=1, timeout=SECOND)
    real = set(facts("c", "n", effect))
    page = (ROOT / "docs/configuration.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `HAMGR_")]
    assert {variable for row in rows for variable in re.findall(r"HAMGR_\w+", row)} == real
    hooks = {path.name: set(re.findall(r"HAMGR_\w+", path.read_text()))
             for path in (ROOT / "etc/hooks").iterdir()}
    assert hooks["promote"] == real
    assert set().union(*hooks.values()) == real


def test_the_readme_names_every_package_that_make_installs_and_no_other() -> None:
    setup, readme = (ROOT / ".ci/setup").read_text(), (ROOT / "README.md").read_text()
    for array, row in (("PACKAGES", "both"), ("TEST_PACKAGES", "`make test` besides"),
                       ("SLOW_PACKAGES", "`make test-all` besides")):
        (real,) = re.findall(rf"^{array}=\(([^)]*)\)", setup, re.MULTILINE)
        (told,) = re.findall(rf"^\| {re.escape(row)} \| (.*) \|$", readme, re.MULTILINE)
        assert re.findall(r"`([^`]+)`", told) == real.split()


def test_documents_name_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z-]+)", page.read_text())) <= targets


def test_how_to_secure_a_server_is_what_the_lab_does() -> None:
    """Paths aside: the page's are the operator's, the lab's are in its directory."""
    lab = {re.sub(r"(?<=location=).*/", "", line).replace("n1.store", "server.store")
           for line in [f"secureClientPort={secured.PORT}", *secured.lines(Path("/lab"), "n1")]}
    page, sample = ((ROOT / name).read_text() for name in ("docs/zookeeper.md", "systemd/zoo.cfg"))
    block = page.partition("in place of `clientPort`:")[2].split("```")[1].strip().splitlines()
    after = sample.partition("in place of clientPort above:\n")[2].splitlines()
    for told in (block, [line.removeprefix("# ") for line in after]):
        assert {re.sub(r"(?<=location=).*/", "", line) for line in told} == lab
    unit = (ROOT / "systemd/hamgr-zookeeper.service").read_text()
    assert [jar for jar in secured.JARS if f"/{jar}" not in unit or f"`{jar}`" not in page] == []
