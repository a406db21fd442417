"""What the doctor says of ZooKeeper servers that it asks by TLS, and that do not get on with it."""

import socket
import ssl
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from msgspec.structs import replace

from hamgr.config.values import Server as Address
from hamgr.doctor import zookeeper as checks
from hamgr.doctor.facts import Ensemble, Server
from hamgr.doctor.finding import Severity
from hamgr.doctor.look import zookeeper
from hamgr.lab import certificates
from tests.doctor.healthy import here
from tests.doctor.listening import HOST, listening


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    for name in ("ca", "other"):
        certificates.make_ca(made, name)
    certificates.sign(made, "server", [HOST])
    certificates.sign(made, "elsewhere", ["10.9.9.9"])
    certificates.sign(made, "client")
    certificates.sign(made, "stranger", by="other")
    return made


def serving(context: ssl.SSLContext | None) -> AbstractContextManager[int]:
    """A server that answers each word the same; without a context it speaks no TLS."""
    def talk(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) if context else plain as sock:
            if sock.recv(4096):
                sock.sendall(b"Mode: follower\n")

    return listening(talk)


def told_by(folder: Path, certificate: str = "server", client: str = "client",
            plain: bool = False) -> Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    document = here().document
    with serving(None if plain else context) as port:
        access = replace(document.zookeeper, ca_file=str(folder / "ca.pem"),
                         cert_file=str(folder / f"{client}.pem"),
                         key_file=str(folder / f"{client}.key"))
        cluster = replace(document.cluster, zookeeper=(Address(HOST, port),))
        (server,) = zookeeper.ensemble(
            replace(document, cluster=cluster, zookeeper=access)).servers
    return server


def test_who_gets_on_is_heard(folder: Path) -> None:
    server = told_by(folder)
    assert (server.fault, server.refusal, server.tells("srvr", "Mode")) == ("", "", "follower")


@pytest.mark.parametrize(("how", "words"), [
    ({"certificate": "elsewhere"}, "shows a certificate that does not hold (IP address mismatch"),
    ({"client": "stranger"}, "does not accept this node's certificate"),
    ({"plain": True}, "does not speak TLS"),
], ids=["its name", "ours", "none"])
def test_who_does_not_is_told_with_what_to_mend(
        folder: Path, how: dict[str, str], words: str) -> None:
    """That is no matter of firewalls."""
    server = told_by(folder, **how)  # type: ignore[arg-type]
    assert words in server.refusal
    (found,) = checks.servers(Ensemble(servers=(server,)))
    assert found.severity is Severity.FAULT and found.what == server.refusal
    assert "docs/zookeeper.md" in found.remedy and "firewall" not in found.remedy


@pytest.mark.parametrize("ended", [ConnectionResetError, BrokenPipeError, ssl.SSLEOFError])
def test_a_refusal_that_is_lost_on_the_way_is_not_taken_for_another(
        folder: Path, monkeypatch: pytest.MonkeyPatch, ended: type[OSError]) -> None:
    """A server that closes at once after it has said so may overtake its words."""
    def recv(sock: ssl.SSLSocket, size: int) -> bytes:
        raise ended

    monkeypatch.setattr(ssl.SSLSocket, "recv", recv)
    assert "closes the connection before it answers: it does not accept this node's " in (
        told_by(folder).refusal)
