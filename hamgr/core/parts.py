"""A heartbeat that is too long for one datagram goes out in parts.

Every part carries all that must never wait: sequence number, echo, accusations, credits, scars.
Only the words on groups are dealt out to the parts, which may arrive in any order. What the parts
of one *wording* say belongs together: a voter credits nobody of whose present wording it has not
heard every part (rule 2 asks for the epochs of all groups), and a part that was lost comes again
with the next interval, under the same number while nothing has changed.
"""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from hamgr.core.heartbeat import (
    FENCES_MAX,
    Accusation,
    Echo,
    FenceWord,
    GroupWord,
    Heartbeat,
    Relay,
)
from hamgr.core.types import Epoch, GroupName, NodeName

BODY_MAX = 1171
"""Bytes of an encoded heartbeat: 1,204 (see `wire`) less the head and the MAC."""
VOTERS_MAX = 7
"""Beyond seven, every voter more costs heartbeats and makes nothing safer (as in ZooKeeper)."""
ROOM_MIN = 256
"""Bytes that must be left for words; the longest word on a group takes 148."""

_LARGEST = 2 ** 63 - 1
_NUMBER = 2 ** 31
"""No incarnation, round or revision gets so far."""
_ENCODER = msgspec.msgpack.Encoder()
_ADDRESS_BYTES = len(_ENCODER.encode(Echo(_NUMBER, _NUMBER, _LARGEST, True))) + 4 * 5 + 3 * 4 + 8
"""At most: echo, sequence, time, the three numbers of a part, and how long three lists are."""

Said = GroupWord | Relay | tuple[GroupName, Epoch]


class Speech:
    """Splits what one node says, and numbers its wordings: evenly, or oddly."""

    def __init__(self, nodes: Iterable[NodeName], odd: bool = False) -> None:
        self._wording = int(odd)
        self._shares: list[list[Said]] = []
        """Dealt once a wording: parts of two deals would leave gaps."""
        self.configure(nodes)

    def configure(self, nodes: Iterable[NodeName]) -> None:
        """Make room for these names. What is said is dealt anew, under a number of its own."""
        self._room = BODY_MAX - frame_bytes(nodes)
        self._said: tuple[object, ...] = ()

    def split(self, body: Heartbeat) -> list[Heartbeat]:
        """Return the parts of a heartbeat that has yet to be addressed: mostly one, itself."""
        if len(_ENCODER.encode(body)) + _ADDRESS_BYTES <= BODY_MAX:
            return [body]
        said = (body.groups, body.epochs, body.relays)
        if said != self._said:
            self._said = said
            self._wording += 2
            self._shares = list(_deal((*body.groups, *body.epochs, *body.relays), self._room))
        return [_part(body, share, number, len(self._shares), self._wording)
                for number, share in enumerate(self._shares)]


class Hearing:
    """Puts together what one peer says in parts."""

    __slots__ = ("_before", "_key", "_pieces", "is_whole")

    def __init__(self) -> None:
        self._key = (0, 0, 0)
        self._pieces: dict[int, tuple[GroupWord, ...]] = {}
        """The words of this wording's parts."""
        self._before: tuple[GroupWord, ...] = ()
        """What it said last that was heard as a whole."""
        self.is_whole = False
        """All parts of its present wording were heard."""

    def lacks(self, part: Heartbeat) -> bool:
        """Tell whether this part of its wording was not heard yet."""
        return part.parts > 1 and not (self._key == _key(part) and part.part in self._pieces)

    def put_together(self, part: Heartbeat) -> Heartbeat:
        """Return a heartbeat with all words of its wording; where one is missing, the one before.

        The part belongs to the newest heartbeat heard (rule 3).
        """
        if part.incarnation != self._key[0]:
            self._before = ()
        if self._key != _key(part):
            self._key, self._pieces = _key(part), {}
        if part.parts == 1:
            self._before, self.is_whole = part.groups, True
            return part
        self._pieces[part.part] = part.groups
        self.is_whole = len(self._pieces) == part.parts
        words = tuple(word for words in self._pieces.values() for word in words)
        if self.is_whole:
            self._before = words
        latest = {word.group: word for word in (*self._before, *words)}
        return replace(part, groups=tuple(latest.values()))


def frame_bytes(nodes: Iterable[NodeName]) -> int:
    """Return how long a heartbeat of such a cluster can be before it says a word on groups.

    At worst the seven longest names vote. A node that is accused is not heard, and so neither
    credits nor accuses the sender (rule 19).
    """
    names = sorted(nodes, key=len, reverse=True)
    voting = tuple(names[:VOTERS_MAX])
    accused = tuple(Accusation(name, _NUMBER, _NUMBER) for name in names[VOTERS_MAX:])
    worst = Heartbeat(
        cluster="c" * 32, sender=names[0], incarnation=_NUMBER, round=_NUMBER, sequence=0,
        sent=_LARGEST, answer=True, seat="settling", lapsed=True, lease=_LARGEST, revision=_NUMBER,
        voters=_NUMBER, lateness=_LARGEST, echo=None, accusations=accused, credits=voting,
        config="d" * 16, version="v" * 16, scars=voting,
        fences=tuple(FenceWord(name, _NUMBER, _NUMBER, True) for name in names[:FENCES_MAX]))
    return len(_ENCODER.encode(worst)) + _ADDRESS_BYTES


def _key(part: Heartbeat) -> tuple[int, int, int]:
    return part.incarnation, part.wording, part.parts


def _deal(said: Iterable[Said], room: int) -> Iterable[list[Said]]:
    """Yield shares that fit into the room, in order; the last may be empty."""
    share: list[Said] = []
    left = room
    for one in said:
        size = len(_ENCODER.encode(one))
        if size > left and share:
            yield share
            share, left = [], room
        share.append(one)
        left -= size
    yield share


def _part(frame: Heartbeat, share: list[Said], number: int, of: int, wording: int) -> Heartbeat:
    return replace(
        frame, part=number, parts=of, wording=wording,
        groups=tuple(one for one in share if isinstance(one, GroupWord)),
        relays=tuple(one for one in share if isinstance(one, Relay)),
        epochs=tuple(one for one in share if not isinstance(one, GroupWord | Relay)))
