"""Heartbeats over every ring: one UDP socket for each of the node's addresses.

Ring n joins the n-th addresses of all nodes. A socket is bound to its ring's own address, so what
is sent over a ring leaves from there, and one cut ring does not disturb another. A bound socket
outlives its interface going down and its address being removed and added again; an address that
is not there yet (early at boot) is tried again every second.

Nothing that the network does raises here: it is counted. A wake-up takes a bounded number of
datagrams, so that a flood cannot hold up the timers on which leases rest; the source address
and the first bytes are looked at before anything is computed.
"""

import asyncio
import errno
import logging
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping

from hamgr.core.events import HeartbeatReceived
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.types import SECOND, NodeName
from hamgr.ports import Post
from hamgr.wire import DATAGRAM_MAX, KEYS, Drop, Wire, fingerprints

log = logging.getLogger(__name__)

DRAINED_MAX = 64
"""Datagrams taken in one wake-up of the loop: some 0.3 ms of work when all are authentic."""
BIND_AGAIN_S = 1.0
RECEIVE_BUFFER = 256 * 1024
"""Bytes. About a hundred datagrams of full size, with the kernel's own overhead."""
TRAFFIC_CLASS = 0xC0
"""DSCP CS6, network control (RFC 2474, RFC 4594): switches queue heartbeats before bulk data."""
PRIORITY = 6
"""The highest SO_PRIORITY that needs no privilege (socket(7)): ahead of bulk in the own queue."""
LATELY_S = 60
OUTAGE = 50
"""Heartbeats in a row that are missing on a ring: no loss on a ring that works, but one that did
not, and works again. At 20 % loss as many are never missing in a row by chance."""


