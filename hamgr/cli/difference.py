"""A file held against what is applied: `hamgr config diff`, and the first half of `apply`."""

import json
from pathlib import Path
from typing import Any

import msgspec
import tomli_w
from msgspec import Struct

from hamgr.cli.applied import Applied
from hamgr.cli.layout import printable
from hamgr.config.against_plan import in_maintenance, refused_by, voters
from hamgr.config.change import Difference, cannot_change, differences, not_in_maintenance
from hamgr.config.document import Reading, digest
from hamgr.config.faults import Fault
from hamgr.config.forecast import Consequence, forecast
from hamgr.config.schema import Document

SCHEMA = 1
"""Of the JSON; fields are added, never renamed, removed or given another meaning without it."""
SAME, DIFFERS, UNUSABLE, UNKNOWN = 0, 1, 2, 3
DOCUMENT_BYTES_MAX = 64 << 10


class Finding(Struct, frozen=True, kw_only=True):
    """What came of it."""

    file: Path
    document: Document | None
    text: str
    verdict: str
    """same, differs or unusable."""
    asked: str
    source: str
    revision: int
    applied_by: str
    differences: tuple[Difference, ...] = ()
    consequences: tuple[Consequence, ...] = ()
    refusals: tuple[str, ...] = ()
    """Why it cannot be applied, each with the remedy."""
    warnings: tuple[Fault, ...] = ()
    refused: str = ""
    """Why this node cannot take over what is applied."""

    @property
    def status(self) -> int:
        """The exit status of `hamgr config diff`."""
        return {"same": SAME, "differs": DIFFERS}.get(self.verdict, UNUSABLE)


def compare(file: Path, reading: Reading, applied: Applied) -> Finding:
    """Return what a file would change."""
    new, old = reading.document, applied.reading.document
    refusals = [fault.located(str(file)) for fault in reading.faults]
    refusals += [fault.located("what is applied") for fault in applied.reading.faults]
    found: tuple[Difference, ...] = ()
    coming: tuple[Consequence, ...] = ()
    if new is not None and old is not None:
        used = applied.own or old
        found = differences(old, new)
        coming = forecast(old, new, applied.plan, [*applied.digests])
        refusals += [str(fault) for fault in (
            *cannot_change(used, new),
            *not_in_maintenance(used, new, in_maintenance(applied.plan)))]
        refusals += refused_by(applied.plan, new)
        if len(reading.text.encode()) > DOCUMENT_BYTES_MAX:
            refusals.append(f"{file} is longer than {DOCUMENT_BYTES_MAX >> 10} KiB; shorten it")
    pending = new is not None and (found or coming or is_pending(new, applied))
    return Finding(
        file=file, document=new, text=reading.text, asked=applied.asked, source=applied.source,
        verdict="unusable" if refusals else "differs" if pending else "same",
        revision=applied.config.revision, applied_by=applied.config.applied_by,
        differences=found, consequences=coming, refusals=tuple(refusals),
        warnings=reading.warnings, refused=applied.refused)


def is_pending(new: Document, applied: Applied) -> bool:
    """Tell whether a document is not what is applied, or not wholly so yet."""
    return (bool(applied.refused) or not is_applied(new, applied) or bool(behind(new, applied))
            or {*voters(new)} != {*applied.plan.voters.names}
            or new.timing != applied.plan.times)


def is_applied(new: Document, applied: Applied) -> bool:
    """Tell by the document itself: whoever wrote the record may have written any digest."""
    there = applied.reading.document
    return there is not None and digest(there) == digest(new)


def behind(new: Document, applied: Applied) -> list[str]:
    """Return the nodes whose agents live, and go by another document as far as is known."""
    wanted = digest(new)
    return [node for node, one in applied.digests.items()
            if node in new.node and one not in ("", wanted)]


def shown(finding: Finding) -> str:
    """Return a finding as text."""
    by = f", applied by {finding.applied_by}" if finding.applied_by else ""
    lines = [f"{finding.file} against revision {finding.revision}{by} (asked {finding.asked})"]
    if finding.refused:
        lines.append(f"  what is applied cannot be taken over here: {finding.refused}")
    lines += [f"  {one.key}: {_value(one.old)} -> {_value(one.new)}"
              for one in finding.differences]
    if finding.consequences:
        lines += ["what would happen:", *(f"  {one.text}" for one in finding.consequences)]
    lines += [f"{warning.located(str(finding.file))} (warning)" for warning in finding.warnings]
    if finding.refusals:
        lines += ["cannot be applied:", *(f"  {why}" for why in finding.refusals)]
    elif finding.verdict == "same":
        lines.append("no difference")
    elif not finding.differences and not finding.consequences:
        lines.append("no difference, but not every node goes by it yet")
    return printable("\n".join(lines))


def as_json(finding: Finding, **more: Any) -> str:
    """Return a finding as one line of JSON."""
    return json.dumps({
        "schema": SCHEMA, "file": str(finding.file), "verdict": finding.verdict,
        "source": finding.source, "revision": finding.revision,
        "applied_by": finding.applied_by,
        "digest": digest(finding.document) if finding.document is not None else "",
        "differences": msgspec.to_builtins(finding.differences),
        "consequences": msgspec.to_builtins(finding.consequences),
        "refusals": finding.refusals, "warnings": msgspec.to_builtins(finding.warnings),
        "refused": finding.refused, **more})


def _value(value: Any) -> str:
    """Return a value as it would be written in a file; a table in one line."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").strip()
