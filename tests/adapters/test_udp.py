"""Heartbeats over real sockets: on loopback, and in network namespaces of the test's own."""

import asyncio
import ctypes
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from hamgr.adapters.udp import DRAINED_MAX, OUTAGE, UdpTransport
from hamgr.core.events import HeartbeatReceived
from hamgr.core.types import SECOND
from hamgr.wire import Wire, fingerprint
from tests.adapters.pairs import WIRE, Pair, heartbeat, loopback, pair


def test_a_heartbeat_arrives_over_every_ring() -> None:
    async def story() -> None:
        async with pair(rings=3) as both:
            both.node["n1"].send("n2", heartbeat("n1"))
            arrived = [await both.inbox["n2"].next() for _ in range(3)]
            assert sorted(event.ring for event in arrived) == [0, 1, 2]
            assert all(event.heartbeat == heartbeat("n1") for event in arrived)
            assert both.node["n1"].counters() == {"sent": 3}
            assert both.node["n2"].counters() == {"received": 3}
    asyncio.run(story())


def test_it_leaves_from_the_rings_own_address_as_network_control() -> None:
    async def story() -> None:
        own, peer = loopback(), loopback()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            listener.settimeout(10)
            listener.bind((peer, 0))
            port = listener.getsockname()[1]
            transport = UdpTransport("n1", {"n1": (own,), "n2": (peer,)}, port, WIRE, print)
            await transport.start()
            transport.send("n2", heartbeat("n1"))
            _, ancillary, _, source = listener.recvmsg(2000, 64)
            await transport.close()
            assert source == (own, port)
            assert ancillary[0][2] == bytes([0xC0])
    asyncio.run(story())


def test_what_is_not_ours_is_counted_by_reason() -> None:
    async def story() -> None:
        async with pair(rings=1) as both:
            (target,), (source,) = both.addresses["n2"], both.addresses["n1"]
            good = WIRE.encode(heartbeat("n1"), "n2")
            sends = [(loopback(), good), (source, b"noise"), (source, good[:-1] + b"\xff"),
                     (source, Wire("other", [bytes(32)]).encode(heartbeat("n1"), "n2")),
                     (source, WIRE.encode(heartbeat("n1"), "n3")), (source, b"x" * 3000)]
            for address, datagram in sends:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind((address, 0))
                    sock.sendto(datagram, (target, both.port))
            both.node["n1"].send("n2", heartbeat("n1"))
            await both.inbox["n2"].next()
            assert both.inbox["n2"].events.empty()
            assert both.node["n2"].counters() == {
                "dropped.source": 1, "dropped.foreign": 2, "dropped.mac": 2, "dropped.cluster": 1,
                "received": 1}
            assert both.node["n2"].dropped_lately() == {
                "source": 1, "foreign.n1": 2, "mac.n1": 2, "cluster.n1": 1}
    asyncio.run(story())


def test_a_replay_is_counted_and_the_copy_over_another_ring_is_none() -> None:
    async def story() -> None:
        async with pair(rings=2) as both:
            first, second = (replace(heartbeat("n1"), sequence=number) for number in (1, 2))
            for said in (first, second):
                both.node["n1"].send("n2", said)
                for _ in range(2):
                    await both.inbox["n2"].next()
            assert both.node["n2"].counters() == {"received": 4}
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((both.addresses["n1"][1], 0))
                for said in (second, first, replace(second, incarnation=0, sequence=9)):
                    sock.sendto(WIRE.encode(said, "n2"), (both.addresses["n2"][1], both.port))
                    await both.inbox["n2"].next()
            assert both.node["n2"].counters() == {"received": 7, "repeated": 3}
            assert both.node["n2"].dropped_lately() == {"repeated.n1": 3}
    asyncio.run(story())


