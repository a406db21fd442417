"""The eye on the kernels when it gets no processor: what it tells afterwards is still true."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hamgr.core.types import MILLISECOND, NEVER
from hamgr.lab import watch
from hamgr.lab.spec import LabError
from hamgr.lab.watch import Watch
from tests.netns import PATIENCE_S, Segment

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

VIP, VIP6 = "10.0.0.100", "2001:db8::100"


class Eye:
    """A watch of two machines whose process can be held up."""

    def __init__(self, lan: Segment, folder: Path) -> None:
        self.lan = lan
        self._pid = folder / "pid"
        spaces = {machine: lan.namespace(machine) for machine in lan.machines}
        noting = ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(self._pid)]
        self.eyes = Watch(["ip", "netns", "exec", lan.namespace("switch"), *noting,
                           *watch.command([VIP, VIP6], spaces)])

    def signal(self, number: signal.Signals) -> None:
        os.kill(int(self._pid.read_text()), number)

    @contextmanager
    def late(self) -> Iterator[None]:
        """Let it have no turn for a while."""
        self.signal(signal.SIGSTOP)
        time.sleep(0.02)
        yield
        time.sleep(0.05)
        self.signal(signal.SIGCONT)

    def put(self, machine: str, vip: str = VIP) -> None:
        self.lan.ip(machine, f"address add {vip}/{64 if ':' in vip else 24} dev eth0")

    def take(self, machine: str, vip: str = VIP) -> None:
        self.lan.ip(machine, f"address del {vip}/{64 if ':' in vip else 24} dev eth0")


@pytest.fixture
def eye(tmp_path: Path) -> Iterator[Eye]:
    with Segment("a", "b") as lan:
        found = Eye(lan, tmp_path)
        with found.eyes:
            yield found


@pytest.mark.parametrize("vip", [VIP, VIP6])
@pytest.mark.parametrize("origin, target", ["ab", "ba"])
def test_an_address_that_moves_while_nobody_looks_is_never_on_two_nodes(
        eye: Eye, origin: str, target: str, vip: str) -> None:
    eye.put(origin, vip)
    eye.eyes.wait_owners(vip, [origin], PATIENCE_S)
    with eye.late():
        eye.take(origin, vip)
        eye.put(target, vip)
        time.sleep(0.2)  # IPv6: the kernel tells of an address when it is usable
    eye.eyes.wait_owners(vip, [target], PATIENCE_S)
    found = eye.eyes.tenures(vip)
    assert [one.node for one in found] == [origin, target]
    assert watch.owners_at_most(found) == 1
    assert watch.shared(found, time.monotonic_ns()) == 0


@pytest.mark.parametrize("origin, target", ["ab", "ba"])
def test_an_address_on_two_nodes_while_nobody_looks_is_seen_and_counted_in_full(
        eye: Eye, origin: str, target: str) -> None:
    eye.put(origin)
    eye.eyes.wait_owners(VIP, [origin], PATIENCE_S)
    with eye.late():
        before = time.monotonic_ns()
        eye.put(target)
        eye.take(origin)
        both = time.monotonic_ns() - before
    eye.eyes.wait_owners(VIP, [target], PATIENCE_S)
    found = eye.eyes.tenures(VIP)
    assert [one.node for one in found] == [origin, target]
    assert watch.owners_at_most(found) == 2
    assert watch.shared(found, time.monotonic_ns()) >= both


def test_it_says_by_how_much_it_was_late(eye: Eye) -> None:
    with eye.late():
        before = time.monotonic_ns()
        eye.put("a")
        done = time.monotonic_ns()
    eye.eyes.wait_owners(VIP, ["a"], PATIENCE_S)
    (found,) = eye.eyes.tenures(VIP)
    assert found.earliest <= before < done < found.begin
    assert found.begin_late > 50 * MILLISECOND


def test_what_is_there_already_is_told_first_and_other_namespaces_are_none_of_its_business(
        tmp_path: Path) -> None:
    with Segment("a", "b", "other") as lan:
        lan.ip("a", f"address add {VIP}/24 dev eth0")
        lan.machines = ("a", "b")
        with Eye(lan, tmp_path).eyes as eyes:
            assert eyes.owners(VIP) == ["a"]
            for machine in ("other", "switch"):
                lan.ip(machine, f"address add {VIP}/24 dev lo")
            lan.ip("b", f"address add {VIP}/24 dev eth0")
            eyes.wait_owners(VIP, ["a", "b"], PATIENCE_S)
            assert [(one.node, one.end) for one in eyes.tenures(VIP)] == [
                ("a", NEVER), ("b", NEVER)]
        lan.machines = ("a", "b", "other")


def test_a_watcher_that_ended_by_itself_vouches_for_nothing(eye: Eye) -> None:
    eye.signal(signal.SIGKILL)
    with pytest.raises(LabError, match="ended before"):
        eye.eyes.wait_owners(VIP, ["a"], PATIENCE_S)
    with pytest.raises(LabError, match="has ended by itself"):
        eye.eyes.tenures(VIP)
    eye.eyes.close()
    with pytest.raises(LabError, match="has ended by itself"):
        eye.eyes.owners(VIP)
