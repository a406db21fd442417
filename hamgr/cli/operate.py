"""The commands that change something: each waits until it is done, and says what became of it.

Exit status: see EXIT_STATUS, which is part of the help of each, as is ENVIRONMENT.
"""

import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from hamgr.cli.client import AgentDown, AgentRefused, ask
from hamgr.cli.layout import printable
from hamgr.cli.options import config_option, run_dir_option
from hamgr.core.records import Request

SCHEMA = 1
DONE, REFUSED, UNKNOWN, STAYING = 0, 1, 3, 4
EXIT_STATUS = ("Exit status: 0 done; 1 refused, by the cluster (the reason is printed) or at the "
               "question; 3 it cannot be told: no answer in time, or nobody to ask.")
ENVIRONMENT = ("Environment, beside the options': SUDO_UID, if it is a number: the user in whose "
               "name it is asked for, in the record of the request; CREDENTIALS_DIRECTORY, as "
               "systemd sets it, where no agent answers.")
_SPELT = {"maintenance-on": "maintenance on", "maintenance-off": "maintenance off",
          "down": "fence --confirm"}
NOBODY_TO_ASK = "nobody can be asked here; give --yes"


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        run_dir_option,
        config_option(),
        click.option("--timeout", type=click.FloatRange(1, 3600), default=60, show_default=True,
                     help="Seconds to wait for the end."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1), one line."),
        click.option("--yes", is_flag=True, help="Do not ask."),
    ):
        command = option(command)
    assert command.__doc__, "a command explains itself"
    command.__doc__ += f"\n\n    {EXIT_STATUS}\n\n    {ENVIRONMENT}\n    "
    return command


@click.command()
@click.argument("group")
@click.option("--to", "target", default="", metavar="NODE", help="Where to; default: the heir.")
@_options
def switchover(group: str, target: str, **how: Any) -> None:
    """Move GROUP to another node, in order: stopped here, then started there."""
    _operate(Request(id=new_id(), kind="switchover", group=group, node=target),
             f"{group} is stopped where it runs and started "
             f"{f'on {target}' if target else 'on its heir'}.", **how)


@click.command()
@click.argument("node")
@_options
def standby(node: str, **how: Any) -> None:
    """Move everything off NODE and keep it off, until `hamgr resume NODE`.

    Exit status 4: NODE is in standby, but groups that no other node can take, or that are in
    maintenance, still run there: do not switch it off.
    """
    _operate(Request(id=new_id(), kind="standby", node=node),
             f"Every group that runs on {node} is moved to another node.", **how)


@click.command()
@click.argument("node")
@_options
def resume(node: str, **how: Any) -> None:
    """Let NODE run groups again."""
    _operate(Request(id=new_id(), kind="resume", node=node), "", **how)


@click.command()
@click.argument("node")
@click.option("--confirm", is_flag=True,
              help="Your word that NODE is switched off: nothing is fenced.")
@_options
def fence(node: str, confirm: bool, **how: Any) -> None:
    """Cut NODE off by its fence devices, and have its groups start elsewhere.

    With --confirm, release what waits for that, where no device can tell: groups that would be
    started again only once it is certain that they do not run on NODE. It is refused as long as
    any node hears NODE.
    """
    _operate(Request(id=new_id(), kind="down" if confirm else "fence", node=node),
             f"If anything of {node} still runs, in spite of your word, its groups will run twice, "
             "and their data may be lost. Look at its power, not at its network."
             if confirm else
             f"{node} is switched off at once, without stopping anything first, and on again if "
             "its device does that.", again=node if confirm else "", **how)


@click.command()
@click.argument("group", default="")
@click.option("--node", default="", metavar="NODE", help="On this node only; default: on all.")
@_options
def clear(group: str, node: str, **how: Any) -> None:
    """Forget the failures of the services of GROUP, or of all groups.

    What waits for that is tried again: a service that is blocked, a node that the group left for
    its failures, a replica that did not start.
    """
    _operate(Request(id=new_id(), kind="clear", group=group, node=node), "", **how)


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]), metavar="on|off")
@click.option("--group", default="", help="One group only; default: all.")
@click.option("--owner-is-down", is_flag=True,
              help="off: your word that an owner that cannot be heard is powered off.")
@_options
def maintenance(switch: str, group: str, owner_is_down: bool, **how: Any) -> None:
    """Leave groups alone (on), or guard them again (off).

    In maintenance nothing is moved, stopped or withdrawn, and nothing takes over.
    """
    if owner_is_down and switch == "on":
        raise click.UsageError("--owner-is-down goes with `maintenance off` alone: leave it out")
    what = group or "every group"
    warning = (f"Until `hamgr maintenance off`, nothing takes over {what} when a node dies."
               if switch == "on" else
               f"If a node that you say is down runs {what} all the same, two will be active."
               if owner_is_down else "")
    _operate(Request(id=new_id(), kind=f"maintenance-{switch}", group=group,
                     confirmed=owner_is_down), warning, **how)


