"""What the services of a group must fulfil, by their drivers."""

import re

from hamgr.config.faults import Findings, Path
from hamgr.config.schema import COMMANDS, Group, Monitor, Service

DRIVERS = {"hook": "", "systemd": "", "ocf": ""}
ON_FAILURE = {"move": "", "block": "", "fence": "", "ignore": ""}
_OWN: dict[str, tuple[str, ...]] = {
    "hook": COMMANDS, "systemd": ("unit",),
    "ocf": ("agent", "parameters", "notify", "check_level")}
"""Keys that say what a driver works with; those of the others say nothing to it."""
_AGENT = re.compile(r"ocf:[\w.-]+:[\w.-]+")
_UNIT = re.compile(r"[\w.@:\\-]+\.(service|socket|timer|target|path|mount)")
_DOWN = {"start": "stop", "promote": "demote"}


def choice(possible: dict[str, str], value: str, path: Path, findings: Findings) -> None:
    """Note a value that is not possible. `possible`: nothing, or why not and what to do instead."""
    refusal = possible.get(value)
    if refusal is None:
        usable = [f'"{word}"' for word, why in possible.items() if not why]
        findings.fault(path, f'"{value}" is not possible in this version; write '
                       f"{' or '.join(usable)}")
    elif refusal:
        findings.fault(path, f'"{value}": {refusal}')


def check_services(group: Group, path: Path, findings: Findings) -> None:
    """Note everything that is wrong with the services of a group."""
    names: set[str] = set()
    for here, service in findings.numbered((*path, "service"), group.service):
        if service.name and service.name in names:
            findings.fault((*here, "name"), f'"{service.name}" is the name of another service of '
                           "this group; give each its own")
        names.add(service.name)
        choice(DRIVERS, service.driver, (*here, "driver"), findings)
        choice(ON_FAILURE, service.on_failure, (*here, "on_failure"), findings)
        if service.driver in _OWN:
            _keys(service, here, findings)
            _CHECKS[service.driver](service, here, findings)
        _limits(service, here, findings)
    if group.mode != "everywhere":
        _stop_within(group, path, findings)


def _keys(service: Service, path: Path, findings: Findings) -> None:
    """Keys of another driver are there by mistake."""
    for driver, keys in _OWN.items():
        for key in keys if driver != service.driver else ():
            if (given := getattr(service, key)) or given is False:
                findings.fault((*path, key), f'is for driver = "{driver}", and this service has '
                               f'"{service.driver}"; remove it, or change the driver')
    monitor = service.monitor
    if service.driver != "hook" and monitor is not None and monitor.command:
        findings.fault((*path, "monitor"), f'driver = "{service.driver}" looks by itself; write '
                       "monitor without a command")


def _hook(service: Service, path: Path, findings: Findings) -> None:
    if any(findings.rejected((*path, key)) for key in (*COMMANDS, "monitor")):
        return
    for up, down in _DOWN.items():
        if getattr(service, up) and not getattr(service, down):
            findings.fault((*path, down), f"is missing; what {up} starts must be stopped "
                           f"before another node may start it: write {down} = ...")
    if service.monitor is not None and not service.monitor.command and (
            not findings.rejected((*path, "monitor", "command"))):
        findings.fault((*path, "monitor", "command"),
                       'is missing; write command = "/usr/local/lib/app/check"')
    if service.promotable and not (service.start and service.promote):
        findings.fault((*path, "promotable"), "has replicas that are started on every node, and "
                       "promoted on one: write start, stop, promote and demote")
    if not (service.actions or service.monitor):
        findings.fault(path, "does nothing; write start and stop, promote and demote, or monitor")


def _systemd(service: Service, path: Path, findings: Findings) -> None:
    if not service.unit:
        findings.fault((*path, "unit"), 'is missing; write unit = "nginx.service"')
    elif not _UNIT.fullmatch(service.unit):
        findings.fault((*path, "unit"), f'"{service.unit}" is no name of a unit; write it in '
                       'full, such as "nginx.service"')
    if service.promotable:
        findings.fault((*path, "promotable"), "is not possible: units are not promoted; use a "
                       'group with mode = "everywhere", or another driver')


def _ocf(service: Service, path: Path, findings: Findings) -> None:
    if not service.agent:
        findings.fault((*path, "agent"), 'is missing; write agent = "ocf:heartbeat:nginx"')
    elif not _AGENT.fullmatch(service.agent):
        findings.fault((*path, "agent"), f'"{service.agent}" is no agent; write class, provider '
                       'and type, such as "ocf:heartbeat:nginx"')
    if service.notify and not service.promotable:
        findings.fault((*path, "notify"), "is for replicas, and this service has none; remove it, "
                       "or write promotable = true")
    if service.check_level < 0:
        findings.fault((*path, "check_level"), f"{service.check_level} is negative; write 0, or a "
                       "level that the agent's documentation names, such as 10")


_CHECKS = {"hook": _hook, "systemd": _systemd, "ocf": _ocf}


def _limits(service: Service, path: Path, findings: Findings) -> None:
    for key in (*(f"{action}_timeout" for action in COMMANDS), "window"):
        _positive(service, key, path, findings)
    if service.monitor is not None:
        for key in ("interval", "timeout"):
            _positive(service.monitor, key, (*path, "monitor"), findings)
    if service.restarts < 0:
        findings.fault((*path, "restarts"), f"{service.restarts} is negative; write 0 to move "
                       "the group at the first failure")


def _positive(table: Service | Monitor, key: str, path: Path, findings: Findings) -> None:
    if getattr(table, key) <= 0:
        findings.fault((*path, key), f'{key} must be more than 0; write a duration such as "5s"')


def _stop_within(group: Group, path: Path, findings: Findings) -> None:
    """Rule 14: how long a service may still be stopping is for its operator to say."""
    path = (*path, "stop_within")
    stopped = [service.name for service in group.service
               if service.actions]
    if stopped and group.fencing != "required" and not findings.written(path):
        findings.warn(path, f"is missing, so {', '.join(stopped)} may be started on another node "
                      "while one that lost its lease is still stopping it; write the time by which "
                      'it has certainly stopped, such as stop_within = "30s" (the other node waits '
                      'so long), or "0s", which says that two may overlap for that time')
