"""Another document, as one node sees it: whether it can be used here, and what makes it so."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from hamgr.adapters.net.nics import homeless
from hamgr.adapters.net.vip import Vip
from hamgr.config.against_plan import in_maintenance, still_own, still_vote
from hamgr.config.change import cannot_change, joined, not_in_maintenance
from hamgr.config.check_access import check_files
from hamgr.config.check_fencing import check_secrets
from hamgr.config.document import Reading, cluster_spec, digest, parse
from hamgr.config.faults import Fault, Findings
from hamgr.config.schema import Document, Group
from hamgr.config.seal import UNSEALED, is_sealed
from hamgr.core.records import Config, Plan
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import GroupName, NodeName


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """Implements agent.outside.Candidate."""

    document: Document
    """The one in use where the other cannot be read."""
    text: str
    wide: Document
    """The document, with all that may be left of former ones."""
    refusal: str
    make_room: Callable[["Prospect"], Awaitable[None]]

    @property
    def digest(self) -> str:
        """Of its meaning."""
        return digest(self.document)

    @property
    def spec(self) -> ClusterSpec:
        """What decisions depend on."""
        return cluster_spec(self.document)

    @property
    def leftovers(self) -> ClusterSpec:
        """The same, with all that may be left of former documents."""
        return cluster_spec(self.wide)

    @property
    def rings(self) -> dict[NodeName, tuple[str, ...]]:
        """The heartbeat addresses of each node."""
        return rings(self.document)

    async def widen(self) -> None:
        """Have the adapters know all that is new in it. Raises OSError."""
        await self.make_room(self)


@dataclass(frozen=True, kw_only=True)
class Standpoint:
    """What a node is and has, when it looks at another document."""

    node: NodeName
    document: Document
    wide: Document
    plan: Plan | None
    maintained: tuple[GroupName, ...]
    """In maintenance on this node, by its disk."""
    lacking: Callable[[Document], Sequence[Fault]]
    """What a document lacks of what is in maintenance here."""
    keys: tuple[bytes, ...]
    """Of the cluster, one of which must have sealed a document."""
    make_room: Callable[[Prospect], Awaitable[None]]

    def consider(self, config: Config) -> Prospect:
        """Look at a document. Raises OSError if the kernel does not tell its interfaces.

        One without the seal is not even read: it may be of any size, and made to hurt.
        """
        if not is_sealed(config, self.keys):
            return self._prospect(self.document, config, UNSEALED)
        reading = parse(config.document)
        return self._prospect(reading.document or self.document, config,
                              next(self._refusals(reading), ""))

    def _prospect(self, document: Document, config: Config, refusal: str) -> Prospect:
        return Prospect(document=document, text=config.document, wide=joined(document, self.wide),
                        refusal=refusal, make_room=self.make_room)

    def _refusals(self, reading: Reading) -> Iterator[str]:
        new = reading.document
        if new is None:
            yield "; ".join(str(fault) for fault in reading.faults)
            return
        if self.node not in new.node:
            yield (f"it has no node {self.node}: if this node shall go, stop hamgr here for good "
                   "(systemctl disable --now hamgr)")
        maintained = (*self.maintained, *in_maintenance(self.plan))
        for fault in (*cannot_change(self.document, new), *self.lacking(new),
                      *not_in_maintenance(self.document, new, maintained)):
            yield str(fault)
        if new.zookeeper != self.document.zookeeper:
            yield from _unfit_files(new, check_files)
        if new.fence != self.document.fence:
            yield from _unfit_files(new, check_secrets)
        yield from still_vote(self.plan, new)
        yield from still_own(self.plan, new)
        yield from _without_interface(self.node, self.document, new)


def _unfit_files(document: Document,
                 check: Callable[[Document, Findings], None]) -> Iterator[str]:
    """Say which files cannot be used on this node: it needs them at its next start, or to cut
    another node off."""
    findings = Findings({})
    check(document, findings)
    for fault in findings.faults:
        yield str(fault)


def rings(document: Document) -> dict[NodeName, tuple[str, ...]]:
    """Return the heartbeat addresses of each node."""
    return {name: tuple(str(address) for address in node.addresses)
            for name, node in document.node.items()}


def vips(group: Group) -> tuple[Vip, ...]:
    """Return a group's VIPs as their adapter has them."""
    return tuple(Vip(str(vip.address.ip), vip.address.network.prefixlen, vip.interface or None)
                 for vip in group.vips)


def _without_interface(node: NodeName, old: Document, new: Document) -> Iterator[str]:
    """Say which VIPs that are new in a group of this node have no interface here."""
    known = [vip for document in (old, new) for group in document.group.values()
             for vip in vips(group)]
    for name, group in new.group.items():
        had = vips(old.group[name]) if name in old.group else ()
        coming = [vip for vip in vips(group) if vip not in had] if node in group.nodes else []
        for why in homeless(coming, known):
            yield f"{name}: {why}"
