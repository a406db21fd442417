"""What the hooks of a lab did, read from their record (hamgr.lab.hook writes it)."""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hamgr.core.types import NEVER, Instant
from hamgr.lab import hook


class HookRun(NamedTuple):
    """One run of one hook."""

    node: str
    group: str
    service: str
    action: str
    epoch: int
    planned: bool
    facts: dict[str, str]
    """What the agent told it: HAMGR_NODE as node, and so on."""
    begin: Instant
    end: Instant
    """NEVER: it still runs, or was killed."""
    ok: bool


def hook_runs(lab: Path) -> list[HookRun]:
    """Return all runs in a lab's directory, in the order in which they began."""
    record = lab / hook.RECORD
    text = record.read_bytes() if record.exists() else b""
    raw = text[:text.rfind(b"\n") + 1].splitlines()  # a line that is being written has no end yet
    found: list[HookRun] = []
    open_at: dict[int, int] = {}
    for line in (msgspec.json.decode(one, type=dict[str, Any]) for one in raw):
        if (facts := line.get("facts")) is not None:
            open_at[line["run"]] = len(found)
            found.append(HookRun(
                facts["node"], facts["group"], facts["service"], facts["action"],
                int(facts["epoch"]), facts["planned"] == "1", facts, line["at"], NEVER, False))
        else:
            at = open_at.pop(line["run"])
            found[at] = found[at]._replace(end=line["at"], ok=line["ok"])
    return found
