"""`hamgr simulate`: what would happen to the cluster, from its present state on."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hamgr.cli import foretold, screen
from hamgr.cli.layout import printable
from hamgr.cli.options import config_option, run_dir_option
from hamgr.cli.present import CannotTell, load_saved, save, take
from hamgr.simulation.foresight import Happening, foresee
from hamgr.simulation.present import Present

Command = TypeVar("Command", bound=Callable[..., Any])

THEN = "then"
CANNOT_TELL = foretold.EXIT["unknown"]


class InOrder(click.Command):
    """A command that knows the order in which its options were given, each as often as it was."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and keep the order in the context."""
        if not ctx.resilient_parsing:
            values, _, order = self.make_parser(ctx).parse_args(args=list(args))
            left = {name: iter(value) for name, value in values.items() if isinstance(value, list)}
            ctx.meta[__name__] = [(str(param.name), next(left[param.name], ""))
                                  for param in order if param.name in left]
        return super().parse_args(ctx, args)


def _happens(name: str, help: str, **more: Any) -> Callable[[Command], Command]:
    return click.option(f"--{name}", multiple=True, help=help, expose_value=False, **more)


@click.command(cls=InOrder)
@_happens("crash", "NODE loses its power.", metavar="NODE")
@_happens("isolate", "NODE is cut off from everybody.", metavar="NODE")
@_happens("stop", "NODE's agent is stopped in order, as by a reboot.", metavar="NODE")
@_happens("standby", "An operator puts NODE into standby.", metavar="NODE")
@_happens("zookeeper-down", "All servers of ZooKeeper stop.", is_flag=True)
@_happens(THEN, "What follows happens when the cluster has come to rest.", is_flag=True)
@click.option("--from", "source", type=click.Path(path_type=Path), metavar="FILE",
              help="Begin with the state that was saved in FILE.")
@click.option("--save", "target", type=click.Path(path_type=Path), metavar="FILE",
              help="Keep the state that it begins with in FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one line.")
@config_option()
@run_dir_option
@click.pass_context
def simulate(ctx: click.Context, source: Path | None, target: Path | None, as_json: bool,
             config: Path, run_dir: Path) -> None:
    """Show what would happen if something broke now: step by step, with times, and why.

    Nothing is touched. The agent on this node is asked for the present state, or ZooKeeper when
    it is down; then a cluster of the same engines, in the same state, meets what the options say:
    at once, in the order given, and what comes after --then when it has come to rest.

    Exit status: 0 every group stays where it is, and is never dark; 1 some group moves or is dark,
    and all are active afterwards; 2 some group is active nowhere afterwards; 3 it cannot be told:
    nobody answers, FILE cannot be used, or the state could not be reproduced. With --save and
    nothing that happens: 0 it is saved, 3 it is not.
    """
    rounds = _rounds(ctx.meta[__name__])
    try:
        present = load_saved(source) if source is not None else take(run_dir, config)
        if target is not None:
            save(present, target)
    except CannotTell as error:
        click.echo(printable(f"cannot tell: {error}"), err=True)
        sys.exit(CANNOT_TELL)
    _check(rounds, present)
    if target is not None and rounds == [[]]:
        click.echo(printable(f"the state by {present.asked} is in {target}"), err=as_json)
        return
    foresight = foresee(present, rounds)
    click.echo(foretold.as_json(present, foresight) if as_json
               else foretold.shown(present, foresight, screen.width()).rstrip("\n"))
    sys.exit(foretold.EXIT[foresight.verdict])


def _rounds(given: list[tuple[str, Any]]) -> list[list[Happening]]:
    rounds: list[list[Happening]] = [[]]
    for name, value in given:
        if name == THEN:
            rounds.append([])
        else:
            node = value if isinstance(value, str) else ""
            rounds[-1].append(Happening(kind=name.replace("_", "-"), node=node))
    if len(rounds) > 1 and not all(rounds):
        raise click.UsageError("--then stands between two things that happen")
    return rounds


def _check(rounds: list[list[Happening]], present: Present) -> None:
    nodes = [node.name for node in present.spec.nodes]
    for happenings in rounds:
        for one in happenings:
            if one.node and one.node not in nodes:
                raise click.UsageError(f"--{one.kind}: there is no node {one.node}; the nodes are "
                                       f"{', '.join(nodes)}")
