"""Real ZooKeeper servers for tests: on loopback addresses of their own, killed by process id."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hamgr.lab import secured

JARS = "/usr/share/java"
JAVA = ["setpriv", "--pdeathsig", "KILL", "java",
        "-Xms32m", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss256k",
        "-XX:MaxMetaspaceSize=64m", "-Dzookeeper.forceSync=no",
        "-Dzookeeper.admin.enableServer=false",
        "-cp", ":".join(f"{JARS}/{jar}" for jar in ("zookeeper.jar", "slf4j-simple.jar",
                                                    *secured.JARS))]
"""A server dies with its test, also when that is cut off in the middle."""
CLIENT_PORT, PEER_PORT, ELECTION_PORT = 2181, 2888, 3888
START_S = 90
"""Three servers need 2.3 s on a quiet machine, and 22 s have been seen on a busy one."""


class Server:
    """One server of an ensemble. It has the usual ports, on an address of its own."""

    def __init__(self, number: int, folder: Path, addresses: list[str], tick_ms: int,
                 secure: bool = False, lines: Sequence[str] = (), namespace: str = "") -> None:
        self.address = addresses[number]
        self._inside = ["ip", "netns", "exec", namespace] if namespace else []
        self.secrets = folder if secure else None
        """Where certificates and password are, if it wants any."""
        self._folder = folder / str(number)
        self._folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._config = self._folder / "zoo.cfg"
        peers = [f"server.{n}={address}:{PEER_PORT}:{ELECTION_PORT}"
                 for n, address in enumerate(addresses, 1)] if len(addresses) > 1 else []
        self._config.write_text("\n".join([
            f"tickTime={tick_ms}", "initLimit=20", "syncLimit=4", f"dataDir={self._folder}",
            *self._doors(str(number)), *lines,
            "4lw.commands.whitelist=*", "preAllocSize=1024", "snapCount=10000", *peers, ""]))
        (self._folder / "myid").write_text(str(number + 1))

    def _doors(self, name: str) -> list[str]:
        if self.secrets is None:
            return [f"clientPortAddress={self.address}", f"clientPort={CLIENT_PORT}"]
        return [f"secureClientPortAddress={self.address}", f"secureClientPort={secured.PORT}",
                *secured.lines(self.secrets, name)]

    @property
    def port(self) -> int:
        return CLIENT_PORT if self.secrets is None else secured.PORT

    @property
    def host(self) -> str:
        """Where clients connect to."""
        return f"{self.address}:{self.port}"

    def start(self) -> None:
        assert self._process is None
        options = secured.options(self.secrets) if self.secrets is not None else []
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._inside, *JAVA, *options,
                 "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self._config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill -9, as a power cut would; frozen or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Lose all data, as after a disk was replaced."""
        assert self._process is None
        shutil.rmtree(self._folder / "version-2")

    def mode(self) -> str:
        """Return standalone, leader, follower, or nothing while it does not serve."""
        return next((line.removeprefix("Mode: ") for line in self._ask("srvr").splitlines()
                     if line.startswith("Mode: ")), "")

    def sessions(self) -> list[str]:
        """Return the ids of the sessions that are connected here."""
        return [found for found in re.findall(r"sid=(0x[0-9a-f]+)", self._ask("cons"))
                if found != "0x0"]

    def _ask(self, question: str) -> str:
        """Return the answer to a four-letter word, nothing if there is none."""
        with contextlib.suppress(OSError), self._connection() as sock:
            sock.sendall(question.encode())
            return b"".join(iter(lambda: sock.recv(4096), b"")).decode()
        return ""

    def _connection(self) -> socket.socket | ssl.SSLSocket:
        sock = socket.create_connection((self.address, self.port), timeout=2)
        if self.secrets is None:
            return sock
        return secured.client_context(self.secrets).wrap_socket(sock, server_hostname=self.address)

    def wait(self) -> None:
        """Wait until it serves."""
        end = time.monotonic() + START_S
        while not self.mode():
            assert time.monotonic() < end, (self._folder / "log").read_text()[-3000:]
            time.sleep(0.05)


@contextlib.contextmanager
def ensemble(count: int = 1, tick_ms: int = 500, *, secure: bool = False,
             lines: Sequence[str] = (),
             machines: Sequence[tuple[str, str]] = ()) -> Iterator[list[Server]]:
    """Run servers for a while; nothing of them is left afterwards, whatever happens.

    secure: with TLS and SASL alone. lines: further ones of zoo.cfg. machines: for each server its
    address and its network namespace, where they shall have their own.
    """
    net = f"127.{random.randrange(1, 255)}.{random.randrange(256)}"
    first = random.randrange(1, 250 - count)
    places = machines or [(f"{net}.{first + n}", "") for n in range(count)]
    addresses = [address for address, _ in places]
    folder = Path(tempfile.mkdtemp(prefix=f"hamgr-test-zookeeper-{os.getpid()}-"))
    if secure:
        # What servers on loopback addresses say to each other comes from 127.0.0.1.
        secured.prepare(folder, {str(number): [address, "127.0.0.1"]
                                 for number, address in enumerate(addresses)})
    servers = [Server(number, folder, addresses, tick_ms, secure, lines, namespace)
               for number, (_, namespace) in enumerate(places)]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        yield servers
    finally:
        for server in servers:
            server.kill()
        shutil.rmtree(folder)
