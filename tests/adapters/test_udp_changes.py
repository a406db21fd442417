"""Another configuration, while heartbeats go on over the sockets that stay."""

import asyncio

from hamgr.adapters.udp import UdpTransport
from tests.adapters.pairs import WIRE, Inbox, heartbeat, loopback, pair


def test_peers_come_and_go_on_sockets_that_stay() -> None:
    async def run() -> None:
        async with pair(rings=1) as both:
            n1, n2 = both.node["n1"], both.node["n2"]
            sockets = list(n1._sockets)
            third = {**both.addresses, "n3": (loopback(),)}
            inbox = Inbox()
            n3 = UdpTransport("n3", third, both.port, WIRE, inbox.post)
            await n3.start()
            try:
                n3.send("n1", heartbeat("n3"))
                n1.send("n2", heartbeat("n1"))
                await both.inbox["n2"].next()
                assert n1.counters()["dropped.source"] == 1, "nobody has told of it yet"
                n1.configure(third)
                n3.send("n1", heartbeat("n3", 2))
                assert (await both.inbox["n1"].next()).heartbeat.sender == "n3"
                n1.send("n3", heartbeat("n1", 2))
                assert (await inbox.next()).heartbeat.sender == "n1"
                n1.configure(both.addresses)
                n3.send("n1", heartbeat("n3", 3))
                n2.send("n1", heartbeat("n2"))
                assert (await both.inbox["n1"].next()).heartbeat.sender == "n2"
                assert n1.counters()["dropped.source"] == 2
                assert n1._sockets == sockets
            finally:
                await n3.close()

    asyncio.run(run())


def test_a_ring_comes_and_another_moves_while_the_first_goes_on() -> None:
    async def run() -> None:
        async with pair(rings=2) as both:
            n1, n2 = both.node["n1"], both.node["n2"]
            first = n1._sockets[0]
            moved = {name: (theirs[0], loopback(), loopback())
                     for name, theirs in both.addresses.items()}
            n1.configure(moved)
            n2.configure(moved)
            assert n1._sockets[0] is first
            n1.send("n2", heartbeat("n1"))
            rings = {(await both.inbox["n2"].next()).ring for _ in range(3)}
            assert rings == {0, 1, 2}
            for transport in (n1, n2):
                transport.configure({name: theirs[:1] for name, theirs in moved.items()})
            n1.send("n2", heartbeat("n1", 2))
            assert (await both.inbox["n2"].next()).ring == 0
            await asyncio.sleep(0.05)
            assert both.inbox["n2"].events.empty()

    asyncio.run(run())
