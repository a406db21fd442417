"""What a check says: how bad, where, what, and what to do about it."""

from enum import StrEnum

from msgspec import Struct


class Severity(StrEnum):
    """How bad it is, from harmless to worst."""

    OK = "ok"
    NOTE = "note"
    """Good to know; nothing has to be done."""
    WARNING = "warning"
    """It works, and something makes it slower or less safe than it could be."""
    UNKNOWN = "unknown"
    """It could not be checked, so there may be a fault."""
    FAULT = "fault"
    """It does not do what it is there for, or will not when it is needed."""


class Finding(Struct, frozen=True, kw_only=True):
    """One finding of one check."""

    severity: Severity
    check: str = ""
    """The name of the check; the registry fills it in."""
    where: str
    """A node, a ring, a server, an interface, a file."""
    what: str
    """What was found, in one sentence."""
    remedy: str = ""
    """What to do; empty for what is ok."""


def ok(where: str, what: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(severity=Severity.OK, where=where, what=what)


def note(where: str, what: str, remedy: str = "") -> Finding:
    """Return what is good to know."""
    return Finding(severity=Severity.NOTE, where=where, what=what, remedy=remedy)


def warning(where: str, what: str, remedy: str) -> Finding:
    """Return what should be mended."""
    return Finding(severity=Severity.WARNING, where=where, what=what, remedy=remedy)


def fault(where: str, what: str, remedy: str) -> Finding:
    """Return what must be mended."""
    return Finding(severity=Severity.FAULT, where=where, what=what, remedy=remedy)


def unknown(where: str, what: str, remedy: str = "") -> Finding:
    """Return what could not be checked."""
    return Finding(severity=Severity.UNKNOWN, where=where, what=what, remedy=remedy)
