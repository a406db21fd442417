"""Network namespaces: named as ip-netns(8) does, entered with setns(2)."""

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hamgr.lab.spec import LabError

NETNS = Path("/run/netns")
"""Where ip-netns(8) keeps the names."""
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def run(*argv: str, script: str = "") -> str:
    """Run a tool of the system, feed it a script, return what it prints. Raises LabError."""
    done = subprocess.run(argv, input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}\n{script}")
    return done.stdout


def existing(prefix: str) -> list[str]:
    """Return the namespaces whose name begins so."""
    return sorted(path.name for path in NETNS.glob(f"{prefix}*"))


def delete(names: Sequence[str]) -> None:
    """Remove namespaces; their devices go with them once no process is left inside."""
    if names:
        run("ip", "-batch", "-", script="".join(f"netns del {name}\n" for name in names))


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Have the calling thread, and it alone, in a namespace for a while."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def open_socket(name: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """Return a socket that lives in a namespace, wherever it is used from."""
    with entered(name):
        return socket.socket(family, kind, protocol)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
