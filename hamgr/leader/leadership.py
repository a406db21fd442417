"""The leader record, and the writing of plans (rules 15, 16).

Taking the record is not what keeps two nodes from being active: every plan is written under its
version. So whoever has reason to may take it, politely.
"""

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from hamgr.core import records as rec
from hamgr.core.effects import Effect, Op, Report, Write
from hamgr.core.electorate import majority
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.knowledge import Knowledge
from hamgr.core.reasons import Reason
from hamgr.core.types import NEVER, Duration, Instant, Life, NodeName, Outcome, SeatState
from hamgr.leader import changes
from hamgr.leader.draft import Draft
from hamgr.leader.moves import Moves
from hamgr.leader.planner import declare_blocked_seats, plan_group, planned_groups
from hamgr.leader.requests import end_maintenance, gather
from hamgr.leader.situation import FitSince

Own = Callable[[Instant], Heartbeat]
"""What this node says of itself at an instant."""

HISTORY_KEPT = 200
"""Plan changes that the history in ZooKeeper keeps."""
LINES_TOLD = 20
"""Of a plan that changes more groups at once, all the lines are in the history alone."""
REQUESTS_KEPT = 16
"""Answered requests that are kept for whoever asked."""


class Pending(NamedTuple):
    """A transaction of ours that is not answered yet."""

    write: int
    kind: str
    """root, take, vacate or plan."""
    ops: tuple[Op, ...]
    lines: tuple[str, ...] = ()


