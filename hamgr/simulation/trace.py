"""The story of one run, for people: lanes for nodes, leases as bars, who could hear whom.

    ms      lease n1   lease n2   what happened
    7012.3  C#####     M###..     n1: WROTE seats/n1=1.2 claimed

A bar shows the lease by the plain twin's count, in fifths of `lease` (a claim: of its good time).
"""

from hamgr.core.types import MILLISECOND, SECOND, Instant, NodeName
from hamgr.simulation.scenario import Scenario
from hamgr.simulation.world import Line, World
from hamgr.snapshot import snapshot

STORY_LINES = 60
QUIET_WORDS = ("is heard", "history/", "accuses ")
"""Lines that a short story leaves out."""


def command(scenario: Scenario) -> str:
    """Return the command that runs a generated scenario again, with its story."""
    return f"python -m hamgr.simulation --seed {scenario.seed} --trace"


def story(world: World, lines: int = STORY_LINES, full: bool = False) -> list[str]:
    """Return the last lines of a recorded run, up to its violation."""
    assert world.story is not None, "the run was not recorded"
    chosen = [line for line in world.story
              if full or not any(word in line.text for word in QUIET_WORDS)]
    return [*_heading(world), *(_render(line) for line in chosen[-lines:]), *_ending(world)]


def _heading(world: World) -> list[str]:
    scenario = world.scenario
    where = "on the nodes" if scenario.ensemble_inside else "on machines of its own"
    names = ", ".join(f"{group.name} ({kind})" for group, kind
                      in zip(world.spec.groups, scenario.groups, strict=True))
    return [f"{scenario.name}: {scenario.nodes} nodes ({scenario.witnesses} witnesses), "
            f"{scenario.rings} rings, ZooKeeper {where}, clocks within {scenario.drift_ppm} ppm; "
            f"{names}",
            f"again: {command(scenario)}", ""]


def _render(line: Line) -> str:
    bars = f" {line.bars}" if line.bars else ""
    return f"{line.at / MILLISECOND:10.1f}{bars}  {line.node or '---':4} {line.text}"


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
    active = [group.name for group in world.spec.groups if host.active(group.name)]
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
