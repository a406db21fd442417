"""Who is heard, and who is accused (rules 2, 3, 8, 9).

A peer is silent when no heartbeat but answers was heard of it, on any ring, for `detection`: all
its peers get those in the same instant, so they also miss them in the same. A voter then accuses
the highest life that it knows of the peer: a promise never again to credit it, kept for as long
as this incarnation of the voter lives. Nothing here reads a clock: instants are handed in.
"""

from collections.abc import Iterable

from hamgr.core.heartbeat import Accusation, Echo, Heartbeat
from hamgr.core.parts import Hearing
from hamgr.core.timing import Timing, detection_for
from hamgr.core.types import NO_LIFE, Duration, Instant, Life, NodeName

LATELY_INTERVALS = 20
"""A heartbeat that was missed counts for so long as a sign of loss."""


class Peer:
    """One other node: the newest that was heard of it, and what is held against it."""

    __slots__ = ("accusations", "accused", "echo", "heard_at", "hearing", "heartbeat", "known",
                 "met_at", "missed_at", "node", "rings", "suspect_at")

    def __init__(self, node: NodeName, suspect_at: Instant) -> None:
        self.node = node
        self.heartbeat: Heartbeat | None = None
        """The newest, with the words of all its parts."""
        self.hearing = Hearing()
        self.echo: Echo | None = None
        """Of the newest but answers: what is credited is what silence counts from."""
        self.heard_at: Instant | None = None
        self.met_at: Instant = 0
        """When its present incarnation was first heard by us as a voter."""
        self.missed_at: Instant | None = None
        """When a gap in its numbers was last seen."""
        self.rings: dict[int, Instant] = {}
        self.known: Life = NO_LIFE
        """The highest life known of it, from heartbeat, seat or plan."""
        self.accused: Life = NO_LIFE
        """Our own accusation: this life and all before it."""
        self.suspect_at: Instant = suspect_at
        self.accusations: dict[NodeName, Life] = {}
        """Whom it accuses, by its newest heartbeat."""

    @property
    def is_accused(self) -> bool:
        """Tell whether our accusation covers the newest life that we know of it."""
        return self.accused >= self.known and self.accused != NO_LIFE

    def newer(self, heartbeat: Heartbeat) -> bool:
        """Tell whether a heartbeat is newer than all heard so far (rule 3)."""
        if heartbeat.incarnation < self.known.incarnation:
            return False
        last = self.heartbeat
        return last is None or (heartbeat.incarnation, heartbeat.sequence) > (
            last.incarnation, last.sequence)

    def echoes(self, incarnation: int) -> Echo | None:
        """Return its echo of a heartbeat of ours, if it is of this incarnation of ours."""
        echo = self.heartbeat.echo if self.heartbeat is not None else None
        return echo if echo is not None and echo.incarnation == incarnation else None


