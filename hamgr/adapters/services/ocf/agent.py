"""Which resource agent a service uses, and how: what its driver is configured with."""

import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field

from hamgr.core.types import SECOND, Duration, GroupName, ServiceName

OCF_ROOT = Path("/usr/lib/ocf")
_NAME = re.compile(r"ocf:(?P<provider>[A-Za-z0-9][\w.-]*):(?P<type>[A-Za-z0-9][\w.-]*)")


class Agent(Struct, frozen=True, kw_only=True):
    """One service's resource agent."""

    name: str
    """ocf:PROVIDER:TYPE, as of crm(8) and pcs(8): "ocf:heartbeat:pgsql"."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    promotable: bool = False
    """Runs on every node of its group, promoted on the active one."""
    notify: bool = False
    """Is told before and after what becomes of its replicas (action notify)."""
    interval: Duration = 10 * SECOND
    """Between two monitors, as agents are told it; they tell a probe by an interval of 0."""
    check_level: int = 0
    """OCF_CHECK_LEVEL of monitors: how thorough they are, by the agent's documentation."""

    @property
    def provider(self) -> str:
        """The second part of the name."""
        return self.name.split(":")[1]

    @property
    def type(self) -> str:
        """The third part of the name."""
        return self.name.split(":")[2]

    def path(self, root: Path = OCF_ROOT) -> Path:
        """Return the program (Pacemaker Administration: Location of Custom Scripts)."""
        return root / "resource.d" / self.provider / self.type


def name_fault(name: str) -> str:
    """Return what is wrong with an agent's name, in words; empty if nothing."""
    if _NAME.fullmatch(name):
        return ""
    return f'{name!r} names no resource agent: write "ocf:PROVIDER:TYPE", as "ocf:heartbeat:nginx"'


def instance(group: GroupName, service: ServiceName) -> str:
    """Return OCF_RESOURCE_INSTANCE: the name by which agents call their files and attributes.

    One name for the whole cluster, of characters that agents use in file names, shell variables'
    values and names of containers; no colon, since agents cut there (clone numbers).
    """
    return f"{group}-{service}"