def test_what_is_lost_on_a_ring_is_counted_by_the_gaps_in_its_numbers() -> None:
    """Each sender counts its heartbeats to each receiver, so a number that is missing was lost."""
    async def story() -> None:
        async with pair(rings=2) as both:
            async def says(sequence: int, ring: int, **changes: object) -> None:
                said = replace(heartbeat("n1", sequence), **changes)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind((both.addresses["n1"][ring], 0))
                    sock.sendto(WIRE.encode(said, "n2"), (both.addresses["n2"][ring], both.port))
                await both.inbox["n2"].next()

            def lost() -> dict[str, int]:
                counted = both.node["n2"].counters()
                return {name: count for name, count in counted.items() if name.startswith("lost")}

            for sequence in (7, 8, 9):  # what came before the first one was heard is not known
                await says(sequence, 0)
            assert lost() == {}
            await says(12, 0)
            await says(12, 0, part=1, parts=2)
            await says(14, 0)
            await says(11, 0)  # late
            for sequence in (7, 14):
                await says(sequence, 1)
            assert lost() == {"lost.n1.0": 3, "lost.n1.1": 6}
            await says(1, 0, incarnation=2)
            await says(3, 0, incarnation=2)
            assert lost() == {"lost.n1.0": 4, "lost.n1.1": 6}
            await says(14 + OUTAGE + 1, 1)
            assert lost()["lost.n1.1"] == 6 + OUTAGE
            assert both.node["n2"].rings_lately() == {
                "heard.n1.0": 7, "lost.n1.0": 4, "heard.n1.1": 3, "lost.n1.1": 6}
            assert both.node["n2"].counters()["repeated"] == 1
    asyncio.run(story())


def test_keys_are_exchanged_on_the_fly_and_told_of_every_node() -> None:
    old, new = bytes(32), bytes(range(32))
    one, other = fingerprint(old), fingerprint(new)

    async def story() -> None:
        async with pair(rings=1) as both:
            for number, (keys, told) in enumerate(
                    (([old], (one,)), ([old, new], (one, other)), ([new, old], (other, one)),
                     ([new], (other,))), 1):
                for name in ("n1", "n2"):  # one after the other: they differ by a stage meanwhile
                    both.node[name].use(Wire("crm", keys))
                    both.node["n1"].send("n2", heartbeat("n1", 2 * number + (name == "n2")))
                    await both.inbox["n2"].next()
                assert both.node["n2"].keys() == {"n1": told, "n2": told}
            assert both.node["n1"].keys() == {"n1": (other,)}, "n2 was never heard"
            both.node["n1"].use(Wire("crm", [old]))
            both.node["n1"].send("n2", heartbeat("n1", 10))
            both.node["n1"].use(Wire("crm", [new]))
            both.node["n1"].send("n2", heartbeat("n1", 11))
            await both.inbox["n2"].next()
            assert both.node["n2"].counters() == {
                "received": 9, "dropped.key": 1, "lost.n1.0": 1}
            assert both.node["n2"].keys()["n1"] == (other,), "what is dropped tells nothing"
    asyncio.run(story())


