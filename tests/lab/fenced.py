"""A lab whose nodes have fence devices: a board each (fence_ipmilan), and a power strip for all.

Three nodes; n4 has the devices, and n5 to n7 ZooKeeper, which outlives them. Groups app and db
require fencing, begin on n1, and have different heirs; web lives on leases alone, and its one
service asks for a fence when it fails.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from hamgr.core.reasons import Reason
from hamgr.core.types import Duration, Instant
from hamgr.lab import watch
from hamgr.lab.lab import Lab
from hamgr.lab.lines import Lines
from hamgr.lab.node import AGENT
from hamgr.lab.timeline import Told, reports
from tests.lab import outlet, power
from tests.lab.five import LIMITS, group, hook, wait
from tests.lab.power import PASSWORD, PASSWORD_FILE, RECORD, STRIP_PORT, USER, WELL, Did
from tests.lab.scene import Scene, raised, settled

NODES = ("n1", "n2", "n3")
ROOM = "n4"
"""The bystander whose machine the devices are."""
STRIP = "strip"
BOARDS = {f"ipmi-{node}": node for node in NODES}
DEVICES = (*BOARDS, STRIP)
GROUPS = ("app", "db", "web")
REQUIRED = ("app", "db")
TIMEOUT = "4s"
_READY_S = 60.0
_READ_EACH_S = 1.5
_OTHER = "prefer = { n1 = 20, n3 = 10 }\n"
"""Another heir than that of app."""
_NOW = 'stop_within = "0s"\n'


def address(device: str) -> str:
    """Return the address of a device, on ring 1."""
    return f"10.77.1.{201 + DEVICES.index(device)}"


def text(folder: Path) -> str:
    """Return the file of groups and devices."""
    ask = f"{sys.executable} -I -S {outlet.__file__} {address(STRIP)} {STRIP_PORT}"
    boards = "".join(
        f'[fence.{name}]\nagent = "fence_ipmilan"\nnodes = ["{node}"]\n'
        f'options = {{ ip = "{address(name)}", username = "{USER}", lanplus = "1", '
        f'cipher = "3", power_wait = "0", power_timeout = "1" }}\n'
        f'secrets = {{ password = "{folder / PASSWORD_FILE}" }}\n'
        f'timeout = "{TIMEOUT}"\nretries = 0\n' for name, node in BOARDS.items())
    required = f'fencing = "required"\n{_NOW}'
    web = hook("web", "webs", 'on_failure = "fence"\n')
    return "".join((
        "[fencing]\nmax_per_hour = 1000\n", boards,
        f'[fence.{STRIP}]\ncommand = "{ask}"\nnodes = {{ n1 = "1", n2 = "2", n3 = "3" }}\n'
        f'level = 2\ntimeout = "{TIMEOUT}"\nretries = 0\n',
        group("app", "n1 n2 n3", f'vips = ["10.77.1.100/24"]\n{required}'), hook("app", "apps"),
        group("db", "n1 n3 n2", f'vips = ["10.77.1.101/24"]\n{_OTHER}{required}'),
        hook("db", "dbs"),
        group("web", "n2 n1 n3", f'vips = ["10.77.1.102/24"]\n{_NOW}'),
        web.replace(LIMITS, LIMITS.replace("restarts = 1", "restarts = 0"))))


class Power:
    """The devices, from outside."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab, self._folder = lab, folder

    def conduct(self, how: str, *devices: str) -> None:
        """Have devices conduct themselves in some way; all if none is named."""
        for device in devices or DEVICES:
            fresh = self._folder / f"{device}.new"
            fresh.write_text(how)
            fresh.replace(self._folder / device)

    def network(self, up: bool) -> None:
        """Take the devices off the network, or put them back."""
        self._lab.output(ROOM, ["ip", "link", "set", "ring1", "up" if up else "down"])

    def did(self, since: Instant) -> list[Did]:
        """Return what devices have done to the power of nodes."""
        record = self._folder / RECORD
        lines = record.read_text().splitlines() if record.exists() else []
        return [did for did in (Did(*json.loads(line)) for line in lines) if did.at > since]

    def cuts(self, since: Instant) -> list[Did]:
        """Return which nodes were cut off, and by what."""
        return [did for did in self.did(since) if did.what == "off"]

    def at_work(self) -> list[str]:
        """Return what agents are asking devices just now."""
        found = []
        for node in NODES:
            for pid in self._lab.nodes[node].cgroup.below(AGENT).pids():
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if any(name in words for name in ("fence_ipmilan", "ipmitool", outlet.__file__)):
                    found.append(f"{node}: {words}")
        return found

    def mend(self) -> None:
        """Have all devices do well, and be reached."""
        self.conduct(WELL)
        self.network(up=True)


@contextmanager
def powered(purpose: str, folder: Path) -> Iterator[tuple[Lab, Power]]:
    """Raise such a lab, with its devices."""
    secret = folder / PASSWORD_FILE
    secret.touch(mode=0o600)
    secret.write_text(f"{PASSWORD}\n")
    with raised(purpose, own=text(folder), nodes=7, bystanders=4) as lab:
        hands = Power(lab, folder)
        hands.conduct(WELL)
        for device in DEVICES:
            lab.output(ROOM, ["ip", "addr", "add", f"{address(device)}/24", "dev", "ring1"])
        running = [Lines(lab.nodes[ROOM].joined(_command(lab, folder, device)))
                   for device in DEVICES]
        try:
            for lines in running:
                lines.wait(bool, _READY_S, "a device listens")
            yield lab, hands
        finally:
            for lines in running:
                lines.close()


