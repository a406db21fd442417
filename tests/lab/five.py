"""A lab with groups of our own: five ordered services of two drivers, a second group, a balancer.

Each node has state files of its own, so what runs where can be seen without asking an agent; the
hooks of all nodes record themselves on one clock, and the flight recorders tell the actions of
every driver on the same one.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hamgr.core.types import NEVER, Instant
from hamgr.lab.hooked import HookRun
from hamgr.lab.lab import Lab
from hamgr.lab.node import AGENT
from tests.lab.scene import Scene

LONG_S = 30.0
FIVE = ("disk", "data", "queue", "cache", "work")
REPLICAS = ("data", "queue")
"""Promotable: they are started on every node."""
LIMITS = 'restarts = 1\nwindow = "10s"\nstart_timeout = "2s"\npromote_timeout = "2s"\n'
DOWN_LIMITS = 'demote_timeout = "2s"\nstop_timeout = "2s"\n'
MONITOR = 'monitor = { command = "{hook}", interval = "300ms" }\n'
START = 'start = "{hook}"\nstop = "{hook}"\n'
PROMOTE = 'promotable = true\npromote = "{hook}"\ndemote = "{hook}"\n'


def group(name: str, nodes: str, more: str = "") -> str:
    """Return a group's own table: its nodes as a line of words."""
    return f'[group.{name}]\nnodes = {json.dumps(nodes.split())}\n{more}'


def hook(group: str, name: str, more: str = "") -> str:
    """Return a service whose actions record themselves."""
    return (f'[[group.{group}.service]]\nname = "{name}"\n{START}{more}{MONITOR}'
            f'{LIMITS}{DOWN_LIMITS}')


def ocf(group: str, name: str, agent: str, more: str = "") -> str:
    """Return a service of a resource agent, whose state is in a file of the node's own."""
    return (f'[[group.{group}.service]]\nname = "{name}"\ndriver = "ocf"\nagent = "{agent}"\n'
            f'parameters = {{ state = "{{here}}/{name}.state" }}\n'
            f'{more}monitor = {{ interval = "500ms" }}\n{LIMITS.replace("2s", "10s")}')


APP = (group("app", "n1 n2 n3", 'vips = ["10.77.1.100/24"]\nstop_within = "3s"\n')
       + hook("app", "disk")
       + ocf("app", "data", "ocf:pacemaker:Stateful", "promotable = true\n")
       + hook("app", "queue", PROMOTE)
       + ocf("app", "cache", "ocf:heartbeat:Dummy")
       + ocf("app", "work", "ocf:pacemaker:Dummy"))
"""hook, ocf, hook, ocf, ocf; the second and the third are promotable."""


class Act(NamedTuple):
    """One action of one service, as an agent's flight recorder has it."""

    at: Instant
    node: str
    service: str
    action: str


def acts(lab: Lab, since: Instant, group: str = "app") -> list[Act]:
    """Return what agents that answer have had done, monitors and probes aside, in order."""
    return sorted(Act(entry["at"], node, fields["service"], fields["action"])
                  for node, entries in lab.recorders().items() for entry in entries
                  for name, fields in entry["effects"]
                  if name == "RunService" and fields["group"] == group and entry["at"] > since
                  and fields["action"] not in ("monitor", "probe"))


def did(lab: Lab, node: str, since: Instant, group: str = "app") -> list[str]:
    """Return the actions of a node in order, as "start disk"."""
    return [f"{act.action} {act.service}" for act in acts(lab, since, group) if act.node == node]


def runs(lab: Lab, service: str, action: str, since: Instant, node: str = "") -> list[HookRun]:
    """Return the runs of a hook."""
    return [run for run in lab.hook_runs() if (run.service, run.action) == (service, action)
            and run.begin > since and node in ("", run.node)]


def ended(lab: Lab, service: str, action: str, since: Instant, node: str = "") -> list[HookRun]:
    """Return those that have ended by themselves."""
    return [run for run in runs(lab, service, action, since, node) if run.end < NEVER]


def wait(reached: Callable[[], Any], what: Callable[[], object], within_s: float = LONG_S) -> None:
    """Return once it is so."""
    end = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < end, what()
        time.sleep(0.02)


def here(lab: Lab, node: str) -> Path:
    """Return the directory that a node has for itself."""
    return lab.nodes[node].own_dir


def there(lab: Lab, node: str, service: str, group: str = "app") -> bool:
    """Tell whether a service has its state file on a node: whatever any agent thinks."""
    return any((here(lab, node) / name).exists()
               for name in (f"{group}-{service}", f"{service}.state"))


def group_on(lab: Lab, node: str, group: str) -> dict[str, Any]:
    """Return what an agent shows of a group on its own node; nothing if it does not answer."""
    status = lab.nodes[node].status()
    groups = status["snapshot"]["groups"] if status and status["snapshot"] else ()
    return next((one for one in groups if one["name"] == group), {})


def states(lab: Lab, node: str, group: str = "app") -> dict[str, str]:
    """Return the state of each service of a group on a node."""
    return {one["name"]: one["state"] for one in group_on(lab, node, group).get("services", ())}


def said(lab: Lab, node: str, *words: str) -> str:
    """Return what a command of operators prints on a node."""
    done = lab.hamgr(node, *words)
    return done.stdout + done.stderr


def wait_said(lab: Lab, node: str, text: str, *words: str) -> str:
    """Return what a command prints, once these words are in it."""
    told = [""]

    def reached() -> bool:
        told[0] = said(lab, node, *words)
        return text in told[0]

    wait(reached, lambda: f"{text!r} is not in\n{told[0]}")
    return told[0]


def start_again(lab: Lab, node: str) -> None:
    """Start an agent that was killed, as systemd does: when nothing that it started is left."""
    wait(lambda: not lab.nodes[node].cgroup.below(AGENT).populated,
         lambda: f"{node}: the switch, or a hook, outlives the agent")
    lab.start_agent(node)


def never_two(scene: Scene, service: str, since: Instant, action: str = "start",
              undo: str = "stop", crashed: tuple[str, ...] = ()) -> bool:
    """Tell whether each node began only after the one before it had undone that, or had died."""
    begun = runs(scene.lab, service, action, since)
    return all(any(run.ok and one.begin < run.end <= two.begin
                   for run in runs(scene.lab, service, undo, since, one.node))
               or one.node in crashed
               for one, two in zip(begun, begun[1:], strict=False) if one.node != two.node)
