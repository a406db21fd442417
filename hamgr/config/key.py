"""The cluster key file: with it heartbeats are authenticated, so only root may read it.

One line of 64 to 128 hex digits a key (32 to 64 bytes), one or two keys; blank lines and lines that
begin with # do not count. The first key signs, both are accepted. So a key is replaced without a
gap by three edits on every node, each finished everywhere before the next: add the new one as the
second line, put it first, remove the old one. `add_key`, `use_other_key` and `drop_other_key` are
these edits. A file is replaced whole or not at all, by a name that was private from the start; what
stands above a key, such as a remark, stays with it.
"""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from hamgr.config.private import KeyFileError, read_private

KEY_BYTES_MIN = 32
KEY_BYTES_MAX = 64
"""BLAKE2b takes keys up to 64 bytes (RFC 7693, section 2.1)."""


def read_keys(path: str | Path) -> tuple[bytes, ...]:
    """Return the one or two keys of a file, the one that signs first. Raises KeyFileError."""
    return _keys(path, _text(path))


def _keys(path: str | Path, text: str) -> tuple[bytes, ...]:
    keys = tuple(_key(path, line.strip()) for line in text.splitlines() if _is_key(line))
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
        # link() refuses to replace what is there.
        _write_private(path, secrets.token_bytes(KEY_BYTES_MIN).hex() + "\n", os.link)
    except FileExistsError:
        raise KeyFileError(f"{path}: exists already; to replace the key in it, make the new one "
                           "in another file and add it with `hamgr key add`") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None


def add_key(path: str | Path, key: bytes) -> None:
    """Add a key that is accepted from now on, and does not sign yet.

    Raises KeyFileError if there is another second key: that one must be used or dropped first.
    """
    _edit(path, lambda stanzas: [*stanzas, key.hex() + "\n"])


def use_other_key(path: str | Path) -> None:
    """Let the second key sign, and the first be accepted only. Raises KeyFileError."""
    _edit(path, lambda stanzas: [*reversed(stanzas)])


def drop_other_key(path: str | Path) -> None:
    """Remove the key that does not sign. Raises KeyFileError."""
    _edit(path, lambda stanzas: stanzas[:1])


def _edit(path: str | Path, change: Callable[[list[str]], list[str]]) -> None:
    """Change a usable file into another one. Raises KeyFileError; then the file is as it was."""
    path = Path(path).resolve()  # a link stays one
    text = _text(path)
    _keys(path, text)
    changed = "".join(change(_stanzas(text)))
    _keys(path, changed)
    try:
        _write_private(path, changed, os.replace)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None


def _stanzas(text: str) -> list[str]:
    """Return each key's line with what stands above it, and the last one's below it too."""
    stanzas = [""]
    for line in text.splitlines():
        stanzas[-1] += line + "\n"
        if _is_key(line):
            stanzas.append("")
    below = stanzas.pop()
    stanzas[-1] += below
    return stanzas


def _is_key(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")


def _write_private(path: Path, text: str, put: Callable[[str, Path], None]) -> None:
    """Put a new file in a place, complete, on disk, and with mode 0600 from its first moment."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        put(temporary, path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)  # the new name, too
        finally:
            os.close(directory)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _text(path: str | Path) -> str:
    raw = read_private(path, f"make it with `hamgr config new-key {path}` on one node and copy it "
                       "to the others")
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: is not text; write each key as one line of hex "
                           "digits") from None


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