def _command(lab: Lab, folder: Path, device: str) -> list[str]:
    node = [BOARDS[device]] if device in BOARDS else []
    return [sys.executable, "-m", power.__name__, lab.spec.name, str(folder), device,
            address(device), *node]


class Chronicle:
    """What agents have reported since its making: they remember some seconds only."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._told: dict[str, Told] = {}
        self._end, self._reading = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def told(self, since: Instant, *reasons: Reason) -> list[Told]:
        """Return what was reported for these reasons, in order."""
        self._read()
        with self._reading:
            found = list(self._told.values())
        return sorted((one for one in found if one.at > since and one.reason in reasons),
                      key=lambda one: one.at)

    def close(self) -> None:
        """Read no more."""
        self._end.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._end.wait(_READ_EACH_S):
            self._read()

    def _read(self) -> None:
        with self._reading:
            self._told |= {f"{one}": one for one in reports(self._lab.recorders())}


class Room(NamedTuple):
    """A settled cluster, and what can cut its nodes off."""

    scene: Scene
    power: Power
    chronicle: Chronicle

    @property
    def lab(self) -> Lab:
        return self.scene.lab

    def holder(self, name: str) -> str:
        """Return on which node a group is by the newest plan."""
        found = self.scene._replace(group=name).plan["holder"]
        return str(found["node"]) if found else ""

    def told(self, since: Instant, *reasons: Reason) -> list[Told]:
        """Return what agents that answer have reported."""
        return self.chronicle.told(since, *reasons)

    def active(self, name: str) -> list[str]:
        """Return the nodes whose agents answer, and say that the group is active there."""
        found = []
        for node in NODES:
            status = self.lab.nodes[node].status()
            groups = status["snapshot"]["groups"] if status and status["snapshot"] else ()
            found += [node for one in groups
                      if one["name"] == name and one["phase"] == "active"]
        return found

    def wait_elsewhere(self, name: str, than: str, within_s: float = 30.0) -> str:
        """Wait until a group is active on another node, and return that."""
        def elsewhere() -> list[str]:
            return [node for node in self.active(name) if node != than]

        wait(elsewhere, lambda: f"{name} is active on {self.active(name)}", within_s)
        return elsewhere()[0]

    def wait_told(self, since: Instant, reason: Reason, within_s: float = 30.0) -> Told:
        """Wait until an agent has reported this, and return the first report."""
        wait(lambda: self.told(since, reason), lambda: f"nobody said {reason.name}", within_s)
        return self.told(since, reason)[0]


@contextmanager
def room(lab: Lab, hands: Power) -> Iterator[Room]:
    """Have the cluster settled; whatever was done to it, it is healed afterwards."""
    try:
        with settled(lab) as scene:
            chronicle = Chronicle(lab)
            try:
                yield Room(scene, hands, chronicle)
            finally:
                chronicle.close()
    finally:
        heal(lab, hands)


def heal(lab: Lab, hands: Power) -> None:
    """Bring everything back, once no device can cut anybody off any more."""
    hands.mend()
    lab.mend_hooks()
    wait(lambda: not hands.at_work(), hands.at_work)
    lab.heal()


def confirmed_first(room: Room, owner: str, since: Instant, *groups: str) -> None:
    """Assert that one node had one fence of the owner confirmed, and groups started only then."""
    [fenced] = room.told(since, Reason.FENCED)
    assert fenced.facts["peer"] == owner
    assert all(did.at < fenced.at for did in room.power.cuts(since))
    for name in groups:
        began = [run for run in room.lab.hook_runs()
                 if run.begin > since and (run.group, run.action) == (name, "start")]
        started = [one for one in room.told(since, Reason.STARTING) if one.group == name]
        assert began and began[0].begin > fenced.at and began[0].node != owner
        assert started and all(one.at > fenced.at for one in started)


def one_owner(room: Room, since: Instant, *crashed: str) -> None:
    """Assert that no address, and no service, was on two nodes at any time."""
    assert shared(room) == 0
    assert beside(room, since, *crashed) == []


def shared(room: Room) -> Duration:
    """Return for how long an address of a group that requires fencing was on two nodes.

    One that lives on leases alone stays for two seconds on a node that is frozen as a whole.
    """
    now, vips = time.monotonic_ns(), room.lab.spec.vips_of
    return max(watch.shared(room.scene.eyes.tenures(vip), now)
               for name in REQUIRED for vip in vips(name))


def beside(room: Room, since: Instant, *crashed: str) -> list[str]:
    """Return which services began on a node before they had been stopped on the one before it, or
    that had been cut off; those of nodes that have `crashed` were gone by themselves."""
    found = []
    ends = [(did.node, did.at) for did in room.power.cuts(since)]
    runs = [run for run in room.lab.hook_runs() if run.begin > since]
    ends += [(run.node, run.end) for run in runs if run.action == "stop" and run.ok]
    for name in REQUIRED:
        begun = [run for run in runs if (run.group, run.action) == (name, "start")]
        found += [f"{name} on {two.node} beside {one.node}"
                  for one, two in pairwise(begun)
                  if one.node not in (two.node, *crashed) and not any(
                      node == one.node and one.begin < at <= two.begin for node, at in ends)]
    return found
