"""What the tests of the dead-man's switch need: a machine that is watched, and a stand-in agent."""

import contextlib
import ctypes
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from hamgr import deadman
from tests.netns import PATIENCE_S, Segment

ROOT = Path(__file__).resolve().parents[2]
FEEDER = Path(__file__).with_name("feeder.py")


class Node(Segment):
    """One machine, and an eye on its addresses."""

    def __init__(self) -> None:
        super().__init__("node")

    def __enter__(self) -> "Node":
        super().__enter__()
        self.monitor = self._monitor()
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "monitor"):
            self.monitor.close()
        super().__exit__()

    def add(self, cidr: str, interface: str = "eth0") -> None:
        self.ip("node", f"address add {cidr} dev {interface} {'nodad' * (':' in cidr)}")

    def holds(self, cidr: str) -> bool:
        return self.has("node", cidr.split("/")[0])

    def removed_at(self, cidr: str, within: float = PATIENCE_S) -> int:
        """Wait for the kernel's word that the address is gone; return CLOCK_MONOTONIC of it."""
        wanted = socket.inet_pton(socket.AF_INET6 if ":" in cidr else socket.AF_INET,
                                  cidr.split("/")[0])
        until = time.monotonic() + within
        while select.select([self.monitor], [], [], max(0, until - time.monotonic()))[0]:
            data = self.monitor.recv(65536)
            now = time.monotonic_ns()
            for kind, _, _, message in deadman.each_message(data):
                if kind == deadman.RTM_DELADDR and deadman.address_of(message) == wanted:
                    return now
        raise AssertionError(f"{cidr} was not removed within {within} s")

    def _monitor(self) -> socket.socket:
        """Open a netlink socket on the machine: a thread that goes there, and ends."""
        made: queue.Queue[socket.socket] = queue.Queue()

        def there() -> None:
            with open(f"/run/netns/{self.namespace('node')}") as namespace:
                assert ctypes.CDLL(None).setns(namespace.fileno(), 0x40000000) == 0
            monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            monitor.bind((0, 0x10 | 0x100))  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
            made.put(monitor)

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        return made.get_nowait()


class Agent:
    """The stand-in, and what it said."""

    def __init__(self, node: Node, run_dir: Path, *groups: str) -> None:
        self.process = node.start(
            "node", sys.executable, str(FEEDER), str(run_dir), *groups, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, "PYTHONPATH": str(ROOT)})
        self.heard: list[dict[str, Any]] = []
        self.switch = 0
        self._switches: list[int] = []

    def begin(self) -> "Agent":
        self.adopt(self.wait("ready")["switch"])
        return self

    def wait(self, key: str, of: str = "") -> dict[str, Any]:
        for index, said in enumerate(self.heard):
            if key in said and of in str(said[key]):
                return self.heard.pop(index)
        assert self.process.stdout and self.process.stderr
        while text := self.process.stdout.readline():
            line: dict[str, Any] = json.loads(text)
            if key in line and of in str(line[key]):
                return line
            self.heard.append(line)
        raise AssertionError(f"the agent ended without {key}: {self.process.stderr.read()}")

    def ask(self, *command: object) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(command) + "\n")
        return self.wait("answer")["answer"]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def adopt(self, switch: int) -> None:
        """Take this for the agent's switch; it is killed at the end even if the agent is gone."""
        self.switch = switch
        self._switches.append(os.pidfd_open(switch))

    def close(self) -> None:
        """Kill it with every switch that it has: one that is left would hold its pipes open."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError):
            self._switches += [os.pidfd_open(int(child)) for child in children.read_text().split()]
        self.process.kill()
        for switch in self._switches:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(switch, signal.SIGKILL)
            os.close(switch)
        self.process.communicate()
