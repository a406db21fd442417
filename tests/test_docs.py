"""What the documents say of files, links and commands is so."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from hamgr.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "vagrant/README.md"]
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
    sections = re.split(r"^## ", (ROOT / "docs/commands.md").read_text(), flags=re.MULTILINE)
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


def test_documents_name_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z-]+)", page.read_text())) <= targets
