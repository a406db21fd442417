"""Random small clusters, placed by hamgr and by Pacemaker's own scheduler.

Both must have every group on the same node, or the difference must belong to a class that
tests/leader/differences.py knows and docs/placement.md explains. `python -m
tests.leader.test_against_pacemaker FIRST COUNT` counts classes over many seeds.
"""

import shutil
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from tests.leader import dice
from tests.leader.differences import CLASS_NAMES, UNEXPLAINED, class_of, ours
from tests.leader.pacemaker import simulate

SEEDS = range(100)
WORKERS = 2
PAGE = Path(__file__).resolve().parent.parent.parent / "docs/placement.md"
pacemaker = pytest.mark.skipif(shutil.which("crm_simulate") is None,
                               reason="needs crm_simulate, of Debian's pacemaker-cli-utils")


def class_of_seed(seed: int) -> str:
    return class_of(dice.situation(Random(seed), last_resorts=False))


def story(seed: int) -> str:
    """Return the smallest situation like a seed's that nobody can explain, as commands."""
    small = dice.shrunk(dice.situation(Random(seed), last_resorts=False),
                        lambda one: class_of(one) == UNEXPLAINED)
    here, there = ours(small), simulate(small)
    answers = [f"{name}: hamgr {' '.join(here[name]) or 'nowhere'}, Pacemaker "
               f"{' '.join(there[name]) or 'nowhere'}" for name in here]
    return "\n".join([f"seed {seed}", dice.script(small), *answers])


@pacemaker
def test_every_difference_has_a_class() -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        found = dict(zip(SEEDS, pool.map(class_of_seed, SEEDS), strict=True))
    unexplained = [seed for seed, name in found.items() if name == UNEXPLAINED]
    assert not unexplained, "\n\n".join(map(story, unexplained[:3]))
    assert sum(1 for name in found.values() if not name) > len(SEEDS) * 3 // 4


def test_the_page_has_every_class() -> None:
    page = PAGE.read_text()
    assert [name for name in CLASS_NAMES if f"| {name} |" not in page] == []


def main() -> None:
    """Count the classes of many seeds, and show what nobody can explain."""
    first, count = map(int, sys.argv[1:])
    seeds = range(first, first + count)
    with ThreadPoolExecutor(WORKERS) as pool:
        found = dict(zip(seeds, pool.map(class_of_seed, seeds), strict=True))
    for name, number in Counter(found.values()).most_common():
        sys.stdout.write(f"{number:6}  {name or 'the same'}\n")
    for seed in [seed for seed, name in found.items() if name == UNEXPLAINED][:10]:
        sys.stdout.write(f"\n{story(seed)}\n")


if __name__ == "__main__":
    main()
