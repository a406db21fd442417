"""Asks the local agent over its control socket."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

RUN_DIR = Path("/run/hamgr")
SOCKET = "control.sock"
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
    it does not answer, AgentRefused with its words if it answers with an error.
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


def first(run_dir: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Return the first answer to a request; raises as `ask`."""
    for answer in ask(run_dir, request):
        return answer
    raise AgentDown("the agent here closed the connection without an answer")
