"""`hamgr key`: the three steps in which a cluster key is replaced; none can be taken too early.

Each changes the key file of this node, has the agent here read it, and looks at what the other
nodes' heartbeats say of their keys before it does anything that would cut one of them off.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click
import msgspec

from hamgr.agent.facts import AgentStatus
from hamgr.cli import client, keyring
from hamgr.cli.client import AgentDown, AgentRefused, first
from hamgr.cli.operate import NOBODY_TO_ASK
from hamgr.cli.options import config_option, run_dir_option
from hamgr.config.document import load
from hamgr.config.faults import ConfigError
from hamgr.config.key import add_key, drop_other_key, read_keys, use_other_key
from hamgr.config.private import KeyFileError
from hamgr.wire import fingerprint

SCHEMA = 1
DONE, REFUSED, UNKNOWN = 0, 1, 3
TAKEN_WITHIN_S = 5.0
EXIT_STATUS = ("Exit status: 0 done, or done before; 1 refused (the reason is printed), or at the "
               "question; 3 it cannot be told whether the agent here uses it.")


class Here(NamedTuple):
    """This node: its key file, and its agent if that answers."""

    file: Path
    keys: tuple[str, ...]
    """What is in the file: fingerprints, the one that signs first."""
    agent: AgentStatus | None
    run_dir: Path
    why: str
    """Why no agent could be asked."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        run_dir_option,
        config_option("Names the key file when no agent answers."),
    ):
        command = option(command)
    return command


def _step(command: Callable[..., None]) -> Callable[..., None]:
    assert command.__doc__, "a command explains itself"
    command.__doc__ += f"\n\n    {EXIT_STATUS}\n    "
    return _options(command)


_yes = click.option("--yes", is_flag=True, help="Do not ask about nodes that are not heard.")


@click.group()
def key() -> None:
    """Replace the cluster key without a gap, step by step, each on every node.

    Make the new key with `hamgr config new-key FILE` on one node and copy FILE to the others. Then
    `hamgr key add FILE` on every node, `hamgr key use KEY` on every node, `hamgr key drop OLD` on
    every node. KEY and OLD are fingerprints, as `hamgr status` shows them for each node; a step
    that would cut a node off is refused.

    Exit status: 0 done, or done before; 1 refused; 3 it cannot be told.
    """


@key.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one line.")
@_options
def show(as_json: bool, config: Path, run_dir: Path) -> None:
    """Show which keys are in the file, and which each node uses.

    Exit status: 0, or 1 if the file cannot be used.
    """
    here = _here(config, run_dir)
    in_use = {} if here.agent is None else here.agent.keys
    if as_json:
        click.echo(msgspec.json.encode({"schema": SCHEMA, "file": str(here.file),
                                        "in_file": here.keys, "in_use": in_use}).decode())
        return
    click.echo(f"{here.file}: {_said(here.keys)}")
    if here.agent is None:
        click.echo(f"in use: cannot be told: {here.why}")
        return
    for node in (spec.name for spec in here.agent.spec.nodes):
        click.echo(f"{node}: {_said(in_use[node]) if node in in_use else 'never heard'}")


@key.command()
@click.argument("file", type=click.Path(path_type=Path))
@_step
def add(file: Path, config: Path, run_dir: Path) -> None:
    """Accept the key in FILE from now on, beside the one in use."""
    here = _here(config, run_dir)
    new, *more = _read(file)
    name = fingerprint(new)
    if more:
        _refuse(f"{file} has two keys: give a file with the new one alone")
    if name not in here.keys:
        if len(here.keys) > 1:
            _refuse(f"{here.file} has two keys already, {' and '.join(here.keys)}: finish that "
                    "with `hamgr key use` and `hamgr key drop` first")
        _change(lambda: add_key(here.file, new))
    agent = _taken_over(here, f"accepts key {name}", lambda keys: name in keys)
    _progress(keyring.accepting(agent, name), f"has key {name}", f"hamgr key use {name}")


@key.command()
@click.argument("name", metavar="KEY")
@_yes
@_step
def use(name: str, yes: bool, config: Path, run_dir: Path) -> None:
    """Sign with KEY, which every node must have by now."""
    here = _here(config, run_dir)
    if name not in here.keys:
        _refuse(f"{here.file} has no key {name} ({_said(here.keys)}): `hamgr key add` comes first")
    if name != here.keys[0]:
        if here.agent is not None:
            others = keyring.accepting(here.agent, name)
            _no_one_behind(others, f"has key {name}, and would not hear this node any more: run "
                           "`hamgr key add` there first")
        _sure(here, name, yes)
        _change(lambda: use_other_key(here.file))
    agent = _taken_over(here, f"signs with key {name}", lambda keys: keys[0] == name)
    old = next((one for one in here.keys if one != name), "")
    if old:
        _progress(keyring.done_with(agent, old), f"signs with key {name}", f"hamgr key drop {old}")


