"""`hamgr rebuild`: ZooKeeper's data, lost or restored from an old copy, is written anew."""

import sys
import time
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from hamgr.cli.client import AgentDown, AgentRefused, ask
from hamgr.cli.layout import printable
from hamgr.cli.operate import DONE, REFUSED, SCHEMA, UNKNOWN, not_confirmed
from hamgr.cli.options import run_dir_option

ANSWER_S = 15.0
WARNING = """\
ZooKeeper's data is written anew from what this node knows, under a new cluster id. What is active
stays active. A node that is not heard and runs all the same would not learn of it: whoever you
name with --down must be powered off, or two may be active."""


@click.command()
@click.option("--down", multiple=True, metavar="NODE",
              help="Your word that NODE is powered off; needed for each that is not heard.")
@run_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one line.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rebuild(down: tuple[str, ...], run_dir: Path, as_json: bool, yes: bool) -> None:
    """Write ZooKeeper's data anew, after it was lost or an old copy was restored.

    Run it on one node, once ZooKeeper serves again. It is refused while ZooKeeper has this
    cluster's data, where another node knows a newer plan, without a majority of the voters, and
    if a NODE is heard.

    Exit status: 0 done; 1 refused (the reason is printed), or at the question; 3 it cannot be
    told: no agent here, or no answer.
    """
    started = time.monotonic()
    if not yes and (why := not_confirmed(WARNING, as_json)):
        _finish("refused", why, REFUSED, started, as_json)
    try:
        for answer in ask(run_dir, {"do": "rebuild", "down": down}, answer_s=ANSWER_S):
            if "answer" in answer:
                _finish("done", answer["answer"], DONE, started, as_json)
            if not as_json:
                click.echo(printable(f"  {answer['progress']}"))
    except AgentRefused as error:
        _finish("refused", str(error), REFUSED, started, as_json)
    except AgentDown as error:
        _finish("unknown", str(error), UNKNOWN, started, as_json)
    _finish("unknown", "the agent here went away before the end", UNKNOWN, started, as_json)


def _finish(state: str, why: str, status: int, started: float, as_json: bool) -> NoReturn:
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        click.echo(msgspec.json.encode({"schema": SCHEMA, "kind": "rebuild", "state": state,
                                        "why": why, "seconds": seconds}).decode())
    else:
        word = "cannot tell" if state == "unknown" else state
        click.echo(printable(f"rebuild: {word}: {why} ({seconds:.1f} s)"))
    sys.exit(status)
