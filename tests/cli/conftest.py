"""An agent's control socket that gives a canned answer: what a command makes of answers is tested
here; a real agent's answers are tested with a real agent."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hamgr.cli.client import SOCKET


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """Return a function that makes the socket give this to everybody, and names its directory.

    What it was asked is in the file `asked` there.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / SOCKET))
    listener.listen()
    threads: list[threading.Thread] = []

    def serve(answer: bytes) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):  # killed while it was told
                (tmp_path / "asked").write_bytes(connection.recv(65536))
                connection.sendall(answer)

    def answers(answer: bytes) -> Path:
        threads.append(threading.Thread(target=serve, args=(answer,), daemon=True))
        threads[0].start()
        return tmp_path

    yield answers
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in threads:
        thread.join()
