"""Asks an agent over its control socket: one JSON request a line, one JSON answer a line."""

import socket
from pathlib import Path
from typing import Any

import msgspec

SOCKET = "control.sock"
_ANSWER_WITHIN_S = 1.0


def ask(run_dir: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Return what the agent answers; nothing when none does."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_ANSWER_WITHIN_S)
        try:
            sock.connect(str(run_dir / SOCKET))
            sock.sendall(msgspec.json.encode(request) + b"\n")
            with sock.makefile("rb") as answers:
                line = answers.readline()
        except OSError:  # none listens, or it is frozen: either way there is no answer
            return {}
    return msgspec.json.decode(line, type=dict[str, Any]) if line else {}
