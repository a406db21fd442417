"""Where groups go: each file of placement/*.txt holds situations, questions and answers.

    commands (see tests/leader/placing.py)
    ----
    what the last ones answered

Run with HAMGR_REWRITE=1 to write down what is answered now; the change is reviewed as a diff.
"""

import os
from pathlib import Path

import pytest

from tests.core.test_scripts import REWRITE, blocks
from tests.leader.placing import Case

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
