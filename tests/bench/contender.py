"""A system under test: what the benchmark asks of it, and hamgr's way to do that."""

import time
from typing import Any, Protocol

from hamgr.config.key import read_keys
from hamgr.core.types import Instant
from hamgr.lab import document
from hamgr.lab.lab import Lab
from hamgr.lab.node import AGENT
from hamgr.lab.spec import GROUP, LabError, address
from hamgr.wire import Drop, Wire
from tests.bench.settings import Setting

_UDP_HEADER, _PROTOCOL_AT, _UDP = 8, 9, 17


class Contender(Protocol):
    """One system in its lab."""

    setting: Setting
    lab: Lab
    part: str
    """The control group of its processes on each node."""

    def wait_ready(self) -> None:
        """Return once it is fit for the next fault. Raises LabError if that takes too long."""

    def restore(self) -> None:
        """Mend whatever is broken, and wait until it is ready."""

    def recorders(self) -> dict[str, list[dict[str, Any]]]:
        """Return what its nodes have recorded lately; nothing where they record nothing."""

    def heartbeat(self, packet: bytes) -> bool:
        """Tell whether an IPv4 packet is one that it sends once an interval."""

    def switch_over(self, owner: str) -> Instant:
        """Move the address away, as planned work does; return when that was asked for."""

    def stop(self, owner: str) -> Instant:
        """Stop the system on a node in order."""

    def kill(self, owner: str) -> Instant:
        """SIGKILL the process that decides, and leave those beside it alone."""

    def freeze(self, owner: str) -> Instant:
        """SIGSTOP the process that decides, and leave those beside it alone."""

    def freeze_all(self, owner: str) -> Instant:
        """Stop all its processes on a node at once."""


class Hamgr:
    """hamgr, as the lab runs it."""

    part = AGENT

    def __init__(self, setting: Setting, lab: Lab) -> None:
        self.setting = setting
        self.lab = lab
        self._wire = Wire(lab.spec.name, read_keys(lab.directory / document.KEY))
        self._nodes = {address(node, ring): node for node in lab.spec.node_names
                       for ring in lab.spec.rings_of(node)}

    def wait_ready(self) -> None:
        """Return once the cluster is settled."""
        self.lab.wait_settled()

    def restore(self) -> None:
        """Heal the lab."""
        self.lab.heal()

    def recorders(self) -> dict[str, list[dict[str, Any]]]:
        """Return the newest entries of the flight recorders."""
        return self.lab.recorders()

    def heartbeat(self, packet: bytes) -> bool:
        """Tell whether it is a heartbeat, and no answer to one: those come at any time."""
        target = self._nodes.get(".".join(map(str, packet[16:20])))
        if packet[_PROTOCOL_AT] != _UDP or target is None:
            return False
        found = self._wire.decode(packet[(packet[0] & 15) * 4 + _UDP_HEADER:], target)
        return not isinstance(found, Drop) and not found.answer

    def switch_over(self, owner: str) -> Instant:
        """Ask for a switchover on the owner, as an operator does."""
        return self.move(owner)

    def move(self, owner: str, *where: str) -> Instant:
        """Ask for a switchover, to a node if words for that are given."""
        at = time.monotonic_ns()
        done = self.lab.hamgr(owner, "switchover", GROUP, *where, "--yes")
        if done.returncode:
            raise LabError(f"the switchover failed: {done.stdout}{done.stderr}")
        return at

    def stop(self, owner: str) -> Instant:
        """SIGTERM the agent."""
        return self.lab.stop_agent(owner)

    def kill(self, owner: str) -> Instant:
        """Kill the agent; its switch lives."""
        return self.lab.kill_agent(owner)

    def freeze(self, owner: str) -> Instant:
        """Stop the agent; its switch goes on."""
        return self.lab.freeze(owner)

    def freeze_all(self, owner: str) -> Instant:
        """Stop agent and switch."""
        return self.lab.freeze_all(owner)
