"""Many groups and long names: every heartbeat fits its datagrams, and nothing stays unsaid."""

from itertools import permutations

import pytest
from msgspec import msgpack
from msgspec.structs import replace

from hamgr.core.effects import ClaimAddresses, Effect, SendHeartbeat
from hamgr.core.events import ConfigurationApplied, HeartbeatReceived
from hamgr.core.heartbeat import GroupWord, Heartbeat
from hamgr.core.parts import BODY_MAX, ROOM_MIN, Hearing, Speech, frame_bytes
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec
from hamgr.core.types import MILLISECOND, SECOND
from hamgr.engine import Engine
from hamgr.snapshot import snapshot
from tests.core.cluster import Cluster

NODES = tuple(f"a-node-whose-name-is-as-long-as-{number}"[-32:] for number in range(1, 8))
GROUPS = tuple(f"a-group-whose-name-is-as-long-{number:02}"[-32:] for number in range(1, 41))


class Listening(Cluster):
    """A cluster whose heartbeats are written down, and may get lost."""

    def __init__(self, spec: ClusterSpec) -> None:
        super().__init__(spec)
        self.said: list[tuple[str, Heartbeat]] = []
        self.lost_part: tuple[str, str, int] | None = None
        """Sender, receiver and number of the part that does not arrive."""

    def _carry_out(self, node: str, engine: Engine, effect: Effect) -> None:
        if isinstance(effect, SendHeartbeat):
            self.said.append((effect.to, effect.heartbeat))
            if self.lost_part == (node, effect.to, effect.heartbeat.part):
                return
        super()._carry_out(node, engine, effect)


def _cluster(nodes: int, groups: int, holders: int = 1, voters: int = len(NODES)) -> Listening:
    names = NODES[:nodes]
    cluster = Listening(ClusterSpec(
        name="t", nodes=tuple(NodeSpec(name=name, voter=at < voters)
                              for at, name in enumerate(names)),
        groups=tuple(GroupSpec(name=group, nodes=_starting_at(names, at % holders))
                     for at, group in enumerate(GROUPS[:groups]))))
    for name in names:
        cluster.boot(name)
    cluster.advance(4 * SECOND)
    return cluster


def _starting_at(names: tuple[str, ...], at: int) -> tuple[str, ...]:
    return (*names[at:], *names[:at])


def _active_on(cluster: Cluster, node: str) -> set[str]:
    return {one.name for one in snapshot(cluster.engines[node], cluster.now).groups
            if one.phase == "active"}


def test_many_groups_move_at_once() -> None:
    cluster = _cluster(5, 24)
    groups = set(GROUPS[:24])
    assert _active_on(cluster, NODES[0]) == groups
    cluster.stop(NODES[0])
    cluster.advance(SECOND)
    cluster.crash(NODES[2])
    cluster.advance(SECOND)
    moved = [_active_on(cluster, node) for node in cluster.engines]
    assert set().union(*moved) == groups
    assert sum(len(one) for one in moved) == len(groups)


@pytest.mark.parametrize(("nodes", "groups", "holders", "voters"), [
    (3, 16, 1, 3), (3, 24, 2, 3), (5, 24, 2, 5), (4, 24, 2, 3)])
def test_in_every_interval_every_voter_tells_every_other_all(
        nodes: int, groups: int, holders: int, voters: int) -> None:
    """A voter that restarts must learn the epochs in use from any other (rule 2)."""
    cluster = _cluster(nodes, groups, holders, voters)
    cluster.said.clear()
    cluster.advance(100 * MILLISECOND)
    for sender, receiver in permutations(NODES[:voters], 2):
        heard = [heartbeat for to, heartbeat in cluster.said
                 if (heartbeat.sender, to) == (sender, receiver)]
        told = {group for heartbeat in heard for group, _ in heartbeat.epochs}
        told |= {word.group for heartbeat in heard for word in heartbeat.groups if word.epoch}
        assert told == set(GROUPS[:groups]), f"{receiver} is not told all by {sender}"


def test_who_has_no_vote_neither_tells_epochs_nor_is_told() -> None:
    cluster = _cluster(4, 24, 2, 3)
    cluster.said.clear()
    cluster.advance(200 * MILLISECOND)
    to_it = [heartbeat for to, heartbeat in cluster.said if to == NODES[3]]
    of_it = [heartbeat for _, heartbeat in cluster.said if heartbeat.sender == NODES[3]]
    assert to_it and of_it
    assert not any(heartbeat.epochs for heartbeat in (*to_it, *of_it))


def test_a_voter_credits_nobody_of_whom_it_never_heard_a_part() -> None:
    """That part may speak of an epoch which others have followed since (rule 2)."""
    cluster = _cluster(3, 40)
    first, second, _ = NODES[:3]
    cluster.lost_part = (first, second, 1)
    cluster.crash(second)
    cluster.advance(10 * MILLISECOND)
    cluster.boot(second)
    cluster.advance(3 * SECOND)
    assert not _credits(cluster, second, first)
    cluster.lost_part = None
    cluster.advance(200 * MILLISECOND)
    assert _credits(cluster, second, first)


