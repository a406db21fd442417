"""From plan to plan, whatever a leader knows: only steps that are safe (rules 16 to 19, 22 to 24).

A leader with any plan, seats and words of others plans as often as it has something to write; each
transaction is held against the rules, stated here apart from the code that follows them.
"""

from random import Random

from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hamgr.core.effects import Op, Write
from hamgr.core.heartbeat import Accusation, Echo, GroupWord, Heartbeat
from hamgr.core.knowledge import Knowledge
from hamgr.core.records import (
    LEADER,
    PLAN,
    REQUESTS,
    ROOT,
    GroupPlan,
    Leader,
    Plan,
    Request,
    Right,
    Root,
    Seat,
    Voters,
    seat_path,
)
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec
from hamgr.core.timing import Timing, timing_faults
from hamgr.core.types import MILLISECOND, SECOND, Instant, Life, Maintenance, Outcome, SeatState
from hamgr.leader.leadership import Leadership
from hamgr.times import times_for

NODES = ("n1", "n2", "n3", "n4")
GROUPS = ("crm", "erp")
TIMING = Timing()
SPEC = ClusterSpec(
    name="t", nodes=tuple(NodeSpec(name=node) for node in NODES),
    groups=(GroupSpec(name="crm", nodes=NODES),
            GroupSpec(name="erp", nodes=("n2", "n1", "n3"), stop_within=100 * MILLISECOND)))
TOP = 8
START: Instant = 100 * SECOND
SEAT_STATES = (SeatState.MEMBER, SeatState.MEMBER, SeatState.CLAIMED, SeatState.DEAD,
               SeatState.LEFT)


def group_plan(dice: Random, seats: dict[str, Seat]) -> GroupPlan:
    """Rights under epochs of their own, which name lives that their seats have reached."""
    rights: list[Right] = []
    for epoch in dice.sample(range(1, TOP + 1), dice.randint(0, 4)):
        node = dice.choice(NODES)
        life = min(dice.choice((seats[node].life, seats[node].life, Life(1, 1))),
                   seats[node].life)
        rights.append(Right(node=node, incarnation=life.incarnation, round=life.round,
                            epoch=epoch))
    vacant = dice.random() < 0.2
    holder, others = (None, rights) if vacant or not rights else (rights[0], rights[1:])
    heir = others.pop() if holder and others and dice.random() < 0.5 else None
    state = dice.choice((Maintenance.OFF, Maintenance.OFF, Maintenance.OFF,
                                  Maintenance.ENTERING, Maintenance.ON))
    if state is Maintenance.ON:
        others, heir = [], None
    return GroupPlan(holder=holder, heir=heir, leaving=tuple(others),
                     top_epoch=TOP if rights else dice.choice((0, TOP)),
                     maintenance=state if holder else Maintenance.OFF,
                     handover=dice.random() < 0.5 and heir is not None)


def said(dice: Random, node: str, seat: Seat, plan: Plan) -> Heartbeat:
    """What a node may say: mostly of the life that its seat shows, and of rights that it has."""
    life = dice.choice((seat.life, seat.life, seat.life, Life(2, 3), Life(1, 1)))
    words = []
    for name in GROUPS:
        own = [0, 0, *(right.epoch for right in plan.groups[name].rights if right.node == node)]
        words.append(GroupWord(name, dice.choice(own), dice.choice(own),
                               *(dice.choice((True, True, False)) for _ in range(3))))
    accused = dice.sample(NODES, dice.randint(0, 2))
    return Heartbeat(
        cluster="c1", sender=node, incarnation=life.incarnation, round=life.round, sequence=1,
        sent=0, answer=False, seat=dice.choice(("member", "member", "claimed")),
        lapsed=dice.choice((False, False, False, True)), lease=TIMING.lease,
        revision=dice.choice((5, 5, 4)), voters=dice.choice((3, 3, 2)),
        lateness=0, echo=Echo(1, 1, START, True), groups=tuple(words),
        accusations=tuple(Accusation(one, 2, 3) for one in accused if one != node),
        credits=tuple(dice.sample(NODES, dice.randint(2, 4))),
        scars=("n3",) if dice.random() < 0.2 else (),
        sound=dice.choice((True, True, True, False)))


def request(dice: Random) -> Request:
    times = dice.choice((times_for(50 * MILLISECOND), times_for(200 * MILLISECOND), TIMING))
    return Request(
        id="", group=dice.choice((*GROUPS, "")), node=dice.choice(NODES),
        kind=dice.choice(("switchover", "standby", "resume", "maintenance-on", "voters", "times")),
        voters=dice.choice((NODES, NODES[:3], ("n1", "n2"), ("n1", "n3", "n4"))),
        times=replace(times, claim=TIMING.claim))


