"""What this node has read and heard: records, other nodes' words; and which rights are out.

Nothing is decided here. Records of a lower version or revision than known are dropped, since a
ZooKeeper server that lags may answer a new session with older data (rule 25).
"""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from hamgr.core import records as rec
from hamgr.core.effects import Op
from hamgr.core.electorate import Electorate
from hamgr.core.heartbeat import GroupWord, Heartbeat, Relay
from hamgr.core.liveness import Liveness, Peer
from hamgr.core.spec import ClusterSpec
from hamgr.core.timing import Timing, timing_faults
from hamgr.core.types import NEVER, Epoch, GroupName, Instant, Life, NodeName, SeatState


class SeatSeen(NamedTuple):
    """A seat as read: `since` when this very version is known here."""

    seat: rec.Seat
    version: int
    since: Instant


class Knowledge:
    """The facts that decisions on this node rest on."""

    def __init__(self, spec: ClusterSpec, node: NodeName, incarnation: int, now: Instant,
                 cluster_id: str, revision: int) -> None:
        self.spec, self.configured_at = spec, now
        self.node = node
        self.incarnation = incarnation
        self.started = now
        self.timing: Timing = spec.timing
        self.voters = rec.Voters(number=0, names=spec.voters)
        self.electorate = Electorate(spec.voters)
        """The voters that count now."""
        others = (one.name for one in spec.nodes if one.name != node)
        self.liveness = Liveness(node, incarnation, others, spec.timing, now)
        self.connected = False
        self.cluster_id = cluster_id
        self.revision = revision
        """The highest plan revision ever known here, also in former lives."""
        self.root: rec.Root | None = None
        self.root_read = False
        self.leader: rec.Leader | None = None
        self.leader_version = -1
        self.leader_read = False
        self.plan: rec.Plan | None = None
        self.plan_version = -1
        self.plan_read = False
        self._unsafe_times = ""
        self.seats: dict[NodeName, SeatSeen] = {}
        self.versions: dict[str, int] = {}
        """Of all but requests as last read, believed or not; -1: not there (rule 25)."""
        self._contradicted, self._begins_anew = set[str](), False
        self._revision_read = 0
        """Of the plan as last read, believed or not: a server may lag, or have an old copy."""
        self.requests: dict[str, tuple[rec.Request, int]] = {}
        self._groups = {group.name for group in spec.groups}  # and those that there were
        self.epochs: dict[GroupName, Epoch] = {}
        """The greatest epoch heard in use, by group; our own included."""
        self.words: dict[GroupName, dict[NodeName, tuple[int, GroupWord]]] = {}
        """The newest word of a node on a group, with the incarnation that spoke."""
        self.fenced: dict[NodeName, Life] = {}
        """Up to which life a fence device has cut each node off."""
        self.dones: dict[tuple[NodeName, GroupName], tuple[int, Epoch]] = {}

    def configure(self, spec: ClusterSpec, now: Instant) -> None:
        """Go by another file."""
        self.spec, self.configured_at = spec, now
        self._groups |= {group.name for group in spec.groups}
        self._follow(now)

    def _follow(self, now: Instant) -> None:
        """Have for peers, with the lives known of them, whom the file names, and whatever it says
        who votes or has a right (rule 8)."""
        plan = self.plan.groups.values() if self.plan is not None else ()
        names = (*(node.name for node in self.spec.nodes), *self.voters.voting,
                 *(right.node for group in plan for right in group.rights))
        self.liveness.follow(dict.fromkeys(name for name in names if name != self.node), now)
        for name, seen in self.seats.items():
            self.liveness.learn(name, seen.seat.life, now)

    @property
    def votes(self) -> bool:
        """Tell whether this node is a voter."""
        return self.node in self.voters.voting

    def can_spare_none(self, peer: Heartbeat, now: Instant) -> bool:
        """Tell whether a peer needs every voter that we hear, or by its word each that credits it.

        Both (PROTOCOL: Times): by its word alone, nodes flapped in the lab at 20 ms.
        """
        names, backers = self.electorate.names, (peer.sender, *peer.credits)
        heard = sum(self.liveness.is_heard(name, now) for name in names)
        return min(heard, sum(name in backers for name in names)) <= self.electorate.majority

    def unsound(self) -> str:
        """Say why ZooKeeper's data cannot be built on, or nothing if it can (rule 25)."""
        if not self.connected:
            return "not connected"
        if self._unsafe_times:
            return self._unsafe_times
        if self.foreign():
            return self.foreign()
        if not (self.root_read and self.plan_read and self.leader_read):
            return "not read yet"
        if self._revision_read < self.revision:
            return (f"its plan has revision {self._revision_read}, and {self.revision} is known "
                    "here")
        return ""

    def foreign(self) -> str:
        """Say why what ZooKeeper has is not this cluster's data, or nothing (rule 25)."""
        if not self.cluster_id or not self.root_read:
            return ""
        if self.root is None:
            return "the cluster's root record is missing"
        if self.cluster_id != self.root.cluster_id and self.cluster_id not in self.root.follows:
            return f"it carries cluster id {self.root.cluster_id}, ours is {self.cluster_id}"
        return ""

    def begins_anew(self) -> bool:
        """Tell once that everything must be read again: it is ours now, and was not before."""
        begins, self._begins_anew = self._begins_anew, False
        return begins

    def take(self, path: str, record: rec.Record | None, version: int, now: Instant) -> bool:
        """Take in a record that was read; True if it is news."""
        folder, _, name = path.partition("/")
        if folder != rec.REQUESTS:
            if path in self._contradicted and 0 <= version < self._believed(path):
                self.forget_records()
            self._contradicted.discard(path)
            self.versions[path] = version
        if path == rec.ROOT:
            return self._take_root(record)
        if self.foreign():
            return False
        if path == rec.LEADER:
            return self._take_leader(record, version, now)
        if path == rec.PLAN:
            return self._take_plan(record, version, now)
        if folder == rec.SEATS:
            return self._take_seat(name, record, version, now)
        if folder == rec.REQUESTS:
            return self._take_request(name, record, version)
        return False

    def _take_root(self, record: rec.Record | None) -> bool:
        assert record is None or isinstance(record, rec.Root)
        news = not self.root_read or self.root != record
        was_foreign = bool(self.foreign())
        self.root, self.root_read = record, True
        if record is not None and not self.foreign():
            if was_foreign or self.cluster_id in record.follows:
                self.forget_records()
            self.cluster_id = record.cluster_id
        return news

    def contradicted(self, ops: Iterable[Op]) -> None:
        """A write met other versions than known here: what is read next is the truth (rule 25).

        Else a lower version is of a server that lags; now it is of data that was restored.
        """
        self._contradicted |= {op.path for op in ops}

    def _believed(self, path: str) -> int:
        """Return the version of a record that decisions here rest on; -1: none."""
        seen = self.seats.get(path.removeprefix(f"{rec.SEATS}/"))
        return {rec.LEADER: self.leader_version, rec.PLAN: self.plan_version}.get(
            path, seen.version if seen is not None else -1)

    def forget_records(self) -> None:
        """Begin anew, as versions do with other data; the plan stays until a newer one is read."""
        self.leader, self.leader_version, self.plan_version = None, -1, -1
        self.leader_read = self.plan_read = False
        self.seats.clear()
        self.requests.clear()
        self._begins_anew = True

    def _take_leader(self, record: rec.Record | None, version: int, now: Instant) -> bool:
        assert record is None or isinstance(record, rec.Leader)
        if self.leader_read and record is not None and version < self.leader_version:
            return False
        news = not self.leader_read or self.leader != record
        self.leader, self.leader_version, self.leader_read = record, version, True
        if record is not None and record.node:
            self.liveness.learn(record.node, Life(record.incarnation, 0), now)
        return news

    def _take_plan(self, record: rec.Record | None, version: int, now: Instant) -> bool:
        assert record is None or isinstance(record, rec.Plan)
        self._revision_read = record.revision if record is not None else 0
        if record is not None and self.plan is not None and record.revision < self.plan.revision:
            self.plan_read = True
            return False
        self._unsafe_times = _unsafe(record)
        if self._unsafe_times:
            return False
        news = not self.plan_read or (record is not None and record != self.plan)
        self.plan_read = True
        if record is None:
            return news
        self.plan, self.plan_version = record, version
        # Before the first plan nothing was known of what can have been given.
        self.epochs = {group: epoch for group, epoch in self.epochs.items()
                       if epoch <= self._given(group)}
        self._groups |= record.groups.keys()
        voted = self.votes
        if record.revision >= self.revision:
            self.revision = record.revision
            self.voters = record.voters
            self.electorate = Electorate(record.voters.names, record.voters.former)
            if record.times != self.timing:
                self.timing = record.times
                self.liveness.set_timing(record.times)
        rights = [right for group in record.groups.values() for right in group.rights]
        named = {self.node, *self.liveness.peers}.issuperset
        if not named((*self.voters.voting, *(right.node for right in rights))):
            self._follow(now)
        if self.votes and not voted:
            self.liveness.begin_voting(now)
        for right in rights:
            self.liveness.learn(right.node, right.life, now)
        return news

    def _take_seat(self, node: NodeName, record: rec.Record | None, version: int,
                   now: Instant) -> bool:
        assert record is None or isinstance(record, rec.Seat)
        seen = self.seats.get(node)
        if record is None:
            return self.seats.pop(node, None) is not None
        if seen is not None and version <= seen.version:
            return False
        self.seats[node] = SeatSeen(record, version, now)
        self.liveness.learn(node, record.life, now)
        return True

    def _take_request(self, name: str, record: rec.Record | None, version: int) -> bool:
        assert record is None or isinstance(record, rec.Request)
        if record is None:
            return self.requests.pop(name, None) is not None
        seen = self.requests.get(name)
        if seen is not None and version <= seen[1]:
            return False
        # The path is its name: whatever an operator's script wrote into the record.
        self.requests[name] = (replace(record, id=name), version)
        return True

    def hear(self, heartbeat: Heartbeat, ring: int, now: Instant) -> bool:
        """Take in a heartbeat and all it says; False if it is not news (rule 3)."""
        if not self.liveness.hear(heartbeat, ring, now):
            return False
        if not self.cluster_id:
            # An empty disk: the others know which cluster this is (rule 25).
            self.cluster_id = heartbeat.cluster
        for word in heartbeat.groups:
            if word.group in self._groups:
                spoken = (heartbeat.incarnation, word)
                self.words.setdefault(word.group, {})[heartbeat.sender] = spoken
                self.heard_epoch(word.group, word.epoch)
                self._heard_done(heartbeat.sender, heartbeat.incarnation, word.group, word.done)
        for group, epoch in heartbeat.epochs:
            self.heard_epoch(group, epoch)
        for fence in heartbeat.fences:
            if fence.confirmed and fence.node in self.liveness.peers:
                self.heard_fenced(fence.node, fence.life)
        for relay in heartbeat.relays:
            if relay.group in self._groups and relay.node in self.liveness.peers:
                self._heard_done(relay.node, relay.incarnation, relay.group, relay.done)
        return True

    def heard_fenced(self, node: NodeName, life: Life) -> None:
        """Remember that a fence device has confirmed the end of a life (rule 13)."""
        self.fenced[node] = max(self.fenced.get(node, life), life)

    def is_fenced(self, node: NodeName, life: Life) -> bool:
        """Tell whether a fence device has confirmed the end of this life of a node."""
        noted = self.plan.fenced.get(node, 0) if self.plan is not None else 0
        return noted >= life.incarnation or (node in self.fenced and self.fenced[node] >= life)

    def is_stuck(self, right: rec.Right, group: GroupName) -> bool:
        """Tell whether a right's node cannot get rid of a group, by its last word or the plan."""
        word = self.word(right, group)
        planned = self.plan.groups.get(group, rec.UNPLANNED) if self.plan is not None else None
        return (word is not None and word.stuck and word.epoch == right.epoch) or (
            planned is not None and right.epoch in planned.stuck)

    def heard_epoch(self, group: GroupName, epoch: Epoch) -> None:
        """Remember an epoch heard in use, our own included, unless nobody can have given it."""
        if group in self._groups and self.epochs.get(group, 0) < epoch <= self._given(group):
            self.epochs[group] = epoch

    def _given(self, group: GroupName) -> Epoch:
        """Return an epoch beyond all that can have been given, two rebuilds ahead of our plan."""
        top = self.plan.groups.get(group, rec.UNPLANNED).top_epoch if self.plan else NEVER
        return top + 2 * rec.EPOCHS_SKIPPED

    def _heard_done(self, node: NodeName, incarnation: int, group: GroupName, done: Epoch) -> None:
        self.dones[node, group] = max(self.dones.get((node, group), (0, 0)), (incarnation, done))

    def word(self, right: rec.Right, group: GroupName) -> GroupWord | None:
        """Return the newest word of a right's own incarnation on a group."""
        incarnation, word = self.words.get(group, {}).get(right.node, (0, None))
        return word if word is not None and incarnation == right.incarnation else None

    def relays(self) -> tuple[Relay, ...]:
        """Return the `done` of others that the plan waits for (rule 12)."""
        found = []
        for name, group in self.plan.groups.items() if self.plan is not None else ():
            for right in group.rights:
                incarnation, done = self.dones.get((right.node, name), (0, 0))
                if right.node != self.node and incarnation == right.incarnation and (
                        done >= right.epoch):
                    found.append(Relay(right.node, incarnation, name, done))
        return tuple(found)

    def used_by_another(self, group: GroupName, epoch: Epoch) -> bool:
        """Tell whether another node says that it is active under this epoch, or a later one."""
        return any(word.epoch >= epoch for _, word in self.words.get(group, {}).values())

    def said_done(self, right: rec.Right, group: GroupName) -> bool:
        """Tell whether a right's own incarnation said `done` for it.

        A later incarnation that is heard has said it for all before: it cleaned up before its
        first heartbeat (rule 21).
        """
        peer = self.liveness.peers.get(right.node)
        if peer is not None and peer.heartbeat is not None and (
                peer.heartbeat.incarnation > right.incarnation):
            return True
        incarnation, done = self.dones.get((right.node, group), (0, 0))
        return self._lapsed_idle(peer, right, group) or (
            incarnation == right.incarnation and done >= right.epoch)

    def _lapsed_idle(self, peer: Peer | None, right: rec.Right, group: GroupName) -> bool:
        """Tell whether a right's own round is heard lapsed, with nothing of the group active.

        A lapse is final (rule 4), also for rights that its node has yet to read.
        """
        said = peer.heartbeat if peer is not None else None
        if peer is None or said is None or not said.lapsed or said.life != right.life:
            return False
        word = said.word(group)
        return peer.hearing.is_whole and (word is None or word.epoch == 0)

    def blocked(self, node: NodeName, life: Life, now: Instant) -> tuple[NodeName, ...]:
        """Return the accusers if this life is blocked in our own view (rule 9), or nothing."""
        accusers = self.liveness.accusers(node, life, now)
        return accusers if self.electorate.blocks(node, accusers) else ()

    def blocked_for_plan(self, node: NodeName, life: Life, now: Instant) -> tuple[NodeName, ...]:
        """Like `blocked`, but dead or left voters count too (rule 17).

        They count only once this node has seen that seat version for `detection`: their last
        credits must have run out.
        """
        accusers = list(self.liveness.accusers(node, life, now))
        for voter in dict.fromkeys((*self.voters.names, *self.voters.former)):
            if voter not in accusers and voter != node and self.is_gone(voter, now):
                accusers.append(voter)
        return tuple(accusers) if self.electorate.blocks(node, accusers) else ()

    def is_gone(self, node: NodeName, now: Instant) -> bool:
        """Tell whether a node's seat has said dead or left for `detection`."""
        seen = self.seats.get(node)
        return (seen is not None and seen.seat.state in (SeatState.DEAD, SeatState.LEFT)
                and now - seen.since >= self.timing.detection)

    def stopped_by_seat(self, right: rec.Right) -> bool:
        """Tell whether a right's node has verified, by its seat alone, that nothing runs any more.

        A round is claimed only with nothing exclusive active (rule 5), an incarnation begins only
        when its leftovers are gone (rule 21), and `left` is written when all has stopped.
        """
        seen = self.seats.get(right.node)
        return seen is not None and (seen.seat.life > right.life or (
            seen.seat.life == right.life and seen.seat.state is SeatState.LEFT))

    def ended_by_seat(self, right: rec.Right) -> bool:
        """Tell whether the seat of a right's node shows that its round is over (rule 17)."""
        seen = self.seats.get(right.node)
        return seen is not None and (seen.seat.life > right.life or (
            seen.seat.incarnation == right.incarnation
            and seen.seat.state in (SeatState.DEAD, SeatState.LEFT)))


def _unsafe(plan: rec.Plan | None) -> str:
    """Say why a plan's times cannot be used: no agent wrote them."""
    faults = timing_faults(plan.times) if plan is not None else []
    return f"its plan has unsafe times: {faults[0][1]}" if faults else ""
