"""All checks, in the order in which people read them, and how they are run."""

import inspect
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from hamgr.doctor import (
    cluster,
    fencing,
    heartbeats,
    machine,
    network,
    services,
    watchdog,
    zookeeper,
)
from hamgr.doctor.facts import Facts, Missing
from hamgr.doctor.finding import Finding, Severity, note, unknown

Check = Callable[..., Iterator[Finding]]
"""A pure function whose parameters are names of facts, and whose name is shown to people."""

CHECKS: tuple[Check, ...] = (
    cluster.configuration, cluster.configuration_in_use, cluster.agent_answers,
    cluster.key_file, cluster.key_in_use, cluster.key_everywhere, cluster.voters,
    heartbeats.rings, heartbeats.loss,
    network.ring_links, network.ring_routes, network.vip_links, network.arp, network.reverse_path,
    network.nonlocal_bind,
    zookeeper.ensemble_size, zookeeper.servers, zookeeper.leader, zookeeper.latency,
    zookeeper.fsync, zookeeper.session, zookeeper.connected,
    machine.clock_rate, machine.wall_clock, machine.managed_elsewhere, machine.real_time,
    machine.switch, machine.units_enabled, services.started_by_hamgr_alone,
    services.fits_its_agent, fencing.fence_devices_fit, fencing.fence_devices_answer,
    fencing.fence_devices_are_wired, machine.state_directory, watchdog.watchdog,
)


def examine(facts: Facts, checks: tuple[Check, ...] = CHECKS) -> list[Finding]:
    """Return the findings of all checks, in their order."""
    return [replace(finding, check=name_of(check))
            for check in checks for finding in _run(check, facts)]


def name_of(check: Check) -> str:
    """Return what a check is called by people."""
    return check.__name__.replace("_", " ")


def verdict(findings: list[Finding]) -> Severity:
    """Return the worst severity; OK if there is no finding."""
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.OK)


def _run(check: Check, facts: Facts) -> Iterator[Finding]:
    """Run a check, or say why it cannot be run."""
    needed = [getattr(facts, name) for name in inspect.signature(check).parameters]
    missing = [fact for fact in needed if isinstance(fact, Missing)]
    if not missing:
        yield from check(*needed)
        return
    worst = next((fact for fact in missing if fact.matters), missing[0])
    yield (unknown if worst.matters else note)("here", f"not checked: {worst.why}")
