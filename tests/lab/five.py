"""A lab with groups of our own: five ordered services of three drivers, and a balancer beside.

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


def hook(group: str, name: str, more: str = "", monitor: str = MONITOR) -> str:
    """Return a service whose actions record themselves."""
    return (f'[[group.{group}.service]]\nname = "{name}"\n{START}{more}{monitor}'
            f'{LIMITS}{DOWN_LIMITS}')


def ocf(group: str, name: str, agent: str, more: str = "") -> str:
    """Return a service of a resource agent, whose state is in a file of the node's own."""
    return (f'[[group.{group}.service]]\nname = "{name}"\ndriver = "ocf"\nagent = "{agent}"\n'
            f'parameters = {{ state = "{{here}}/{name}.state" }}\n'
            f'{more}monitor = {{ interval = "500ms" }}\n{LIMITS.replace("2s", "10s")}')


def unit(group: str, name: str) -> str:
    """Return a service that is a unit, of the same name."""
    return (f'[[group.{group}.service]]\nname = "{name}"\ndriver = "systemd"\n'
            f'unit = "{name}.service"\nrestarts = 1\nwindow = "10s"\n'
            'start_timeout = "2s"\nstop_timeout = "2s"\n')


APP = (group("app", "n1 n2 n3", 'vips = ["10.77.1.100/24"]\nstop_within = "5s"\n')
       + hook("app", "disk")
       + ocf("app", "data", "ocf:pacemaker:Stateful", "promotable = true\n")
       + hook("app", "queue", PROMOTE)
       + unit("app", "cache")
       + ocf("app", "work", "ocf:pacemaker:Dummy"))
"""hook, ocf, hook, systemd, ocf; the second and the third are promotable."""

BESIDE = (group("lb", "n1 n2 n3", 'mode = "everywhere"\n')
          + hook("lb", "door", monitor=MONITOR.replace("300ms", "2s")) + unit("lb", "proxy"))
"""On every node, whatever befalls the other group."""

FAILS, HANGS = "fails", "hangs"
_NOTE = "read up rest </proc/uptime; echo {} $$up >>{{here}}/cache.log"
UNITS = {
    "cache.service": f"""[Unit]
StartLimitIntervalSec=0
[Service]
ExecStartPre=/bin/sh -c '{_NOTE.format("begin")}; touch {{here}}/cache.state'
ExecStartPre=/bin/sh -c 'while test -e {{here}}/start-{HANGS}; do sleep 0.02; done'
ExecStartPre=/usr/bin/test ! -e {{here}}/start-{FAILS}
ExecStart=/bin/sleep infinity
ExecStop=/bin/sh -c 'while test -e {{here}}/stop-{HANGS}; do sleep 0.02; done'
ExecStopPost=/bin/sh -c 'rm -f {{here}}/cache.state; {_NOTE.format("end")}'
TimeoutSec=infinity
""",
    "proxy.service": """[Service]
ExecStartPre=/bin/sh -c 'echo $INVOCATION_ID >{here}/proxy.state'
ExecStart=/bin/sleep infinity
ExecStopPost=/bin/rm -f {here}/proxy.state
"""}
"""The first goes as the files of its node say, and notes when anything of it began and ended, on
the one clock of all nodes; the second tells which start of it is running."""


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


def noticed(lab: Lab, node: str, service: str, since: Instant) -> list[str]:
    """Return what an agent was told of a service that nobody had asked about."""
    return [f"{entry['fields']['found']}: {entry['fields']['why']}"
            for entry in lab.nodes[node].recorder()
            if entry["event"] == "ServiceChanged" and entry["at"] > since
            and entry["fields"]["service"] == service]


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


def spoil(lab: Lab, node: str, action: str, how: str) -> None:
    """Have the unit of the group fail, or hang, on a node."""
    (here(lab, node) / f"{action}-{how}").touch()


def mend(lab: Lab) -> None:
    """Let hooks and units go well again."""
    lab.mend_hooks()
    for node in lab.nodes:
        for name in (f"{action}-{how}" for action in ("start", "stop") for how in (FAILS, HANGS)):
            (here(lab, node) / name).unlink(missing_ok=True)


def units_together(lab: Lab) -> list[str]:
    """Return who began to start the unit of the group before another one's had ended."""
    notes = [(float(at), what, node) for node in lab.nodes
             for what, at in map(str.split, _notes(here(lab, node) / "cache.log"))]
    up, found = "", []
    # What ends and begins in the same hundredth of a second did so in this order.
    for _, what, node in sorted(notes, key=lambda note: (note[0], note[1] == "begin")):
        if what == "begin":
            found += [f"{node} beside {up}"] if up not in ("", node) else []
            up = node
        elif node == up:
            up = ""
    return found


def _notes(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def beside(lab: Lab) -> dict[str, tuple[str, str]]:
    """Return, for each node, which start of the balancer's services is running there."""
    found = {}
    for node in lab.nodes:
        begun = [run.begin for run in lab.hook_runs()
                 if (run.node, run.service) == (node, "door") and run.action != "monitor"]
        kept = here(lab, node) / "proxy.state"
        found[node] = (kept.read_text() if kept.exists() else "",
                       f"{len(begun)} actions" if there(lab, node, "door", "lb") else "")
    return found


def states(lab: Lab, node: str, group: str = "app") -> dict[str, str]:
    """Return the state of each service of a group on a node."""
    return {one["name"]: one["state"] for one in group_on(lab, node, group).get("services", ())}


def said(lab: Lab, node: str, *words: str) -> str:
    """Return what a command of operators prints on a node."""
    done = lab.hamgr(node, *words)
    return done.stdout + done.stderr


def wait_said(lab: Lab, node: str, text: str, *words: str, or_else: str = "") -> str:
    """Return what a command prints, once these words are in it, or those others."""
    told = [""]

    def reached() -> bool:
        told[0] = said(lab, node, *words)
        return text in told[0] or (bool(or_else) and or_else in told[0])

    wait(reached, lambda: f"{text!r} is not in\n{told[0]}")
    return told[0]


def start_again(lab: Lab, node: str) -> Instant:
    """Start an agent that was killed, as systemd does: when nothing that it started is left.

    Return since when nothing is.
    """
    wait(lambda: not lab.nodes[node].cgroup.below(AGENT).populated,
         lambda: f"{node}: the switch, or a hook, outlives the agent")
    at = time.monotonic_ns()
    lab.start_agent(node)
    return at


def never_two(scene: Scene, service: str, since: Instant, action: str = "start",
              undo: str = "stop", crashed: tuple[str, ...] = (),
              killed: Instant = NEVER) -> bool:
    """Tell whether each node began only after the one before it had undone that, or had died.

    Or after its beginning had been killed, which undoes a hook as well.
    """
    begun = runs(scene.lab, service, action, since)
    return all(any(run.ok and one.begin < run.end <= two.begin
                   for run in runs(scene.lab, service, undo, since, one.node))
               or one.node in crashed or (one.end == NEVER and killed <= two.begin)
               for one, two in zip(begun, begun[1:], strict=False) if one.node != two.node)
