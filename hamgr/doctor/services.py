"""Checks of what the services of this node's groups are made of."""

from collections.abc import Iterator

from hamgr.doctor.facts import ResourceAgents, ServiceUnit, ServiceUnits
from hamgr.doctor.finding import Finding, fault, ok, warning

_ENABLED = ("enabled", "enabled-runtime")
"""UnitFileState of units that are linked to what wants them at boot (systemctl(1), is-enabled)."""


def started_by_hamgr_alone(service_units: ServiceUnits) -> Iterator[Finding]:
    """Nothing but hamgr starts a service's unit: else it runs on several nodes after a boot."""
    for one in service_units.units:
        where = f"{one.group}: {one.service}"
        if one.load != "loaded":
            yield fault(where, f"its unit {one.unit} is {one.load or 'not known to systemd'}: it "
                        "cannot be started here", _mending(one))
        elif others := _others(one):
            for what, remedy in others:
                yield warning(where, f"{what}: it runs before, and wherever, hamgr has not started "
                              "it", remedy)
        else:
            yield ok(where, f"{one.unit} is started by hamgr alone")


def fits_its_agent(resource_agents: ResourceAgents) -> Iterator[Finding]:
    """A service gives its resource agent what that takes, by the agent's own meta-data."""
    for one in resource_agents.services:
        where = f"{one.group}: {one.service}"
        for misfit in one.misfits:
            tell = fault if misfit.severe else warning
            yield tell(where, f"{misfit.key}: {misfit.text}", _fitting(misfit.key))
        if not one.misfits:
            yield ok(where, f"fits what {one.agent} says of itself")


def _others(one: ServiceUnit) -> list[tuple[str, str]]:
    """Return what starts a unit beside hamgr, each with a remedy."""
    found = []
    if one.state in _ENABLED:
        found.append((f"{one.unit} is {one.state}", f"`systemctl disable {one.unit}`: it goes on "
                      "running, and hamgr goes on starting it"))
    elif one.wanted_by:
        found.append((f"{one.unit} is wanted by {', '.join(one.wanted_by)}",
                      f"take it out of what wants it: `systemctl list-dependencies --reverse "
                      f"{one.unit}`"))
    found += [(f"{trigger} starts {one.unit}", f"`systemctl disable --now {trigger}`")
              for trigger in one.triggered_by]
    return found


def _fitting(key: str) -> str:
    if key == "agent":
        return "have the agent work on this node, or name another one in the configuration"
    return f"change {key} of this service in the configuration, and `hamgr config apply` that"


def _mending(one: ServiceUnit) -> str:
    if one.load == "masked":
        return f"`systemctl unmask {one.unit}`"
    if one.load in ("", "not-found"):
        return f"install what brings {one.unit}, or name another unit in the configuration"
    return f"`systemctl status {one.unit}` says what is wrong with its file"
