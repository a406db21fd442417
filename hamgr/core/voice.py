"""What this node says: the heartbeat, and which heartbeats of others it credits (rules 1, 2)."""

from msgspec.structs import replace

from hamgr.core.activity import Activity
from hamgr.core.effects import SendHeartbeat
from hamgr.core.heartbeat import WHY_MAX, Echo, GroupWord, Heartbeat
from hamgr.core.knowledge import Knowledge
from hamgr.core.liveness import Peer
from hamgr.core.parts import Speech
from hamgr.core.rights import GroupRights, own_rights
from hamgr.core.seat import HOLDING, SeatKeeper
from hamgr.core.types import Duration, Epoch, GroupName, Instant, NodeName


class Voice:
    """Composes heartbeats; remembers only their numbers."""

    def __init__(self, knowledge: Knowledge, seat: SeatKeeper,
                 activity: Activity, digest: str, version: str) -> None:
        self._knowledge = knowledge
        self._seat = seat
        self._groups, self._fencing = activity.groups, activity.fencing
        self._version = version
        self._sequences: dict[NodeName, int] = {}
        self.leaving = False
        self._room_for = knowledge.liveness.peers
        self._speech, self._briefly = Speech(self._names()), Speech(self._names(), odd=True)
        self._said: list[Heartbeat] = []
        """What the next heartbeats say; empty: to be composed anew."""
        self._brief = self._said
        """The same for who does not vote, and will not credit anybody: without epochs."""
        self.digest = digest
        """Of the file that we go by."""
        self.lateness: Duration = 0
        """The worst lateness of our own loop in the last second."""

    def _names(self) -> tuple[NodeName, ...]:
        return (self._knowledge.node, *self._knowledge.liveness.peers)

    def credits(self, peer: Peer, now: Instant) -> bool:
        """Tell whether the newest heartbeat of a peer is credited (rule 2)."""
        heartbeat = peer.heartbeat
        if (heartbeat is None or heartbeat.lapsed or heartbeat.round == 0
                or not peer.hearing.is_whole):
            return False
        knowledge = self._knowledge
        if not knowledge.votes or peer.accused >= heartbeat.life or (
                not self._seat.holds(now) or not knowledge.liveness.knows(peer, now)):
            return False
        return all(word.epoch == 0 or word.epoch >= knowledge.epochs.get(word.group, 0)
                   for word in heartbeat.groups)

    def reconsider(self) -> None:
        """Compose anew what is said next: something may have changed since."""
        self._said = []

    def heartbeats(self, to: list[NodeName], now: Instant, *,
                   answer: bool = False) -> list[SendHeartbeat]:
        """Return the next heartbeat to each of these peers: one body, an echo for each.

        An answer is there for its echo: of a body in parts it is the first.
        """
        held, liveness = self._seat.lease.creditors(now), self._knowledge.liveness
        if not self._said or self._said[0].credits != held:
            if self._room_for is not liveness.peers:
                self._room_for = liveness.peers
                self._speech.configure(self._names())
                self._briefly.configure(self._names())
            own = self.own(now)
            self._said = self._speech.split(own)
            self._brief = self._briefly.split(replace(own, epochs=()))
        sent = []
        for node in to:
            peer = liveness.peers[node]
            self._sequences[node] = sequence = self._sequences.get(node, 0) + 1
            echo, misses = peer.echo, liveness.misses(peer, now)
            if echo is not None:
                echo = Echo(echo.incarnation, echo.round, echo.sent, self.credits(peer, now))
            for part in self._said if node in self._knowledge.voters.voting else self._brief:
                sent.append(SendHeartbeat(to=node, heartbeat=replace(
                    part, sequence=sequence, sent=now, echo=echo, answer=answer, misses=misses)))
                if answer:
                    break
        return sent

    def own(self, now: Instant) -> Heartbeat:
        """Return what we say of ourselves: a leader judges itself by the same words."""
        knowledge, seat = self._knowledge, self._seat
        return Heartbeat(
            cluster=knowledge.cluster_id, sender=knowledge.node, incarnation=knowledge.incarnation,
            round=seat.round, sequence=0, sent=now, answer=False, seat=seat.standing.value,
            lapsed=not seat.holds(now), lease=seat.lease.length, voters=knowledge.voters.number,
            revision=knowledge.plan.revision if knowledge.plan else 0, lateness=self.lateness,
            echo=None, groups=self._words(now),
            accusations=knowledge.liveness.standing_accusations() if knowledge.votes else (),
            relays=knowledge.relays() if knowledge.votes else (),
            credits=seat.lease.creditors(now), epochs=self._epochs(), config=self.digest,
            version=self._version, scars=self.scars(now), sound=not knowledge.unsound(),
            leaving=self.leaving,
            fences=self._fencing.words())

    def _words(self, now: Instant) -> tuple[GroupWord, ...]:
        return tuple(word for rights in self._groups.values()
                     if (word := self._word(rights, now)) is not None)

    def _word(self, rights: GroupRights, now: Instant) -> GroupWord | None:
        local, why = rights.local, rights.unfitness(now)
        plan = self._knowledge.plan
        group = plan.groups.get(rights.name) if plan is not None else None
        speaks = (local.is_active or rights.done or why or rights.score
                  or local.spec.everywhere)
        if not speaks and (group is None or not own_rights(self._knowledge, group)):
            return None
        return GroupWord(
            rights.name, local.epoch, rights.done, not why, local.armed and not rights.keeping,
            rights.is_up(), rights.failed_lately(now), rights.score,
            (why or rights.trouble()).encode()[:WHY_MAX].decode(errors="ignore"),
            bool(rights.waits_for), bool(local.stuck))

    def _epochs(self) -> tuple[tuple[GroupName, Epoch], ...]:
        """Epochs in use, by a voter for one that has just started: it has forgotten them (rule 2).

        Those under which we are active ourselves stand in our words.
        """
        groups = self._groups
        epochs = self._knowledge.epochs.items() if self._knowledge.votes else ()
        return tuple((name, epoch) for name, epoch in epochs
                     if name not in groups or groups[name].local.epoch != epoch)

    def scars(self, now: Instant) -> tuple[NodeName, ...]:
        """Return the voters that accuse our present round and yet hear us (rule 19)."""
        knowledge = self._knowledge
        if self._seat.standing not in HOLDING:
            return ()
        found = knowledge.liveness.accusers(knowledge.node, self._seat.life, now)
        return tuple(name for name in found if name in knowledge.voters.names)
