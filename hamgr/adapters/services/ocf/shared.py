"""Attributes that all nodes of the cluster share, by records in ZooKeeper.

What is asked is answered from what this node knows: the records as it read them last, and over them
what was set here and is not in ZooKeeper yet. That is carried there by whoever follows the records
(`adapters.zookeeper.board`), which asks what a record is to be; the newest value that this node
knows of wins. All of it is also in a file, so a restart without ZooKeeper forgets nothing.

Values of a boot belong to the boot of their node's machine: the node itself removes those of an
earlier one, and they are hidden while the node is not heard, as Pacemaker erases them then.
"""

import logging
from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from hamgr.adapters.services.ocf.attributes import (
    CLUSTER,
    AttributeRefused,
    Lifetime,
    Listener,
)
from hamgr.adapters.services.ocf.keeping import Keeping, Kept
from hamgr.adapters.services.ocf.values import (
    EMPTY,
    Values,
    changed,
    check,
    decoded,
    encoded,
    everything,
)
from hamgr.core.types import NodeName

log = logging.getLogger(__name__)

CLUSTER_RECORD = "@cluster"
"""The record of the cluster's own values: no node can have this name."""

Given = Mapping[NodeName, Mapping[str, str]]
"""The nodes of the document, each with the attributes that it gives them."""


