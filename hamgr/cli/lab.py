"""`hamgr lab`: a cluster in network namespaces on this machine, and what can befall it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click
import msgspec

from hamgr.config.values import Span
from hamgr.lab import hook, sweep
from hamgr.lab.lab import Lab
from hamgr.lab.report import faults_in_words, report, rows
from hamgr.lab.spec import GROUP, Faults, LabError, LabSpec, directory, load

SCHEMA = 1
"""Of what --json prints; raised when a field changes its meaning or goes away."""

_name = click.option("--name", default="lab", show_default=True, help="Which lab.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_node = click.argument("node")


class Duration(click.ParamType[Span]):
    """A duration with its unit, as in the configuration."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> Span:
        """Read it, or fail with the remedy."""
        try:
            return value if isinstance(value, Span) else Span.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_STATUS = "Exit status: 0 it is done, 1 it could not be done, and the message says why."


class LabGroup(click.Group):
    """Commands whose LabError is a message to the user, with exit status 1."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command; its help says what its exit status means."""
        cmd.epilog = cmd.epilog or _STATUS
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except LabError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=LabGroup)
def lab() -> None:
    """Run a cluster in network namespaces on this machine (root).

    Exit status: 0 it is done, 1 it could not be done, and the message says why; `exec` passes on
    that of its command.
    """


@lab.command()
@_name
@click.option("--nodes", default=3, show_default=True,
              help="ZooKeeper runs on the first three; seven vote at most.")
@click.option("--witnesses", default=0, show_default=True,
              help="The last ones: they vote, and run no group.")
@click.option("--rings", default=2, show_default=True, help="Networks that join the nodes.")
@click.option("--interval", type=Duration(), default="100ms", show_default=True,
              help="Between two heartbeats.")
@click.option("--agents/--no-agents", default=True, show_default=True,
              help="Without: nodes and ZooKeeper, to run an agent by hand.")
@click.option("--groups", default=1, show_default=True,
              help="Each with a VIP of its own, on another node.")
@click.option("--hooks", is_flag=True,
              help="Give group app a service; its hooks record themselves in the lab's directory.")
@click.option("--groups-from", "own", type=click.File(), metavar="FILE",
              help="Groups of your own, and fence devices, TOML: {hook} is a command that records "
                   "itself, {here} a directory that each node has for itself.")
@click.option("--systemd", is_flag=True,
              help="Each node boots a systemd of its own, whose units can be services.")
@click.option("--units", "unit_files", metavar="DIR",
              type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Unit files of your own for --systemd, which this implies; {here} as above.")
@click.option("--secure", is_flag=True,
              help="ZooKeeper with TLS, SASL and access lists.")
def up(interval: Span, own: TextIO | None, unit_files: Path | None, systemd: bool,
       **how: Any) -> None:
    """Raise a lab; what earlier labs left behind is removed first."""
    spec = LabSpec(interval=int(interval), own=own.read() if own is not None else "",
                   systemd=systemd or unit_files is not None,
                   units={} if unit_files is None else _texts(unit_files), **how)
    raised = Lab.up(spec, say=click.echo)
    click.echo(f"lab {spec.name} is up in {raised.directory}: "
               f"try hamgr lab status --name {spec.name}")


def _texts(directory: Path) -> dict[str, str]:
    """Return what is in the files of a directory. Raises LabError for what else is there."""
    try:
        return {path.name: path.read_text() for path in sorted(directory.iterdir())}
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"units: not all in {directory} are text files: {error}") from error


@lab.command()
@_name
@click.option("--all", "everything", is_flag=True, help="Every lab that no living process owns.")
def down(name: str, everything: bool) -> None:
    """Take a lab down.

    No namespace, process, control group or file of it is left.
    """
    with sweep.registry():
        found = sweep.names()
        if not everything and name not in found:
            raise LabError(f"there is no lab {name}")
        for one in found if everything else [name]:
            state = load(directory(one))
            busy = state is not None and state.owner is not None and state.owner.alive
            if not busy or not everything:
                sweep.remove(one)
                click.echo(f"lab {one} is down")


