"""Certificates for tests that nobody would make on purpose."""

import subprocess
from pathlib import Path

from hamgr.lab import certificates


def expired(folder: Path, name: str) -> None:
    """Make a certificate that expired yesterday, signed by the folder's own."""
    ca = folder / certificates.CA
    for argv in (
        ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", f"/CN={name}", "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.csr"],
        ["x509", "-req", "-in", f"{folder}/{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key",
         "-days", "-1", "-out", f"{folder}/{name}.pem"],
    ):
        subprocess.run(["openssl", *argv], check=True, capture_output=True)
    (folder / f"{name}.key").chmod(0o600)
