"""What a client hears of a VIP, frame by frame and when: gratuitous ARP, unsolicited neighbour
advertisements."""

import asyncio
import ctypes
import ipaddress
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hamgr.adapters.net.announcer import Announcer
from tests.adapters.vips import V4, V6, VipHost
from tests.netns import PATIENCE_S, Segment

SO_TIMESTAMPNS = 35
DUE_S = (0, 0.2, 1, 5, 65)
BROADCAST, ALL_NODES = bytes.fromhex("ffffffffffff"), bytes.fromhex("333300000001")


@pytest.fixture
def lan() -> Iterator[Segment]:
    with Segment("a", "client") as segment:
        yield segment


@pytest.fixture
def wire(lan: Segment) -> Iterator[socket.socket]:
    """The client's side of the wire: a socket that was opened there, by a thread that went."""
    opened: list[socket.socket] = []

    def there() -> None:
        with open(f"/run/netns/{lan.namespace('client')}") as namespace:
            assert ctypes.CDLL(None).setns(namespace.fileno(), 0x40000000) == 0
        heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        heard.bind(("eth0", 3))
        heard.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        heard.settimeout(PATIENCE_S)
        opened.append(heard)

    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    with opened[0]:
        yield opened[0]


def announcements(lan: Segment) -> dict[str, Callable[[bytes], bool]]:
    """What must be heard of both VIPs, told from RFC 5227, RFC 4861 and the wire alone."""
    mac = bytes.fromhex(lan.mac("a").replace(":", ""))
    v4, v6 = (ipaddress.ip_address(vip[0]).packed for vip in (V4, V6))
    arp = BROADCAST + mac + struct.pack("!HHHBB", 0x0806, 1, 0x0800, 6, 4)
    nodes = ipaddress.ip_address("ff02::1").packed

    def advertisement(frame: bytes) -> bool:
        """Hop limit 255, from the VIP to all nodes: override, not solicited, with our MAC."""
        return (frame.startswith(ALL_NODES + mac + b"\x86\xdd") and frame[20:22] == b"\x3a\xff"
                and frame[22:54] == v6 + nodes and frame[54] == 136 and frame[58] & 0x60 == 0x20
                and frame[62:78] == v6 and frame[78:86] == b"\x02\x01" + mac)

    return {
        "ARP request": lambda frame: frame.startswith(
            arp + b"\x00\x01" + mac + v4 + bytes(6) + v4),
        "ARP reply": lambda frame: frame.startswith(arp + b"\x00\x02" + mac + v4 + mac + v4),
        "advertisement": advertisement,
    }


def heard(wire: socket.socket) -> tuple[float, bytes]:
    """The next frame, and when the kernel took it."""
    frame, [(_, _, stamp)], _, _ = wire.recvmsg(2048, 64)
    seconds, nanoseconds = struct.unpack("=qq", stamp)
    return seconds + nanoseconds / 1e9, frame


@pytest.mark.real
def test_a_client_hears_the_announcements_when_they_are_due(lan: Segment,
                                                            wire: socket.socket) -> None:
    """Each comes after its time and before the next one's; the minute has a test of its own."""
    wanted = announcements(lan)
    times: dict[str, list[float]] = {kind: [] for kind in wanted}
    a = VipHost(lan, "a", g=[V4, V6])
    until = time.monotonic() + PATIENCE_S
    a.claim()
    while any(len(of_kind) < 4 for of_kind in times.values()):
        assert time.monotonic() < until, times
        at, frame = heard(wire)
        for kind, is_one in wanted.items():
            if is_one(frame):
                times[kind].append(at)
    for kind, of_kind in times.items():
        assert len(of_kind) == 4, (kind, of_kind)
        for at, due, next_due in zip(of_kind, DUE_S, DUE_S[1:], strict=False):
            # 10 ms: the first is the later, the longer its sending took.
            assert due - 0.01 <= at - of_kind[0] < next_due, (kind, of_kind)


class _Hours(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now


class _Jump(selectors.DefaultSelector):
    def __init__(self, loop: _Hours) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        self._loop.now += timeout or 0
        return super().select(0)


def test_then_each_minute_and_from_the_beginning_when_it_begins_anew() -> None:
    said: list[tuple[float, bool]] = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        announcer = Announcer(lambda group, first: said.append((round(loop.time(), 3), first)))
        announcer.begin("g")
        await asyncio.sleep(200)
        announcer.begin("g")
        await asyncio.sleep(3)
        announcer.stop("g")
        await asyncio.sleep(1000)

    with asyncio.Runner(loop_factory=_Hours) as runner:
        runner.run(live())
    assert said == [(0, True), (0.2, False), (1, False), (5, False), (65, False), (125, False),
                    (185, False), (200, True), (200.2, False), (201, False)]
