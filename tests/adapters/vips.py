"""Drives vip_host.py from a test: commands in, answers and events out."""

import json
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.netns import PATIENCE_S, Segment, eventually

HOST = Path(__file__).with_name("vip_host.py")
V4, V6 = ("10.0.0.100", 24, None), ("2001:db8::100", 64, None)


class VipHost:
    """One machine's addresses, in a process of their own there."""

    def __init__(self, lan: Segment, machine: str, **groups: list[tuple[str, int, str | None]]):
        self.lan, self.machine = lan, machine
        self.process = lan.start(machine, sys.executable, str(HOST), json.dumps(groups),
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        assert self._answers.get(timeout=PATIENCE_S)["answer"] == "ready"

    def tell(self, method: str, *arguments: Any) -> Any:
        """Call a method of Addresses and return its result."""
        self.begin(method, *arguments)
        return self.result()

    def begin(self, method: str, *arguments: Any) -> None:
        """Call a method of Addresses that may take long."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        """Wait for the result of what was begun."""
        return self._answers.get(timeout=PATIENCE_S)["answer"]

    def frozen(self) -> bool:
        """Whether the process is stopped (SIGSTOP)."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def freeze(self) -> None:
        """Stop the process now."""
        self.process.send_signal(signal.SIGSTOP)
        eventually(self.frozen)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def event(self, name: str, **facts: Any) -> dict[str, Any]:
        """Wait for the next event; it must be this one."""
        event = self._events.get(timeout=PATIENCE_S)
        assert event["event"] == name, event
        assert {key: event[key] for key in facts} == facts, event
        return event

    def silent(self, within_s: float) -> bool:
        """Whether nothing happens for so long."""
        try:
            event = self._events.get(timeout=within_s)
        except queue.Empty:
            return True
        raise AssertionError(f"unexpected: {event}")

    def claim(self, group: str = "g", epoch: int = 1, probe: str = "none") -> dict[str, Any]:
        """Claim, and wait until it is done."""
        self.tell("claim", group, epoch, probe)
        return self.event("AddressesClaimed", group=group, epoch=epoch, ok=True)

    def withdraw(self, group: str = "g", epoch: int = 1) -> dict[str, Any]:
        """Withdraw, and wait until it is done."""
        self.tell("withdraw", group, epoch)
        return self.event("AddressesWithdrawn", group=group, epoch=epoch, ok=True)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            (self._events if "event" in message else self._answers).put(message)
