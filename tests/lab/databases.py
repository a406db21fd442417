"""What labs with real databases need: a disk for each node, that users other than root can reach.

{here} is empty after a boot and root's alone, so the data is elsewhere: the first service of the
group, of which each node has a replica, mounts the node's own disk at the same path on all of them,
in the mount namespace that the node's agent has for itself.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hamgr.lab.lab import Lab
from tests.lab.five import LONG_S, said, states, wait

NODES = ("n1", "n2", "n3")
VIP = "10.77.1.100"
_DISK = """#!/bin/sh
case $HAMGR_ACTION in
start) mountpoint -q {base}/disk || mount --bind {base}/$HAMGR_NODE {base}/disk;;
monitor) mountpoint -q {base}/disk;;
esac
"""


@contextmanager
def disks() -> Iterator[Path]:
    """Have a folder with one for each node in it; {base}/disk is where it is mounted."""
    base = Path(tempfile.mkdtemp(prefix="hamgr-lab-db-"))
    try:
        base.chmod(0o755)
        for name in (*NODES, "disk"):
            (base / name).mkdir()
        script = base / "mount"
        script.write_text(_DISK.format(base=base))
        script.chmod(0o755)
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


def group(base: Path, service: str) -> str:
    """Return a group of a disk on each node, and one service more, whose data is there."""
    return (f'[group.app]\nnodes = {json.dumps(NODES)}\nvips = ["{VIP}/24"]\n'
            'stop_within = "0s"\n[[group.app.service]]\nname = "disk"\npromotable = true\n'
            + "".join(f'{action} = "{base}/mount"\n'
                      for action in ("start", "stop", "promote", "demote"))
            + f'monitor = {{ command = "{base}/mount", interval = "1s" }}\n'
            f'[[group.app.service]]\n{service}')


def run_as(user: str, *argv: str | Path) -> str:
    """Run a program as another user, and return what it prints."""
    done = subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                           *map(str, argv)], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def started(lab: Lab, *nodes: str) -> None:
    """Start agents: these labs have none, since a first promotion takes longer than a lab waits."""
    for name in nodes:
        lab.nodes[name].wait_zookeeper()
    for name in nodes:
        lab.start_agent(name)


class Parts(NamedTuple):
    """Who plays which part for the group."""

    lab: Lab

    def plan(self) -> tuple[str, str]:
        """Return holder and heir by the newest plan; empty for nobody."""
        plans = [status["snapshot"]["plan"] for node in self.lab.nodes.values()
                 if (status := node.status()) and status["snapshot"]]
        newest = max((plan for plan in plans if plan), key=lambda plan: int(plan["revision"]))
        found = newest["groups"].get("app", {})
        holder, heir = ((found.get(part) or {}).get("node", "") for part in ("holder", "heir"))
        return holder, heir

    def settled(self, heir_score: str = "") -> tuple[str, str, str]:
        """Return owner, heir and the third, once there are such and the owner is promoted.

        `heir_score`: and once the heir's has this. Before the first promotion all may have the
        same; who is heir then need not stay it.
        """
        def ready() -> bool:
            owner, heir = self.plan()
            return bool(owner and heir) and heir_score in (
                "", attribute(self.lab, heir, "master-app-db", owner))

        wait(ready, self.plan, 2 * LONG_S)
        owner, heir = self.plan()
        [third] = set(NODES) - {owner, heir}
        wait(lambda: states(self.lab, owner).get("db") == "promoted",
             lambda: said(self.lab, owner, "status"))
        return owner, heir, third


def attribute(lab: Lab, node: str, name: str, asked: str = "") -> str:
    """Return an attribute as another node, or the node itself, knows it; empty if there is none."""
    done = lab.hamgr(asked or node, "attribute", node, "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)["attributes"] if done.stdout else []
    return next((one["value"] for one in found if one["name"] == name), "")


def wait_attribute(lab: Lab, node: str, name: str, value: str, asked: str = "") -> None:
    wait(lambda: attribute(lab, node, name, asked) == value,
         lambda: said(lab, asked or node, "attribute", node), 2 * LONG_S)
