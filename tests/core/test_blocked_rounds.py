"""A round that is blocked in anybody's view is over, and stays so (rules 4, 8, 9).

Voters and an owner made of the parts alone (who is heard, who is accused, the lease), on clocks
that drift, over links that lose and delay what they please.
"""

from collections.abc import Sequence
from random import Random

from hypothesis import event, given, settings
from hypothesis import strategies as st

from hamgr.core.electorate import Electorate
from hamgr.core.heartbeat import Accusation, Echo, Heartbeat
from hamgr.core.lease import Lease
from hamgr.core.liveness import Liveness
from hamgr.core.timing import Timing
from hamgr.core.types import MILLISECOND, NO_LIFE, SECOND, Duration, Instant, Life

TIMING = Timing()
STEP = 10 * MILLISECOND
BEAT = 10
"""Steps between two heartbeats of a node."""
ROUND = Life(1, 1)
RATES = (92, 100, 108)
"""Hundredths of true time: as far as time synchronisation slews a clock (PROTOCOL: Times)."""
OWNER = "n1"


class Node:
    """One voter: what it hears, and whom it accuses; the owner's lease too."""

    def __init__(self, name: str, names: Sequence[str], rate: int) -> None:
        self.name, self.rate = name, rate
        self.others = [other for other in names if other != name]
        self.liveness = Liveness(name, 1, self.others, TIMING, self.clock(0))
        self.lease = Lease(TIMING.lease)
        self.sequence = 0

    def clock(self, now: Instant) -> Instant:
        return SECOND + now * self.rate // 100

    def says(self, to: str, now: Instant) -> Heartbeat:
        self.sequence += 1
        peer = self.liveness.peers[to]
        echo = peer.echo
        if echo is not None:
            echo = echo._replace(credited=not peer.accused >= Life(echo.incarnation, echo.round))
        return Heartbeat(
            cluster="c1", sender=self.name, incarnation=1, round=1, sequence=self.sequence,
            sent=self.clock(now), answer=False, seat="member", lapsed=False, lease=TIMING.lease,
            revision=1, voters=1, lateness=0, echo=echo,
            accusations=self.liveness.standing_accusations())

    def hears(self, heartbeat: Heartbeat, now: Instant) -> None:
        at = self.clock(now)
        if self.liveness.hear(heartbeat, 0, at):
            echo = heartbeat.echo
            if echo is not None and echo.credited and echo.sent <= at:
                self.lease.credit(heartbeat.sender, echo.sent)


class Net:
    """Some nodes, and what is on its way between them."""

    def __init__(self, rates: Sequence[int], dice: Random) -> None:
        names = [f"n{number}" for number in range(1, len(rates) + 1)]
        self.electorate = Electorate(tuple(names))
        self.nodes = [Node(name, names, rate) for name, rate in zip(names, rates, strict=True)]
        self.owner = self.nodes[0]
        self.dice, self.now, self.steps = dice, 0, 0
        self.cut: set[tuple[str, str]] = set()
        self.loss = 0.0
        self._on_the_way: list[tuple[Instant, Node, Heartbeat]] = []
        self.blocked_by = ""

    def step(self) -> None:
        self.now += STEP
        self.steps += 1
        for number, node in enumerate(self.nodes):
            if (self.steps + 3 * number) % BEAT == 0:
                self._beat(node)
        due = [one for one in self._on_the_way if one[0] <= self.now]
        self._on_the_way = [one for one in self._on_the_way if one[0] > self.now]
        for _, to, heartbeat in due:
            to.hears(heartbeat, self.now)
        for node in self.nodes:
            if node.liveness.accuse_silent(node.clock(self.now)):
                self._beat(node)  # rule 8: sent to everyone at once
        self.check()

    def _beat(self, node: Node) -> None:
        for to in self.nodes:
            if to is not node:
                said = node.says(to.name, self.now)
                if (node.name, to.name) not in self.cut and self.dice.random() >= self.loss:
                    delay: Duration = self.dice.choice((0, 0, 0, STEP, 5 * STEP, 40 * STEP))
                    self._on_the_way.append((self.now + delay, to, said))

    def check(self) -> None:
        for node in self.nodes[1:]:
            accusers = node.liveness.accusers(OWNER, ROUND, node.clock(self.now))
            if self.electorate.blocks(OWNER, accusers):
                self.blocked_by = self.blocked_by or node.name
        deadline = self.owner.lease.deadline(self.electorate, OWNER)
        assert not self.blocked_by or deadline <= self.owner.clock(self.now), (
            f"blocked in the view of {self.blocked_by}, and its lease is valid")


