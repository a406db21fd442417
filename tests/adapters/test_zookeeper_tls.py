"""TLS beneath kazoo, with a server of our own: what no real one does at will."""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kazoo.exceptions import ConnectionDropped

from hamgr.adapters.zookeeper.access import Access, HandshakeError, in_words
from hamgr.adapters.zookeeper.tamed import LoopHandler
from hamgr.config.tls import client_context
from hamgr.lab import certificates

pytestmark = pytest.mark.real

HERE = "127.0.0.1"
PATIENCE_S = 5.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    certificates.make_ca(made)
    certificates.make_ca(made, "other")
    certificates.sign(made, "here", [HERE])
    certificates.sign(made, "elsewhere", ["127.0.0.2"])
    return made


@contextmanager
def server(folder: Path, name: str, talk: Callable[[ssl.SSLSocket], None]) -> Iterator[int]:
    """Serve one client with the certificate of a name; return the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")

    def serve() -> None:
        sock, _ = listener.accept()
        try:
            with context.wrap_socket(sock, server_side=True) as encrypted:
                talk(encrypted)
        except OSError:
            sock.close()  # the client did not like us

    with socket.create_server((HERE, 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE_S)


def connected(folder: Path, port: int, ca: str = "ca") -> tuple[LoopHandler, socket.socket]:
    access = Access(tls=lambda: client_context(str(folder / f"{ca}.pem"), None, None))
    handler = LoopHandler(asyncio.new_event_loop(), PATIENCE_S, access)
    return handler, handler.create_connection((HERE, port), hostname=HERE, timeout=PATIENCE_S)


def test_an_answer_that_came_with_another_is_read_at_once(folder: Path) -> None:
    """The kernel has nothing more to tell of it; kazoo would wait for its next ping."""
    read = threading.Event()

    def talk(client: ssl.SSLSocket) -> None:
        client.sendall(b"first" + b"second")  # one record
        read.wait(PATIENCE_S)

    with server(folder, "here", talk) as port:
        handler, sock = connected(folder, port)
        wakeup, waker = socket.socketpair()
        with sock, wakeup, waker:
            assert handler.select([sock, wakeup], [], [], PATIENCE_S)[0] == [sock]
            assert sock.recv(5) == b"first"
            assert handler.select([sock, wakeup], [], [], 0)[0] == [sock]
            waker.send(b"x")
            assert handler.select([sock, wakeup], [], [], 0)[0] == [sock, wakeup]
            assert sock.recv(6) == b"second"
            assert handler.select([sock, wakeup], [], [], 0)[0] == [wakeup]
            read.set()


def test_a_connection_that_is_cut_reads_nothing_in_the_clear(folder: Path) -> None:
    """SSLSocket.shutdown would hand the rest to the reader as it lies in the kernel: encrypted."""
    cut = threading.Event()

    def talk(client: ssl.SSLSocket) -> None:
        client.sendall(b"late")
        cut.wait(PATIENCE_S)

    with server(folder, "here", talk) as port:
        handler, sock = connected(folder, port)
        with sock:
            handler.select([sock], [], [], PATIENCE_S)
            handler.cut()
            assert sock.recv(100) in (b"late", b"")
            cut.set()


def test_a_server_must_be_the_one_that_it_is_called(folder: Path) -> None:
    with (server(folder, "elsewhere", lambda client: None) as port,
          pytest.raises(HandshakeError, match=f"IP address mismatch.*{HERE}")):
        connected(folder, port)


def test_whom_the_operating_system_trusts_is_nobody_here(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SSL_CERT_FILE", str(folder / "ca.pem"))
    everybody = ssl.create_default_context()
    assert [found["subject"] for found in everybody.get_ca_certs()] == [
        ((("commonName", "ca"),),)], "the operating system trusts it"
    with (server(folder, "here", lambda client: None) as port,
          pytest.raises(HandshakeError, match="unable to get local issuer")):
        connected(folder, port, ca="other")


def test_a_server_that_says_nothing_is_given_up_in_time(folder: Path) -> None:
    with socket.create_server((HERE, 0)) as listener:
        access = Access(tls=lambda: client_context(str(folder / "ca.pem"), None, None))
        handler = LoopHandler(asyncio.new_event_loop(), 0.3, access)
        with pytest.raises(HandshakeError, match="timed out"):
            handler.create_connection(listener.getsockname(), hostname=HERE, timeout=60)


@pytest.mark.parametrize("cause", [ConnectionResetError, BrokenPipeError, ssl.SSLEOFError])
def test_a_connection_that_was_closed_after_the_handshake_did_speak_tls(
        cause: type[OSError]) -> None:
    """With TLS 1.3 that is how a server refuses a certificate, if its word for it is lost."""
    dropped = ConnectionDropped("socket connection error")
    dropped.__cause__ = cause()
    said = in_words(dropped, Access(tls=ssl.create_default_context))
    assert said.endswith("it has no quorum, or does not accept cert_file")
