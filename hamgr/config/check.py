"""What a document that can be read must also fulfil: names, times, nodes, rings, voters, servers.

Every fault names its remedy. A warning is for what works but is likely not what was meant.
"""

import re
from collections import Counter

from hamgr.config.check_access import check_access
from hamgr.config.check_fencing import check_fencing
from hamgr.config.check_groups import check_groups, check_policies
from hamgr.config.check_services import choice
from hamgr.config.check_watchdog import check_watchdog
from hamgr.config.faults import Findings, Path
from hamgr.config.schema import Document
from hamgr.config.values import Address, Server, Span
from hamgr.core.parts import BODY_MAX, ROOM_MIN, VOTERS_MAX, frame_bytes
from hamgr.core.timing import Timing, timing_faults
from hamgr.core.types import MILLISECOND, SECOND

INTERVAL_MAX, DETECTION_MAX = 10 * SECOND, 600 * SECOND
"""Beyond these nobody waits for a failover; a claim, which follows, must fit into a day too."""
SESSION_MIN = 1 * SECOND
"""A ZooKeeper server raises a shorter session to two of its ticks anyway."""

_WHY = {
    "interval": ": below it the scheduling of an ordinary kernel alone would lose leases",
    "lease": ", or one lost heartbeat stops everything; raise lease or lower interval",
    "detection": ", because an heir acts when detection has passed and the old owner must have "
                 "lost its lease by then, also with a clock that is slewed; raise detection or "
                 "lower lease",
    "claim": ", because it is renewed through ZooKeeper, which may need an election meanwhile; "
             "raise claim",
}
"""Why each time must be what it must be, and what to do."""

_TIMES: dict[str, Path] = {
    "interval": ("heartbeat", "interval"), "lease": ("heartbeat", "lease"),
    "detection": ("heartbeat", "detection"), "claim": ("zookeeper", "claim"),
}
"""Where each time is written."""
_RESTS_ON = {"interval": ("interval",), "lease": ("lease", "interval"),
             "detection": ("detection", "lease"), "claim": ("claim", "detection")}
"""The times that the inequality of each compares: where one cannot be read, nothing is said."""

STARTS = {"auto": "", "clean": ""}

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")


def check(document: Document, findings: Findings) -> None:
    """Note everything that is wrong with a document beyond the form of its values."""
    _cluster(document, findings)
    _times(document, findings)
    _nodes(document, findings)
    _rings(document, findings)
    _voters(document, findings)
    check_groups(document, findings)
    check_fencing(document, findings)
    check_access(document, findings)
    check_watchdog(document, findings)
    _names(document, findings)
    if not findings.faults:
        check_policies(document, findings)


def _names(document: Document, findings: Findings) -> None:
    named: list[tuple[Path, str]] = [(("cluster", "name"), document.cluster.name)]
    named += [(("node", name), name) for name in document.node]
    named += [(("fence", name), name) for name in document.fence]
    for name, group in document.group.items():
        named.append((("group", name), name))
        named += [((*path, "name"), service.name) for path, service in findings.numbered(
            ("group", name, "service"), group.service)]
    for path, name in named:
        if not _NAME.fullmatch(name):
            findings.fault(path, f'"{name}" cannot be a name; write 1 to 32 of a-z, 0-9, "-", "_" '
                           'and ".", beginning with a letter or a digit')


def _cluster(document: Document, findings: Findings) -> None:
    cluster = document.cluster
    if not cluster.key_file.startswith("/"):
        findings.fault(("cluster", "key_file"), f'"{cluster.key_file}" is not a full path; write '
                       "one that begins with /, and the same on every node")
    servers: Path = ("cluster", "zookeeper")
    seen: list[Server] = []
    for path, server in findings.numbered(servers, cluster.zookeeper):
        if server in seen:
            findings.fault(path, f'"{server}" is named twice; name each server once')
        seen.append(server)
    if findings.spoiled(servers):
        return
    count = len(cluster.zookeeper)
    if count == 0:
        findings.fault(servers, "names no server; name every server of the ensemble")
    elif count == 1:
        findings.warn(servers, "one server: nothing can be planned while it is down; an ensemble "
                      "of three survives the loss of one")
    elif count % 2 == 0:
        findings.warn(servers, f"{count} servers survive no more losses than {count - 1}; "
                      "use an odd number")


def _times(document: Document, findings: Findings) -> None:
    known = _known_times(document, findings)
    for name, text in timing_faults(document.timing):
        if known.issuperset(_RESTS_ON[name]):
            findings.fault(_TIMES[name], text + _WHY[name])
    beat = document.heartbeat
    for name, value, longest in (("interval", beat.interval, INTERVAL_MAX),
                                 ("detection", beat.detection or 0, DETECTION_MAX)):
        if value > longest:
            findings.fault(_TIMES[name], f"{name} ({value}) must be at most {Span(longest)}, since "
                           f"a group is down for longer than that when its node dies; lower {name}")
    if known.issuperset(_TIMES):
        _detection(document.timing, findings)
    if not 1 <= document.heartbeat.port <= 65535:
        findings.fault(("heartbeat", "port"), f"{document.heartbeat.port} is not a port; write a "
                       "number between 1 and 65535")
    if document.zookeeper.session < SESSION_MIN:
        findings.fault(("zookeeper", "session"), f"session ({document.zookeeper.session}) must be "
                       "at least 1s, because ZooKeeper counts it in ticks; raise session (failover "
                       "does not wait for it)")
    _address_life(document, findings)


