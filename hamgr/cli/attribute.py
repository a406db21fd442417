"""`hamgr attribute`: the attributes of a node, as resource agents and operators set them."""

import sys
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from hamgr.agent.facts import Attribute
from hamgr.cli.client import AgentDown, AgentRefused, first, told
from hamgr.cli.layout import printable, table
from hamgr.cli.options import run_dir_option

SCHEMA = 1
DONE, REFUSED, CANNOT_TELL = 0, 1, 3
CLUSTER = "@cluster"
"""In place of a node: the values of the whole cluster. No node can have this name."""


class _Answer(msgspec.Struct):
    attributes: tuple[Attribute, ...]


@click.command()
@click.argument("node")
@click.argument("name", default="")
@click.argument("value", required=False)
@click.option("--delete", is_flag=True, help="Delete NAME.")
@click.option("--reboot", is_flag=True,
              help="Set or delete the value that is kept until NODE reboots; default: for ever.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one line.")
@run_dir_option
def attribute(node: str, name: str, value: str | None, delete: bool, reboot: bool, as_json: bool,
              run_dir: Path) -> None:
    """List the attributes of NODE, print the value of NAME, set it to VALUE, or delete it.

    "@cluster" in place of NODE: those of the whole cluster. The agent on this node answers at once
    from what it knows; what is set is carried to the other nodes by ZooKeeper, as soon as it can be
    reached.

    Exit status: 0 done; 1 there is no such node or attribute, or it cannot be set; 3 no agent
    answers.
    """
    changes = delete or value is not None
    if (delete and (not name or value is not None)) or (reboot and not changes):
        raise click.UsageError("--delete wants a NAME and no VALUE, --reboot a VALUE or --delete")
    ask = {"do": "attributes", "node": "" if node == CLUSTER else node,
           **({"name": name, "value": value, "reboot": reboot} if changes else {})}
    try:
        found = told(first(run_dir, ask), _Answer).attributes
    except AgentRefused as error:
        _fail(f"refused: {error}", REFUSED)
    except AgentDown as error:
        _fail(f"cannot tell: {error}", CANNOT_TELL)
    _print(node, name, found, as_json, changes)


def _print(node: str, name: str, found: tuple[Attribute, ...], as_json: bool,
           changes: bool) -> None:
    named = tuple(one for one in found if name in ("", one.name))
    if as_json:
        click.echo(msgspec.json.encode(
            {"schema": SCHEMA, "node": node, "attributes": named}).decode())
    elif not name and found:
        click.echo(printable(table(("NAME", "VALUE", "KEPT"),
                                   [(one.name, one.value, one.kept) for one in found])))
    elif not name:
        click.echo(f"{node} has no attributes")
    elif not changes:
        for one in named:
            click.echo(printable(one.value))
    if name and not named and not changes:
        _fail(f"{node} has no attribute {name}", REFUSED)


def _fail(why: str, status: int) -> NoReturn:
    click.echo(printable(why), err=True)
    sys.exit(status)
