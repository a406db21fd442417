"""Network namespaces: named as ip-netns(8) does, entered with setns(2)."""

import ctypes
import os
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hamgr.lab.spec import LabError

NETNS = Path("/run/netns")
"""Where ip-netns(8) keeps the names."""
_CLONE_NEWNET = 0x40000000
_NEWNSID, _GETNSID = 88, 90
_REQUEST, _ACKNOWLEDGE = 0x1, 0x4
_NUMBER, _DESCRIPTOR = 1, 3
"""NETNSA_NSID and NETNSA_FD, attributes of the two messages."""
_MESSAGE = struct.Struct("=IHHIIB3x")
"""struct nlmsghdr and struct rtgenmsg."""
_ATTRIBUTE = struct.Struct("=HHi")
_UNNUMBERED = -1
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


def number_of(name: str) -> int:
    """Return the number by which the kernel calls a namespace in that of the calling thread.

    It is given one if it has none: only those with a number are heard of from elsewhere.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        there = os.open(NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if (number := _number(sock, there)) == _UNNUMBERED:
                _ask(sock, _NEWNSID, _ACKNOWLEDGE, (_DESCRIPTOR, there), (_NUMBER, _UNNUMBERED))
                number = _number(sock, there)
        finally:
            os.close(there)
    if number == _UNNUMBERED:
        raise OSError(f"the kernel gives namespace {name} no number")
    return number


def _number(sock: socket.socket, descriptor: int) -> int:
    answer = _ask(sock, _GETNSID, 0, (_DESCRIPTOR, descriptor))
    at = _MESSAGE.size
    while at + _ATTRIBUTE.size <= len(answer):
        length, kind, number = _ATTRIBUTE.unpack_from(answer, at)
        if kind == _NUMBER:
            return int(number)
        at += max(4, (length + 3) & ~3)
    return _UNNUMBERED


def _ask(sock: socket.socket, kind: int, flags: int, *attributes: tuple[int, int]) -> bytes:
    body = b"".join(_ATTRIBUTE.pack(_ATTRIBUTE.size, name, value) for name, value in attributes)
    sock.send(_MESSAGE.pack(_MESSAGE.size + len(body), kind, _REQUEST | flags, 1, 0, 0) + body)
    return sock.recv(1 << 12)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
