"""The watchdog for real: Debian's kernel in a virtual machine, its driver, an agent; and resets.

What a reset is cannot be shown otherwise. `make watchdog-test` runs it, and prints what happened.
"""

import pytest

from tests.vm.kit import CannotBeHad, kit
from tests.vm.node import Node, zookeeper

pytestmark = [pytest.mark.slow, pytest.mark.vm, pytest.mark.timeout(1500)]

RESET_S = 60
"""Far above the timeout: what is waited for is an event."""
DRIVERS = {"softdog": (20,), "i6300esb": (8, "i6300esb")}
"""Software, and the emulation of a chip of Intel's; each with its timeout in seconds, and the
device that qemu must have. A Python in there may need 10 s to start, and a clean-up is one."""


@pytest.fixture
def nodes(tmp_path):
    try:
        made_of = kit()
    except CannotBeHad as why:
        pytest.skip(f"no virtual machine: {why}")
    running = []

    def boot(driver: str) -> Node:
        running.append(Node(made_of, tmp_path, port, driver, *DRIVERS[driver]))
        return running[-1]

    with zookeeper(tmp_path / "zookeeper") as port:
        yield boot
        for node in running:
            node.close()


def reset(node: Node) -> str:
    """Wait until the machine is reset by its watchdog, and has booted again; return its boot id."""
    node.guest.until_told("RESET", RESET_S)
    node.say("the machine is reset")
    return node.booted()


def test_softdog(nodes) -> None:
    node = nodes("softdog")
    boot = node.booted()

    node.start()
    node.signal("TERM")
    node.until_gone()
    assert node.state() == "inactive"
    node.say("stopped in order; " + node.tail())

    node.start()
    node.signal("KILL", switch=True)
    assert node.state() == "active"
    node.cleanup()
    assert node.state() == "inactive"
    node.say("killed, and cleaned up; " + node.tail())
    node.outlives_a_timeout(boot)

    node.start()
    node.signal("STOP")
    node.until_without_address()
    second = reset(node)
    assert second != boot

    node.start()
    node.guest.run("touch /run/hang")
    node.signal("TERM")
    node.signal("TERM")
    node.until_gone()
    node.say("stopped in a hurry, its service could not be; " + node.tail())
    assert reset(node) not in (boot, second)


def test_hardware(nodes) -> None:
    node = nodes("i6300esb")
    boot = node.booted()

    node.start()
    node.say("hamgr status says:\n" + node.status())
    node.signal("STOP", switch=True)
    node.until_without_address()
    assert node.guest.until_told("WATCHDOG", RESET_S)["data"] == {"action": "reset"}
    second = reset(node)
    assert second != boot

    node.start()
    node.guest.send("echo c >/proc/sysrq-trigger")
    node.say("the kernel crashes, and is set to halt then")
    assert node.guest.until_told("WATCHDOG", RESET_S)["data"] == {"action": "reset"}
    assert reset(node) not in (boot, second)