def test_an_heir_acts_on_the_part_that_makes_the_whole_though_it_says_nothing_new() -> None:
    """A holder has lapsed and stopped some groups: whether all was said is known with the rest."""
    cluster = _cluster(3, 40)
    first, second, _ = NODES[:3]
    cluster.said.clear()
    cluster.advance(110 * MILLISECOND)
    parts = {heartbeat.part: heartbeat for to, heartbeat in cluster.said
             if (heartbeat.sender, to) == (first, second)}
    assert len(parts) > 1
    stopped = tuple(word._replace(epoch=0, armed=False, up=False) for word in parts[0].groups)
    claimed = []
    for number, part in sorted(parts.items()):
        said = replace(part, lapsed=True, wording=part.wording + 1, sequence=part.sequence + 1,
                       groups=part.groups if number else stopped)
        effects = cluster.engines[second].handle(HeartbeatReceived(heartbeat=said), cluster.now)
        claimed.append([one.group for one in effects if isinstance(one, ClaimAddresses)])
    assert claimed[:-1] == [[]] * (len(parts) - 1)
    assert claimed[-1] == [word.group for word in stopped]


def _credits(cluster: Cluster, voter: str, node: str) -> bool:
    peers = snapshot(cluster.engines[voter], cluster.now).peers
    return next(peer.credited for peer in peers if peer.node == node)


def test_parts_of_one_wording_are_put_together_and_of_two_are_not_mixed_up() -> None:
    body = replace(_cluster(3, 1).said[-1][1], echo=None, sequence=0)
    speech, hearing = Speech(NODES[:3]), Hearing()
    before, after = (replace(body, groups=tuple(GroupWord(name, epoch, 0, True, True)
                                                for name in GROUPS)) for epoch in (1, 2))
    first = speech.split(before)
    assert len(first) > 1
    assert [hearing.put_together(part).groups for part in first][-1] == before.groups
    assert hearing.is_whole
    again = speech.split(before)
    hearing.put_together(again[1])
    assert hearing.is_whole, "nothing new was said, so nothing is missing"
    later = speech.split(after)
    assert hearing.put_together(later[0]).groups[-1].epoch == 1
    assert not hearing.is_whole
    assert hearing.put_together(later[-1]).groups[-1].epoch == 2
    assert hearing.is_whole == (len(later) == 2)


def test_rule_2_what_is_said_with_epochs_and_without_is_not_taken_for_one_wording() -> None:
    """Who comes to vote hears the one after the other, of the same sender and in as many parts."""
    body = replace(_cluster(3, 1).said[-1][1], echo=None, sequence=0,
                   groups=tuple(GroupWord(name, 1, 0, True, True) for name in GROUPS))
    with_epochs, without = Speech(NODES[:3]), Speech(NODES[:3], odd=True)
    for _ in range(3):
        body = replace(body, groups=body.groups[::-1])
        hearing, brief, whole = Hearing(), without.split(body), with_epochs.split(body)
        assert len(brief) == len(whole) > 1
        for part in (*brief[:-1], whole[-1]):
            hearing.put_together(part)
        assert not hearing.is_whole


def test_no_frame_is_longer_than_the_configuration_was_checked_for() -> None:
    """The frame is what a heartbeat says beside its words on groups."""
    cluster = _cluster(7, 2)
    cluster.cuts |= set(permutations(NODES[:2], 2))
    cluster.advance(SECOND)
    cluster.cuts.clear()
    cluster.advance(SECOND)
    frames = [replace(heartbeat, groups=(), epochs=(), relays=()) for _, heartbeat in cluster.said]
    assert any(frame.scars for frame in frames)
    assert max(len(msgpack.encode(frame)) for frame in frames) <= frame_bytes(NODES)
    assert frame_bytes(NODES) + ROOM_MIN <= BODY_MAX


def test_parts_may_come_in_any_order_and_one_that_is_late_is_not_waited_for() -> None:
    cluster = _cluster(3, 40)
    first, second, _ = NODES[:3]
    said = [heartbeat for to, heartbeat in cluster.said
            if (heartbeat.sender, to, heartbeat.answer) == (first, second, False)]
    old = [part for part in said if part.sequence == said[-1].sequence]
    assert [part.part for part in old] == list(range(old[0].parts)) != [0]
    new = [replace(part, sequence=part.sequence + 1, wording=part.wording + 1) for part in old]
    for part, whole in ((new[-1], False), (old[0], False), *((part, False) for part in new[1:]),
                        (new[0], True), (new[-1], True)):
        cluster.engines[second].handle(HeartbeatReceived(heartbeat=part), cluster.now)
        assert _credits(cluster, second, first) is whole


def test_a_word_that_is_no_longer_said_is_forgotten() -> None:
    """A carrier that failed and came back: nothing is said of a group that is not ours and fits."""
    body = replace(_cluster(3, 1).said[-1][1], echo=None, sequence=0)
    speech, hearing = Speech(NODES[:3]), Hearing()
    unfit = tuple(GroupWord(name, 0, 0, False, False) for name in GROUPS)
    for part in speech.split(replace(body, groups=unfit)):
        hearing.put_together(part)
    for part in speech.split(replace(body, groups=unfit[:-1])):
        heard = hearing.put_together(part)
    assert heard.groups == unfit[:-1]


def test_rule_2_under_another_configuration_no_wording_has_a_number_of_before() -> None:
    """Else parts of the one before would be taken for those of this one that were lost."""
    cluster = _cluster(nodes=3, groups=40)
    sender = cluster.engines[NODES[0]]

    def wordings() -> set[int]:
        cluster.said.clear()
        cluster.advance(SECOND)
        return {said.wording for _, said in cluster.said if said.sender == NODES[0]}

    before = wordings()
    assert 0 not in before, "it speaks in parts"
    sender.handle(ConfigurationApplied(spec=cluster.spec, digest="another"), cluster.now)
    assert min(wordings()) > max(before)
