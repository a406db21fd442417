"""What one node tells another in one datagram (rule 1)."""

from functools import cached_property
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from hamgr.core.types import NEVER, NO_LIFE, GroupName, Life, NodeName

Number = Annotated[int, Meta(ge=0, lt=NEVER)]
"""Whatever counts or measures: decoding looks at its range."""
Score = Annotated[int, Meta(gt=-NEVER, lt=NEVER)]
WHY_MAX = 80


class Echo(NamedTuple):
    """The newest heartbeat heard from the receiver: the credit, if it is credited."""

    incarnation: Number
    round: Number
    sent: Number
    """On the receiver's own clock, in nanoseconds: the send time that its heartbeat carried."""
    credited: bool


class GroupWord(NamedTuple):
    """What the sender says of one group in which it has a right, or had one in this incarnation."""

    group: GroupName
    epoch: Number
    """The epoch under which it is active; 0 when it is not."""
    done: Number
    """Not active under any epoch up to this one, and never will be again in this incarnation."""
    fit: bool
    """Its own conditions for the group hold (carrier, services)."""
    armed: bool
    """The dead-man's switch guards the group (false in maintenance)."""
    up: bool = True
    """All of it is started: services and addresses."""
    failed: bool = False
    """Not fit for one reason alone: a service failed there beyond its limit, lately."""
    score: Score = 0
    """How well the node would do as the active one, by the word of its services."""
    why: Annotated[str, Meta(max_length=WHY_MAX)] = ""
    """Why it is not fit, or what does not go on there, in words; cut off at WHY_MAX bytes."""
    waits: bool = False
    """It has the right to start it now, and another group keeps it from that."""
    stuck: bool = False
    """The node cannot get rid of it: a stop has failed, or it asks to be fenced."""


class Relay(NamedTuple):
    """Another node's `done`, passed on by a voter that heard it (rule 12)."""

    node: NodeName
    incarnation: Number
    group: GroupName
    done: Number


class Accusation(NamedTuple):
    """The sender's promise never again to credit this node up to and including this round."""

    node: NodeName
    incarnation: Number
    round: Number

    @property
    def life(self) -> Life:
        """The life that is accused, with all earlier ones."""
        return Life(self.incarnation, self.round)


FENCES_MAX = 2
"""Nodes of whose fencing a heartbeat speaks at most: until the plan has it."""


class FenceWord(NamedTuple):
    """That the sender cuts a node off by its fence devices, or has done so (rule 13)."""

    node: NodeName
    incarnation: Number
    round: Number
    confirmed: bool

    @property
    def life(self) -> Life:
        """The life that is over, with all earlier ones."""
        return Life(self.incarnation, self.round)


class Heartbeat(Struct, frozen=True, kw_only=True, array_like=True, dict=True):
    """One heartbeat to one receiver. New fields go to the end, with a default."""

    cluster: str
    """The cluster id, empty before it is known."""
    sender: Annotated[NodeName, Meta(min_length=1)]
    incarnation: Number
    round: Number
    sequence: Number
    """Counted for each receiver."""
    sent: Number
    """On the sender's monotonic clock, in nanoseconds."""
    answer: bool
    """Sent at once for a heartbeat of a holder or heir; never answered."""
    seat: str
    """The seat state, empty before it is known."""
    lapsed: bool
    lease: Number
    """The lease length in use, in nanoseconds."""
    revision: Number
    """The plan revision read."""
    voters: Number
    """The number of the voter set read."""
    lateness: Number
    """The worst lateness of the sender's own loop in the last second."""
    echo: Echo | None
    groups: tuple[GroupWord, ...] = ()
    accusations: tuple[Accusation, ...] = ()
    relays: tuple[Relay, ...] = ()
    credits: tuple[NodeName, ...] = ()
    """Voters whose credits the sender holds and which have not run out."""
    epochs: tuple[tuple[GroupName, Number], ...] = ()
    """The greatest epoch heard in use, for voters (rule 2)."""
    config: str = ""
    """Digest of the configuration in use."""
    version: str = ""
    scars: tuple[NodeName, ...] = ()
    """Voters that accuse the sender's present life and yet hear it (rule 19)."""
    part: Number = 0
    """Number of this part, from 0, where what is said does not fit into one datagram."""
    parts: Number = 1
    sound: bool = True
    """The sender reads ZooKeeper, and trusts what it reads (rule 15: else it cannot lead)."""
    wording: Number = 0
    """Number of what the parts say together on groups: another one whenever that changes."""
    misses: bool = False
    """The sender has lately missed heartbeats of the receiver."""
    leaving: bool = False
    """It stops in order, and credits for as long as somebody needs it (rule 21)."""

    fences: tuple[FenceWord, ...] = ()

    @property
    def life(self) -> Life:
        """The incarnation and round that the sender speaks for."""
        return Life(self.incarnation, self.round) if self.incarnation else NO_LIFE

    @cached_property
    def essence(self) -> tuple[object, ...]:
        """What of it a decision may rest on, beside its time and its echo."""
        return (self.incarnation, self.round, self.lapsed, self.seat, self.revision, self.voters,
                self.groups, self.accusations, self.relays, self.scars, self.credits, self.epochs,
                self.sound, self.leaving, self.fences)

    def word(self, group: GroupName) -> GroupWord | None:
        """Return the sender's word on one group, if it says any."""
        return self._words.get(group)

    @cached_property
    def _words(self) -> dict[GroupName, GroupWord]:
        return {word.group: word for word in self.groups}