phases = st.lists(st.tuples(
    st.integers(5, 80), st.sampled_from((0.0, 0.2, 0.7)),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=6)), min_size=1, max_size=6)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(RATES), min_size=2, max_size=5), phases,
       st.randoms(use_true_random=False))
def test_rule_9_a_blocked_round_has_no_lease_and_never_has_one_again(
        rates: list[int], story: list[tuple[int, float, list[tuple[int, int]]]],
        dice: Random) -> None:
    net = Net(rates, dice)
    for _ in range(30):
        net.step()
    for steps, loss, cuts in story:
        names = net.electorate.names
        net.loss = loss
        net.cut = {(names[one % len(names)], names[other % len(names)]) for one, other in cuts}
        for _ in range(steps):
            net.step()
    event("blocked" if net.blocked_by else "never blocked")


lives = st.builds(Life, st.integers(1, 3), st.integers(1, 4))
steps = st.lists(st.tuples(
    st.sampled_from(("hear", "answer", "learn", "late", "times", "wait")), lives,
    st.integers(0, 500).map(lambda ms: ms * MILLISECOND)), max_size=30)


@settings(max_examples=500)
@given(steps, st.lists(st.integers(0, 12), min_size=31, max_size=31))
def test_rule_8_nobody_is_accused_too_early_and_no_accusation_is_withdrawn(
        story: list[tuple[str, Life, int]], numbers: list[int]) -> None:
    """Too early: within a detection of what was heard or first learned, and of own lateness."""
    heard = Liveness("n1", 1, ("n2",), TIMING, started=0)
    peer, now, allowed_at = heard.peers["n2"], 0, TIMING.detection
    accused: list[Life] = []
    for (kind, life, amount), number in zip(story, numbers, strict=False):
        known, newest = peer.known, peer.heartbeat
        if kind == "wait":
            now += amount
        elif kind == "late":
            heard.forgive(amount)
            allowed_at += amount
        elif kind == "learn":
            heard.learn("n2", life, now)
        elif kind == "times":
            heard.set_timing(Timing(detection=TIMING.detection + amount))
        else:
            said = Heartbeat(
                cluster="c1", sender="n2", incarnation=life.incarnation, round=life.round,
                sequence=number, sent=0, answer=kind == "answer", seat="member", lapsed=False,
                lease=TIMING.lease, revision=1, voters=1, lateness=0, echo=Echo(1, 1, 0, True))
            heard.hear(said, 0, now)
            assert peer.heartbeat is newest or life.incarnation >= known.incarnation
            if kind == "hear" and peer.heartbeat is not newest:
                allowed_at = now + heard.timing.detection
        if peer.known > known:
            allowed_at = max(allowed_at, now + heard.timing.detection)
        assert peer.known >= known, "rule 3: a life that is over comes back no more"
        fresh = heard.accuse_silent(now)
        assert not fresh or now >= allowed_at
        assert all(one.life == peer.known for one in fresh), "the highest that is known (rule 8)"
        accused += [one.life for one in fresh]
        for past in accused:
            assert heard.accusers("n2", past, now) == ("n1",)
            assert heard.accusers("n2", NO_LIFE._replace(incarnation=1), now), "and all before it"
        standing = heard.standing_accusations()
        assert standing == (() if peer.accused < peer.known or not accused
                            else (Accusation("n2", *peer.accused),))
