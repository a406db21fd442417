"""A real agent on a machine of its own (a network namespace), with a real ZooKeeper beside it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hamgr.cli import client
from tests.netns import PATIENCE_S, Segment, eventually
from tests.zookeeper import JAVA

VIP = "10.0.0.100"
CONFIG = """\
[cluster]
name = "solo"
zookeeper = ["127.0.0.1:2181"]
key_file = "{folder}/key"

[node.n1]
addresses = ["10.0.0.1"]

[group.crm]
nodes = ["n1"]
vips = ["10.0.0.100/24"]

[[group.crm.service]]
name = "app"
promote = ["/bin/sh", "-c", "echo promote $HAMGR_EPOCH >> {folder}/hooks"]
demote = ["{folder}/demote"]
"""

SERVER = f"""
import socket
listener = socket.create_server(("0.0.0.0", 5000))
client = socket.create_connection(("{VIP}", 5000), source_address=("10.0.0.1", 0))
served = listener.accept()[0]
print("connected")
try:
    served.recv(1)
except OSError as error:
    print(error)
"""


class Machine:
    """One node, the only one of its cluster: what it holds, it holds by its own vote."""

    def __init__(self, lan: Segment, folder: Path) -> None:
        self.lan, self.folder = lan, folder
        self.run_dir, self.state_dir = folder / "run", folder / "state"
        self.config = folder / "hamgr.toml"
        self.config.write_text(CONFIG.format(folder=folder))
        key = folder / "key"
        key.write_text("00" * 32 + "\n")
        key.chmod(0o600)
        self.demote_does("exit 0")
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.told.settimeout(PATIENCE_S)
        self.told.bind(str(folder / "notify"))
        self.heard: list[str] = []
        self.inside: tuple[str, ...] = ()
        """What comes before the agent's command line: it enters a namespace, for instance."""
        self.agent: subprocess.Popen[Any] | None = None
        self._server: subprocess.Popen[Any] | None = None

    @property
    def cluster(self) -> str:
        """The name of its cluster."""
        return self.config.read_text().split('"')[1]

    def demote_does(self, what: str) -> None:
        script = self.folder / "demote"
        script.write_text(f"#!/bin/sh\necho demote >> {self.folder}/hooks\n{what}\n")
        script.chmod(0o755)

    def hooks(self) -> list[str]:
        """What the hooks did, in their order."""
        log = self.folder / "hooks"
        return log.read_text().splitlines() if log.exists() else []

    def start(self, patch: str = "", **environment: str) -> subprocess.Popen[Any]:
        """Start the agent; patch is Python that runs in it first, to plant a bug."""
        code = f"{patch}\nfrom hamgr.cli.main import main\nmain()"
        self.agent = self.lan.start(
            "n1", *self.inside, sys.executable, "-c", code, "agent", *self.arguments(),
            env={**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify"), **environment},
            stderr=(self.folder / "log").open("ab"))
        return self.agent

    def arguments(self) -> list[str]:
        return ["--config", str(self.config), "--node", "n1", "--run-dir", str(self.run_dir),
                "--state-dir", str(self.state_dir)]

    def hamgr(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.lan.namespace("n1"), sys.executable, "-m", "hamgr", *argv],
            capture_output=True, text=True, check=False, env={**os.environ, **environment})

    def apply(self) -> subprocess.CompletedProcess[str]:
        """Apply the file as it is now."""
        return self.hamgr("config", "apply", str(self.config), "--yes",
                          "--run-dir", str(self.run_dir))

    def until_applied(self, revision: int) -> None:
        """Wait until the agent goes by this revision, and has forgotten the one before."""
        eventually(lambda: self.status()["process"]["config_revision"] == revision)

    def forget_what_is_applied(self) -> None:
        """As on a new disk: the file counts again at the next start."""
        (self.state_dir / "configuration.json").unlink(missing_ok=True)

    def enter_maintenance(self) -> None:
        """Have everything in maintenance, and wait until its addresses have no end."""
        done = self.hamgr("maintenance", "on", "--yes", "--run-dir", str(self.run_dir))
        assert done.returncode == 0, done.stdout + done.stderr
        eventually(lambda: self.status()["addresses"][0]["lifetime_s"] is None)

    def until_told(self, wanted: str) -> None:
        """Wait until the service manager is told something that begins so."""
        while not any(line.startswith(wanted) for line in self.heard):
            try:
                self.heard += self.told.recv(4096).decode().splitlines()
            except TimeoutError:
                raise AssertionError(f"{wanted} was not told; {self.log()}") from None

    def forget_what_was_told(self) -> None:
        """Begin to listen now: what the service manager was told before does not count."""
        self.heard.clear()
        self.told.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.told.recv(4096)
        self.told.settimeout(PATIENCE_S)

    def until_active(self) -> None:
        eventually(lambda: self.has_vip() and self.phase() == "active")

    def has_vip(self) -> bool:
        return self.lan.has("n1", VIP)

    def serve_a_client(self) -> Callable[[], str]:
        """Have a connection to the VIP, both ends here; return what waits for the server's word."""
        self._server = self.lan.start("n1", sys.executable, "-uc", SERVER,
                                      stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "connected\n"
        return self._server.stdout.readline

    def connections(self) -> int:
        """How many TCP connections the kernel has whose own end is the VIP."""
        return len(self.lan.run("n1", "ss", "-Htn", "state", "established", "src",
                                VIP).splitlines())

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = client.first(self.run_dir, {"do": "status"})["status"]
        return answer

    def phase(self) -> str:
        with contextlib.suppress(client.AgentDown):
            snapshot = self.status()["snapshot"]
            return str(snapshot["groups"][0]["phase"]) if snapshot else ""
        return ""

    def ends(self) -> int:
        """Wait for the agent's end and return its exit status."""
        assert self.agent is not None
        return int(self.agent.wait(PATIENCE_S))

    def stop(self) -> int:
        assert self.agent is not None
        self.agent.terminate()
        return self.ends()

    def kill_all(self) -> None:
        """Kill the agent and its switch at one blow, so that the address is left behind."""
        assert self.agent is not None
        children = Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text()
        for pid in (*map(int, children.split()), self.agent.pid):
            os.kill(pid, signal.SIGKILL)
        self.agent.wait()

    def sockets(self) -> int:
        """How many sockets the agent has open."""
        assert self.agent is not None
        found = 0
        for descriptor in Path(f"/proc/{self.agent.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a file that it has closed by now
                found += os.readlink(descriptor).startswith("socket:")
        return found

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text()[-4000:] if path.exists() else ""

    def close(self) -> None:
        if self.agent is not None and self.agent.poll() is None:
            self.kill_all()
        if self._server is not None:
            self._server.kill()
            self._server.wait()
        self.told.close()


@contextlib.contextmanager
def zookeeper(lan: Segment, machine: str, folder: Path) -> Iterator[None]:
    """Run one ZooKeeper server on a machine's loopback."""
    folder.mkdir()
    config = folder / "zoo.cfg"
    config.write_text(f"tickTime=500\ndataDir={folder}\nclientPort=2181\n"
                      "clientPortAddress=127.0.0.1\n4lw.commands.whitelist=*\n")
    with (folder / "log").open("wb") as log:
        server = lan.start(machine, *JAVA, "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                           str(config), stdout=log, stderr=log)
    try:
        eventually(lambda: lan.call(machine, _serves), within_s=90)
        yield
    finally:
        server.kill()
        server.wait()


def _serves() -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 2181), 1) as asked:
        asked.sendall(b"ruok")
        return asked.recv(4) == b"imok"
    return False
