"""The kept corpus of the fuzzer, replayed: every input still does no harm, and reaches what it did.

How it is made: `make fuzz` with `--keep`, see kept/README.md. An input that broke a rule is added
to it when that is mended.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hamgr.wire import Drop
from tests.fuzz.corpus import load
from tests.fuzz.hostile import TARGETS, datagrams, play, seeds, seen
from tests.fuzz.reach import fewest


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_does_any_harm(target: str) -> None:
    total = Counter[str]()
    for data in (*load(target), *seeds()):
        total.update(seen(play(TARGETS[target], data)))
    assert datagrams(total) > 50
    assert total.keys() == {"received", *(f"dropped.{drop.value}" for drop in Drop)}, (
        "one at least is dropped for each reason")


def test_what_is_kept_is_the_fewest_that_reach_as_much() -> None:
    inputs = [b"\0", b"\1", *load("wire")[:10]]
    kept, steps = fewest(TARGETS["wire"], inputs)
    assert len(kept) < len(inputs)
    assert fewest(TARGETS["wire"], kept) == (kept, steps)


def test_the_fuzzer_runs(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    figures = tmp_path / "figures"
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("guided.py"), "wire", "2000", figures,
         f"-artifact_prefix={tmp_path}/", tmp_path], cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"received"' in figures.read_text() and "cov: " in done.stderr
