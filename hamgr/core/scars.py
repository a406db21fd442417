"""When an inactive node that is accused, and yet heard, begins a new round (rule 19).

Between two rounds a voter credits nobody, for as long as ZooKeeper takes to write its claim. So it
must not leave those that are active without a majority, and voters that were scarred by the same
fault go one after the other, in the order of the voters: each waits while one before it has a scar,
but not for ever, since that one may have a reason to wait.
"""

from hamgr.core.heartbeat import Heartbeat
from hamgr.core.knowledge import Knowledge
from hamgr.core.types import NEVER, Instant, NodeName

PAUSE_DETECTIONS = 10
"""A node ends its round of its own accord at most once in so many `detection`."""


class Scars:
    """Waits for the moment to heal this node's scars."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._since: Instant = NEVER
        self._behind_since: Instant = NEVER
        self._not_before: Instant = 0

    def may_heal(self, scars: tuple[NodeName, ...], now: Instant) -> bool:
        """Tell whether the round may be ended now, for these accusers that are heard."""
        if not scars:
            self._since = NEVER
            return False
        self._since = min(self._since, now)
        detection = self._knowledge.timing.detection
        names, node = self._knowledge.voters.names, self._knowledge.node
        before = names[:names.index(node)] if node in names else ()
        its_turn = now >= self._since + len(before) * detection or not any(
            self._is_scarred(name, now) for name in before)
        if now < self._not_before or self._knowledge.unsound() or not (
                its_turn and self.can_be_spared(now)):
            return False
        self._since = NEVER
        self._not_before = now + PAUSE_DETECTIONS * detection
        return True

    def _is_scarred(self, node: NodeName, now: Instant) -> bool:
        """Tell whether a node that could heal itself, being heard and inactive, has a scar."""
        liveness = self._knowledge.liveness
        said = liveness.says(node, now)
        return said is not None and not any(word.epoch for word in said.groups) and bool(
            liveness.accusers(node, said.life, now))

    def is_left_behind(self, now: Instant) -> bool:
        """Tell whether a plan that we cannot read has stood for long: it may name us (rule 18).

        Others then wait for us in vain, unless we say that our round is over.
        """
        knowledge = self._knowledge
        if not knowledge.unsound() or not any(
                said.sound and said.revision > knowledge.revision
                for said in knowledge.liveness.heard(now)):
            self._behind_since = NEVER
            return False
        self._behind_since = min(self._behind_since, now)
        late = now >= self._behind_since + PAUSE_DETECTIONS * knowledge.timing.detection
        return late and self.can_be_spared(now)

    def can_be_spared(self, now: Instant) -> bool:
        """Tell whether every node that is active on credits keeps a majority without ours."""
        knowledge = self._knowledge
        on_credits = [one for one in knowledge.liveness.heard(now)
                      if not one.lapsed and one.seat != "claimed"
                      and any(word.epoch and word.armed for word in one.groups)]
        return not knowledge.votes or all(
            knowledge.electorate.is_majority(self._backers(one)) for one in on_credits)

    def _backers(self, active: Heartbeat) -> set[NodeName]:
        """Return who credits an active node, and goes on doing so."""
        peers = self._knowledge.liveness.peers
        return {active.sender} | {
            name for name in active.credits
            if name in peers and not (
                (said := peers[name].heartbeat) and (said.lapsed or said.leaving))}