class SharedAttributes:
    """Implements Attributes, and owns the records (`adapters.zookeeper.board.Owner`)."""

    def __init__(self, node: NodeName, given: Given, boot: str, keeping: Keeping) -> None:
        """`boot` names the boot of this machine, also to agents that were before."""
        self._node, self._given, self._boot = node, given, boot
        self._keeping = keeping
        self._listeners: list[Listener] = []
        self.publish: Callable[[str], None] = lambda record: None
        """Called with the name of a record that is to be written."""
        self.online: Callable[[], tuple[NodeName, ...]] = lambda: (node,)
        """Which nodes are heard."""
        kept = keeping.load()
        same = kept.boot == boot
        self._read = {name: values for name, raw in kept.records.items()
                      if (values := _readable(name, msgspec.json.encode(raw))) is not None}
        self._pending: dict[str, dict[tuple[Lifetime, str], str | None]] = {}
        for record, lifetime, name, value in kept.pending:
            if same or lifetime is Lifetime.FOREVER:
                self._pending.setdefault(record, {})[lifetime, name] = value
        self._marks = dict(kept.marks) if same else {}
        """What is private: this node's own, of this boot."""

    # ---- Attributes

    def get(self, node: NodeName, name: str, lifetime: Lifetime) -> str | None:
        """Return a value, None if there is none."""
        return self._visible(node, lifetime).get(name)

    def set(self, node: NodeName, name: str, value: str | None, lifetime: Lifetime,
            private: bool = False) -> None:
        """Set a value, or delete it with None. Raises AttributeRefused with what is wrong."""
        self._check_node(node)
        before = self._seen()
        if private or self._is_mark(node, name, lifetime):
            self._mark(name, value)
        else:
            record = _record(node)
            stored = self._stored(record)
            after = changed(stored, {(lifetime, name): value})
            check(name, value, after)
            if after is stored:
                return
            self._pending.setdefault(record, {})[lifetime, name] = value
            self.publish(record)
        self._keep()
        self._tell(before)

    def holders(self, name: str, lifetime: Lifetime) -> tuple[NodeName, ...]:
        """Return the nodes that have a value of this name, sorted."""
        return tuple(sorted(node for node in self._given if name in self._visible(node, lifetime)))

    def of(self, node: NodeName) -> dict[str, str]:
        """Return every value of a node by name; where there are two, that of this boot."""
        return {name: value for lifetime in (Lifetime.FOREVER, Lifetime.REBOOT)
                for name, value in self._visible(node, lifetime).items()}

    def listing(self, node: NodeName) -> list[tuple[str, str, str]]:
        """Return name, value and what it is kept by, of every value of a node or of the cluster.

        Raises AttributeRefused if there is no such node.
        """
        self._check_node(node)
        stored = self._stored(_record(node))
        found = {("document", name): value for name, value in self._given.get(node, {}).items()
                 if name not in stored.forever}
        found.update({("forever", name): value for name, value in stored.forever.items()})
        found.update({("private" if self._is_mark(node, name, Lifetime.REBOOT) else "reboot",
                       name): value
                      for name, value in self._visible(node, Lifetime.REBOOT).items()})
        return sorted((name, value, kept) for (kept, name), value in found.items())

    def listen(self, listener: Listener) -> None:
        """Call this after every change of a value of this node, or of the cluster."""
        self._listeners.append(listener)

    # ---- the document

    def configure(self, given: Given) -> None:
        """Go by the nodes and attributes of another document."""
        before = self._seen()
        self._given = given
        self._tell(before)

    async def close(self) -> None:
        """Have everything on disk."""
        await self._keeping.close()

    # ---- the records' owner

    def names(self) -> tuple[str, ...]:
        """Return the records to look at: this node's, the cluster's, and what waits."""
        return tuple(dict.fromkeys((self._node, CLUSTER_RECORD, *self._read, *self._pending)))

    def read(self, name: str, data: bytes | None) -> None:
        """Take in what a record is; None: there is none."""
        values = _readable(name, data) if data else EMPTY
        if values is None:
            return
        before, known = self._seen(), self._read.get(name, EMPTY)
        if data is None and known and name in (self._node, CLUSTER_RECORD):
            # Records are never removed: these are lost, and this node can give them back.
            self._pending[name] = {**everything(self._settled(name, known)),
                                   **self._pending.get(name, {})}
        self._read[name] = values
        left = {key: value for key, value in self._pending.pop(name, {}).items()
                if values.of(key[0]).get(key[1]) != value}
        if left:
            self._pending[name] = left
        if values != known:
            self._keep()
            self._tell(before)

    def merged(self, name: str, data: bytes | None) -> bytes | None:
        """Return what a record shall be, given what it is; None: leave it."""
        try:
            there = decoded(data) if data else EMPTY
        except msgspec.MsgspecError:
            return None  # said when it was read
        wanted = changed(self._settled(name, there), self._pending.get(name, {}))
        if wanted == there:
            return None
        if name == self._node and wanted.boot != self._boot:
            wanted = replace(wanted, boot=self._boot)
        return encoded(wanted)

    # ----

    def _settled(self, name: str, values: Values) -> Values:
        """Return a record as it stands in this boot of this node."""
        if name != self._node or not values.reboot or values.boot == self._boot:
            return values
        if not values.boot:
            return replace(values, boot=self._boot)
        return replace(values, boot=self._boot, reboot={})

    def _stored(self, record: str) -> Values:
        """Return what this node knows of a record, with what is on its way there."""
        return changed(self._settled(record, self._read.get(record, EMPTY)),
                       self._pending.get(record, {}))

    def _visible(self, node: NodeName, lifetime: Lifetime) -> Mapping[str, str]:
        stored = self._stored(_record(node))
        if lifetime is Lifetime.FOREVER:
            return {**self._given.get(node, {}), **stored.forever}
        if node == self._node:
            return {**stored.reboot, **self._marks}
        return stored.reboot if node == CLUSTER or node in self.online() else {}

    def _check_node(self, node: NodeName) -> None:
        if node != CLUSTER and node not in self._given:
            raise AttributeRefused(f"no node is named {node!r}")

    def _is_mark(self, node: NodeName, name: str, lifetime: Lifetime) -> bool:
        return node == self._node and lifetime is Lifetime.REBOOT and name in self._marks

    def _mark(self, name: str, value: str | None) -> None:
        if value is None:
            self._marks.pop(name, None)
        else:
            self._marks[name] = value

    def _seen(self) -> dict[tuple[NodeName, str], str]:
        """Return what listeners hear of."""
        return {(node, name): value for node in (self._node, CLUSTER)
                for name, value in self.of(node).items()}

    def _tell(self, before: Mapping[tuple[NodeName, str], str]) -> None:
        """Tell of what is otherwise than before."""
        after = self._seen()
        for key in {**before, **after}:
            if before.get(key) != after.get(key):
                for listener in self._listeners:
                    listener(*key, after.get(key))

    def _keep(self) -> None:
        self._keeping.keep(lambda: Kept(
            boot=self._boot, marks=self._marks,
            records={name: msgspec.json.decode(encoded(values))
                     for name, values in self._read.items() if values},
            pending=tuple((record, lifetime, name, value)
                          for record, change in self._pending.items()
                          for (lifetime, name), value in change.items())))


def _readable(name: str, data: bytes) -> Values | None:
    try:
        return decoded(data)
    except msgspec.MsgspecError as error:
        log.error("the attributes of %s cannot be read: %s", name, error)
        return None


def _record(node: NodeName) -> str:
    return node or CLUSTER_RECORD