@lab.command()
@_name
@_as_json
def status(name: str, as_json: bool) -> None:
    """Show what runs on which node, who has the VIP, and what is broken."""
    found = report(Lab.find(name))
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, **msgspec.to_builtins(found)}, indent=2))
        return
    table = rows(found)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
    for fault in faults_in_words(found.faults):
        click.echo(f"fault: {fault}")


@lab.command("exec", context_settings={"ignore_unknown_options": True},
             epilog="Exit status: that of COMMAND, 128 + N if signal N ended it.")
@_name
@_node
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(name: str, node: str, command: tuple[str, ...]) -> None:
    """Run a COMMAND on a NODE (or on `client`), after `--`.

    `hamgr` commands find that node's agent: hamgr lab exec n1 -- hamgr status
    """
    code = Lab.find(name).exec(node, command)
    sys.exit(code if code >= 0 else 128 - code)


@lab.command()
@_name
def heal(name: str) -> None:
    """Bring everything back that was broken.

    Waits until the cluster is settled.
    """
    Lab.find(name).heal()
    click.echo("healed")


@lab.command()
@_name
@click.option("--seconds", default=10.0, show_default=True, help="How long.")
@click.option("--group", default=GROUP, show_default=True, help="Whose VIP.")
@_as_json
def probe(name: str, seconds: float, group: str, as_json: bool) -> None:
    """Write to the VIP each millisecond, and tell who answers.

    And since when nobody does.
    """
    found = Lab.find(name)
    if group not in found.spec.group_names:
        raise LabError(f"no group {group}; there are {', '.join(found.spec.group_names)}")
    with found.probe(found.spec.vips_of(group)[0]) as client:
        for sentence in client.follow(seconds):
            click.echo(sentence, err=as_json)
        seen = client.finish()
    if as_json:
        click.echo(json.dumps({
            "schema": SCHEMA, "sent": seen.sent, "acknowledged": len(seen.writes),
            "nodes": seen.nodes,
            "outages": [{**gap._asdict(), "ms": gap.ms} for gap in seen.gaps()]}, indent=2))
        return
    for gap in seen.gaps():
        click.echo(f"outage {gap.ms:.1f} ms: {gap.before}, then {gap.after}")
    click.echo(f"{seen.sent} writes, {len(seen.writes)} acknowledged")


