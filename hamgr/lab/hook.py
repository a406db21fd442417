"""The service of a lab with hooks: one command for all its actions, which only records.

Run as `python -I -S hook.py LAB`, with what the agent says in the environment. Each run adds a
line of JSON to LAB/hooks when it begins and, unless it was killed before, another when it ends;
all instants are nanoseconds of CLOCK_MONOTONIC, so the runs of all nodes have one order. How it
goes stands in the lab's record as a fault: `fail` (exit status 1), or `hang` until that is healed.
In a lab with groups of one's own it also keeps in mind what it started: in a directory that each
node has for itself, a file LAB/here/GROUP-SERVICE is there from start, or promote, on until stop,
or until demote where there was no start. Its monitor fails without.
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
HERE = "here"
FAIL, HANG = "fail", "hang"
ACTIONS = ("start", "promote", "demote", "stop", "monitor")
_STEP_S = 0.01
FACTS = ("NODE", "GROUP", "SERVICE", "ACTION", "ROLE", "EPOCH", "FROM", "TO", "REASON",
         "PLANNED", "DEADLINE")


def conduct(lab: Path, node: str, action: str, service: str) -> str:
    """Return how the action shall go on this node; empty: well."""
    hooks = json.loads((lab / STATE).read_bytes())["faults"]["hooks"]
    return next((how for where, what, how, whose in hooks
                 if (where, what) == (node, action) and whose in ("", service)), "")


def keep(here: Path, facts: dict[str, str]) -> str:
    """Do what the action does to what is kept in mind; return what is wrong with that."""
    kept = here / f"{facts['group']}-{facts['service']}"
    action, was = facts["action"], kept.read_text() if kept.exists() else ""
    if action == "monitor":
        return "" if was else "it does not run"
    if action in ("start", "promote"):
        kept.write_text(was or action)
    elif action == "stop" or was == "promote":
        kept.unlink(missing_ok=True)
    return ""


def main(lab: Path) -> int:
    """Be a hook; return its exit status."""
    facts = {name.lower(): os.environ[f"HAMGR_{name}"] for name in FACTS}
    node, action, run = facts["node"], facts["action"], os.getpid()
    _record(lab, run=run, at=time.monotonic_ns(), facts=facts)
    while (how := conduct(lab, node, action, facts["service"])) == HANG:
        time.sleep(_STEP_S)
    why = f"{action} shall fail on {node}" if how == FAIL else ""
    if not why and (here := lab / HERE).exists():
        why = keep(here, facts)
    _record(lab, run=run, at=time.monotonic_ns(), ok=not why)
    if why:
        sys.stderr.write(f"{why}\n")
    return int(bool(why))


def _record(lab: Path, **line: object) -> None:
    text = json.dumps(line) + "\n"
    descriptor = os.open(lab / RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text.encode())  # one write: lines of two hooks never mix
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
