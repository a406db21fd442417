"""A node's disk, as far as an agent keeps something on it (hamgr.ports.Store)."""

from hamgr.core.types import Epoch, GroupName


class Disk:
    """Outlives processes and power; a replaced machine has a new one."""

    def __init__(self) -> None:
        self.incarnation = 0
        self.facts: tuple[str, int] = ("", 0)
        """Cluster id and plan revision."""
        self.maintenance: dict[GroupName, Epoch] = {}
