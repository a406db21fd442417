"""The secrets of fence devices: one line each, in a file of its own or a credential of systemd."""

from hamgr.config.private import CREDENTIAL, KeyFileError, read_private

NAMED = "credential:"
"""Before the name of a credential: "credential:ipmi"; the same as "%d/ipmi"."""


def read_secret(path: str) -> str:
    """Return the secret in a file, or in a credential. Raises KeyFileError.

    Agents read a secret as the rest of a line of their standard input, and drop blanks at its ends.
    """
    raw = read_private(CREDENTIAL + path.removeprefix(NAMED) if path.startswith(NAMED) else path,
                       f"make it with (umask 077; cat > {path}), with the secret on one line, "
                       "on every node")
    try:
        text = raw.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: is not text in UTF-8; write the secret on one line") from None
    if not text or text != text.strip() or not text.isprintable():
        raise KeyFileError(f"{path}: must be one line, the secret and nothing else, without blanks "
                           "at its ends")
    return text
