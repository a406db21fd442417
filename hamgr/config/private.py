"""Files with secrets: only their owner may read them.

A path that begins with %d/ is a systemd credential: %d is $CREDENTIALS_DIRECTORY, as in a unit.
"""

import os
import stat
from pathlib import Path

CREDENTIAL = "%d/"
_FILE_MAX = 65536


class KeyFileError(Exception):
    """The file cannot be used; the message names the file, the fault and the remedy."""


def located(path: str | Path) -> Path:
    """Return where a file is. Raises KeyFileError for a credential where there are none."""
    text = str(path)
    if not text.startswith(CREDENTIAL):
        return Path(text)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise KeyFileError(f"{text}: $CREDENTIALS_DIRECTORY is not set here; systemd sets it where "
                           "a unit has LoadCredential=: give the agent's unit one, or a command "
                           "(systemd-run --pipe -p LoadCredential=NAME:FILE hamgr ...)")
    return Path(folder) / text.removeprefix(CREDENTIAL)


def read_private(path: str | Path, remedy: str) -> bytes:
    """Return what is in a file that nobody else may touch. Raises KeyFileError.

    The remedy is for a file that cannot be read.
    """
    where = located(path)
    try:
        with open(where, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise KeyFileError(f"{path}: not a regular file")
            if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyFileError(f"{path}: others may read or change it (mode "
                                   f"{stat.S_IMODE(facts.st_mode):04o}); run chmod 600 {where}")
            if facts.st_uid not in (0, os.geteuid()):
                raise KeyFileError(f"{path}: belongs to user {facts.st_uid}; run chown root "
                                   f"{where}")
            return file.read(_FILE_MAX)
    except PermissionError:
        raise KeyFileError(f"{path}: only root may read it; run this as root") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}; {remedy}") from None
