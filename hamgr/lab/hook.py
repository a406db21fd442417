"""The service of a lab with hooks: one command for promote, demote and monitor, which only records.

Run as `python -I -S hook.py LAB`, with what the agent says in the environment. Each run adds a
line of JSON to LAB/hooks when it begins and, unless it was killed before, another when it ends;
all instants are nanoseconds of CLOCK_MONOTONIC, so the runs of all nodes have one order. How it
goes stands in the lab's record as a fault: `fail` (exit status 1), or `hang` until that is healed.
It has to start fast in any namespace, so it uses the standard library alone.
"""

import json
import os
import sys
import time
from pathlib import Path

RECORD = "hooks"
"""In the lab's directory: what every hook of every node did."""
STATE = "lab.json"
FAIL, HANG = "fail", "hang"
ACTIONS = ("promote", "demote", "monitor")
_STEP_S = 0.01
FACTS = ("NODE", "ACTION", "ROLE", "EPOCH", "FROM", "TO", "REASON", "PLANNED", "DEADLINE")


def conduct(lab: Path, node: str, action: str) -> str:
    """Return how the action shall go on this node; empty: well."""
    hooks = json.loads((lab / STATE).read_bytes())["faults"]["hooks"]
    return next((how for where, what, how in hooks if (where, what) == (node, action)), "")


def main(lab: Path) -> int:
    """Be a hook; return its exit status."""
    facts = {name.lower(): os.environ[f"HAMGR_{name}"] for name in FACTS}
    node, action, run = facts["node"], facts["action"], os.getpid()
    _record(lab, run=run, at=time.monotonic_ns(), facts=facts)
    while (how := conduct(lab, node, action)) == HANG:
        time.sleep(_STEP_S)
    _record(lab, run=run, at=time.monotonic_ns(), ok=how != FAIL)
    if how == FAIL:
        sys.stderr.write(f"{action} shall fail on {node}\n")
    return int(how == FAIL)


def _record(lab: Path, **line: object) -> None:
    text = json.dumps(line) + "\n"
    descriptor = os.open(lab / RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text.encode())  # one write: lines of two hooks never mix
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
