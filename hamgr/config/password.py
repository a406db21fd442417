"""The password of the cluster's ZooKeeper user: one line in a file of its own."""

from pathlib import Path

from hamgr.config.private import KeyFileError, read_private

SHORT = 16
"""Who has seen a login can try shorter ones one after the other: DIGEST-MD5 is a fast hash."""


def read_password(path: str | Path) -> str:
    """Return the password in a file. Raises KeyFileError.

    Only letters, digits and signs of ASCII: Java reads others as it likes (RFC 2831 and its
    servers differ on their encoding), and a quote or backslash would have to be written in another
    way in the server's file.
    """
    raw = read_private(path, f"make it with (umask 077; openssl rand -hex 24 > {path}), give the "
                       "servers the same and copy it to the other nodes")
    lines = raw.split(b"\n")
    text = lines[0].decode("ascii", "replace")
    if not text or any(lines[1:]):
        raise KeyFileError(f"{path}: must be one line, the password and nothing else")
    if any(not "!" <= char <= "~" or char in "\"\\" for char in text):
        raise KeyFileError(f"{path}: has a character that servers read in different ways; use "
                           "letters, digits and signs of ASCII but quote and backslash")
    return text
