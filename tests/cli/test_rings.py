"""What `hamgr status` says of a ring that is dark, and of what cannot be told without it."""

import pytest

from hamgr.cli import from_agent
from hamgr.cli.survey import Answer, Survey, Wire
from hamgr.core.types import MILLISECOND, SECOND
from hamgr.snapshot import PeerView
from tests.cli import cluster
from tests.cli.cluster import peer, snapshot

N1 = Answer(mac="02:00:00:00:00:01", node="n1")
FROM_N1 = {vip.address: Wire(asked=True, mac=N1.mac, node="n1", answers=(N1,))
           for vip in cluster.VIPS}
SOON, LONG_AGO = 31 * MILLISECOND, 42 * SECOND


@pytest.mark.parametrize("rings, other, told", [
    ((LONG_AGO, SOON), (SOON, SOON), "nothing is heard on ring 1 of n1, which is up: look at"),
    ((SOON,), (SOON, SOON), "nothing is heard on ring 2 of n1, which is up: look at"),
    ((SOON, None), (SOON, LONG_AGO), "nothing is heard on ring 2 of n1 and n3, which are up: "),
])
def test_a_ring_on_which_a_node_that_is_up_is_silent_is_a_problem(
        rings: tuple[int, ...], other: tuple[int, ...], told: str) -> None:
    view = snapshot(peers=(peer("n1", rings_ago=rings), peer("n3", rings_ago=other)))
    survey = from_agent.survey(cluster.status(view), FROM_N1)
    assert survey.verdict == "degraded"
    assert [one.text.startswith(told) for one in survey.problems] == [True]


def test_a_node_that_hears_nobody_in_the_network_of_a_vip_cannot_tell_who_has_it() -> None:
    cut = {"rings_ago": (LONG_AGO, SOON)}
    vips = FROM_N1 | {"10.0.0.100/24": Wire(asked=True)}

    def asked(*peers: PeerView) -> Survey:
        return from_agent.survey(cluster.status(snapshot(peers=peers)), vips)

    survey = asked(peer("n1", **cut), peer("n3", **cut))
    assert survey.verdict == "degraded"
    assert survey.problems[0].text == (
        "nobody knows who answers for 10.0.0.100/24: cannot tell from n2, which hears nobody on "
        "ring 1, in that network")
    # The witness is heard there, so it is the owner that nobody reaches.
    assert asked(peer("n1", **cut), peer("n3")).verdict == "failed"
    assert asked(peer("n1"), peer("n3")).verdict == "failed"
