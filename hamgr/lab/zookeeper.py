"""A real ZooKeeper ensemble from Debian's package, small and quick, one server a node."""

import socket
from collections.abc import Sequence
from pathlib import Path

from hamgr.lab import netns, secured
from hamgr.lab.spec import LabError, LabSpec, address, directory, namespace

PORT = 2181
_HERE = "127.0.0.1"
_JARS = ("zookeeper.jar", "slf4j-simple.jar")
"""Without a binding of slf4j ZooKeeper writes no log at all."""
_JAVA = (
    "java", "-Xms32m", "-Xmx96m", "-Xss256k", "-XX:MaxMetaspaceSize=64m", "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1", "-Xshare:auto",
    "-XX:-UsePerfData",  # else a killed JVM leaves /tmp/hsperfdata_root/PID behind
    "-Dzookeeper.admin.enableServer=false", "-Dzookeeper.jmx.log4j.disable=true",
)
_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
_ANSWER_WITHIN_S = 0.5


def port(spec: LabSpec) -> int:
    """Return where servers listen for clients."""
    return secured.PORT if spec.secure else PORT


def make_secrets(spec: LabSpec) -> None:
    """Make what a secure lab needs, in its directory, before anything is configured with it."""
    secured.prepare(directory(spec.name),
                    {node: [address(node, 1), _HERE] for node in spec.servers})


def write_configuration(spec: LabSpec, node: str, folder: Path) -> None:
    """Write a server's configuration and identity into its own folder."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "myid").write_text(str(spec.servers.index(node) + 1))
    lines = [
        "tickTime=500", "initLimit=10", "syncLimit=4", "maxClientCnxns=0", "preAllocSize=1024",
        "forceSync=no", "4lw.commands.whitelist=*", "admin.enableServer=false",
        f"dataDir={data}",
        *([f"secureClientPort={port(spec)}", *secured.lines(directory(spec.name), node)]
          if spec.secure else [f"clientPort={port(spec)}"]),
        *(f"server.{number}={address(server, 1)}:2888:3888"
          for number, server in enumerate(spec.servers, 1)),
    ]
    (folder / "zoo.cfg").write_text("\n".join(lines) + "\n")


def command(spec: LabSpec, folder: Path) -> Sequence[str]:
    """Return the command line of a server. Raises LabError if the packages are missing."""
    jars = [Path("/usr/share/java", jar)
            for jar in (*_JARS, *(secured.JARS if spec.secure else ()))]
    missing = [str(jar) for jar in jars if not jar.exists()]
    if missing:
        raise LabError(f"{', '.join(missing)} missing: "
                       f"apt-get install libzookeeper-java libslf4j-java default-jre-headless")
    return (*_JAVA, f"-XX:ErrorFile={folder}/crash.log", f"-Djava.io.tmpdir={folder}",
            *(secured.options(directory(spec.name)) if spec.secure else ()),
            "-cp", ":".join(map(str, jars)), _MAIN, str(folder / "zoo.cfg"))


def mode(spec: LabSpec, node: str) -> str:
    """Return leader, follower, or an empty string for a server that does not serve."""
    return _told(spec, node).get("Mode", "")


def last_transaction(spec: LabSpec, node: str) -> int:
    """Return the number of the last write that a server knows (zxid). Raises LabError."""
    told = _told(spec, node)
    if "Zxid" not in told:
        raise LabError(f"the ZooKeeper server of {node} does not answer")
    return int(told["Zxid"], 16)


def _told(spec: LabSpec, node: str) -> dict[str, str]:
    """Return the answer to the four-letter word `srvr`, asked over the node's own loopback."""
    with netns.open_socket(namespace(spec.name, node), socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(_ANSWER_WITHIN_S)
        try:
            sock.connect((_HERE, port(spec)))
            answer = _asked(spec, sock)
        except OSError:  # not listening yet, or no more: then it does not serve
            return {}
    pairs = (line.partition(": ") for line in answer.decode().splitlines())
    return {name: value for name, _, value in pairs}


def _asked(spec: LabSpec, sock: socket.socket) -> bytes:
    if not spec.secure:
        return _answer(sock)
    context = secured.client_context(directory(spec.name))
    with context.wrap_socket(sock, server_hostname=_HERE) as encrypted:
        return _answer(encrypted)


def _answer(sock: socket.socket) -> bytes:
    sock.sendall(b"srvr")
    return b"".join(iter(lambda: sock.recv(4096), b""))
