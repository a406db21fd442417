"""How far notifications have come: what drivers leave for each other beside what agents do.

    NAME-promoted  of the cluster: the epoch of the last promotion, written after what the primary's
                   agent left for its replicas (NAME_REPL_INFO of mysql), in the same record; so
                   whoever reads it has read that, too
    NAME-told      of this node, private: the epoch of the last promotion that its replica knows of

Agents need to be told of a promotion once: mysql's, told of the same primary twice, stops its
replication. It knows a primary that it was told of when it was started (notify_promoted_uname).
"""

import logging

from hamgr.adapters.services.ocf.agent import instance
from hamgr.adapters.services.ocf.attributes import (
    CLUSTER,
    AttributeRefused,
    Attributes,
    Lifetime,
)
from hamgr.core.effects import TellReplicas
from hamgr.core.types import Epoch, GroupName, NodeName, ServiceName

log = logging.getLogger(__name__)

Key = tuple[GroupName, ServiceName]
PROMOTED, TOLD = "-promoted", "-told"


class Marks:
    """The marks of one node's services."""

    def __init__(self, node: NodeName, attributes: Attributes) -> None:
        self._node, self._attributes = node, attributes
        self._began: dict[Key, tuple[NodeName, ...]] = {}
        """By service: the primaries that it was told of as it was started."""

    def promoted(self, key: Key, epoch: Epoch) -> None:
        """A service was promoted here."""
        self._began.pop(key, None)
        self._set(CLUSTER, instance(*key) + PROMOTED, str(epoch), Lifetime.FOREVER)

    def started(self, key: Key, primaries: tuple[NodeName, ...]) -> None:
        """A service is started here, and told of these primaries."""
        self._began[key] = primaries
        self._set(self._node, instance(*key) + TOLD, None, Lifetime.REBOOT)

    def told(self, key: Key, effect: TellReplicas) -> None:
        """A service here was told of a promotion, or demotion."""
        self._began.pop(key, None)
        if effect.action == "promote":
            self._set(self._node, instance(*key) + TOLD, str(effect.epoch), Lifetime.REBOOT)

    def knows(self, key: Key, effect: TellReplicas) -> bool:
        """Whether a service here knows of this already."""
        if effect.action != "promote":
            return False
        if effect.node in self._began.get(key, ()):
            self.told(key, effect)
        return effect.epoch <= self._epoch(self._node, instance(*key) + TOLD, Lifetime.REBOOT)

    def ready(self, key: Key, effect: TellReplicas) -> bool:
        """Whether what the primary left for its replicas has come."""
        return effect.action != "promote" or effect.epoch <= self._epoch(
            CLUSTER, instance(*key) + PROMOTED, Lifetime.FOREVER)

    def _epoch(self, node: NodeName, name: str, lifetime: Lifetime) -> Epoch:
        value = self._attributes.get(node, name, lifetime) or ""
        return int(value) if value.isascii() and value.isdigit() else 0

    def _set(self, node: NodeName, name: str, value: str | None, lifetime: Lifetime) -> None:
        try:
            self._attributes.set(node, name, value, lifetime, private=node == self._node)
        except AttributeRefused as error:
            log.warning("%s is not set: %s", name, error)