def _known_times(document: Document, findings: Findings) -> set[str]:
    """Return the times that the file gives, or that follow from those that it gives."""
    beat, known = document.heartbeat, set[str]()
    for name, value, follows_from in (
            ("interval", beat.interval, ()), ("lease", beat.lease, ("interval",)),
            ("detection", beat.detection, ("interval",)),
            ("claim", document.zookeeper.claim, ("interval", "detection"))):
        given = value is not None or known.issuperset(follows_from)
        if given and not findings.rejected(_TIMES[name]):
            known.add(name)
    return known


def _detection(timing: Timing, findings: Findings) -> None:
    """A detection close above a whole number of intervals leaves the last of them no time."""
    if timing_faults(timing):
        return
    whole, rest = divmod(timing.detection, timing.interval)
    if rest * 10 < timing.interval:
        better = (timing.interval * whole + timing.interval // 2) // MILLISECOND
        findings.warn(("heartbeat", "detection"), f"detection is just {whole} "
                      "intervals, so a heartbeat that comes a little late counts as lost; write "
                      f'"{better}ms", half an interval more')


def _address_life(document: Document, findings: Findings) -> None:
    life = document.address
    if life.valid_lft < SECOND or life.valid_lft % SECOND:
        findings.fault(("address", "valid_lft"), f"valid_lft ({life.valid_lft}) must be a whole "
                       'number of seconds, since the kernel counts it so; write "1s", "2s" or more')
    if findings.rejected(("address", "valid_lft")):
        return
    if life.renewal <= 0 or life.renewal * 3 > life.valid_lft:
        findings.fault(("address", "renewal"), f"renewal ({life.renewal}) must be more than 0 and "
                       f"at most a third of valid_lft ({life.valid_lft}), or two late renewals "
                       "would take a VIP off a healthy node; lower renewal or raise valid_lft")


def _nodes(document: Document, findings: Findings) -> None:
    if not document.node and not findings.spoiled(("node",)):
        findings.fault(("node",), "no node is configured; write a table [node.NAME] with its "
                       "addresses for each")
    owners: dict[object, Path] = {}
    for name, node in document.node.items():
        path: Path = ("node", name)
        for here, address in findings.numbered((*path, "addresses"), node.addresses):
            owner = owners.setdefault(address, here)
            if owner != here:
                findings.fault(here, f'"{address}" is an address of {owner[1]} already; give '
                               "every node its own on every ring")
        if not node.addresses and not findings.spoiled((*path, "addresses")):
            findings.fault((*path, "addresses"), "is empty; give at least one address, to which "
                           "the other nodes send heartbeats")


def _rings(document: Document, findings: Findings) -> None:
    """Every node needs an address on every ring, of one family on each."""
    nodes = {name: node.addresses for name, node in document.node.items()
             if node.addresses and not findings.spoiled(("node", name, "addresses"))}
    usual = Counter(len(addresses) for addresses in nodes.values()).most_common(1)
    for name, addresses in nodes.items():
        if len(addresses) != usual[0][0]:
            findings.fault(("node", name, "addresses"), f"lists {len(addresses)}, where the "
                           f"others list {usual[0][0]}; the n-th address of each node forms ring "
                           "n, so give every node equally many")
    _loopback(document, findings)
    first: dict[int, int] = {}
    for name, node in document.node.items():
        for path, address in findings.numbered(("node", name, "addresses"), node.addresses):
            at = int(path[-1])
            if first.setdefault(at, address.version) != address.version:
                findings.fault(path, f'"{address}" is IPv{address.version}, where ring {at + 1} '
                               f"is IPv{first[at]}; list the addresses of each node in the same "
                               "order")


def _loopback(document: Document, findings: Findings) -> None:
    """On loopback a node reaches itself alone: all nodes of a ring live there, or none does."""
    found: dict[int, list[tuple[Path, Address]]] = {}
    for name, node in document.node.items():
        for path, address in findings.numbered(("node", name, "addresses"), node.addresses):
            found.setdefault(int(path[-1]), []).append((path, address))
    for ring in found.values():
        if not all(address.is_loopback for _, address in ring):
            for path, address in ring:
                if address.is_loopback:
                    findings.fault(path, f'"{address}" reaches this machine alone, and other nodes '
                                   "of this ring are elsewhere; write the address by which they "
                                   "reach it")


def _voters(document: Document, findings: Findings) -> None:
    for name, node in document.node.items():
        choice(STARTS, node.start, ("node", name, "start"), findings)
        if node.witness and not node.voter:
            findings.fault(("node", name, "voter"), "a witness that does not vote does nothing; "
                           "remove voter = false, or the node")
    if not document.node or findings.misses(("node",)) or any(
            findings.rejected(("node", name, "voter")) for name in document.node):
        return
    voters = sum(node.voter for node in document.node.values())
    if voters == 0:
        findings.fault(("node",), "no node votes; remove voter = false from three of them")
    elif voters > VOTERS_MAX:
        findings.fault(("node",), f"{voters} voters: more than {VOTERS_MAX} cost heartbeats and "
                       f"make nothing safer; set voter = false on {voters - VOTERS_MAX} or more")
    elif frame_bytes(document.node) > BODY_MAX - ROOM_MIN:
        findings.fault(("node",), f"the names of {len(document.node)} nodes do not fit into one "
                       "heartbeat; use shorter names, or fewer nodes")
    elif voters == 1:
        findings.warn(("node",), "one voter: when it dies, nothing takes over; configure three")
    elif voters == 2:
        findings.warn(("node",), "two voters: when one dies, the other has no majority and must "
                      "go through ZooKeeper, which takes seconds; add a third, such as the "
                      "machine of the third ZooKeeper server, with witness = true")
    elif voters % 2 == 0:
        findings.warn(("node",), f"{voters} voters survive no more losses than {voters - 1}; add "
                      "a witness, or set voter = false on one")
