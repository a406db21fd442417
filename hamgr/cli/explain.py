"""`hamgr explain` and `hamgr why-not`: where a group shall be, and the true reason."""

import sys
from pathlib import Path

import click
import msgspec

from hamgr.cli.client import AgentDown, AgentRefused, first, told
from hamgr.cli.layout import printable
from hamgr.cli.options import run_dir_option
from hamgr.explain import Explanation

SCHEMA = 1
EXPLAINED, UNKNOWN_GROUP, CANNOT_TELL = 0, 1, 3


class _Answer(msgspec.Struct):
    explanation: Explanation


@click.command()
@click.argument("group")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one line.")
@run_dir_option
def explain(group: str, as_json: bool, run_dir: Path) -> None:
    """Say where GROUP shall be and why, for each of its nodes, by what this node's agent knows.

    Exit status: 0 it is said; 1 there is no such group; 3 no agent answers.
    """
    _say(group, "", as_json, run_dir)


@click.command("why-not")
@click.argument("group")
@click.argument("node")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one line.")
@run_dir_option
def why_not(group: str, node: str, as_json: bool, run_dir: Path) -> None:
    """Say in one sentence why GROUP is not on NODE.

    Exit status: 0 it is said; 1 there is no such group; 3 no agent answers.
    """
    _say(group, node, as_json, run_dir)


def _say(group: str, node: str, as_json: bool, run_dir: Path) -> None:
    try:
        answer = first(run_dir, {"do": "explain", "group": group, "node": node})
        said = told(answer, _Answer).explanation
    except (AgentDown, AgentRefused) as error:
        click.echo(f"cannot tell: {error}", err=True)
        sys.exit(CANNOT_TELL)
    if as_json:
        click.echo(msgspec.json.encode({
            "schema": SCHEMA, "group": group, "asked_for": node, "lines": said.lines,
            "now": said.now, "account": said.account}).decode())
    else:
        for line in said.lines:
            click.echo(printable(line))
    sys.exit(EXPLAINED if said.account is not None else UNKNOWN_GROUP)
