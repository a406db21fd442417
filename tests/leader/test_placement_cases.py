"""Where groups go: each file of placement/*.txt holds situations, questions and answers.

    commands (see tests/leader/placing.py)
    ----
    what the last ones answered

Run with HAMGR_REWRITE=1 to write down what is answered now; the change is reviewed as a diff.
"""

import os
import re
from pathlib import Path

import pytest

from tests.core.test_scripts import REWRITE, blocks
from tests.leader.placing import Case

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/placement.md"
CASES = sorted((Path(__file__).parent / "placement").glob("*.txt"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case, written = Case(), []
    for head, _ in blocks(path.read_text()):
        commands = [line for line in head.splitlines() if line and not line.startswith("#")]
        answers = [line for command in commands[:-1] for line in case.run(command)]
        written.append("\n".join([head, *(answers or ["nothing"]), ""]))
    text = "\n".join(written)
    if os.environ.get(REWRITE):
        path.write_text(text)
    else:
        assert text == path.read_text()


def test_there_are_cases() -> None:
    assert sum(len(blocks(path.read_text())) for path in CASES) >= 60


def test_the_page_shows_what_is_answered() -> None:
    answers = "\n".join(path.read_text() for path in CASES)
    shown = re.findall(r"^```\n\$ hamgr [^\n]+\n(.*?)\n```$", PAGE.read_text(),
                       re.MULTILINE | re.DOTALL)
    assert len(shown) >= 8
    assert [output for output in shown if output not in answers] == []