@lab.command(epilog="Exit status: 0 all of it went as it should, 1 something did not.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
def demo(file: Path | None) -> None:
    """Show three failovers as a client sees them.

    A crash, a switchover, and a crash without ZooKeeper.
    """
    from hamgr.lab import demo as story
    if file is not None:
        file.unlink(missing_ok=True)  # the figures of an earlier run are not those of this one
    try:
        figures = story.run(click.echo)
    except LabError as error:
        why, _, more = str(error).partition("\n")
        click.echo(more, err=True, nl=bool(more))
        click.echo(story.last_line(why))
        sys.exit(1)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
    click.echo(story.last_line(figures))
    sys.exit(0 if figures.ok else 1)


@lab.group(cls=LabGroup)
def fault() -> None:
    """Break something; `hamgr lab heal` brings it back."""


def _of_one_node(name: str, effect: Callable[[Lab, str], object], text: str, said: str) -> None:
    """Add the command for a fault that befalls one node, and what it says when it is done."""
    @fault.command(name, help=text)
    @_name
    @_node
    def command(name: str, node: str) -> None:
        effect(Lab.find(name), node)
        click.echo(said.format(node))


_of_one_node("crash", Lab.crash, "Cut a node's power.", "{} has no power")
_of_one_node("boot", Lab.boot, "Give a node its power back.", "{} has power again")
_of_one_node("stop", Lab.stop_agent, "Stop the agent in order: it hands over first.",
             "the agent of {} has stopped")
_of_one_node("start", Lab.start_agent, "Start the agent again.", "the agent of {} runs")
_of_one_node("kill", Lab.kill_agent, "SIGKILL the agent alone.", "the agent of {} is killed")
_of_one_node("kill-switch", Lab.kill_switch, "SIGKILL the dead-man's switch alone.",
             "the dead-man's switch of {} is killed")
_of_one_node("freeze", Lab.freeze, "SIGSTOP the agent alone.", "the agent of {} stands still")
_of_one_node("freeze-all", Lab.freeze_all, "Freeze the agent and its switch.",
             "the agent of {} and its switch stand still")
_of_one_node("thaw", Lab.thaw, "Let a frozen agent go on.", "the agent of {} goes on")
_of_one_node("isolate", Lab.isolate, "Cut a node off on all rings; its links keep carrier.",
             "{} is isolated")
_of_one_node("deaf", Lab.deafen, "Have a node receive nothing.", "{} is deaf")
_of_one_node("mute", Lab.mute, "Have nothing arrive that a node sends.", "{} is mute")


def _say(broken: Faults) -> None:
    """Say what is broken now, in the words of `hamgr lab status`."""
    for phrase in faults_in_words(broken):
        click.echo(phrase)


@fault.command()
@_name
@_node
@click.option("--ring", default=1, show_default=True, help="The VIP is on ring 1.")
def cut(name: str, node: str, ring: int) -> None:
    """Have a node's link of one ring lose its carrier."""
    Lab.find(name).cut(node, ring)
    _say(Faults(cut=[(node, ring)]))


@fault.command()
@_name
@_node
@click.argument("other")
@click.option("--one-way", is_flag=True, help="Only from NODE to OTHER.")
def block(name: str, node: str, other: str, one_way: bool) -> None:
    """Let nothing pass between two nodes."""
    Lab.find(name).block(node, other, one_way)
    _say(Faults(blocked=[(node, other)] if one_way else [(node, other), (other, node)]))


@fault.command()
@_name
@click.argument("percent", type=int)
@click.option("--heartbeats", is_flag=True, help="Of the heartbeats alone.")
def loss(name: str, percent: int, heartbeats: bool) -> None:
    """Lose a share of the frames between nodes; 0: of none."""
    Lab.find(name).lose(percent, heartbeats=heartbeats)
    what = "heartbeats" if heartbeats else "frames between nodes"
    click.echo(f"{percent} % of the {what} are lost")


@fault.command("hook")
@_name
@_node
@click.argument("action", type=click.Choice(hook.ACTIONS))
@click.argument("how", type=click.Choice((hook.FAIL, hook.HANG)))
@click.option("--service", default="", help="Of this service alone.")
def break_hook(name: str, node: str, action: str, how: str, service: str) -> None:
    """Have a hook of a node fail or hang, in a lab with hooks."""
    Lab.find(name).hook(node, action, how, service)
    _say(Faults(hooks=[(node, action, how, service)]))


@fault.command("zookeeper-down")
@_name
@click.argument("nodes", nargs=-1)
def zookeeper_down(name: str, nodes: tuple[str, ...]) -> None:
    """Kill ZooKeeper servers, all of them if no node is named."""
    found = Lab.find(name)
    found.zookeeper_down(*nodes)
    click.echo(f"ZooKeeper is killed on {', '.join(nodes or found.spec.servers)}")


@fault.command("zookeeper-up")
@_name
@click.argument("nodes", nargs=-1)
def zookeeper_up(name: str, nodes: tuple[str, ...]) -> None:
    """Start ZooKeeper servers again."""
    found = Lab.find(name)
    found.zookeeper_up(*nodes)
    click.echo(f"ZooKeeper serves on {', '.join(nodes or found.spec.servers)}")


@fault.command("zookeeper-leader")
@_name
def zookeeper_leader(name: str) -> None:
    """Say which node has ZooKeeper's leader."""
    click.echo(Lab.find(name).zookeeper_leader() or "none")
