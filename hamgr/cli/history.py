"""`hamgr history`: what changed in the cluster, and why; or what one node saw."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from hamgr.cli.layout import printable
from hamgr.cli.options import config_option
from hamgr.core.reasons import Reason

SCHEMA = 1
STATE_DIR = Path("/var/lib/hamgr")


@click.command()
@click.option("-n", "--last", type=click.IntRange(1), default=50, show_default=True,
              help="How many entries.")
@click.option("--local", is_flag=True,
              help="From this node's flight recorder: what it reported, to the millisecond.")
@click.option("--all", "everything", is_flag=True,
              help="With --local: every event and effect, heartbeats too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one line an entry.")
@config_option("Names ZooKeeper's servers.")
@click.option("--state-dir", type=click.Path(path_type=Path), default=STATE_DIR, show_default=True,
              help="With --local: where the agent keeps its recorder.")
def history(
    last: int, local: bool, everything: bool, as_json: bool, config: Path, state_dir: Path
) -> None:
    """Show what changed in the cluster, and why, from ZooKeeper.

    Exit status: 0 it is shown, 3 it cannot be read.
    """
    if everything and not local:
        raise click.UsageError("--all goes with --local alone: ZooKeeper has the plan's changes, "
                               "and of them all; add --local for this node's flight recorder")
    try:
        entries = (list(_local(state_dir, everything)) if local
                   else list(_shared(config, last)))[-last:]
    except (OSError, LookupError) as error:
        click.echo(f"cannot tell: {error}", err=True)
        sys.exit(3)
    for entry in entries:
        click.echo(msgspec.json.encode({"schema": SCHEMA, **entry}).decode() if as_json
                   else printable(f"{entry['time']}  {entry['text']}"))


def _shared(config: Path, last: int) -> Iterator[dict[str, Any]]:
    from hamgr.cli import direct
    from hamgr.config.document import load
    from hamgr.config.faults import ConfigError

    try:
        entries = direct.history(load(config), last)
    except ConfigError as error:
        raise LookupError(str(error)) from None
    except direct.ZooKeeperDown as error:
        raise LookupError(f"{error}; `hamgr history --local` shows what this node saw") from None
    for created_ms, entry in entries:
        for line in entry.lines:
            yield {"time": _time(created_ms / 1000), "revision": entry.revision, "by": entry.by,
                   "text": f"plan {entry.revision} by {entry.by}: {line}", "line": line}


def _local(state_dir: Path, everything: bool) -> Iterator[dict[str, Any]]:
    from hamgr.agent.recorder import read

    found = False
    for entry in read(state_dir):
        found = True
        when = {"time": _time(entry.wall_ns / 1e9), "monotonic_ns": entry.at}
        if everything:
            wanted = ", ".join(name for name, _ in entry.effects) or "-"
            yield {**when, "event": entry.event, "fields": entry.fields, "effects": entry.effects,
                   "text": f"{entry.event} -> {wanted}"}
            continue
        for name, effect in entry.effects:
            if name == "Report":
                yield {**when, "text": _sentence(effect), **effect}
    if not found:
        raise LookupError(f"no agent has recorded anything in {state_dir}")


def _sentence(report: dict[str, Any]) -> str:
    """Return a report in words; its reason is recorded as the sentence, facts left open."""
    subject = ": ".join(part for part in (report["group"], report["node"]) if part)
    try:
        words = Reason(report["reason"]).sentence(report["facts"])
    except ValueError:
        words = f"{report['reason']} {report['facts']}"  # worded so by another version
    return f"{subject}: {words}" if subject else words


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(timespec="milliseconds")
