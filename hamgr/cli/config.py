"""`hamgr config`: check a file before it is used, show what it means, apply it, make a key."""

import json
import sys
from pathlib import Path
from typing import Any

import click
import tomli_w
from msgspec import to_builtins

from hamgr.config.document import DEFAULT_FILE, Reading, digest, read
from hamgr.config.faults import ConfigError
from hamgr.config.key import new_key
from hamgr.config.plain import plain
from hamgr.config.private import KeyFileError

SCHEMA = 1
"""Of what --json prints; raised when a field changes its meaning or goes away."""

file_argument = click.argument("file", type=click.Path(path_type=Path), default=DEFAULT_FILE,
                               envvar="HAMGR_CONFIG")
"""Of every command here: what is checked is what would be applied."""
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Lazy(click.Group):
    """`diff` and `apply` ask the cluster, and need more than a file does: imported if wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), "diff", "apply"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ("diff", "apply"):
            return super().get_command(ctx, cmd_name)
        from hamgr.cli import apply

        return apply.diff if cmd_name == "diff" else apply.apply


@click.group(cls=_Lazy)
def config() -> None:
    """Check, show and apply the configuration (default: /etc/hamgr/hamgr.toml)."""


@config.command("check")
@file_argument
@_as_json
@click.option("--no-files", is_flag=True,
              help="Leave out the files that it names for ZooKeeper: this machine is no node.")
def check_file(file: Path, as_json: bool, no_files: bool) -> None:
    """Find everything that is wrong with FILE, at once.

    Exit status: 0 if it can be used (warnings do not count), 1 if it cannot.
    """
    reading = read(file, files=not no_files)
    if as_json:
        _print_json(file=str(file), ok=not reading.faults, faults=to_builtins(reading.faults),
                    warnings=to_builtins(reading.warnings))
    else:
        _print_findings(file, reading)
    sys.exit(1 if reading.faults else 0)


@config.command()
@file_argument
@_as_json
def show(file: Path, as_json: bool) -> None:
    """Show the configuration in FILE with every default filled in.

    Exit status: 0, or 1 if the file cannot be used.
    """
    reading = read(file)
    if reading.document is None:
        click.echo(ConfigError(str(file), reading.faults), err=True)
        sys.exit(1)
    tables = plain(reading.document, defaults=True)
    if as_json:
        _print_json(file=str(file), digest=digest(reading.document), document=tables)
    else:
        click.echo(tomli_w.dumps(tables), nl=False)


@config.command("new-key")
@click.argument("file", type=click.Path(path_type=Path), default="/etc/hamgr/cluster.key")
def make_key(file: Path) -> None:
    """Make the cluster key FILE on one node; copy it to the others.

    Exit status: 0, or 1 if the file exists already or cannot be written.
    """
    try:
        new_key(file)
    except KeyFileError as error:
        click.echo(error, err=True)
        sys.exit(1)
    click.echo(f"{file}: made, readable by its owner only; copy it to every node of the cluster")


def _print_findings(file: Path, reading: Reading) -> None:
    for fault in reading.faults:
        click.echo(fault.located(str(file)))
    for warning in reading.warnings:
        click.echo(f"{warning.located(str(file))} (warning)")
    warned = f", {_count(len(reading.warnings), 'warning')}" if reading.warnings else ""
    if reading.faults:
        click.echo(f"{file}: {_count(len(reading.faults), 'fault')}{warned}: cannot be used")
    else:
        click.echo(f"{file}: ok{warned}{_summary(reading)}")


def _summary(reading: Reading) -> str:
    document = reading.document
    assert document is not None, "without faults there is a document"
    vips = sum(len(group.vips) for group in document.group.values())
    return (f": cluster {document.cluster.name}, {_count(len(document.node), 'node')}, "
            f"{_count(len(document.group), 'group')}, {_count(vips, 'VIP')}, "
            f"digest {digest(document)}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print_json(**fields: Any) -> None:
    click.echo(json.dumps({"schema": SCHEMA, **fields}, indent=2))