@key.command()
@click.argument("name", metavar="OLD")
@_yes
@_step
def drop(name: str, yes: bool, config: Path, run_dir: Path) -> None:
    """Remove the key OLD, with which no node may sign any more."""
    here = _here(config, run_dir)
    if name == here.keys[0]:
        _refuse(f"this node signs with key {name}: `hamgr key use` of the other one comes first")
    if name in here.keys:
        if here.agent is not None:
            others = keyring.done_with(here.agent, name)
            _no_one_behind(others, f"has stopped to sign with key {name}, and would not be heard "
                           "here any more: run `hamgr key use` there first")
        _sure(here, name, yes)
        _change(lambda: drop_other_key(here.file))
    _taken_over(here, f"has no key {name} any more", lambda keys: name not in keys)


def _here(config: Path, run_dir: Path) -> Here:
    """Look at this node; ends the command if its key file cannot be used."""
    agent, why = None, ""
    try:
        agent = client.status(run_dir)
        config = Path(agent.process.config)
    except (AgentDown, AgentRefused) as error:
        why = str(error)
    try:
        file = Path(load(config).cluster.key_file)
    except ConfigError as error:
        _refuse(str(error))
    return Here(file, tuple(map(fingerprint, _read(file))), agent, run_dir, why)


def _read(file: Path) -> tuple[bytes, ...]:
    try:
        return read_keys(file)
    except KeyFileError as error:
        _refuse(str(error))


def _change(edit: Callable[[], None]) -> None:
    try:
        edit()
    except KeyFileError as error:
        _refuse(str(error))


def _no_one_behind(others: keyring.Others, lacks: str) -> None:
    if others.behind:
        _refuse(f"not yet every node ({', '.join(others.behind)}) {lacks}")


def _sure(here: Here, name: str, yes: bool) -> None:
    """Ask about what cannot be told; ends the command if it is not to be done."""
    doubt = f"Whether the other nodes are ready cannot be told: {here.why}."
    if here.agent is not None:
        unheard = ", ".join(keyring.accepting(here.agent, name).unheard)
        doubt = unheard and (f"Not heard now: {unheard}. Do the same there before the agent "
                             "starts, or it is cut off.")
    if yes or not doubt:
        return
    click.echo(doubt)
    if not sys.stdin.isatty():
        _refuse(NOBODY_TO_ASK)
    if not click.confirm("Go on?"):
        _refuse("said no")


def _taken_over(here: Here, what: str, wanted: Callable[[tuple[str, ...]], bool]) -> AgentStatus:
    """Have the agent here read the file, and see that it did; ends the command without one."""
    if here.agent is None:
        click.echo(f"{here.file} is ready; the agent here reads it when it starts ({here.why})")
        sys.exit(DONE)
    node, words = here.agent.node, ()
    until = time.monotonic() + TAKEN_WITHIN_S
    try:
        words = first(here.run_dir, {"do": "reload"}).get("reloaded", ())
        while not wanted((agent := client.status(here.run_dir)).keys[node]):
            if time.monotonic() > until:
                _unknown(here, f"the agent goes on with {_said(agent.keys[node])}: "
                               f"{'; '.join(words)}")
            time.sleep(0.05)
    except (AgentDown, AgentRefused) as error:
        _unknown(here, str(error))
    click.echo(f"{node} {what}")
    return agent


def _progress(others: keyring.Others, what: str, then: str) -> None:
    """Say who is not so far yet, and what comes when everybody is."""
    missing = (*others.behind, *others.unheard)
    if others.ready:
        click.echo(f"so far also: {', '.join(others.ready)}")
    click.echo((f"not yet, or not heard: {', '.join(missing)}; when every node {what}" if missing
                else f"every node {what}; now") + f": `{then}` on each of them")


def _said(keys: tuple[str, ...]) -> str:
    return f"{keys[0]} signs" + "".join(f", {other} is accepted too" for other in keys[1:])


def _refuse(why: str) -> NoReturn:
    click.echo(f"not done: {why}", err=True)
    sys.exit(REFUSED)


def _unknown(here: Here, why: Any) -> NoReturn:
    click.echo(f"{here.file} is changed, but {why}; `systemctl reload hamgr` has it read again",
               err=True)
    sys.exit(UNKNOWN)
