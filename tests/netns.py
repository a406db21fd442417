"""Machines for tests: network namespaces on one Ethernet segment, and processes inside them.

    with Segment("a", "b", "client") as lan:
        lan.ip("a", "address add 10.0.0.100/24 dev eth0")
        lan.run("client", "ping", "-c1", "10.0.0.100")
        lan.call("b", socket.gethostname)

Each machine has eth0 with 10.0.0.N/24 and 2001:db8::N/64, N counted from 1, on a bridge that is in
a namespace of its own, "switch". Names are unique, so tests run side by side; everything is gone
afterwards, or, if the test run was killed, when the next one makes its first segment: a name says
whose it is.
"""

import contextlib
import ctypes
import functools
import multiprocessing
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from hamgr.lab.netns import NETNS
from hamgr.lab.spec import Owner

PATIENCE_S = 60.0
"""How long a test waits for what must come, on a machine as busy as it likes."""
_CLONE_NEWNET = 0x40000000
_OWNED = re.compile("hgt([0-9a-f]+)-([0-9a-f]+)-[0-9a-f]{4}-")
"""The owner's pid and start time: pids are used again."""


class Segment:
    """A few machines on one Ethernet segment. A context manager."""

    def __init__(self, *machines: str) -> None:
        owner = Owner.current()
        self._prefix = f"hgt{owner.pid:x}-{owner.started:x}-{secrets.token_hex(2)}"
        self.machines = machines
        self._processes: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Self:
        sweep()
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        for machine in (*self.machines, "switch"):
            subprocess.run(["ip", "netns", "del", self.namespace(machine)], check=False,
                           stderr=subprocess.DEVNULL)

    def namespace(self, machine: str) -> str:
        """The name of the machine's namespace, as `ip netns` knows it."""
        return f"{self._prefix}-{machine}"

    def address(self, machine: str, version: int = 4) -> str:
        """The machine's own address."""
        number = self.machines.index(machine) + 1
        return f"10.0.0.{number}" if version == 4 else f"2001:db8::{number}"

    def ip(self, machine: str, command: str) -> str:
        """Run an ip(8) command, written as one string, on the machine; "switch" is one too."""
        return _tool("ip", "-n", self.namespace(machine), *command.split())

    def run(self, machine: str, *argv: str) -> str:
        """Run a program on the machine and return what it prints."""
        return _tool("ip", "netns", "exec", self.namespace(machine), *argv)

    def start(self, machine: str, *argv: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a program on the machine. The process id is its own; it is killed at the end."""
        process = subprocess.Popen(["ip", "netns", "exec", self.namespace(machine), *argv],
                                   **options)
        self._processes.append(process)
        return process

    def call(self, machine: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a process on the machine; return its result, or raise what it did."""
        here, there = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(
            target=_enter_and_call, args=(there, self.namespace(machine), function, arguments))
        child.start()
        there.close()
        try:
            result, error = here.recv()
        finally:
            child.kill()
            child.join()
            here.close()
        if error is not None:
            raise AssertionError(f"on {machine}:\n{error}")
        return result

    def mac(self, machine: str, interface: str = "eth0") -> str:
        """The MAC of an interface of the machine."""
        return self.ip(machine, f"-brief link show dev {interface}").split()[2]

    def unplug(self, machine: str) -> None:
        """Take the carrier from the machine's eth0."""
        self.ip("switch", f"link set port-{machine} down")

    def plug(self, machine: str) -> None:
        """Give it back."""
        self.ip("switch", f"link set port-{machine} up")

    def neighbour(self, machine: str, address: str) -> str:
        """The MAC that the machine has in its cache for an address, or ""."""
        words = self.ip(machine, f"neigh show {address} dev eth0").split()
        return words[words.index("lladdr") + 1] if "lladdr" in words else ""

    def has(self, machine: str, address: str) -> bool:
        """Whether the machine's kernel has an address."""
        return f" {address}/" in self.ip(machine, "-oneline address show")

    def _make(self) -> None:
        for machine in (*self.machines, "switch"):
            _tool("ip", "netns", "add", self.namespace(machine))
            self.call(machine, _quiet)
            self.ip(machine, "link set lo up")
        self.ip("switch", "link add br0 type bridge mcast_snooping 0")
        self.ip("switch", "link set br0 up")
        for machine in self.machines:
            self.ip("switch", f"link add port-{machine} type veth peer name eth0 netns "
                    + self.namespace(machine))
            self.ip("switch", f"link set port-{machine} master br0 up")
            self.ip(machine, "link set eth0 up")
            self.ip(machine, f"address add {self.address(machine)}/24 dev eth0")
            self.ip(machine, f"address add {self.address(machine, 6)}/64 dev eth0 nodad")


@functools.cache
def sweep() -> None:
    """Remove, once in a test run, what earlier ones left that were killed: processes too."""
    for path in NETNS.glob("hgt*"):
        owner = _OWNED.match(path.name)
        if owner is None or Owner(int(owner[1], 16), int(owner[2], 16)).alive:
            continue
        inside = subprocess.run(["ip", "netns", "pids", path.name], check=False,
                                capture_output=True, text=True).stdout.split()
        for process in inside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", path.name], check=False, stderr=subprocess.DEVNULL)


def eventually(what: Callable[[], object], *, within_s: float = PATIENCE_S) -> None:
    """Wait until something holds that no event tells of (the kernel's tables, a peer's cache)."""
    until = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until, f"not within {within_s} s"
        time.sleep(0.005)


@contextlib.contextmanager
def interrupts(disposition: Any = signal.default_int_handler) -> Iterator[None]:
    """Have what is started meanwhile end by SIGINT, or (SIG_IGN) ignore it.

    A script has all that it starts with `&` ignore it. What people start so is not to be ended by a
    Ctrl-C for what is in front, and hamgr leaves it so: a test that interrupts a command says first
    that it is in front.
    """
    before = signal.signal(signal.SIGINT, disposition)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _tool(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


def _quiet() -> None:
    # Addresses are usable at once, and the kernel's own neighbour discovery stays out of the way.
    for name in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad").write_text("0")


def _enter_and_call(pipe: Any, namespace: str, function: Callable[..., Any],
                    arguments: tuple[Any, ...]) -> None:
    try:
        with open(f"/run/netns/{namespace}") as file:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        pipe.send((function(*arguments), None))
    except BaseException:
        pipe.send((None, traceback.format_exc()))
    finally:
        sys.stdout.flush()
        os._exit(0)
