"""`python -m tests.fuzz`: datagrams that atheris makes up, until there were so many.

    make fuzz DATAGRAMS=10000000 FUZZ="--target wire --keep"

Begins with the kept corpus. What breaks a rule is left as build/fuzz/<target>-crash-*, and
`python -m tests.fuzz --replay FILE` shows it without libFuzzer.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from hashlib import sha1
from pathlib import Path

import click

from tests.fuzz import hostile
from tests.fuzz.corpus import load, save
from tests.fuzz.reach import PACKAGE, fewest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
LENGTH_MAX = 2048
HANGS_AFTER_S = 20


@click.command()
@click.option("--datagrams", default=100_000, show_default=True, type=click.IntRange(1))
@click.option("--target", default="wire", type=click.Choice(sorted(hostile.TARGETS)),
              help="wire: decoding and what is kept of it, 10,000 a second; engine: all, 1,000.")
@click.option("--seed", default=0, help="libFuzzer's; 0: another one every time.")
@click.option("--keep", is_flag=True, help="Write the fewest inputs that reach as much.")
@click.option("--replay", type=click.Path(exists=True, path_type=Path), help="One input only.")
def main(datagrams: int, target: str, seed: int, keep: bool, replay: Path | None) -> None:
    """Fuzz what arrives. Exit status 1 when something was found."""
    if replay is not None:
        click.echo(hostile.play(hostile.TARGETS[target], replay.read_bytes()))
        return
    folder, figures = BUILD / target, BUILD / f"{target}.json"
    folder.mkdir(parents=True, exist_ok=True)
    for data in (*load(target), *hostile.seeds()):
        (folder / sha1(data).hexdigest()).write_bytes(data)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("guided.py"), target, str(datagrams), figures,
         f"-max_len={LENGTH_MAX}", f"-artifact_prefix={BUILD}/{target}-", f"-seed={seed}",
         f"-timeout={HANGS_AFTER_S}", "-verbosity=0", folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    if figures.exists():
        _tell(Counter(json.loads(figures.read_text())), time.monotonic() - start)
    if done.returncode:
        raise click.ClickException(f"something was found: see {BUILD}/{target}-*")
    if keep:
        inputs = [one.read_bytes() for one in folder.iterdir()]
        kept, steps = fewest(hostile.TARGETS[target], inputs)
        save(target, kept)
        files = Counter(name.removeprefix(PACKAGE + "/") for name, _ in {
            (name, line) for name, _, line in steps})
        click.echo(f"{len(kept)} inputs kept, {len(steps)} steps from line to line; lines reached: "
                   + ", ".join(f"{name} {count}" for name, count in sorted(files.items())))


def _tell(total: Counter[str], seconds: float) -> None:
    count = hostile.datagrams(total)
    click.echo(f"{count} datagrams in {total['inputs']} inputs, {seconds:.0f} s, "
               f"{count / seconds:.0f} a second: " + ", ".join(
                   f"{name} {number}" for name, number in sorted(hostile.seen(total).items())))


if __name__ == "__main__":
    main()
