"""No lost or late answer of ZooKeeper leaves a node's own state and its seat apart (rules 5, 6, 7).

Each of the first writes has a fate of its own; then comes peace, and all must agree.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamgr.core.effects import ClaimAddresses, Effect, WithdrawAddresses, Write
from hamgr.core.events import WriteAnswered
from hamgr.core.records import PLAN, Plan, Seat, seat_path
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import MILLISECOND, SECOND, Outcome
from hamgr.engine import Engine
from hamgr.snapshot import snapshot
from tests.core.cluster import NODES, SPEC, Cluster

LATE = 300 * MILLISECOND
FIRST_WRITES = 6


class Fate(Enum):
    """What becomes of one write."""

    GOOD = "written and answered"
    LOST = "never written, and nobody knows"
    SILENT = "written, but the answer is lost"
    LATE = "written at once, answered late"
    DELAYED = "said to be unknown, and written later"
    BROKEN = "written, then the connection breaks before the answer and comes back"


class Unreliable(Cluster):
    """A cluster whose ZooKeeper deals with the first writes as the fates say."""

    def __init__(self, spec: ClusterSpec, fates: list[Fate]) -> None:
        super().__init__(spec)
        self.fates = fates
        self.holding: set[str] = set()

    def _write(self, node: str, engine: Engine, effect: Write) -> None:
        fate = self.fates.pop(0) if self.fates and node not in self.offline else Fate.GOOD
        if fate is Fate.GOOD or not all(self._holds(op) for op in effect.ops):
            super()._write(node, engine, effect)
            return
        if fate is Fate.LOST:
            self._unknown(node, engine, effect)
        elif fate is Fate.DELAYED:
            self._unknown(node, engine, effect)
            self._after(LATE, partial(self._apply_if_still_right, effect))
        else:
            if fate is Fate.BROKEN:
                self.offline.add(node)  # before the others read what was written
            versions = tuple(self._apply(op) for op in effect.ops)
            if fate is Fate.SILENT:
                self._unknown(node, engine, effect)
            elif fate is Fate.LATE:
                late: Callable[[], None] = partial(
                    self._answer, node, engine, effect, Outcome.DONE, versions)
                self._after(LATE, late)
            else:
                self._break(node, engine, effect)

    def _unknown(self, node: str, engine: Engine, effect: Write) -> None:
        self._answer(node, engine, effect, Outcome.UNKNOWN)
        for op in effect.ops:
            self._after(2 * MILLISECOND, partial(self._reread, node, op.path))

    def _reread(self, node: str, path: str) -> None:
        if node not in self.offline:
            self.hand(node, self._read(path))

    def _apply_if_still_right(self, effect: Write) -> None:
        if all(self._holds(op) for op in effect.ops):
            for op in effect.ops:
                self._apply(op)

    def _break(self, node: str, engine: Engine, effect: Write) -> None:
        self.disconnect(node)
        self._hand_to(engine, node, WriteAnswered(write=effect.write, outcome=Outcome.UNKNOWN))
        self._after(LATE, partial(self.connect, node))

    def _carry_out(self, node: str, engine: Engine, effect: Effect) -> None:
        if isinstance(effect, ClaimAddresses):
            assert not self.holding - {node}, f"{node} claims what {self.holding} holds"
            self.holding.add(node)
        elif isinstance(effect, WithdrawAddresses):
            self.holding.discard(node)
        super()._carry_out(node, engine, effect)


def at_the_start(lot: list[Fate]) -> Unreliable:
    """Nobody knows anything yet."""
    cluster = Unreliable(SPEC, lot)
    for node in NODES:
        cluster.boot(node)
    return cluster


def cut_off(lot: list[Fate]) -> Unreliable:
    """The holder is cut off for a while."""
    cluster = settled()
    cluster.cuts |= {("n2", "n1"), ("n3", "n1"), ("n1", "n2"), ("n1", "n3")}
    cluster.fates = lot
    cluster.advance(600 * MILLISECOND)
    cluster.cuts.clear()
    return cluster


def stopped(lot: list[Fate]) -> Unreliable:
    """The holder stops and starts."""
    cluster = settled()
    cluster.fates = lot
    cluster.stop("n1")
    cluster.advance(3 * SECOND)
    cluster.boot("n1")
    return cluster


def renewed(lot: list[Fate]) -> Unreliable:
    """The leader is another node than the holder, which one voter did not hear for a while."""
    cluster = settled()
    cluster.stop("n1")
    cluster.advance(2 * SECOND)
    cluster.boot("n1")
    cluster.advance(4 * SECOND)
    cluster.cuts.add(("n2", "n1"))
    cluster.advance(400 * MILLISECOND)
    cluster.cuts.clear()
    cluster.fates = lot
    return cluster


STORIES = (at_the_start, cut_off, stopped, renewed)


def settled() -> Unreliable:
    cluster = at_the_start([])
    cluster.advance(3 * SECOND)
    return cluster


def peace(cluster: Unreliable) -> None:
    """Whatever was lost: in the end own state, seats and plan agree, and somebody is active."""
    cluster.advance(3 * SECOND)
    cluster.fates.clear()
    cluster.advance(7 * SECOND)
    for node, engine in cluster.engines.items():
        own = snapshot(engine, cluster.now)
        seat = cluster.tree[seat_path(node)][0]
        assert isinstance(seat, Seat)
        assert (own.lease, own.incarnation, own.round) == (
            seat.state.value, seat.incarnation, seat.round)
        assert own.lease == "member"
    plan = cluster.tree[PLAN][0]
    assert isinstance(plan, Plan)
    group = plan.groups["crm"]
    assert group.holder is not None and group.heir is not None and not group.leaving
    shown = snapshot(cluster.engines[group.holder.node], cluster.now).groups[0]
    assert (shown.phase, shown.epoch) == ("active", group.holder.epoch)


@pytest.mark.parametrize("fate", [fate for fate in Fate if fate is not Fate.GOOD])
@pytest.mark.parametrize("story", STORIES)
def test_one_write_goes_wrong(story: Callable[[list[Fate]], Unreliable], fate: Fate) -> None:
    for before in range(FIRST_WRITES):
        peace(story([Fate.GOOD] * before + [fate]))


@pytest.mark.parametrize("story", STORIES)
@settings(max_examples=10, deadline=None)
@given(lot=st.lists(st.sampled_from(Fate), min_size=2, max_size=20))
def test_many_writes_go_wrong(story: Callable[[list[Fate]], Unreliable],
                              lot: list[Fate]) -> None:
    peace(story(lot))