def test_what_was_dropped_is_told_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is wound on: nobody waits for a minute."""
    async def story() -> None:
        async with pair(rings=1) as both:
            (target,), (source,) = both.addresses["n2"], both.addresses["n1"]
            clock = time.monotonic_ns()
            monkeypatch.setattr("hamgr.adapters.udp.time.monotonic_ns", lambda: clock)
            for told in (1, 2, 1):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind((source, 0))
                    sock.sendto(b"noise", (target, both.port))
                both.node["n1"].send("n2", heartbeat("n1"))
                await both.inbox["n2"].next()
                assert both.node["n2"].dropped_lately().get("foreign.n1") == told
                clock += 31 * SECOND if told == 1 else 60 * SECOND
            clock += 60 * SECOND
            assert both.node["n2"].dropped_lately() == {}
            assert both.node["n2"].counters()["dropped.foreign"] == 3
    asyncio.run(story())


def test_a_flood_does_not_hold_up_the_loop() -> None:
    async def story() -> None:
        async with pair(rings=1) as both:
            (target,), (source,) = both.addresses["n2"], both.addresses["n1"]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((source, 0))
                for _ in range(3 * DRAINED_MAX):
                    sock.sendto(b"noise", (target, both.port))
            received = [0]
            for _ in range(5):
                await asyncio.sleep(0)
                received.append(both.node["n2"].counters().get("dropped.foreign", 0))
            steps = [after - before for before, after in zip(received, received[1:], strict=False)]
            assert received[-1] == 3 * DRAINED_MAX
            assert max(steps) == DRAINED_MAX, "more than one share in a turn of the loop"
    asyncio.run(story())


def test_a_peer_that_nobody_knows_is_no_error() -> None:
    async def story() -> None:
        async with pair() as both:
            both.node["n1"].send("n9", heartbeat("n1"))
            assert both.node["n1"].counters() == {}
    asyncio.run(story())


def test_an_address_in_use_is_told_at_the_start() -> None:
    async def story() -> None:
        async with pair(rings=1) as both:
            double = UdpTransport("n1", both.addresses, both.port, WIRE, print)
            with pytest.raises(OSError, match="in use"):
                await double.start()
    asyncio.run(story())


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="localhost"):
        UdpTransport("n1", {"n1": ("localhost",)}, 7410, WIRE, print)


# ---- in namespaces of their own

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
RINGS = {"v4": {"n1": ("10.1.0.1",), "n2": ("10.1.0.2",)},
         "v6": {"n1": ("fd00::1",), "n2": ("fd00::2",)}}


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def new_namespace() -> int:
    """Put the calling thread into a new network namespace, which ends with its last user."""
    assert libc.unshare(CLONE_NEWNET) == 0, "needs root"
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


async def two_machines(kind: str, late: bool, after: Callable[[Pair], Awaitable[None]]) -> None:
    """Join two namespaces by a cable, a node in each; go on with `after` in the first."""
    theirs = new_namespace()
    mine = new_namespace()
    both = Pair(RINGS[kind], 7410)
    try:
        ip(f"link add ring type veth peer name ring netns /proc/{os.getpid()}/fd/{theirs}")
        for namespace, name in ((theirs, "n2"), (mine, "n1")):
            assert libc.setns(namespace, CLONE_NEWNET) == 0
            ip("link set lo up")  # without any address at all, the kernel lets one bind to anything
            ip("link set ring up")
            if not (late and name == "n1"):
                ip(f"address add {both.addresses[name][0]}/24 dev ring"
                   + (" nodad" if kind == "v6" else ""))
            await both.node[name].start()
        await after(both)
    finally:
        for transport in both.node.values():
            await transport.close()
        os.close(theirs)
        os.close(mine)


def machines(kind: str, after: Callable[[Pair], Awaitable[None]], late: bool = False) -> None:
    """Run a story about two machines in a thread of its own, since it moves to a namespace."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(two_machines(kind, late, after))).result()


async def heard(both: Pair, sequence: int) -> None:
    """Send until the other side hears it: a link that comes up may lose the first ones."""
    async with asyncio.timeout(10):
        while True:
            both.node["n1"].send("n2", heartbeat("n1", sequence))
            try:
                event = await asyncio.wait_for(both.inbox["n2"].events.get(), 0.05)
            except TimeoutError:
                continue
            if isinstance(event, HeartbeatReceived) and event.heartbeat.sequence == sequence:
                return


@pytest.mark.real
def test_heartbeats_over_ipv6() -> None:
    async def after(both: Pair) -> None:
        await heard(both, 1)
    machines("v6", after)


@pytest.mark.real
def test_a_link_that_goes_down_and_up_is_survived() -> None:
    async def after(both: Pair) -> None:
        await heard(both, 1)
        ip("link set ring down")
        both.node["n1"].send("n2", heartbeat("n1", 2))
        assert both.node["n1"].counters()["unsent.n2.0.ENETUNREACH"] == 1
        ip("link set ring up")
        await heard(both, 3)
    machines("v4", after)


@pytest.mark.real
def test_an_address_that_is_removed_and_comes_back_is_used_again() -> None:
    async def after(both: Pair) -> None:
        await heard(both, 1)
        ip("address flush dev ring")
        both.node["n1"].send("n2", heartbeat("n1", 2))
        assert any(key.startswith("unsent.n2.0.E") for key in both.node["n1"].counters())
        ip("address add 10.1.0.1/24 dev ring")
        await heard(both, 3)
    machines("v4", after)


@pytest.mark.real
def test_an_address_that_comes_late_is_bound_when_it_comes() -> None:
    async def after(both: Pair) -> None:
        both.node["n1"].send("n2", heartbeat("n1", 1))
        assert both.node["n1"].counters() == {"unsent.n2.0.unbound": 1}
        ip("address add 10.1.0.1/24 dev ring")
        await heard(both, 2)
    machines("v4", after, late=True)


@pytest.mark.real
def test_a_machine_whose_agent_is_gone_is_no_error() -> None:
    """It answers with ICMP port unreachable, which only a connected socket would be told."""
    async def after(both: Pair) -> None:
        await both.node["n2"].close()
        for sequence in range(3):
            both.node["n1"].send("n2", heartbeat("n1", sequence))
        assert both.node["n1"].counters() == {"sent": 3}
    machines("v4", after)
