"""Node attributes: values by node and name that agents leave for each other.

The seam: agents read and write through the protocol `Attributes`, which may be answered by this
node alone (`LocalAttributes`, below) or by the whole cluster (`shared`). An implementation answers
at once from what it knows, since agents wait; it may carry what is set to the other nodes later.
It tells of every change of *this* node's values, wherever it came from: agents set
promotion scores of other nodes too (pgsql does when it is promoted).
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from hamgr.core.types import NodeName

INFINITY = 1_000_000
"""What INFINITY means in scores (Pacemaker Explained, "Scores"); it is also the most."""
SCORE_PREFIX = "master-"
"""Pacemaker keeps the promotion score of resource NAME in the attribute master-NAME."""
CLUSTER: NodeName = ""
"""In place of a node's name: a value of the whole cluster (crm_attribute --type crm_config)."""

Listener = Callable[[NodeName, str, str | None], None]
"""Is told the node, the name and the value of an attribute that changed; None: it is gone."""


class AttributeRefused(ValueError):
    """A value cannot be set; the message says why."""


class Lifetime(Enum):
    """How long a value is kept."""

    REBOOT = "reboot"
    """As long as the node is in the cluster without a break."""
    FOREVER = "forever"
    """Until it is deleted."""


class Attributes(Protocol):
    """All node attributes. The two lifetimes are apart: one name may have a value in each."""

    def get(self, node: NodeName, name: str, lifetime: Lifetime) -> str | None:
        """Return a value, None if there is none."""

    def set(self, node: NodeName, name: str, value: str | None, lifetime: Lifetime,
            private: bool = False) -> None:
        """Set a value, or delete it with None. Raises AttributeRefused with what is wrong with it.

        Private ones are hamgr's own marks of this node, until a reboot: they are never written to
        ZooKeeper, so this node alone knows them. Agents have none: what they call private, all
        nodes share.
        """

    def holders(self, name: str, lifetime: Lifetime) -> tuple[NodeName, ...]:
        """Return the nodes that have a value of this name, sorted."""

    def of(self, node: NodeName) -> dict[str, str]:
        """Return every value of a node by name; where there are two, that of this boot."""

    def listen(self, changed: Listener) -> None:
        """Call this after every change of a value of this node, or of the cluster, in the loop's
        thread."""


class LocalAttributes:
    """Attributes that this node alone knows, in memory: a cluster of one, and tests."""

    def __init__(self) -> None:
        self._values: dict[Lifetime, dict[tuple[NodeName, str], str]] = {
            lifetime: {} for lifetime in Lifetime}
        self._listeners: list[Listener] = []

    def get(self, node: NodeName, name: str, lifetime: Lifetime) -> str | None:
        """Return a value, None if there is none."""
        return self._values[lifetime].get((node, name))

    def set(self, node: NodeName, name: str, value: str | None, lifetime: Lifetime,
            private: bool = False) -> None:
        """Set a value, or delete it with None; nobody else knows any here."""
        if self.get(node, name, lifetime) == value:
            return
        if value is None:
            del self._values[lifetime][node, name]
        else:
            self._values[lifetime][node, name] = value
        for changed in self._listeners:
            changed(node, name, value)

    def holders(self, name: str, lifetime: Lifetime) -> tuple[NodeName, ...]:
        """Return the nodes that have a value of this name, sorted."""
        return tuple(sorted(node for node, one in self._values[lifetime] if one == name))

    def of(self, node: NodeName) -> dict[str, str]:
        """Return every value of a node by name; where there are two, that of this boot."""
        return {name: value for lifetime in (Lifetime.FOREVER, Lifetime.REBOOT)
                for (whose, name), value in self._values[lifetime].items() if whose == node}

    def listen(self, changed: Listener) -> None:
        """Call this after every change of a value."""
        self._listeners.append(changed)


def score(value: str) -> int:
    """Return a score as agents write it: "100", "-INFINITY", "+INFINITY". Raises ValueError."""
    sign = -1 if value.startswith("-") else 1
    digits = value.lstrip("+-").strip()
    number = INFINITY if digits.upper() in ("INFINITY", "INF") else int(digits)
    return sign * min(number, INFINITY)
