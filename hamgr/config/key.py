"""The cluster key file: with it heartbeats are authenticated, so only root may read it.

One line of 64 to 128 hex digits a key (32 to 64 bytes), one or two keys; blank lines and lines that
begin with # do not count. The first key signs, both are accepted. So a key is replaced without a
gap by three edits on every node, each finished everywhere before the next: add the new one as the
second line, put it first, remove the old one.
"""

import os
import secrets
import tempfile
from pathlib import Path

from hamgr.config.private import KeyFileError, read_private

KEY_BYTES_MIN = 32
KEY_BYTES_MAX = 64
"""BLAKE2b takes keys up to 64 bytes (RFC 7693, section 2.1)."""


def read_keys(path: str | Path) -> tuple[bytes, ...]:
    """Return the one or two keys of a file, the one that signs first. Raises KeyFileError."""
    raw = read_private(path, f"make it with `hamgr config new-key {path}` on one node and copy it "
                       "to the others")
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: is not text; write each key as one line of hex "
                           "digits") from None
    lines = [line.strip() for line in text.splitlines()]
    keys = tuple(_key(path, line) for line in lines if line and not line.startswith("#"))
    if not 1 <= len(keys) <= 2:
        raise KeyFileError(f"{path}: {len(keys)} keys; one line of hex digits a key, one or two "
                           "keys (`hamgr config new-key` makes a file with one)")
    if len(set(keys)) != len(keys):
        raise KeyFileError(f"{path}: both keys are the same; remove one")
    return keys


def new_key(path: str | Path) -> None:
    """Make a key file with one random key, mode 0600, complete or not at all.

    Raises KeyFileError if there is such a file already (a key in use must not be lost), or if it
    cannot be written.
    """
    path = Path(path)
    try:
        # mkstemp makes the file with mode 0600; link() refuses to replace what is there.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_bytes(KEY_BYTES_MIN).hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        finally:
            os.unlink(temporary)
    except FileExistsError:
        raise KeyFileError(f"{path}: exists already; to replace a key, add the new one as a "
                           "second line (see docs/configuration.md)") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None


def _key(path: str | Path, line: str) -> bytes:
    try:
        key = bytes.fromhex(line)
    except ValueError:
        raise KeyFileError(f"{path}: a line is not made of hex digits; write each key as one line "
                           "of them") from None
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise KeyFileError(f"{path}: a key of {len(key)} bytes; it must have {KEY_BYTES_MIN} to "
                           f"{KEY_BYTES_MAX} (`hamgr config new-key` makes one)")
    return key
