"""Real ZooKeeper servers for tests: on loopback addresses of their own, killed by process id."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

JARS = "/usr/share/java"
JAVA = ["setpriv", "--pdeathsig", "KILL", "java",
        "-Xms32m", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss256k",
        "-XX:MaxMetaspaceSize=64m", "-Dzookeeper.forceSync=no",
        "-Dzookeeper.admin.enableServer=false",
        "-cp", f"{JARS}/zookeeper.jar:{JARS}/slf4j-simple.jar"]
"""A server dies with its test, also when that is cut off in the middle."""
CLIENT_PORT, PEER_PORT, ELECTION_PORT = 2181, 2888, 3888
START_S = 90
"""Three servers need 2.3 s on a quiet machine, and 22 s have been seen on a busy one."""


class Server:
    """One server of an ensemble. It has the usual ports, on an address of its own."""

    def __init__(self, number: int, folder: Path, addresses: list[str], tick_ms: int) -> None:
        self.address = addresses[number]
        self._folder = folder / str(number)
        self._folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._config = self._folder / "zoo.cfg"
        peers = [f"server.{n}={address}:{PEER_PORT}:{ELECTION_PORT}"
                 for n, address in enumerate(addresses, 1)] if len(addresses) > 1 else []
        self._config.write_text("\n".join([
            f"tickTime={tick_ms}", "initLimit=20", "syncLimit=4", f"dataDir={self._folder}",
            f"clientPortAddress={self.address}", f"clientPort={CLIENT_PORT}",
            "4lw.commands.whitelist=*", "preAllocSize=1024", "snapCount=10000", *peers, ""]))
        (self._folder / "myid").write_text(str(number + 1))

    @property
    def host(self) -> str:
        """Where clients connect to."""
        return f"{self.address}:{CLIENT_PORT}"

    def start(self) -> None:
        assert self._process is None
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*JAVA, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self._config)],
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
        with contextlib.suppress(OSError), socket.create_connection(
                (self.address, CLIENT_PORT), timeout=2) as sock:
            sock.sendall(question.encode())
            return b"".join(iter(lambda: sock.recv(4096), b"")).decode()
        return ""

    def wait(self) -> None:
        """Wait until it serves."""
        end = time.monotonic() + START_S
        while not self.mode():
            assert time.monotonic() < end, (self._folder / "log").read_text()[-3000:]
            time.sleep(0.05)


@contextlib.contextmanager
def ensemble(count: int = 1, tick_ms: int = 500) -> Iterator[list[Server]]:
    """Run servers for a while; nothing of them is left afterwards, whatever happens."""
    net = f"127.{random.randrange(1, 255)}.{random.randrange(256)}"
    first = random.randrange(1, 250 - count)
    addresses = [f"{net}.{first + n}" for n in range(count)]
    folder = Path(tempfile.mkdtemp(prefix=f"hamgr-test-zookeeper-{os.getpid()}-"))
    servers = [Server(number, folder, addresses, tick_ms) for number in range(count)]
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
