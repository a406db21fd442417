"""The command `hamgr`: a table of commands, each imported only when it is run.

`hamgr --help` takes its lines from the table, so it needs none of them, and `hamgr status` imports
nothing that another command needs.

Exit status, beside those that each command gives a meaning of its own: 64 for a command line that
cannot be understood, 70 for a bug of hamgr (EX_USAGE and EX_SOFTWARE of sysexits.h; click's 2 and
Python's 1 would be taken for what `hamgr status` found).
"""

import errno
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple

import click

from hamgr import __version__

EX_USAGE = 64
EX_SOFTWARE = 70


class Entry(NamedTuple):
    """Where a command is, and the line that --help shows for it."""

    target: str
    """module:attribute."""
    help: str


COMMANDS: Mapping[str, Entry] = {
    "agent": Entry("hamgr.cli.agent:agent", "Run the agent on this node."),
    "status": Entry("hamgr.cli.status:status", "Show nodes, groups and addresses."),
    "switchover": Entry("hamgr.cli.operate:switchover", "Move a group to another node."),
    "standby": Entry("hamgr.cli.operate:standby", "Move everything off a node and keep it off."),
    "resume": Entry("hamgr.cli.operate:resume", "Let a node run groups again."),
    "maintenance": Entry("hamgr.cli.operate:maintenance", "Leave groups alone for a while."),
    "fence": Entry("hamgr.cli.operate:fence", "Cut a node off, or say that it is down."),
    "explain": Entry("hamgr.cli.explain:explain", "Say why a group is where it is."),
    "why-not": Entry("hamgr.cli.explain:why_not", "Say why a group is not on a node."),
    "clear": Entry("hamgr.cli.operate:clear", "Forget the failures of services."),
    "attribute": Entry("hamgr.cli.attribute:attribute", "Show and set attributes of nodes."),
    "simulate": Entry("hamgr.cli.simulate:simulate", "Show what would happen if a node fell."),
    "history": Entry("hamgr.cli.history:history", "Show what happened, and why."),
    "doctor": Entry("hamgr.cli.doctor:doctor", "Look for what is wrong, or will be."),
    "config": Entry("hamgr.cli.config:config", "Check, show and apply the configuration."),
    "rebuild": Entry("hamgr.cli.rebuild:rebuild", "Write ZooKeeper's lost data anew."),
    "key": Entry("hamgr.cli.key:key", "Replace the cluster key, step by step."),
    "lab": Entry("hamgr.cli.lab:lab", "Run a cluster in network namespaces on this machine."),
}


class LazyGroup(click.Group):
    """A group whose commands are named by a table and imported one at a time."""

    def __init__(self, table: Mapping[str, Entry], help: str) -> None:
        super().__init__(name="hamgr", help=help)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, which is the order of daily use."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command. Raises ImportError if its module, or what that needs, is missing."""
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name].target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command), f"{module}:{attribute} is no command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is run; a wrong name is answered with the nearest right one."""
        close = get_close_matches(args[0], self.table, n=1)
        if args[0] not in self.table and close and not ctx.resilient_parsing:
            ctx.fail(f"no command {args[0]!r}; did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)

    def make_context(self, info_name: str | None, args: list[str],
                     parent: click.Context | None = None, **extra: Any) -> click.Context:
        """Parse what comes before the command, as click does, with our exit status."""
        with _exit_status():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Parse and run the command, as click does, with our exit status."""
        with _exit_status():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table into --help without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.table.items()])


@contextmanager
def _exit_status() -> Iterator[None]:
    """Tell a wrong command line and a bug of ours from what commands find."""
    try:
        yield
    except click.UsageError as error:
        error.show()
        raise click.exceptions.Exit(EX_USAGE) from error
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # the reader of our output has gone: no bug, and click ends quietly
        traceback.print_exc()
        click.echo("this is a bug of hamgr", err=True)
        raise click.exceptions.Exit(EX_SOFTWARE) from error


main = click.version_option(__version__, prog_name="hamgr")(LazyGroup(
    COMMANDS, help="Keep services and their addresses on one healthy node.\n\n"
    "Exit status: as each command says in its --help; and of all of them: 64 the command line "
    "cannot be understood, 70 a bug of hamgr."))