class UdpTransport:
    """Implements the port Transport for one node."""

    def __init__(self, node: NodeName, addresses: Mapping[NodeName, tuple[str, ...]], port: int,
                 wire: Wire, post: Post) -> None:
        """`addresses` are those of every node, this one included, in the order of the rings.

        Raises KeyError if this node has none, ValueError if one is not a numeric address.
        """
        self._node = node
        self._port = port
        self._route(addresses)
        self._wire = wire
        self._post = post
        self._sockets: list[socket.socket | None] = [None] * len(self._own)
        self._counters: Counter[str] = Counter()
        self._lately = _Lately()
        self._rings = _Lately()
        self._newest: dict[tuple[NodeName, int], tuple[int, int, int]] = {}
        """Incarnation, sequence and part of the newest datagram of each peer on each ring."""
        self._keys: dict[NodeName, bytes] = {}
        """What the last authentic datagram of each peer says of its keys."""
        self._binding: list[asyncio.Task[None]] = []

    def _route(self, addresses: Mapping[NodeName, tuple[str, ...]]) -> None:
        own = addresses[self._node]
        self._own = [_endpoint(address, self._port) for address in own]
        self._peers = {name: [_endpoint(address, self._port) for address in theirs[:len(own)]]
                       for name, theirs in addresses.items() if name != self._node}
        self._sources = {end[0].partition("%")[0]: name
                         for name, ends in self._peers.items() for _, end in ends}

    def configure(self, addresses: Mapping[NodeName, tuple[str, ...]]) -> None:
        """Send to and hear these nodes from now on, over these rings.

        A ring on which this node's own address stays is not disturbed. Raises as the constructor.
        """
        before = list(zip(self._own, self._sockets, strict=True))
        self._route(addresses)
        for task in self._binding:
            task.cancel()
        self._binding.clear()
        kept = [old for (end, old), new in zip(before, self._own, strict=False) if end == new]
        for _, sock in before:
            if sock is not None and sock not in kept:
                asyncio.get_running_loop().remove_reader(sock.fileno())
                sock.close()
        self._sockets = [sock if sock in kept else None for _, sock in before][:len(self._own)]
        self._sockets += [None] * (len(self._own) - len(self._sockets))
        for ring, sock in enumerate(self._sockets):
            if sock is None and not self._reopened(ring):
                self._binding.append(asyncio.create_task(self._open_when_there(ring)))

    def _reopened(self, ring: int) -> bool:
        """Open a ring's socket now, if that can be: else it is tried again."""
        try:
            return self._open(ring)
        except OSError as error:
            self._counters[f"unbound.{ring}.{_name(error)}"] += 1
            return False

    async def start(self) -> None:
        """Open one socket a ring; an address that is not there yet is bound when it comes.

        Raises OSError if an own address is there but cannot be bound.
        """
        for ring, (_, end) in enumerate(self._own):
            try:
                there = self._open(ring)
            except OSError:
                await self.close()
                raise
            if not there:
                log.warning("ring %d: address %s is not on this machine yet", ring, end[0])
                self._binding.append(asyncio.create_task(self._open_when_there(ring)))

    def send(self, to: NodeName, heartbeat: Heartbeat) -> None:
        """Send at once over every ring; what cannot be sent is counted by peer, ring and error."""
        datagram = self._wire.encode(heartbeat, to)
        for ring, (_, end) in enumerate(self._peers.get(to, ())):
            sock = self._sockets[ring]
            if sock is None:
                self._counters[f"unsent.{to}.{ring}.unbound"] += 1
                continue
            try:
                sock.sendto(datagram, end)
            except OSError as error:
                self._counters[f"unsent.{to}.{ring}.{_name(error)}"] += 1
            else:
                self._counters["sent"] += 1

    def use(self, wire: Wire) -> None:
        """Sign and accept with other keys, from the next datagram on."""
        self._wire = wire

    def keys(self) -> dict[NodeName, tuple[str, ...]]:
        """Return the fingerprints of every node's keys, the one that signs first.

        Of a peer it is what its last authentic heartbeat said; one that was never heard is missing.
        """
        return {self._node: self._wire.keys,
                **{peer: fingerprints(ids) for peer, ids in self._keys.items()}}

    def counters(self) -> Mapping[str, int]:
        """Return what was sent, unsent by peer, ring and error, received, and dropped by reason.

        Lost, by peer and ring, are the numbers that were passed over on that ring: each sender
        counts its heartbeats to each receiver. What comes late counts as lost, and as repeated.
        Repeated are those that came again, or late, on the ring on which they came before: what was
        duplicated on the way, and replays. They are received, and left to the engine (rule 3).
        """
        return dict(self._counters)

    def dropped_lately(self) -> Mapping[str, int]:
        """Return what was dropped or repeated in the last minute: `<reason>.<peer>`, `source`."""
        return self._lately.sum()

    def rings_lately(self) -> Mapping[str, int]:
        """Return how many heartbeats came, and were lost on the way, on each ring in the last
        minute: `heard.<peer>.<ring>`, `lost.<peer>.<ring>`. The silence of a ring is no loss."""
        return self._rings.sum()

    async def close(self) -> None:
        """Close the sockets."""
        for task in self._binding:
            task.cancel()
        self._binding.clear()
        loop = asyncio.get_running_loop()
        for ring, sock in enumerate(self._sockets):
            if sock is not None:
                loop.remove_reader(sock.fileno())
                sock.close()
                self._sockets[ring] = None

    def _open(self, ring: int) -> bool:
        """Return whether the ring's own address is there. Raises OSError for any other fault."""
        family, end = self._own[ring]
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            _prefer(sock, family)
            sock.bind(end)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
        self._sockets[ring] = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._drain, sock, ring)
        return True

    async def _open_when_there(self, ring: int) -> None:
        while True:
            await asyncio.sleep(BIND_AGAIN_S)
            if self._reopened(ring):
                log.info("ring %d: address %s is there now", ring, self._own[ring][1][0])
                return

    def _drain(self, sock: socket.socket, ring: int) -> None:
        for _ in range(DRAINED_MAX):
            try:
                datagram, source = sock.recvfrom(DATAGRAM_MAX + 1)
            except BlockingIOError:
                return
            except OSError as error:
                self._counters[f"unreceived.{ring}.{_name(error)}"] += 1
                return
            peer = self._sources.get(source[0])
            if peer is not None:
                self._take(datagram, ring, peer)
            else:
                self._counters["dropped.source"] += 1
                self._lately.count("source")

    def _take(self, datagram: bytes, ring: int, peer: NodeName) -> None:
        heartbeat = self._wire.decode(datagram, self._node)
        if isinstance(heartbeat, Drop):
            self._counters[f"dropped.{heartbeat.value}"] += 1
            self._lately.count(f"{heartbeat.value}.{peer}")
            return
        self._counters["received"] += 1
        if heartbeat.sender == peer:
            self._number(heartbeat, ring, datagram[KEYS])
        self._post(HeartbeatReceived(heartbeat=heartbeat, ring=ring))


    def _number(self, heartbeat: Heartbeat, ring: int, keys: bytes) -> None:
        """Look at the number of a heartbeat: what does it repeat, and what was lost before it?"""
        peer = heartbeat.sender
        number = (heartbeat.incarnation, heartbeat.sequence, heartbeat.part)
        newest = self._newest.get((peer, ring), (0, 0, 0))
        if number <= newest:
            self._counters["repeated"] += 1
            self._lately.count(f"repeated.{peer}")
            return
        self._newest[peer, ring] = number
        self._keys[peer] = keys
        if number[:2] == newest[:2]:
            return  # another part of it
        self._rings.count(f"heard.{peer}.{ring}")
        lost = heartbeat.sequence - newest[1] - 1
        if heartbeat.incarnation == newest[0] and lost:
            self._counters[f"lost.{peer}.{ring}"] += lost
            if lost < OUTAGE:
                self._rings.count(f"lost.{peer}.{ring}", lost)


class _Lately:
    """Counts over the last minute, second by second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, Counter[str]]] = deque(maxlen=LATELY_S)

    def count(self, what: str, how_many: int = 1) -> None:
        second = time.monotonic_ns() // SECOND
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, Counter()))
        self._seconds[-1][1][what] += how_many

    def sum(self) -> dict[str, int]:
        since = time.monotonic_ns() // SECOND - LATELY_S
        found: Counter[str] = Counter()
        for second, counted in self._seconds:
            if second > since:
                found += counted
        return dict(found)


def _endpoint(address: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Return family and socket address. Raises ValueError if the address is not numeric."""
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM,
                                   flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
    except socket.gaierror as error:
        raise ValueError(f"{address!r} is not a numeric address: {error.strerror}") from error
    family, _, _, _, end = found[0]
    return family, end  # type: ignore[return-value]  # IPv6 has two more fields, all opaque here


def _prefer(sock: socket.socket, family: socket.AddressFamily) -> None:
    """Mark the traffic. The traffic class comes first: setting it resets the priority (ip(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, TRAFFIC_CLASS)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, TRAFFIC_CLASS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, PRIORITY)


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "EUNKNOWN")