def _operate(
    request: Request,
    warning: str,
    *,
    again: str = "",
    yes: bool,
    as_json: bool,
    config: Path,
    run_dir: Path,
    timeout: float,
) -> None:
    """Ask the operator, then the cluster; print what became of it and exit accordingly.

    `again`: what has to be typed besides, where a wrong word cannot be mended.
    """
    started = time.monotonic()
    if warning and not yes and (why := not_confirmed(warning, as_json, again)):
        if as_json:
            _finish(request, "refused", why, "nothing", started, as_json)
        click.echo(f"not done: {why}", err=True)
        sys.exit(REFUSED)
    request = msgspec.structs.replace(request, by=operator())
    say = _silent if as_json else lambda text: click.echo(printable(text))
    try:
        answer, source = _through_agent(request, say, run_dir, timeout)
    except AgentRefused as error:
        _finish(request, "unknown", str(error), "agent", started, as_json)
    except AgentDown as error:
        say(f"{error}; asking ZooKeeper")
        answer, source = _through_zookeeper(request, say, config, timeout, started, as_json)
    if answer is None:
        _finish(request, "unknown", f"no answer within {timeout:g} s; it may be done yet: see "
                "`hamgr status`", source, started, as_json)
    _finish(request, answer.state, answer.why, source, started, as_json, answer.staying)


def somebody_sits_here() -> bool:
    """Tell whether a question can be answered."""
    return sys.stdin.isatty()


def not_confirmed(warning: str, as_json: bool, again: str = "") -> str:
    """Ask the operator; return why it is not to be done, empty if it is.

    With --json what people read goes to standard error: standard output has one object.
    """
    click.echo(warning, err=as_json)
    if not somebody_sits_here():
        return NOBODY_TO_ASK
    if not click.confirm("Go on?", err=as_json):
        return "said no"
    if again and click.prompt(f"Type {again} once more to be sure", err=as_json) != again:
        return "another name was typed"
    return ""


def _through_agent(
    request: Request, say: Callable[[str], Any], run_dir: Path, timeout: float
) -> tuple[Request | None, str]:
    order = {"do": "request", "request": msgspec.to_builtins(request), "within_s": timeout}
    for answer in ask(run_dir, order, answer_s=timeout + 5):
        if "answer" in answer:
            return msgspec.convert(answer["answer"], type=Request | None), "agent"
        say(f"  {answer['progress']}")
    raise AgentDown("the agent here went away before the end")


def _through_zookeeper(
    request: Request,
    say: Callable[[str], Any],
    config: Path,
    timeout: float,
    started: float,
    as_json: bool,
) -> tuple[Request | None, str]:
    from hamgr.cli import direct
    from hamgr.config.document import load
    from hamgr.config.faults import ConfigError

    try:
        answer = direct.ask(load(config), request, lambda text: say(f"  {text}"), timeout)
    except (ConfigError, direct.ZooKeeperDown) as error:
        _finish(request, "unknown", str(error), "nothing", started, as_json)
    return answer, "zookeeper"


def _finish(
    request: Request, state: str, why: str, source: str, started: float, as_json: bool,
    staying: tuple[str, ...] = (),
) -> NoReturn:
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        click.echo(msgspec.json.encode({
            "schema": SCHEMA, "id": request.id, "kind": request.kind, "group": request.group,
            "node": request.node, "state": state, "why": why, "source": source,
            "seconds": seconds, "staying": staying}).decode())
    else:
        what = _SPELT.get(request.kind, request.kind)
        what = " ".join(word for word in (what, request.group, request.node) if word)
        click.echo(printable(f"{what}: {'cannot tell' if state == 'unknown' else state}"
                             f"{f': {why}' if why else ''} ({seconds:.1f} s)"))
    sys.exit(STAYING if staying else {"done": DONE, "refused": REFUSED}.get(state, UNKNOWN))


def _silent(text: str) -> None:
    """Progress has no place in JSON."""


def new_id() -> str:
    """Return a name for a request. A leader that reads several at once takes them in this order."""
    return f"{time.time_ns() // 1_000_000}-{secrets.token_hex(4)}"


def operator() -> str:
    """Return who asks, as user@machine: the one behind sudo, if it is that."""
    import os
    import pwd

    said = os.environ.get("SUDO_UID", "")
    uid = int(said) if said.isascii() and said.isdigit() else os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return f"{name}@{os.uname().nodename}"