class Planning:
    """A leader on n1, with what it knows; it plans until it has nothing more to write."""

    def __init__(self, dice: Random) -> None:
        self.now = START
        seats = {node: Seat(incarnation=life.incarnation, round=life.round, by=node,
                            state=dice.choice(SEAT_STATES if node != "n1"
                                                       else SEAT_STATES[:3]))
                 for node in NODES
                 for life in [Life(dice.randint(1, 2) if node != "n1" else 1, dice.randint(1, 3))]}
        voters = dice.choice((
            Voters(number=3, names=NODES[:3]), Voters(number=3, names=NODES),
            Voters(number=3, names=NODES[:3], coming=("n1", "n2")),
            Voters(number=3, names=NODES[:3], former=("n1", "n3", "n4"))))
        plan = Plan(revision=5, by="n1", voters=voters, times=TIMING,
                    groups={name: group_plan(dice, seats) for name in GROUPS})
        self.known = known = Knowledge(SPEC, "n1", 1, 0, "c1", 5)
        known.connected = True
        known.take(ROOT, Root(cluster_id="c1"), 0, 0)
        known.take(LEADER, Leader(term=1, node="n1", incarnation=1), 7, 0)
        known.take(PLAN, plan, 9, 0)
        for node, seat in seats.items():
            long_ago = dice.choice((True, True, False))
            known.take(seat_path(node), seat, 4, 0 if long_ago else START - 10 * MILLISECOND)
        for number in range(dice.choice((0, 0, 1, 2))):
            known.take(f"{REQUESTS}/{number}", request(dice), 2, START)
        self.heard = {node: said(dice, node, seats[node], plan) for node in NODES[1:]
                      if dice.choice((True, True, False))}
        known.liveness.accuse_silent(START)
        for heartbeat in self.heard.values():
            known.hear(heartbeat, 0, START)
        self.own = replace(said(dice, "n1", seats["n1"], plan), incarnation=1,
                           round=seats["n1"].round, lapsed=False, sound=True)
        self.numbers = 0
        self.leadership = Leadership(known, self._number, "c1")

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    def check(self) -> int:
        """Hold every step against the rules; return how many plans were written."""
        plans = 0
        for _ in range(6):
            old = self.known.plan
            assert old is not None
            effects = self.leadership.act(lambda _: self.own, True, self.now)
            writes = [effect for effect in effects if isinstance(effect, Write)]
            if not writes:
                break
            ops = writes[0].ops
            check_transaction(self, ops)
            for new in (op.record for op in ops if isinstance(op.record, Plan)):
                check_plan(self, old, new, ops)
                plans += 1
            versions = tuple(-1 if op.record is None else op.version + 1 for op in ops)
            self.leadership.answered(writes[0].write, Outcome.DONE, versions, self.now)
        return plans


def check_transaction(planning: Planning, ops: tuple[Op, ...]) -> None:
    """Rules 16, 17: under which versions, and who is declared dead on whose word."""
    known = planning.known
    plans = [op for op in ops if op.path == PLAN]
    if plans:
        assert (ops[0].kind, ops[0].path, ops[0].version) == ("check", LEADER, known.leader_version)
        assert plans[0].version == known.plan_version and ops[1] is plans[0]
    checked = {op.path for op in ops if op.path.startswith("seats/")}
    for op in ops:
        if op.path.startswith("seats/"):
            assert op.version == known.seats[op.path.partition("/")[2]].version
        if not isinstance(op.record, Seat):
            continue
        node = op.path.partition("/")[2]
        seen = known.seats[node]
        assert op.record.incarnation == seen.seat.incarnation
        if op.record.state is SeatState.DEAD:
            assert node != "n1" and op.record.life == seen.seat.life
            accusers = [one for one in NODES if one != node and seat_path(one) in checked
                        and _accuses(planning, one, node, seen.seat.life)]
            assert known.electorate.blocks(node, accusers), f"{node} on the word of {accusers}"
            if seen.seat.state is SeatState.CLAIMED:
                assert planning.now - seen.since >= TIMING.claim * 11 // 10
        else:
            assert op.record.round == seen.seat.round + 1 and op.record.state is SeatState.CLAIMED


def _accuses(planning: Planning, voter: str, node: str, life: Life) -> bool:
    """By its fresh word, our own silence heard, or as a voter that has been gone for long."""
    seen = planning.known.seats[voter]
    if seen.seat.state in (SeatState.DEAD, SeatState.LEFT) and (
            planning.now - seen.since >= TIMING.detection):
        return True
    if voter == "n1":
        return planning.known.liveness.peers[node].accused >= life
    heard = planning.heard.get(voter)
    if heard is None or planning.known.liveness.peers[voter].heartbeat is None:
        return False
    return any(one.node == node and one.life >= life for one in heard.accusations)