class Leadership:
    """Whether this node leads, and what it writes while it does."""

    def __init__(self, knowledge: Knowledge, number: Callable[[], int], fresh_id: str) -> None:
        self._knowledge = knowledge
        self._number = number
        self._fresh_id = fresh_id
        self._pending: Pending | None = None
        self._wanted_since: Instant | None = None
        self._taken: list[Instant] = []
        self._retry_at: Instant = 0
        self._wake: Instant = NEVER
        self._led_since: Instant = 0
        self._lapsed_since: Instant = NEVER
        """Since when we have no valid lease: a leader that may not plan gives way."""
        self._request_since: dict[str, Instant] = {}
        self._acked: tuple[int, Instant] = (0, 0)
        """A plan revision, and when every living node was first heard to have read it."""
        self._moves = Moves()
        self._renewed_at: dict[str, Instant] = {}
        """When the round of each seat was renewed by us last."""
        self._cut_off: tuple[NodeName, Instant] = ("", NEVER)
        """A leader that lacks ZooKeeper, and since when it says so."""
        self._needed_since: Instant = NEVER
        self._not_before: Instant = 0
        self._quorum_heard_at: Instant = knowledge.started

    @property
    def leads(self) -> bool:
        """Tell whether the leader record, as last read, names this incarnation."""
        leader = self._knowledge.leader
        return (leader is not None and leader.node == self._knowledge.node
                and leader.incarnation == self._knowledge.incarnation)

    @property
    def fit_since(self) -> FitSince:
        """Return since when each node could have each group, as far as it was asked."""
        return self._moves.fit_since

    def begin_anew(self, now: Instant) -> None:
        """ZooKeeper's data was written anew: leave all the time to write their seats (rule 25)."""
        self._not_before = now + self._knowledge.timing.detection

    def wake(self) -> Instant:
        """Return when `act` may have something to do without any event."""
        return NEVER if self._pending is not None else max(self._wake, self._retry_at)

    def record_read(self) -> None:
        """News from ZooKeeper: what failed may be tried again."""
        self._retry_at = 0

    def disconnected(self) -> None:
        """Start afresh with the next connection."""
        self._wanted_since = None

    def answered(self, write: int, outcome: Outcome, versions: tuple[int, ...],
                 now: Instant) -> list[Effect]:
        """Take in the answer to a transaction of ours."""
        pending = self._pending
        if pending is None or pending.write != write:
            return []
        self._pending = None
        if outcome is not Outcome.DONE:
            self._retry_at = self._wake = now + self._knowledge.timing.interval
            if outcome is Outcome.CONFLICT:
                self._knowledge.contradicted(pending.ops)
            return []
        for op, version in zip(pending.ops, versions, strict=True):
            if op.record is not None:
                self._knowledge.take(op.path, op.record, version, now)
        if pending.kind == "plan":
            self._renewed_at |= {op.path: now for op in pending.ops if isinstance(
                op.record, rec.Seat) and op.record.state is SeatState.CLAIMED}
            return self._planned(pending)
        leader = self._knowledge.leader
        if pending.kind == "take" and leader is not None:
            self._led_since = now
            self._taken.append(now)
            return [Report(reason=Reason.LEADING,
                           facts={"term": leader.term, "why": pending.lines[0]})]
        return []

    def _planned(self, pending: Pending) -> list[Effect]:
        plan = next(op.record for op in pending.ops if op.path == rec.PLAN)
        assert isinstance(plan, rec.Plan)
        history = rec.History(revision=plan.revision, by=plan.by, lines=pending.lines)
        path = f"{rec.HISTORY}/{plan.revision}"
        effects: list[Effect] = [
            Report(reason=Reason.PLANNED, facts={"revision": plan.revision, "why": plan.why}),
            Write(write=self._number(), ops=(Op(kind="create", path=path, record=history),)),
        ]
        if plan.revision > HISTORY_KEPT:
            path = f"{rec.HISTORY}/{plan.revision - HISTORY_KEPT}"
            op = Op(kind="delete", path=path, version=0)
            effects.append(Write(write=self._number(), ops=(op,)))
        return effects

    def act(self, own: Own, holds: bool, now: Instant) -> list[Effect]:
        """Return what leading, or wanting to lead, asks for now. `holds`: our lease is valid."""
        self._lapsed_since = NEVER if holds else min(self._lapsed_since, now)
        self._wake = max(self._retry_at, self._not_before)
        if self._pending is not None or now < self._wake:
            return []
        self._wake = NEVER
        if self._knowledge.unsound():
            return []
        if self._knowledge.root is None:
            return self._create_root(now)
        if self.leads:
            return self._lead(own, holds, now)
        why = self._vacancy(now) if holds and self._knowledge.votes else ""
        if not why:
            self._wanted_since = None
            return []
        return self._take_when_due(why, now)

    def _create_root(self, now: Instant) -> list[Effect]:
        """Found the cluster, if nobody has been heard to know one (rule 25)."""
        due = self._knowledge.started + self._knowledge.timing.detection
        if now < due:
            self._wake = due
            return []
        root = rec.Root(cluster_id=self._fresh_id)
        return self._write("root", (Op(kind="create", path=rec.ROOT, record=root),))

    def _vacancy(self, now: Instant) -> str:
        """Say why the leader record may be taken, or nothing (rule 15)."""
        knowledge = self._knowledge
        leader = knowledge.leader
        if leader is None or not leader.node:
            return "there was none" if leader is None else "the record was vacant"
        seen = knowledge.seats.get(leader.node)
        if seen is None:
            missing = rec.seat_path(leader.node) in knowledge.versions
            return f"{leader.node} has no seat" if missing else ""
        life = max(seen.seat.life, Life(leader.incarnation, 0))  # a seat of before it led is old
        if seen.seat.life == life and seen.seat.state in (SeatState.DEAD, SeatState.LEFT):
            return f"the seat of {leader.node} says {seen.seat.state.value}"
        if life.incarnation != leader.incarnation:
            return f"{leader.node} has begun another life"
        # Where few voters are left, the dead ones alone may block anybody: hear for oneself too.
        if not knowledge.liveness.is_heard(leader.node, now) and (
                knowledge.blocked_for_plan(leader.node, life, now)):
            return f"{leader.node} is blocked"
        return self._lacks_zookeeper(leader.node, now)

    def _lacks_zookeeper(self, leader: NodeName, now: Instant) -> str:
        """Rule 15: say that the leader, by its own word, lacks ZooKeeper for `detection`."""
        knowledge = self._knowledge
        said = knowledge.liveness.says(leader, now)  # one that is silent may have changed its mind
        if said is None or said.sound:
            self._cut_off = ("", NEVER)
            return ""
        if self._cut_off[0] != leader:
            self._cut_off = (leader, now)
        due = self._cut_off[1] + knowledge.timing.detection
        self._wake = min(self._wake, due)
        return f"{leader} cannot use ZooKeeper" if now >= due else ""

    def _take_when_due(self, why: str, now: Instant) -> list[Effect]:
        timing = self._knowledge.timing
        if self._wanted_since is None:
            self._wanted_since = now
        due = self._wanted_since + self._better_placed(now) * timing.interval
        self._taken = [at for at in self._taken if now - at < 10 * timing.detection]
        if len(self._taken) >= 2:
            due = max(due, self._taken[0] + 10 * timing.detection)
        if now < due:
            self._wake = due
            return []
        knowledge, leader = self._knowledge, self._knowledge.leader
        record = rec.Leader(term=(leader.term if leader is not None else 0) + 1,
                            node=knowledge.node, incarnation=knowledge.incarnation)
        lead = Op(kind="create" if leader is None else "set", path=rec.LEADER,
                  version=knowledge.leader_version, record=record)
        seen = knowledge.seats.get(leader.node) if leader is not None else None
        seat = () if leader is None or seen is None else (Op(
            kind="check", path=rec.seat_path(leader.node), version=seen.version),)
        return self._write("take", (lead, *seat), (why,))

    def _better_placed(self, now: Instant) -> int:
        """Count the voters before us in the configuration that are heard with a valid lease."""
        node, names = self._knowledge.node, self._knowledge.voters.names
        before = names[:names.index(node)] if node in names else names
        words = [self._knowledge.liveness.says(name, now) for name in before]
        return sum(said is not None and not said.lapsed and said.round > 0 for said in words)

    def vacate_op(self) -> Op | None:
        """Return the operation that gives the record up, or None if it is not ours."""
        leader = self._knowledge.leader
        if leader is None or not self.leads:
            return None
        return Op(kind="set", path=rec.LEADER, version=self._knowledge.leader_version,
                  record=replace(leader, node="", incarnation=0))

    def _lead(self, own: Own, holds: bool, now: Instant) -> list[Effect]:
        knowledge = self._knowledge
        late = self._lapsed_since + knowledge.timing.detection
        if now >= late or not knowledge.votes or not self._hears_quorum(now):
            op = self.vacate_op()
            assert op is not None
            return self._write("vacate", (op,))
        if not holds:
            self._wake = min(self._wake, late)
            return []
        if knowledge.plan is None:
            plan = rec.Plan(revision=1, by=knowledge.node, times=knowledge.spec.timing,
                            voters=rec.Voters(number=1, names=knowledge.spec.voters),
                            why="first plan")
            return self._write_plan(plan, (), (plan.why,))
        draft = self._draft(own, now)
        self._wake = min(self._wake, draft.wake)
        return self._submit(draft)

    def _hears_quorum(self, now: Instant) -> bool:
        """Rule 15: a leader deaf to a majority for `detection` gives way.

        Voters whose seats are dead or left are not counted; with two left nobody gives way.
        """
        knowledge = self._knowledge
        names = [name for name in knowledge.voters.names if not knowledge.is_gone(name, now)]
        heard = sum(knowledge.liveness.is_heard(name, now) for name in names)
        if len(names) <= 2 or heard >= majority(names):
            self._quorum_heard_at = now
            return True
        # is_heard has waited for detection already; this is for the moment just after the start.
        due = max(self._quorum_heard_at, self._led_since) + knowledge.timing.detection
        self._wake = min(self._wake, due)
        return now < due

    def _draft(self, own: Own, now: Instant) -> Draft:
        knowledge = self._knowledge
        draft = Draft(knowledge, own(now), self._led_since, now)
        if changes.all_have_read(draft, revision=knowledge.revision):
            if self._acked[0] != knowledge.revision:
                self._acked = (knowledge.revision, now)
            draft.acked_at = self._acked[1]
        for name in knowledge.requests:
            self._request_since.setdefault(name, now)
        wishes = gather(draft, self._request_since)
        changes.finish_voters(draft)
        changes.note_fenced(draft)
        end_maintenance(draft)
        self._moves.by_policy(draft, wishes.moves)
        renewing = self._renewing(draft, now)
        voters_change = wishes.frozen or bool(draft.plan.voters.former)
        for spec in planned_groups(draft):
            group = draft.plan.groups.get(spec.name)
            owned = group is not None and any(right.node == renewing for right in group.rights)
            entering = group is not None and group.maintenance.value == "entering"
            plan_group(draft, spec, wishes.moves.get(spec.name, ""),
                       voters_change or entering or bool(renewing and owned))
        if renewing:
            changes.renew_round(draft, renewing)
        elif not voters_change:
            self._moves.better_heirs(draft, wishes.moves)
        declare_blocked_seats(draft)
        return draft

    def _renewing(self, draft: Draft, now: Instant) -> NodeName:
        """Return the node whose round is being renewed; each once in ten `detection` (rule 19)."""
        pause = 10 * self._knowledge.timing.detection
        for node in changes.to_be_renewed(draft) or [self._needed(draft, pause)]:
            due = self._renewed_at.get(rec.seat_path(node), now - pause) + pause
            if now >= due or node == draft.plan.renew:
                return node
            draft.wake_at(due)
        return ""

    def _needed(self, draft: Draft, pause: Duration) -> NodeName:
        """Return a scarred voter that has been needed for so long: mostly it heals before."""
        node = changes.needed_and_scarred(draft)
        if not node:
            self._needed_since = NEVER
            return ""
        self._needed_since = min(self._needed_since, draft.now)
        due = self._needed_since + pause
        if draft.now < due:
            draft.wake_at(due)
        return node if draft.now >= due else ""

    def _submit(self, draft: Draft) -> list[Effect]:
        knowledge = self._knowledge
        extra = [Op(kind="set", path=rec.seat_path(node), version=version, record=seat)
                 for node, (seat, version) in draft.seats.items()]
        extra += [Op(kind="check", path=rec.seat_path(node), version=version)
                  for node, version in draft.checks.items() if node not in draft.seats]
        answers = [Op(kind="set", path=f"{rec.REQUESTS}/{name}", record=request,
                      version=knowledge.requests[name][1])
                   for name, request in draft.requests.items()]
        if draft.plan == knowledge.plan and not draft.seats:
            if answers:
                return self._write("answer", tuple(answers))
            return self._prune_requests()
        plan = replace(draft.plan, revision=draft.plan.revision + 1, by=knowledge.node,
                       why=_told(draft.lines))
        return self._write_plan(plan, (*extra, *answers), tuple(draft.lines))

    def _prune_requests(self) -> list[Effect]:
        answered = sorted(name for name, (request, _) in self._knowledge.requests.items()
                          if request.state != "open")
        if len(answered) <= REQUESTS_KEPT:
            return []
        oldest = min(answered, key=lambda name: self._request_since.get(name, 0))
        self._request_since.pop(oldest, None)
        version = self._knowledge.requests[oldest][1]
        return self._write("prune", (Op(kind="delete", path=f"{rec.REQUESTS}/{oldest}",
                                        version=version),))

    def _write_plan(self, plan: rec.Plan, extra: tuple[Op, ...],
                    lines: tuple[str, ...]) -> list[Effect]:
        """Rule 16: one transaction, under the leader record's and the plan's version."""
        knowledge = self._knowledge
        lead = Op(kind="check", path=rec.LEADER, version=knowledge.leader_version)
        if knowledge.plan is None:
            op = Op(kind="create", path=rec.PLAN, record=plan)
        else:
            op = Op(kind="set", path=rec.PLAN, version=knowledge.plan_version, record=plan)
        return self._write("plan", (lead, op, *extra), lines)

    def _write(self, kind: str, ops: tuple[Op, ...], lines: tuple[str, ...] = ()) -> list[Effect]:
        self._pending = Pending(self._number(), kind, ops, lines)
        return [Write(write=self._pending.write, ops=ops)]


def _told(lines: list[str]) -> str:
    more = [f"and {len(lines) - LINES_TOLD} changes more"] if len(lines) > LINES_TOLD else []
    return "; ".join((*lines[:LINES_TOLD], *more))
