"""The story of one run, for people: a lane for each node, and beside them what happened.

    ms         n1           n2           what happened
      7012.3   C##### -3 .  M###.. 13 a  n1   WROTE seats/n1=1.2 claimed

A lane shows the lease by the plain twin's count, in fifths of `lease` (a claim: of its good time),
whom the node hears, and for which groups it is active.
"""

import re

from hamgr.core.types import MILLISECOND, SECOND, Instant, NodeName
from hamgr.simulation.scenario import Scenario, cluster_spec
from hamgr.simulation.world import Line, World
from hamgr.snapshot import snapshot

STORY_LINES = 60
QUIET = re.compile(r"is heard|history/|accuses |^plan \d+:")
"""Lines that a short story leaves out; a plan's reasons stand where it was written."""


def command(scenario: Scenario) -> str:
    """Return the command that runs a generated scenario again, with its story."""
    return f"python -m hamgr.simulation --seed {scenario.seed} --trace"


def story(world: World, lines: int = STORY_LINES, full: bool = False) -> list[str]:
    """Return the last lines of a recorded run, up to its violation."""
    assert world.story is not None, "the run was not recorded"
    chosen = [line for line in world.story
              if full or not QUIET.search(line.text)]
    return [*_heading(world), *(_render(line) for line in chosen[-lines:]), *_ending(world)]


def _heading(world: World) -> list[str]:
    scenario = world.scenario
    where = "on the nodes" if scenario.ensemble_inside else "on machines of its own"
    names = ", ".join(f"{group.name} ({kind})" for group, kind
                      in zip(cluster_spec(scenario).groups, scenario.groups, strict=True))
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(world.hosts, 1))
    letters = ", ".join(f"{chr(ord('a') + number)} {group}"
                        for number, group in enumerate(world.watch.groups()))
    width = 7 + len(world.hosts) - 1 + 1 + len(world.watch.groups())
    lanes = "  ".join(f"{name:{width}}" for name in world.hosts)
    return [f"{scenario.name}: {scenario.nodes} nodes ({scenario.witnesses} witnesses), "
            f"{scenario.rings} rings, ZooKeeper {where}, clocks within {scenario.drift_ppm} ppm; "
            f"{names}",
            f"again: {command(scenario)}",
            f"lanes: lease (M member, C on a claim, - lapsed), hears ({numbers}), "
            f"active ({letters})",
            "", f"{'ms':>10}  {lanes}      what happened"]


def _render(line: Line) -> str:
    return f"{line.at / MILLISECOND:10.1f}  {line.lanes}  {line.node or '---':4} {line.text}"


def _ending(world: World) -> list[str]:
    cuts = [f"{sender}→{receiver}" + (f" ring {ring}" if world.scenario.rings > 1 else "")
            for ring, sender, receiver in world.network.cuts()]
    lines = ["", f"cut off at the end: {', '.join(cuts) or 'nobody'}"]
    for host in world.hosts.values():
        lines.append(f"{host.name}: {_state(world, host.name)}")
    lines += [f"VIOLATION at {_seconds(one.at)}: {one.kind}: {one.text}"
              for one in world.watch.violations]
    return lines


def _state(world: World, name: NodeName) -> str:
    host = world.hosts[name]
    if not host.powered:
        return "off"
    words = ["paused"] if host.paused else []
    active = [group for group in world.watch.groups() if host.active(group)]
    words.append(f"active for {', '.join(active)}" if active else "inactive")
    if host.agent is None:
        words.append("no agent")
    elif host.agent.engine is not None:
        seen = snapshot(host.agent.engine, host.clock.now())
        words.append(f"{seen.incarnation}.{seen.round} {seen.lease}, "
                     f"{seen.lease_left / MILLISECOND:.0f} ms left")
        if host.agent.frozen:
            words.append("frozen")
    if host.switch is None or not host.switch.able:
        words.append("no switch")
    return ", ".join(words)


def _seconds(at: Instant) -> str:
    return f"{at / SECOND:.4f} s"