def is_out(planning: Planning, right: Right, group: str, ops: tuple[Op, ...]) -> bool:
    """Rule 17, by what was generated, not by what the code made of it."""
    seat = planning.known.seats[right.node].seat
    if seat.life > right.life or seat.incarnation == right.incarnation and (
            seat.state in (SeatState.DEAD, SeatState.LEFT)):
        return True
    if any(op.path == seat_path(right.node) and isinstance(op.record, Seat)
           and op.record.state is SeatState.DEAD for op in ops):
        return True
    if right.node == "n1":
        word = planning.own.word(group)
        return right.incarnation == 1 and word is not None and word.done >= right.epoch
    peer = planning.known.liveness.peers[right.node].heartbeat
    if peer is None:
        return False
    word = peer.word(group)
    done = word is not None and peer.incarnation == right.incarnation and word.done >= right.epoch
    idle = peer.lapsed and peer.life == right.life and (word is None or not word.epoch)
    return peer.incarnation > right.incarnation or done or idle


def seen_active(planning: Planning, right: Right, group: str) -> bool:
    says = planning.own if right.node == "n1" else (
        planning.known.liveness.peers[right.node].heartbeat)
    word = says.word(group) if says is not None else None
    return (says is not None and word is not None and word.epoch == right.epoch
            and says.incarnation == right.incarnation)


def check_group(planning: Planning, name: str, old: GroupPlan, new: GroupPlan,
                ops: tuple[Op, ...]) -> None:
    """Rules 17, 18, 19: what became of every right, and who may have got a new one."""
    known = planning.known
    before, after = ({right.epoch: right for right in group.rights} for group in (old, new))
    assert len(after) == len(new.rights), "an epoch is given once"
    assert new.top_epoch >= old.top_epoch and all(epoch <= new.top_epoch for epoch in after)
    assert (new.holder is not None) or new.heir is None
    for epoch, right in after.items():
        if epoch in before:
            was = before[epoch]
            moved = any(op.path == seat_path(right.node) and isinstance(op.record, Seat)
                        and op.record.life == right.life for op in ops)
            assert right == was or moved and right == replace(was, round=was.round + 1)
            continue
        assert epoch > old.top_epoch
        seat = next(op for op in ops if op.path == seat_path(right.node))
        written = seat.record if isinstance(seat.record, Seat) else known.seats[right.node].seat
        assert right.life == written.life and written.state is not SeatState.DEAD
    for epoch in before.keys() - after.keys():
        assert old.maintenance is not Maintenance.ON, "never out under maintenance (rule 22)"
        assert is_out(planning, before[epoch], name, ops), f"{before[epoch]} may be in use"
    fresh = after.keys() - before.keys()
    assert len(fresh) <= 2
    if new.holder is not None and new.holder.epoch in fresh:
        assert not before.keys() & after.keys(), "a new holder needs every other right out"
    if new.heir is not None and new.heir.epoch in fresh:
        assert new.holder is not None and not new.leaving
        for right in (new.holder, new.heir):
            assert known.seats[right.node].seat.state is SeatState.MEMBER
            assert any(op.path == seat_path(right.node) for op in ops)
    check_succession(planning, name, old, new)


def check_succession(planning: Planning, name: str, old: GroupPlan, new: GroupPlan) -> None:
    """Rule 18: who follows whom among those that had a right already."""
    left = {right.epoch for right in new.rights}
    if old.holder is not None and new.holder is not None:
        inherits = old.heir is not None and new.holder.epoch == old.heir.epoch
        if new.holder.epoch != old.holder.epoch and old.holder.epoch in left:
            assert new.holder.epoch > old.holder.epoch
            assert seen_active(planning, new.holder, name)
        if inherits and old.holder.epoch not in left:
            event("the heir inherits")
    if new.heir is not None and old.heir is not None and new.heir.epoch != old.heir.epoch:
        inherited = new.holder is not None and new.holder.epoch == old.heir.epoch
        assert inherited or old.heir.epoch not in left, (
            "a withdrawn heir is out before the next is named")
    for right in old.leaving:
        assert new.heir is None or new.heir.epoch != right.epoch, "what leaves is no heir again"
        if new.holder is not None and new.holder.epoch == right.epoch:
            assert seen_active(planning, new.holder, name)


def check_ground(old: Plan, new: Plan) -> None:
    """Rules 23, 24: the set of voters and the times change one step at a time."""
    was, now = old.voters, new.voters
    assert now.number >= was.number
    if now.names != was.names:
        assert now.number == was.number + 1 and now.former == was.names and not was.former
        assert now.names == was.coming, "they have credited before they count"
        for group in new.groups.values():
            assert group.heir is None and not group.leaving
    assert (now.names, now.coming) == (was.names, was.coming) or now.number > was.number
    assert not timing_faults(new.times) and new.times.claim == old.times.claim


def check_plan(planning: Planning, old: Plan, new: Plan, ops: tuple[Op, ...]) -> None:
    assert new.revision == old.revision + 1 and new.by == "n1"
    assert old.groups.keys() <= new.groups.keys(), "epochs are never forgotten"
    for name in new.groups:
        check_group(planning, name, old.groups.get(name, GroupPlan()), new.groups[name], ops)
    check_ground(old, new)


@settings(max_examples=1500)
@given(st.integers(0, 2**32))
def test_from_plan_to_plan_every_step_is_safe(seed: int) -> None:
    event(f"{Planning(Random(seed)).check()} plans")
