"""The engine: events in, effects out; the only place that composes the parts.

`handle(event, now)` never raises for anything that a peer, ZooKeeper or an operator can do. An
AssertionError is our own bug: the agent then stops everything exclusive and exits, which is safe,
since the dead-man's switch and the lease are outside of it. The order of effects is the order of
execution. Nothing here reads a clock: `now` is nanoseconds of the node's CLOCK_MONOTONIC.
"""

from collections.abc import Mapping

from hamgr.core import effects as fx
from hamgr.core import events as ev
from hamgr.core.activity import Activity
from hamgr.core.beat import Beat, sets_beat, wants_answer
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.knowledge import Knowledge
from hamgr.core.reasons import Reason
from hamgr.core.records import PLAN, Plan, seat_path
from hamgr.core.scars import Scars
from hamgr.core.seat import HOLDING, LEAVE_PATIENCE, SeatKeeper, Standing
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import MILLISECOND, NEVER, Duration, Epoch, Instant, NodeName, SeatState
from hamgr.core.voice import Voice
from hamgr.leader.leadership import Leadership

LOSSY_BEATS = 3
"""Heartbeats in an interval while some are lost: of ten in a row within a detection, at 20 % loss,
all are lost once in ten million times."""


class Engine:
    """One incarnation of one node."""

    def __init__(self, spec: ClusterSpec, node: NodeName, incarnation: int, now: Instant, *,
                 known_cluster: str = "", known_revision: int = 0,
                 in_place: Mapping[str, Epoch] | None = None, config_digest: str = "",
                 version: str = "", fresh_cluster_id: str = "") -> None:
        assert incarnation > 0
        self.node = node
        self.incarnation = incarnation
        self.knowledge = Knowledge(spec, node, incarnation, now, known_cluster, known_revision)
        self._numbers = 0
        self.seat = SeatKeeper(self.knowledge, self._number)
        fresh = fresh_cluster_id or f"{spec.name}-{node}-{incarnation}-{now}"
        self.leadership = Leadership(self.knowledge, self._number, fresh)
        self.activity = Activity(self.knowledge, self.seat, self._number)
        self.voice = Voice(self.knowledge, self.seat, self.activity, config_digest, version)
        self.activity.adopt(in_place or {}, now)
        self._now: Instant = now
        self._beat = Beat(now)
        self._next_extra: Instant = NEVER
        self._plan_by: Instant = now
        self._deadline_sent: Instant = -1
        self._say_now = False
        self._calm = False
        self._wake_at: Instant = now
        """When something is due by what was known at the last decision or heartbeat."""
        self._look_by: Instant = now
        self._changed = True
        """Something that a leader's decision may rest on."""
        self._scars = Scars(self.knowledge)
        self.stopping = ""
        self._stop_by: Instant = NEVER
        self._ended = False
        self._facts_kept = (known_cluster, known_revision)

    def handle(self, event: ev.Event, now: Instant) -> list[fx.Effect]:
        """Take in what happened and return what shall be done, in this order."""
        if self._ended:
            return []
        self._now = max(self._now, now)
        effects: list[fx.Effect] = []
        due, calm = now >= self._wake_at or now >= self._look_by, self._calm
        self._check_lease(now, effects)
        if isinstance(event, ev.HeartbeatReceived):
            if not (self._heard(event.heartbeat, event.ring, now, effects) or effects) and (
                    now < self.deadline()):
                return effects
        elif not isinstance(event, ev.Tick):
            self._changed = True
            self._take_in(event, now, effects)
        decides = due or not calm or self._changed or self._say_now
        if decides:
            self.voice.reconsider()
            self._decide(now, effects)
            self._calm, self._look_by = self._is_calm(), now + self.knowledge.liveness.patience()
        if not self._ended:
            self._speak(now, effects)
        if decides or self._wake_at <= self._beat.next:  # by now it may be due later
            self._wake_at = self._wake()
        self._hand_deadline_over(effects)
        return effects

    def deadline(self) -> Instant:
        """Return when a Tick is wanted; NEVER once this life is over."""
        if self._ended:
            return NEVER
        return min(self._beat.next, self._next_extra, self._wake_at)

    def _wake(self) -> Instant:
        """Return when something is to be decided without any event."""
        lease = self.seat.deadline if self.seat.standing in HOLDING else NEVER
        silent = self.knowledge.liveness.due() if self.knowledge.votes else []
        wakes = (lease, *silent, self.seat.wake(), self.leadership.wake(), self.activity.wake(),
                 self._stop_by)
        # What was due by the last call has had its chance, and waits for an event now.
        return min((at for at in wakes if at > self._now), default=NEVER)

    def _is_calm(self) -> bool:
        """Tell whether nothing is decided by a heartbeat that says nothing new, or an own one.

        Most are such: what they bring, a credit and an echo, is taken in all the same, and puts
        off what is due; that is looked at when it was, and now and then.
        """
        return (self.seat.standing is Standing.MEMBER and not self.stopping
                and self.activity.is_calm())

    def _check_lease(self, now: Instant, effects: list[fx.Effect]) -> None:
        """Rule 4: past the deadline the round is over, before anything received is looked at."""
        seat = self.seat
        if seat.standing in HOLDING and now >= seat.deadline:
            why = "no majority of credits, and no claim" if seat.round else "never held"
            self._end_round(why, effects)

    def _end_round(self, why: str, effects: list[fx.Effect]) -> None:
        self.seat.lapse()
        self._say_now = True
        effects.append(self._report(Reason.LAPSED, round=self.seat.round, why=why))

    def _take_in(self, event: ev.News, now: Instant, effects: list[fx.Effect]) -> None:
        match event:
            case ev.RecordRead():
                self._record_read(event, now, effects)
            case ev.WriteAnswered():
                self._write_answered(event, now, effects)
            case ev.LoopWasLate(lateness=lateness):
                self._was_late(lateness, effects)
            case ev.ZooKeeperChanged(connected=connected):
                self._zookeeper_changed(connected, effects)
            case ev.DeviceAnswered():
                self.activity.fencing.answered(event)
            case ev.DeadlineSet(serial=serial):
                self.seat.deadline_set(serial)
            case ev.AttributeChanged():
                self.activity.attribute_changed(event)
            case ev.StopAsked(why=why):
                self._stop(why or "told to stop", now)
            case ev.ConfigurationApplied(spec=spec, digest=digest):
                self.knowledge.configure(spec, now)
                self.activity.configure(now)
                self.voice.digest = digest
                effects.append(self._report(Reason.CONFIGURED, digest=digest))
            case _:
                effects += self.activity.take_in(event, now)

    def _decide(self, now: Instant, effects: list[fx.Effect]) -> None:
        knowledge, seat = self.knowledge, self.seat
        if knowledge.votes:
            self._accuse(now, effects)
        effects += self.activity.act(now, bool(self.stopping))
        if self.activity.take_news():
            self._say_now = self._changed = True
        if seat.standing is Standing.LAPSED and not self.activity.exclusive():
            seat.stopped()
        if seat.over and not self.activity.exclusive():
            self._begin_new_life(effects)
            return
        if self.stopping:
            self._leave(now, effects)
        elif self.activity.may_end_round():
            self._heal_scar(now, effects)
        vacate = self.leadership.vacate_op() if self.stopping else None
        effects += self.seat.act(now, may_claim=not self.activity.exclusive(),
                                  may_reclaim=self.activity.may_reclaim(), vacate=vacate,
                                  serial=self._number)
        if not self.stopping:
            self._plan(now, effects)

    def _plan(self, now: Instant, effects: list[fx.Effect]) -> None:
        """Lead, or try to: when something has changed, and else once in an interval."""
        if self._changed or now >= self._plan_by or now >= self.leadership.wake():
            self._changed, self._plan_by = False, now + self.knowledge.timing.interval
            effects += self.leadership.act(self.voice.own, self.seat.holds(now), now)

    def _speak(self, now: Instant, effects: list[fx.Effect]) -> None:
        """Send heartbeats: when they are due, and at once when something must be known."""
        regular, interval = now >= self._beat.next, self.knowledge.timing.interval
        if regular:
            self.seat.interval_passed(now)
            self._beat.pass_by(now, interval)
        if regular or self._say_now or now >= self._next_extra:
            self._say_now = False
            effects += self.voice.heartbeats(self._receivers(), now)
            lossy = self.knowledge.liveness.is_lossy(now)
            self._next_extra = now + interval // LOSSY_BEATS if lossy else NEVER

    def _receivers(self) -> list[NodeName]:
        """All others; beyond seven nodes, one without a vote has voters and partners only."""
        knowledge = self.knowledge
        others = list(knowledge.liveness.peers)
        if len(knowledge.spec.nodes) <= 7 or knowledge.votes:
            return others
        wanted = {*knowledge.voters.voting, *self.activity.partners()}
        return [node for node in others if node in wanted]

    def _hand_deadline_over(self, effects: list[fx.Effect]) -> None:
        """Tell the switch, before anything else is done (rule 4)."""
        deadline = self.seat.deadline
        if deadline == self._deadline_sent:
            return
        self._deadline_sent = deadline
        if not any(isinstance(effect, fx.SetDeadline) for effect in effects):
            at = 0 if self.activity.exclusive() else len(effects)  # after disarming: nothing to do
            effects.insert(at, fx.SetDeadline(deadline=deadline, serial=self._number()))

    def _heard(self, heartbeat: Heartbeat, ring: int, now: Instant,
               effects: list[fx.Effect]) -> bool:
        """Take in a heartbeat; False if it is not news, such as the same one on another ring."""
        knowledge, peer = self.knowledge, self.knowledge.liveness.peers.get(heartbeat.sender)
        if peer is None:
            return False
        before, whole = peer.heartbeat, peer.hearing.is_whole
        doubtful = knowledge.liveness.is_doubtful(peer, now)
        if not knowledge.hear(heartbeat, ring, now):
            return False
        assert peer.heartbeat is not None
        heartbeat = peer.heartbeat
        if before is None or before.incarnation != heartbeat.incarnation:
            report = self._report(Reason.HEARD, peer=peer.node, incarnation=heartbeat.incarnation)
            effects.append(report)
        self._changed |= doubtful or before is None or whole != peer.hearing.is_whole or (
            before.essence != heartbeat.essence)
        known = before.accusations if before is not None else ()
        effects += [self._report(Reason.ACCUSED_BY, peer=peer.node, accused=one.node,
                                 incarnation=one.incarnation, round=one.round)
                    for one in heartbeat.accusations if one not in known]
        echo = heartbeat.echo
        if echo is not None and echo.credited and echo.sent <= now and (
                self.seat.standing in HOLDING and echo[:2] == self.seat.life):
            self.seat.lease.credit(heartbeat.sender, echo.sent)
        # One in parts is answered once: when nothing of its wording is missing any more.
        if not heartbeat.answer and peer.hearing.is_whole and knowledge.votes:
            self._answer(heartbeat, now, effects)
        return True

    def _answer(self, heartbeat: Heartbeat, now: Instant, effects: list[fx.Effect]) -> None:
        """Have its echo back at its sender at once: with our own heartbeat, if that can go now."""
        knowledge, sender, lossless = self.knowledge, heartbeat.sender, self._next_extra == NEVER
        if not (wants_answer(heartbeat, knowledge.plan, self.node if lossless else "")
                or knowledge.can_spare_none(heartbeat, now)):
            return
        if lossless and sets_beat(sender, knowledge.plan) and (
                self._beat.follow(now, knowledge.timing.interval)):
            return
        if not self._calm or self._changed or self._say_now:
            self.voice.reconsider()
        effects += self.voice.heartbeats([sender], now, answer=True)

    def _record_read(self, event: ev.RecordRead, now: Instant, effects: list[fx.Effect]) -> None:
        knowledge = self.knowledge
        was_unsound = knowledge.unsound()
        if event.path == seat_path(self.node) and self.seat.is_past(event.version):
            knowledge.forget_records()
        news = knowledge.take(event.path, event.record, event.version, now)
        if event.path == seat_path(self.node):
            self.seat.seat_read(now)
        if knowledge.begins_anew():
            self.seat.forget()
            self.leadership.begin_anew(now)
            effects.append(fx.Read(paths=()))
        if news:
            self.leadership.record_read()
            if event.path == PLAN:
                self._plan_taken(now)
        unsound = knowledge.unsound()
        suspect = unsound not in ("", "not connected", "not read yet")
        if suspect and unsound != was_unsound:
            effects.append(self._report(Reason.FOREIGN_DATA, why=unsound))
        self._keep_facts(effects)

    def _plan_taken(self, now: Instant) -> None:
        """A new plan: adopt its times; tell everybody which revision is read."""
        timing = self.knowledge.timing
        if timing.lease != self.seat.lease.length:
            self.seat.lease.set_length(timing.lease, now)
        plan = self.knowledge.plan
        self._say_now |= isinstance(plan, Plan) and any(
            right.node == self.node for group in plan.groups.values() for right in group.rights)

    def _keep_facts(self, effects: list[fx.Effect]) -> None:
        knowledge = self.knowledge
        facts = (knowledge.cluster_id, knowledge.revision)
        if facts != self._facts_kept and not knowledge.unsound():
            self._facts_kept = facts
            effects.append(fx.KeepFacts(cluster_id=facts[0], revision=facts[1]))

    def _write_answered(self, event: ev.WriteAnswered, now: Instant,
                        effects: list[fx.Effect]) -> None:
        before = self.seat.standing
        if self.seat.answered(event.write, event.outcome, event.versions, now):
            self._report_standing(before, effects)
            return
        revision = self.knowledge.revision
        effects += self.leadership.answered(event.write, event.outcome, event.versions, now)
        self.seat.seat_read(now)
        if self.knowledge.revision != revision:
            self._plan_taken(now)
            self._keep_facts(effects)

    def _report_standing(self, before: Standing, effects: list[fx.Effect]) -> None:
        after = self.seat.standing
        self._say_now |= after is not before
        told = {Standing.CLAIMED: Reason.CLAIMED, Standing.MEMBER: Reason.BECAME_MEMBER}
        if after is not before and after in told:
            effects.append(self._report(told[after], round=self.seat.round))

    def _was_late(self, lateness: Duration, effects: list[fx.Effect]) -> None:
        # A moment more: what came meanwhile is read before anybody is accused (rule 8).
        self.knowledge.liveness.forgive(lateness + MILLISECOND)
        self.voice.lateness = lateness
        if lateness >= self.knowledge.timing.interval:
            effects.append(self._report(Reason.LOOP_LATE, late_ms=lateness // MILLISECOND))

    def _zookeeper_changed(self, connected: bool, effects: list[fx.Effect]) -> None:
        if connected == self.knowledge.connected:
            return
        self.knowledge.connected = connected
        self.seat.disconnected()
        self.leadership.disconnected()
        effects.append(self._report(Reason.ZOOKEEPER_UP if connected else Reason.ZOOKEEPER_DOWN))

    def _accuse(self, now: Instant, effects: list[fx.Effect]) -> None:
        """Rule 8: accuse the silent, and tell everyone at once."""
        liveness = self.knowledge.liveness
        for one in liveness.accuse_silent(now):
            self._say_now = self._changed = True
            seen = self.knowledge.seats.get(one.node)
            if seen is not None and seen.seat.state is SeatState.LEFT:
                continue
            heard_at = liveness.peers[one.node].heard_at
            silence = now - (heard_at if heard_at is not None else self.knowledge.started)
            effects.append(self._report(Reason.ACCUSED, peer=one.node, round=one.round,
                                        incarnation=one.incarnation,
                                        silence_ms=silence // MILLISECOND))

    def _heal_scar(self, now: Instant, effects: list[fx.Effect]) -> None:
        """Rules 18, 19: end a round that is accused, or that a plan may name which we cannot read.

        Nothing is active in it.
        """
        scars = self.voice.scars(now)
        if self._scars.may_heal(scars, now):
            effects.append(self._report(Reason.SCARRED, accusers=", ".join(scars)))
            self._end_round("accused, but heard", effects)
        elif self._scars.is_left_behind(now):
            self._end_round("a later plan cannot be read", effects)
        else:
            return
        self.seat.stopped()
        effects += self.activity.act(now, False)

    def _begin_new_life(self, effects: list[fx.Effect]) -> None:
        self._ended = True
        why, above = self.seat.over, max(self.seat.over_above, self.incarnation)
        effects += [self._report(Reason.NEW_LIFE, why=why),
                    fx.BeginNewLife(incarnation_above=above, why=why)]

    def _stop(self, why: str, now: Instant) -> None:
        if not self.stopping:
            self.stopping, self.voice.leaving, self._say_now = why, True, True
            self._stop_by = now + LEAVE_PATIENCE

    def _leave(self, now: Instant, effects: list[fx.Effect]) -> None:
        """Rule 21: hand over, say done, stop crediting, write `left`, go."""
        seat = self.seat
        if self.activity.exclusive():
            self._stop_by = max(self._stop_by, now + self.knowledge.timing.interval)
            return
        needed = self.activity.awaited(now) or not self._scars.can_be_spared(now)
        if needed and seat.standing in HOLDING and now < self._stop_by:
            self._plan(now, effects)
            return
        if seat.standing is not Standing.LEFT:
            seat.leave(self.stopping)
            self._say_now = True
        if self.activity.has_rest():
            return
        if now >= self._stop_by or (seat.has_left and not self.activity.awaited(now)):
            self._ended = True
            effects += self.voice.heartbeats(self._receivers(), now)
            effects += [self._report(Reason.LEFT, why=self.stopping), fx.Exit()]

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _report(self, reason: Reason, **facts: str | int) -> fx.Report:
        return fx.Report(reason=reason, node=self.node, facts=facts)
