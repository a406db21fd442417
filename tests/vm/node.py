"""A real agent in a virtual machine, the only node of its cluster; its ZooKeeper runs outside."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.vm.kit import ROOT, Kit
from tests.vm.machine import GUEST, HOST, Guest
from tests.zookeeper import JAVA, START_S

VIP = "10.0.2.100"
CONFIG = f"""\
[cluster]
name = "solo"
zookeeper = ["{HOST}:{{port}}"]
key_file = "{{folder}}/key"

[heartbeat]
interval = "500ms"      # everything is 20 times as slow in there

[watchdog]
device = "/dev/watchdog"
timeout = "{{timeout}}s"

[node.n1]
addresses = ["{GUEST}"]

[group.crm]
nodes = ["n1"]
vips = ["{VIP}/24"]
stop_within = "{{stop_within}}s"

[[group.crm.service]]
name = "app"
promote = ["/bin/sh", "-c", "setsid sleep 1000000 & echo $! >/run/app"]
demote = ["/bin/sh", "-c", "test ! -e /run/hang || sleep 1000000; kill $(cat /run/app) || true"]
"""


class Node:
    """The agent of one virtual machine."""

    def __init__(self, kit: Kit, folder: Path, port: int, driver: str, timeout_s: int,
                 *devices: str) -> None:
        """Boot it. `driver` is the module that brings the watchdog device."""
        self.config = folder / "hamgr.toml"
        self.config.write_text(CONFIG.format(port=port, folder=folder, timeout=timeout_s,
                                             stop_within=3 * timeout_s))
        key = folder / "key"
        key.write_text("00" * 32 + "\n")
        key.chmod(0o600)
        self._driver, self._timeout_s, self._began = driver, timeout_s, time.monotonic()
        self.guest = Guest(kit, folder / "vm", *devices)

    def say(self, what: str) -> None:
        """A line of the transcript."""
        sys.stdout.write(f"{time.monotonic() - self._began:6.1f} s  {what}\n")

    def booted(self) -> str:
        """Wait for the next boot, and load the watchdog's driver; return the boot id."""
        boot = self.guest.until_booted()
        self.guest.run(f"cd {ROOT}; insmod /run/modules/watchdog.ko; "
                       f"insmod /run/modules/{self._driver}.ko")
        self.say(f"booted, boot id {boot}, watchdog: "
                 + self.guest.run("cat /sys/class/watchdog/watchdog0/identity"))
        return boot

    def hamgr(self, *words: str) -> str:
        return f"{sys.executable} -m hamgr {' '.join(words)}"

    def start(self) -> None:
        """Start the agent, and wait until it is active with its watchdog held."""
        self.guest.run("mkdir -p /run/state; rm -f /run/log; setsid " + self.hamgr(
            "agent", *self.where, "--state-dir", "/run/state") + " >>/run/log 2>&1 & "
            "echo $! >/run/agent")
        self.guest.until(f"ip address show dev eth0 | grep -q {VIP}")
        self.guest.until("grep -q active.under /run/log")
        assert self.state() == "active"
        self.say("the agent is active; " + self.tail())

    @property
    def where(self) -> tuple[str, ...]:
        return "--config", str(self.config), "--node", "n1", "--run-dir", "/run/hamgr"

    def state(self) -> str:
        """What the kernel says of its watchdog."""
        return self.guest.run("cat /sys/class/watchdog/watchdog0/state")

    def tail(self) -> str:
        """What the agent has last said of its watchdog."""
        return self.guest.run("grep hamgr.watchdog: /run/log | tail -1 |"
                              " sed 's/.*hamgr.watchdog: //'")

    def signal(self, name: str, *, switch: bool = False) -> None:
        """Send the agent a signal, and first its children: the switch is one."""
        children = "$(cat /proc/$(cat /run/agent)/task/*/children)" if switch else ""
        self.guest.run(f"kill -{name} {children} $(cat /run/agent)")
        self.say(f"SIG{name} to the agent" + " and its children" * switch)

    def until_gone(self) -> None:
        """Wait for the end of the agent."""
        self.guest.until("test ! -e /proc/$(cat /run/agent)/fd/0")

    def until_without_address(self) -> None:
        self.guest.until(f"! ip address show dev eth0 | grep -q {VIP}")
        self.say("the address is gone with its lifetime, the service runs on: "
                 + self.guest.run("ps -o pid=,args= $(cat /run/app)"))

    def outlives_a_timeout(self, boot: str) -> None:
        """See the machine alive, in the same boot, well after it would have been reset."""
        longer = self._timeout_s * 3 // 2
        self.guest.run(f"sleep {longer}")
        assert self.guest.run("cat /proc/sys/kernel/random/boot_id") == boot
        self.say(f"{longer} s later it runs on, in the same boot")

    def cleanup(self) -> None:
        """What ExecStopPost= does under systemd."""
        self.guest.run(self.hamgr("agent", "--cleanup", *self.where, "--state-dir", "/run/state")
                       + " >>/run/log 2>&1")

    def status(self) -> str:
        """What people see, which is no failure where it is degraded: there is one node."""
        return self.guest.try_to(self.hamgr("status", "--run-dir", "/run/hamgr"))[1]

    def close(self) -> None:
        self.guest.close()


@contextlib.contextmanager
def zookeeper(folder: Path) -> Iterator[int]:
    """Run a ZooKeeper server on this machine's loopback; yield its port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    folder.mkdir()
    config = folder / "zoo.cfg"
    config.write_text(f"tickTime=500\ndataDir={folder}\nclientPort={port}\n"
                      "clientPortAddress=127.0.0.1\n")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*JAVA, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)],
            stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
            time.sleep(0.1)  # it tells nobody when it listens
        yield port
    finally:
        server.kill()
        server.wait()
