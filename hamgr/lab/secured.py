"""A ZooKeeper that lets nobody in without a certificate, and knows one user: its side of it.

docs/zookeeper.md shows the same lines; a test holds the two together.
"""

import os
import secrets
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from hamgr.lab import certificates

PORT = 2281
USER = "hamgr"
CLIENT = "client"
"""The name of the certificate that all agents of a lab show."""
PASSWORD = "zookeeper.password"
_JAAS = "jaas.conf"
JARS = ("netty-codec.jar", "netty-resolver.jar", "netty-transport-native-unix-common.jar")
"""What TLS needs and the manifest of Debian's zookeeper.jar does not name."""


def prepare(directory: Path, servers: Mapping[str, Sequence[str]]) -> None:
    """Make all certificates and the password: `servers` have these addresses. Raises LabError."""
    certificates.make_ca(directory)
    certificates.sign(directory, CLIENT)
    for name, addresses in servers.items():
        certificates.sign(directory, name, addresses)
        _write(_store(directory, name), (directory / f"{name}.key").read_text()
               + (directory / f"{name}.pem").read_text())
    password = secrets.token_hex(24)
    _write(directory / PASSWORD, password + "\n")
    _write(directory / _JAAS, "Server {\n"
           "    org.apache.zookeeper.server.auth.DigestLoginModule required\n"
           f'    user_{USER}="{password}";\n'
           "};\n")


def lines(directory: Path, name: str) -> list[str]:
    """Return what zoo.cfg needs for it, but the port."""
    store, trust = _store(directory, name), directory / f"{certificates.CA}.pem"
    return [
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        f"ssl.keyStore.location={store}", f"ssl.trustStore.location={trust}", "ssl.clientAuth=need",
        "sslQuorum=true",
        f"ssl.quorum.keyStore.location={store}", f"ssl.quorum.trustStore.location={trust}",
        "authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
    ]


def options(directory: Path) -> list[str]:
    """Return what Java is started with for it."""
    return [f"-Djava.security.auth.login.config={directory / _JAAS}"]


def client_context(directory: Path) -> ssl.SSLContext:
    """Return what a client of these servers makes its connections with."""
    context = ssl.create_default_context(cafile=str(directory / f"{certificates.CA}.pem"))
    context.load_cert_chain(directory / f"{CLIENT}.pem", directory / f"{CLIENT}.key")
    return context


def _store(directory: Path, name: str) -> Path:
    """Return the file with key and certificate in one, as ZooKeeper wants them."""
    return directory / f"{name}.store.pem"


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)
