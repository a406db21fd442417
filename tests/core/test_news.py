"""What is said at once, and what can wait for the next heartbeat."""

import msgspec

from hamgr.core.heartbeat import WHY_MAX, GroupWord
from hamgr.core.parts import ROOM_MIN
from hamgr.core.types import MILLISECOND, SECOND
from tests.bench.scale import Counted, with_groups

GROUPS = 40


def test_groups_that_come_up_one_by_one_are_not_told_of_one_by_one() -> None:
    """Of a thousand groups on a node, each such heartbeat would have dozens of parts."""
    cluster = Counted(with_groups(3, GROUPS))
    for node in cluster.spec.nodes:
        cluster.boot(node.name)
        cluster.advance(1 * MILLISECOND)
    cluster.advance(SECOND)
    assert all(group.is_up() for engine in cluster.engines.values()
               for group in engine.activity.groups.values() if group.local.is_active)
    assert sum(cluster.sent.values()) < 3 * GROUPS * 2


def test_the_longest_word_on_a_group_fits_into_what_the_file_must_leave_for_words() -> None:
    word = GroupWord("g" * 32, 2 ** 62, 2 ** 62, True, True, True, True, -2 ** 62, "w" * WHY_MAX)
    assert len(msgspec.msgpack.encode(word)) < ROOM_MIN
