"""Somebody on the wire who has no key, and sends what he hears to other nodes than it was for."""

import pytest

from hamgr.core import effects as fx
from hamgr.core.events import HeartbeatReceived
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.records import PLAN
from hamgr.core.types import MILLISECOND, SECOND
from hamgr.engine import Engine
from tests.core.cluster import HEARTBEAT_TAKES, NODES, SPEC, WIRE, Cluster


class Redirecting(Cluster):
    """Gives a node's datagrams for one peer to another one too.

    He keeps back what would make the other one stop: words of a higher epoch.
    """

    def __init__(self, source: str, meant_for: str, given_to: str) -> None:
        super().__init__(SPEC)
        self.source, self.meant_for, self.given_to = source, meant_for, given_to
        self.redirects = False
        self.taken = 0

    def _carry_out(self, node: str, engine: Engine, effect: fx.Effect) -> None:
        super()._carry_out(node, engine, effect)
        if isinstance(effect, fx.SendHeartbeat) and self.redirects and (
                (node, effect.to) == (self.source, self.meant_for)):
            self._redirect(effect.heartbeat)

    def _redirect(self, heartbeat: Heartbeat) -> None:
        if any(word.epoch > 1 for word in heartbeat.groups) or any(
                epoch > 1 for _, epoch in heartbeat.epochs):
            return
        heard = WIRE.decode(WIRE.encode(heartbeat, self.meant_for), self.given_to)
        if isinstance(heard, Heartbeat):
            self.taken += 1
            event = HeartbeatReceived(heartbeat=heard)
            self._after(HEARTBEAT_TAKES, lambda: self.hand(self.given_to, event))


@pytest.mark.parametrize("meant_for, source", [("n2", "n3"), ("n3", "n2")])
def test_credits_to_another_node_keep_no_isolated_holder_active(
        meant_for: str, source: str) -> None:
    cluster = Redirecting(source, meant_for, "n1")
    for node in NODES:
        cluster.boot(node)
    cluster.advance(4 * SECOND)
    assert cluster.tree[PLAN][0].groups["crm"].holder.node == "n1"
    for other in ("n2", "n3"):
        cluster.cuts |= {("n1", other), (other, "n1")}
    cluster.offline.add("n1")
    cluster.redirects = True
    active = []
    for _ in range(1500):
        cluster.advance(MILLISECOND)
        active.append([node for node, engine in cluster.engines.items()
                       if engine.activity.groups["crm"].local.is_active])
    assert cluster.taken == 0
    assert max(map(len, active)) == 1
    assert active[-1] != ["n1"], "the others take over all the same"
