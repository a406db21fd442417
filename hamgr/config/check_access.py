"""What [zookeeper] must fulfil where it says who may come in: its keys, and the files they name.

The files are those of this machine, so they are looked at only where they must be there: before an
agent starts, and by `hamgr config check` on a node.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hamgr.config.faults import Findings, Path
from hamgr.config.password import SHORT, read_password
from hamgr.config.private import CREDENTIAL, KeyFileError, read_private
from hamgr.config.schema import Document
from hamgr.config.tls import KEY_REMEDY, bare_context, expiries, present, trusting

FILES = ("ca_file", "cert_file", "key_file", "password_file")
PAIRS = (("cert_file", "key_file"), ("key_file", "cert_file"),
         ("user", "password_file"), ("password_file", "user"))
EXPIRES_SOON = timedelta(days=14)
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_access(document: Document, findings: Findings) -> None:
    """Note keys that do not go together."""
    zookeeper = document.zookeeper
    given = {name for name in (*FILES, "user") if getattr(zookeeper, name) is not None}
    for name in FILES:
        path = getattr(zookeeper, name)
        if path is not None and not path.startswith(("/", CREDENTIAL)):
            findings.reject(_at(name), f'"{path}" is not a full path; write one that begins with '
                            "/, or with %d/ for a credential that systemd gives the agent")
    for name, other in PAIRS:
        if name in given and other not in given:
            findings.fault(_at(name), f"has no effect without {other}; add it, or remove {name}")
    for name in ("cert_file", "key_file"):
        if name in given and "ca_file" not in given:
            findings.fault(_at(name), "has no effect without ca_file, with which TLS begins; add "
                           f"it, or remove {name}")
    if zookeeper.user is not None and not _USER.fullmatch(zookeeper.user):
        findings.reject(_at("user"), f'"{zookeeper.user}" cannot be a user of ZooKeeper; write '
                        "letters, digits, \"_\", \".\" and \"-\", as in the servers' JAAS file")
    if zookeeper.protect and "user" not in given:
        findings.fault(_at("protect"), "has no effect without user, who alone may write then; add "
                       "user and password_file, or remove protect")
    if "user" in given and "ca_file" not in given:
        findings.warn(_at("user"), "logs in without TLS: the password stays secret, but whoever is "
                      "on the way can go on in the name of this node; add ca_file")


def check_files(document: Document, findings: Findings) -> None:
    """Note what is wrong with the files on this machine. Only for a document without a fault."""
    zookeeper = document.zookeeper
    ca_file, cert_file, key_file = zookeeper.ca_file, zookeeper.cert_file, zookeeper.key_file
    if ca_file is not None and _usable(findings, "ca_file", lambda: trusting(ca_file)):
        _valid_by(findings, "ca_file", ca_file)
    if cert_file is not None and key_file is not None:
        if _usable(findings, "cert_file", lambda: expiries(cert_file)):
            _valid_by(findings, "cert_file", cert_file)
            _usable(findings, "key_file", lambda: present(bare_context(), cert_file, key_file))
        else:
            _usable(findings, "key_file", lambda: read_private(key_file, KEY_REMEDY))
    password_file = zookeeper.password_file
    if password_file is not None and (
            _usable(findings, "password_file", lambda: read_password(password_file))):
        length = len(read_password(password_file))
        if length < SHORT:
            findings.warn(_at("password_file"), f"{password_file}: a password of {length} "
                          f"characters can be guessed by who sees a login; use {SHORT} or more "
                          "(openssl rand -hex 24)")


def _usable(findings: Findings, name: str, read: Callable[[], object]) -> bool:
    try:
        read()
    except KeyFileError as error:
        findings.fault(_at(name), str(error))
        return False
    return True


def _valid_by(findings: Findings, name: str, file: str) -> None:
    """Warn of certificates that are, or will be, no longer accepted: the agent starts with them.

    Several in ca_file are one that comes and one that goes; what follows one's own in cert_file
    are those of who signed it.
    """
    ends = expiries(file)
    for number, end in enumerate(ends, 1):
        left = end - datetime.now(UTC)
        if left < EXPIRES_SOON:
            several = len(ends) > 1
            which = f"certificate {number} of {len(ends)} " if several else ""
            signed = " whose certificate it signed" if name == "ca_file" else ""
            or_else = ", or take it out if another one stands for it" if several else ""
            when = "expired on" if left < timedelta() else f"expires in {left.days} days, on"
            findings.warn(_at(name), f"{file}: {which}{when} {end:%Y-%m-%d %H:%M} UTC, and no "
                          f"server{signed} is reached with it then; renew it{or_else} (it is read "
                          "again at each connection)")


def _at(name: str) -> Path:
    return ("zookeeper", name)
