"""Two transports on the rings of loopback, for tests of heartbeats over real sockets."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hamgr.adapters.udp import UdpTransport
from hamgr.core.events import Event, HeartbeatReceived
from hamgr.core.heartbeat import Heartbeat
from hamgr.wire import Wire

WIRE = Wire("crm", [bytes(32)])


def heartbeat(sender: str, sequence: int = 1) -> Heartbeat:
    return Heartbeat(
        cluster="", sender=sender, incarnation=1, round=1, sequence=sequence, sent=1, answer=False,
        seat="member", lapsed=False, lease=1, revision=1, voters=1, lateness=0, echo=None)


class Inbox:
    """Where a transport posts to; can be awaited."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    def post(self, event: Event) -> None:
        self.events.put_nowait(event)

    async def next(self) -> HeartbeatReceived:
        event = await asyncio.wait_for(self.events.get(), 10)
        assert isinstance(event, HeartbeatReceived)
        return event


def loopback() -> str:
    return f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"


def free_port(address: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


class Pair:
    """Two nodes on the same rings."""

    def __init__(self, addresses: dict[str, tuple[str, ...]], port: int) -> None:
        self.addresses, self.port = addresses, port
        self.inbox = {name: Inbox() for name in addresses}
        self.node = {name: UdpTransport(name, addresses, port, WIRE, self.inbox[name].post)
                     for name in addresses}


@asynccontextmanager
async def pair(rings: int = 2) -> AsyncIterator[Pair]:
    addresses = {name: tuple(loopback() for _ in range(rings)) for name in ("n1", "n2")}
    both = Pair(addresses, free_port(addresses["n1"][0]))
    try:
        for transport in both.node.values():
            await transport.start()
        yield both
    finally:
        for transport in both.node.values():
            await transport.close()
