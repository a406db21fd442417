"""Certificates for a lab, made by openssl in its directory: who signs, and what is signed."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from hamgr.lab.spec import LabError

DAYS = 7
CA = "ca"
"""NAME.pem is the certificate of NAME, NAME.key its private key."""
_NEW = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_ca(directory: Path, name: str = CA) -> None:
    """Make a certificate that signs others. Raises LabError."""
    _make(directory, name, ["-addext", "basicConstraints=critical,CA:TRUE"])


def sign(directory: Path, name: str, addresses: Sequence[str] = (), *, by: str = CA) -> None:
    """Make a certificate for a server on these addresses, or for a client. Raises LabError."""
    names = ",".join(f"IP:{address}" for address in addresses)
    _make(directory, name, [
        "-CA", str(directory / f"{by}.pem"), "-CAkey", str(directory / f"{by}.key"),
        "-addext", "basicConstraints=critical,CA:FALSE",
        *(("-addext", f"subjectAltName={names}") if names else ())])


def _make(directory: Path, name: str, options: Sequence[str]) -> None:
    key = directory / f"{name}.key"
    argv = [*_NEW, "-subj", f"/CN={name}", "-days", str(DAYS), "-keyout", str(key),
            "-out", str(directory / f"{name}.pem"), *options]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LabError("openssl missing: apt-get install openssl") from None
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip()}")
    key.chmod(0o600)
