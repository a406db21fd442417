"""What a peer that has the key, and is broken, can talk the others into: nothing."""

from hamgr.core.events import HeartbeatReceived
from hamgr.core.heartbeat import GroupWord, Heartbeat, Relay
from hamgr.core.liveness import Liveness
from hamgr.core.timing import Timing
from hamgr.core.types import MILLISECOND, SECOND, Life
from hamgr.snapshot import snapshot
from tests.core.cluster import SPEC, Cluster, settled


def beat(**changes: object) -> Heartbeat:
    fields = dict(cluster="c1", sender="n3", incarnation=9, round=1, sequence=1, sent=0,
                  answer=False, seat="member", lapsed=False, lease=Timing().lease, revision=0,
                  voters=0, lateness=0, echo=None)
    return Heartbeat(**(fields | changes))


def test_what_is_said_of_groups_and_nodes_that_do_not_exist_is_not_passed_on() -> None:
    cluster = settled(Cluster(SPEC))
    lie = beat(groups=(GroupWord("erp", 7, 7, True, True),), epochs=(("x" * 1000, 1),),
               relays=(Relay("n9", 1, "crm", 1), Relay("n1", 1, "erp", 1)))
    cluster.engines["n1"].handle(HeartbeatReceived(heartbeat=lie), cluster.now)
    cluster.advance(SECOND)
    said = cluster.engines["n1"].voice.own(cluster.now)
    assert said.epochs == ()
    assert said.relays == ()
    assert [word.group for word in said.groups] == ["crm"]


def test_an_epoch_that_nobody_can_have_given_stops_nothing() -> None:
    cluster = settled(Cluster(SPEC))
    lie = beat(groups=(GroupWord("crm", 2 ** 61, 0, True, True),), epochs=(("crm", 2 ** 61),))
    cluster.engines["n1"].handle(HeartbeatReceived(heartbeat=lie), cluster.now)
    cluster.advance(SECOND)
    view = snapshot(cluster.engines["n1"], cluster.now).groups[0]
    assert (view.phase, view.epoch) == ("active", 1)


def test_rule_8_a_new_round_that_an_answer_tells_of_has_its_detection_to_be_heard_in() -> None:
    timing = Timing()
    liveness = Liveness("n1", 1, ("n3",), timing, 0)
    liveness.hear(beat(incarnation=1), 0, 0)
    assert [one.life for one in liveness.accuse_silent(SECOND)] == [Life(1, 1)]
    liveness.hear(beat(incarnation=1, round=2, sequence=2, answer=True), 0, SECOND)
    assert liveness.accuse_silent(SECOND) == []
    assert liveness.accuse_silent(SECOND + timing.detection - MILLISECOND) == []
    assert [one.life for one in liveness.accuse_silent(SECOND + timing.detection)] == [Life(1, 2)]


def test_words_that_are_never_heard_as_a_whole_do_not_pile_up() -> None:
    cluster = settled(Cluster(SPEC))
    for number in range(1, 500):
        part = beat(sequence=number, part=0, parts=2, wording=number,
                    groups=(GroupWord(f"g{number}", 0, 0, True, True),))
        cluster.engines["n1"].handle(HeartbeatReceived(heartbeat=part), cluster.now)
    said = cluster.engines["n1"].knowledge.liveness.peers["n3"].heartbeat
    assert said is not None and len(said.groups) == 1


def test_an_epoch_that_was_believed_before_the_first_plan_is_forgotten_with_it() -> None:
    cluster = settled(Cluster(SPEC))
    cluster.crash("n2")
    cluster.advance(SECOND)
    cluster.offline.add("n2")
    cluster.boot("n2")
    lie = beat(groups=(GroupWord("crm", 2 ** 61, 0, True, True),))
    cluster.engines["n2"].handle(HeartbeatReceived(heartbeat=lie), cluster.now)
    cluster.connect("n2")
    cluster.advance(5 * SECOND)
    assert cluster.engines["n2"].knowledge.epochs["crm"] < 2 ** 20
    assert snapshot(cluster.engines["n1"], cluster.now).peers[0].credits_us, "and credits again"