class Liveness:
    """All peers of one node in one incarnation."""

    def __init__(self, node: NodeName, incarnation: int, peers: Iterable[NodeName],
                 timing: Timing, started: Instant) -> None:
        self.node = node
        self.incarnation = incarnation
        self.timing = timing
        self.peers: dict[NodeName, Peer] = {}
        self._known: dict[NodeName, Peer] = {}
        """Whoever was a peer in this life: what was promised of it is not forgotten (rule 8)."""
        self._accusing: list[Peer] = []
        """The peers whose newest word accuses anybody."""
        self.follow(peers, started)

    def follow(self, names: Iterable[NodeName], now: Instant) -> None:
        """Have these for peers from now on; who was none before gets a detection to be heard."""
        before, self.peers = self.peers, {
            name: self._known.setdefault(name, Peer(name, 0)) for name in names}
        for name, peer in self.peers.items():
            if name not in before:
                peer.suspect_at = now + self.timing.detection
        self._accusing = [one for one in self.peers.values() if one.accusations]

    def hear(self, heartbeat: Heartbeat, ring: int, now: Instant) -> bool:
        """Take in a heartbeat; False if a newer one was heard already (rule 3)."""
        peer = self.peers.get(heartbeat.sender)
        if peer is None:
            return False
        if not peer.newer(heartbeat):
            return self._hear_again(peer, heartbeat, ring, now)
        peer.rings[ring] = now
        last = peer.heartbeat
        if last is not None and last.incarnation == heartbeat.incarnation and (
                heartbeat.sequence > last.sequence + 1):
            peer.missed_at = now
        if last is None or last.incarnation != heartbeat.incarnation:
            peer.met_at = now
        peer.heartbeat = peer.hearing.put_together(heartbeat)
        if heartbeat.accusations or peer.accusations:
            peer.accusations = {one.node: one.life for one in heartbeat.accusations}
            self._accusing = [one for one in self.peers.values() if one.accusations]
        self.learn(peer.node, heartbeat.life, now)
        if not heartbeat.answer:
            self._echo(peer, heartbeat, now)
        return True

    def _hear_again(self, peer: Peer, heartbeat: Heartbeat, ring: int, now: Instant) -> bool:
        """Take in the newest heartbeat on another ring, or another part of it (True: news)."""
        last = peer.heartbeat
        if last is None or (heartbeat.incarnation, heartbeat.sequence) != (
                last.incarnation, last.sequence):
            self._hear_late(peer, heartbeat, now)
            return False
        peer.rings[ring] = now
        if not peer.hearing.lacks(heartbeat):
            return False
        peer.heartbeat = peer.hearing.put_together(heartbeat)
        return True

    def _hear_late(self, peer: Peer, heartbeat: Heartbeat, now: Instant) -> None:
        """Take one that an answer has overtaken for what it is worth: its time, for the echo.

        Both are sent at the same moment where nodes beat together.
        """
        last, echo = peer.heartbeat, peer.echo
        if last is None or heartbeat.answer or heartbeat.life != last.life or echo is None or (
                heartbeat.sent <= echo.sent):
            return
        self._echo(peer, heartbeat, now)

    def _echo(self, peer: Peer, heartbeat: Heartbeat, now: Instant) -> None:
        peer.heard_at = now
        peer.echo = Echo(heartbeat.incarnation, heartbeat.round, heartbeat.sent, False)
        peer.suspect_at = now + self._detection(heartbeat)

    def _detection(self, heartbeat: Heartbeat) -> Duration:
        """Rule 24: never shorter than is safe against the lease that the peer itself names."""
        return max(self.timing.detection, detection_for(heartbeat.lease))

    def set_timing(self, timing: Timing) -> None:
        """Use other times (rule 24): nobody is accused earlier than the longer detection allows."""
        longer = timing.detection - self.timing.detection
        self.timing = timing
        self.forgive(max(0, longer))

    def learn(self, node: NodeName, life: Life, now: Instant) -> None:
        """Take in a life that a seat or the plan shows.

        It gets a whole detection to be heard in: a node that comes back writes its seat a moment
        before or after its first heartbeat arrives.
        """
        peer = self.peers.get(node)
        if peer is not None and life > peer.known:
            peer.known = life
            peer.suspect_at = max(peer.suspect_at, now + self.timing.detection)

    def begin_voting(self, now: Instant) -> None:
        """Neither accuse nor credit anybody at once, as after a start (rules 2, 8)."""
        for peer in self.peers.values():
            peer.met_at = now
            peer.suspect_at = max(peer.suspect_at, now + self.timing.detection)

    def forgive(self, lateness: Duration) -> None:
        """Rule 8: add the lateness of our own loop to every peer's allowance."""
        for peer in self.peers.values():
            peer.suspect_at += lateness

    def accuse_silent(self, now: Instant) -> list[Accusation]:
        """Accuse every peer that has been silent for its detection; return the new accusations."""
        fresh = []
        for peer in self.peers.values():
            if peer.suspect_at <= now and not peer.is_accused and peer.known != NO_LIFE:
                peer.accused = peer.known
                fresh.append(Accusation(peer.node, *peer.known))
        return fresh

    def due(self) -> list[Instant]:
        """Return the instants at which a peer that is not accused becomes silent."""
        return [peer.suspect_at for peer in self.peers.values()
                if not peer.is_accused and peer.known != NO_LIFE]

    def standing_accusations(self) -> tuple[Accusation, ...]:
        """Return our accusations of lives that have not ended."""
        return tuple(Accusation(peer.node, *peer.accused)
                     for peer in self.peers.values() if peer.is_accused)

    def patience(self) -> Duration:
        """Return how often to look, without news: more, if anybody is accused by us or a peer."""
        troubled = bool(self._accusing) or any(peer.is_accused for peer in self.peers.values())
        return self.timing.interval if troubled else self.timing.detection

    def is_doubtful(self, peer: Peer, now: Instant) -> bool:
        """Tell whether a peer's word counts for nothing just now, so that hearing it is news."""
        return not self.is_heard(peer.node, now) or (
            bool(peer.accusations) and not self.is_fresh(peer, now))

    def knows(self, peer: Peer, now: Instant) -> bool:
        """Tell whether a voter has heard this incarnation for long enough to credit it (rule 2).

        It may have accused it in a former life, and forgotten that.
        """
        heartbeat = peer.heartbeat
        return heartbeat is not None and (
            now - peer.met_at >= self._detection(heartbeat) * 22 // 10)

    def is_heard(self, node: NodeName, now: Instant) -> bool:
        """Tell whether a peer was heard within its detection; oneself always is."""
        if node == self.node:
            return True
        peer = self.peers.get(node)
        return peer is not None and peer.heard_at is not None and now < peer.suspect_at

    def says(self, node: NodeName, now: Instant) -> Heartbeat | None:
        """Return the newest word of a peer, if it is heard."""
        peer = self.peers.get(node)
        return peer.heartbeat if peer is not None and self.is_heard(node, now) else None

    def heard(self, now: Instant) -> list[Heartbeat]:
        """Return the newest words of all peers that are heard."""
        return [word for name in self.peers if (word := self.says(name, now)) is not None]

    def misses(self, peer: Peer, now: Instant) -> bool:
        """Tell whether heartbeats of a peer were missed lately, on all rings."""
        return peer.missed_at is not None and (
            now - peer.missed_at < LATELY_INTERVALS * self.timing.interval)

    def is_lossy(self, now: Instant) -> bool:
        """Tell whether heartbeats to or from a peer are lost just now."""
        return any(self.misses(peer, now) or (
            peer.heartbeat is not None and peer.heartbeat.misses and self.is_heard(peer.node, now))
            for peer in self.peers.values())

    def accusers(self, node: NodeName, life: Life, now: Instant) -> tuple[NodeName, ...]:
        """Return who accuses this life of a node, ourselves included.

        An accusation of another counts only while fresh: it came in a message whose echo names a
        heartbeat of our own sent within the last detection (rule 9).
        """
        own = self.peers.get(node)
        found = [self.node] if own is not None and own.accused >= life else []
        for peer in self._accusing:
            if peer.accusations.get(node, NO_LIFE) >= life and self.is_fresh(peer, now):
                found.append(peer.node)
        return tuple(found)

    def is_fresh(self, peer: Peer, now: Instant) -> bool:
        """Tell whether the newest word of a peer echoes a heartbeat sent within detection."""
        echo = peer.echoes(self.incarnation)
        return echo is not None and 0 <= now - echo.sent <= self.timing.detection
