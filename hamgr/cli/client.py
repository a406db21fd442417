"""Asks the local agent over its control socket."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from hamgr.agent.facts import AgentStatus

RUN_DIR = Path("/run/hamgr")
SOCKET = "control.sock"
T = TypeVar("T")
ANSWER_S = 2.0
"""An agent answers within milliseconds; one that does not is stopped or hangs."""


class AgentDown(Exception):
    """No agent answers; the message says why."""


class AgentOutOfReach(AgentDown):
    """There may well be an agent, but not for this user."""


class AgentRefused(Exception):
    """The agent answered with an error."""


def ask(
    run_dir: Path, request: dict[str, Any], answer_s: float | None = ANSWER_S
) -> Iterator[dict[str, Any]]:
    """Send one request and yield the answers, as many as come.

    answer_s is how long each may take, None for any time. Raises AgentDown if there is no agent or
    it does not answer to the end, AgentRefused with its words if it answers with an error.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(answer_s)
        try:
            sock.connect(str(run_dir / SOCKET))
            sock.sendall(msgspec.json.encode(request) + b"\n")
            with sock.makefile("rb") as lines:
                for line in lines:
                    answer = msgspec.json.decode(line, type=dict[str, Any])
                    if "error" in answer:
                        raise AgentRefused(answer["error"])
                    yield answer
        except FileNotFoundError:
            raise AgentDown(f"no agent runs here (no {run_dir / SOCKET})") from None
        except ConnectionRefusedError:
            raise AgentDown("the agent here is dead (nobody listens at "
                            f"{run_dir / SOCKET})") from None
        except PermissionError:
            raise AgentOutOfReach("the agent here answers root alone "
                                  f"(no access to {run_dir / SOCKET})") from None
        except TimeoutError:
            raise AgentDown(f"the agent here does not answer within {answer_s:g} s") from None
        except OSError as error:
            raise AgentDown(f"the agent here cannot be asked: {error}") from None
        except msgspec.MsgspecError:
            raise AgentDown("the agent here broke off in the middle of an answer") from None


def first(run_dir: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Return the first answer to a request; raises as `ask`."""
    for answer in ask(run_dir, request):
        return answer
    raise AgentDown("the agent here closed the connection without an answer")


def told(answer: dict[str, Any], kind: type[T]) -> T:
    """Return an answer as what it has to be. Raises AgentRefused if the agent means another."""
    try:
        return msgspec.convert(answer, type=kind)
    except msgspec.ValidationError as error:
        raise AgentRefused("the agent here is of another version than this command, which does not "
                           f"understand it ({error}): restart the agent, in maintenance if "
                           "nothing may move") from None


def status(run_dir: Path) -> AgentStatus:
    """Return what the agent says of itself and the cluster; raises as `ask` and `told`."""
    return status_in(first(run_dir, {"do": "status"}))


def status_in(answer: dict[str, Any]) -> AgentStatus:
    """Return what one answer to `status` or `watch` says; raises as `told`."""
    return told(answer, _Status).status


class _Status(msgspec.Struct):
    status: AgentStatus
