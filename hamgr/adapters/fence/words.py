"""What a fence device said, in words for people, without its secrets."""

import base64
import re
import shlex
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from hamgr.adapters.services.runs import WORDS_MAX, Ended

MASK = "***"
_LOG = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ (?:[A-Z]+: )?")
"""How agents begin a line: "2026-11-27 23:56:30,123 ERROR: "."""
_SPECIAL = re.compile(r"[^\w@%+=:,./-]", re.ASCII)
"""Characters before which a shell that quotes puts a backslash, as bash's printf %q does."""
_TAIL_FULL = 4000
"""Bytes. An end of output that is so long may begin in the midst of a word."""
NOT_INSTALLED = "install its package (Debian: fence-agents)"


def words(ended: Ended, secrets: Iterable[str], *, well: bool) -> str:
    """Return the last line that says something, and how the program ended if not well."""
    said = last_line(masked(ended.tail, tuple(secrets)))
    if ended.unstarted:
        return f"{said}; {NOT_INSTALLED}" if "/fence_" in said else said
    return said if well else ": ".join(filter(None, (ended.how, said)))


def last_line(text: str) -> str:
    """Return the last line with a letter or digit in it, without what a log puts before it."""
    lines = ("".join(char if char.isprintable() else " " for char in _LOG.sub("", line)).strip()
             for line in text.splitlines())
    return next((line[:WORDS_MAX] for line in reversed([*lines])
                 if any(char.isalnum() for char in line)), "")


def masked(text: str, secrets: tuple[str, ...]) -> str:
    """Return the text with every secret hidden, also where a shell, Python or HTTP has it."""
    forms = sorted({form for secret in secrets if secret for form in _forms(secret)},
                   key=len, reverse=True)
    if forms and len(text.encode()) >= _TAIL_FULL:
        text = text[len(forms[0]):]  # it may begin with the rest of a secret
    for form in forms:
        text = text.replace(form, MASK)
    return text


def _forms(secret: str) -> tuple[str, ...]:
    return (secret, shlex.quote(secret), repr(secret)[1:-1], quote(secret), quote(secret, ""),
            quote_plus(secret), _SPECIAL.sub(r"\\\g<0>", secret),
            base64.b64encode(secret.encode()).decode())
