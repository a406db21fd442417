"""`python -m tests.bench`: hamgr and keepalived in the same lab, faults from outside, figures.

    make bench SCENARIOS=node_crash,isolate RUNS=5
"""

import os
import signal
import sys
import time
from pathlib import Path

import click

from hamgr.lab.spec import LabError
from tests.bench import keepalived, table
from tests.bench.figures import Results
from tests.bench.judge import verdicts
from tests.bench.turns import NAMES, alone, take, turns

_OTHERS_END_WITHIN_S = 3600.0


def _scenarios(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(name for name in value.split(",") if name) or NAMES
    if unknown := set(names) - set(NAMES):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    return names


@click.command()
@click.option("--scenarios", default="", callback=_scenarios, help="With commas; all if not given.")
@click.option("--runs", default=0, type=click.IntRange(0), help="Of each; 0: each has its number.")
@click.option("--json", "file", default="build/bench.json", show_default=True,
              type=click.Path(path_type=Path), help="Where the figures are written.")
@click.option("--judge", is_flag=True, help="Exit with 1 if a limit is not reached.")
def main(scenarios: tuple[str, ...], runs: int, file: Path, judge: bool) -> None:
    """Measure; print tables and verdicts. Exit status 1 also when a run came to nothing."""
    if os.geteuid() != 0:
        raise click.ClickException("network namespaces need root")
    if not keepalived.available():
        raise click.ClickException("keepalived is missing: run .ci/setup --tests")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    results = Results()
    try:
        with alone(_OTHERS_END_WITHIN_S, _say):
            _measure(results, scenarios, runs)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    finally:
        results.save(file)
    for line in table.text(results):
        click.echo(line)
    click.echo()
    found = verdicts(results)
    for verdict in found:
        click.echo(verdict)
    missed = sum(not verdict.reached for verdict in found)
    click.echo(f"{len(found) - missed} of {len(found)} limits kept, "
               f"{len(results.failures)} runs failed; {file}")
    sys.exit(1 if results.failures or judge and missed else 0)


def _measure(results: Results, scenarios: tuple[str, ...], runs: int) -> None:
    todo = turns(scenarios, runs)
    _say(f"about {sum(turn.seconds for turn in todo) / 60:.0f} minutes")
    for turn in todo:
        take(turn, results, _say)


def _say(text: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')}  {text}", err=True)


if __name__ == "__main__":
    main()
