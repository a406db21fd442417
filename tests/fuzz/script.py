"""What the bytes of a fuzz input mean: a script of datagrams that arrive at one node.

Each step lets time pass and makes one datagram: any bytes, one of ours in which something is
damaged, an authentic body of any bytes, or an authentic heartbeat of a peer in which some fields
are what the script says. So a fuzzer that knows nothing of keys gets behind the MAC, and one that
changes bytes at random mostly makes another script. Whatever bytes there are, they are a script.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from hamgr.core.heartbeat import Accusation, Echo, FenceWord, GroupWord, Heartbeat, Relay
from hamgr.core.parts import BODY_MAX
from hamgr.core.records import EPOCHS_SKIPPED
from hamgr.core.seat import Standing
from hamgr.core.types import MILLISECOND, NEVER, SECOND, Duration, Instant, Life
from hamgr.wire import DATAGRAM_MAX, Wire

WIRE = Wire("t", [b"k" * 32])
NODES = ("n1", "n2", "n3")
NAMES = (*NODES, "n9", "crm", "erp", "fenced", "strange", "", "n" * 60, "\0", "c1", "c2")
SEATS = ("", *(standing.value for standing in Standing), "king")
NUMBERS = (0, 1, 2, 3, 4, 5, 7, 99, 100, 101, EPOCHS_SKIPPED, 2 * EPOCHS_SKIPPED, 2**31, 2**53,
           NEVER - 1, NEVER, 2**63 - 1, 2**63, 2**64 - 1, -1)
WAITS = (0, 0, MILLISECOND, 10 * MILLISECOND, 50 * MILLISECOND, 100 * MILLISECOND,
         360 * MILLISECOND, 3 * SECOND)
FIELDS = Heartbeat.__struct_fields__
FIRST = Heartbeat(
    cluster="c1", sender="n9", incarnation=1, round=1, sequence=0, sent=0, answer=False,
    seat="member", lapsed=False, lease=280 * MILLISECOND, revision=1, voters=1, lateness=0,
    echo=None)
_ENCODE = msgspec.msgpack.Encoder().encode


def signed(body: bytes, to: str) -> bytes:
    """Any body, as a peer with the key would send it."""
    return WIRE._head + WIRE._mac(WIRE._signs, WIRE._head, to, body) + body


def saying(body: bytes) -> bytes:
    """Return the step in which the first peer sends just this authentic body, for a seed."""
    return bytes((5, 2, 0)) + len(body).to_bytes(2) + body


class Script:
    """Reads an input; past its end everything is zero."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count:self._at]

    def some(self) -> bytes:
        """As many bytes as the two before them say, up to a little more than fit a datagram."""
        return self.take(int.from_bytes(self.take(2)) % (DATAGRAM_MAX + 2))

    def pick(self, table: tuple[Any, ...]) -> Any:
        return table[self.byte() % len(table)]

    def list(self, one: Callable[[], Any]) -> tuple[Any, ...]:
        return tuple([one() for _ in range(self.byte() % 5)])


class Peers:
    """The peers of one node, any of which the script may have say anything."""

    def __init__(self, script: Script, node: str, now: Instant,
                 heard: dict[str, Heartbeat | None]) -> None:
        self.script, self.node, self.now = script, node, now
        self.life = Life(1, 1)
        """What the node counts as its own life: an echo names it."""
        self._said = {peer: said or msgspec.structs.replace(FIRST, sender=peer)
                      for peer, said in heard.items()}
        self._saying = FIRST

    def wait(self) -> Duration:
        """How much time passes before the next datagram."""
        return WAITS[self.script.byte() % len(WAITS)]

    def next(self) -> tuple[str, int, bytes]:
        """Return from whose address a datagram comes, on which ring, and the datagram."""
        kind, peer = self.script.byte(), self.script.pick(tuple(self._said))
        self._saying = self._said[peer]
        match kind & 7:
            case 0:
                datagram = self.script.some()
            case 1:
                datagram = self._damaged()
            case 2:
                datagram = signed(self.script.some()[:BODY_MAX], self.node)
            case _:
                datagram = signed(self._body()[:BODY_MAX], self.node)
        return peer, kind >> 3 & 1, datagram

    def was_heard(self, peer: str) -> None:
        """What this peer said last was a heartbeat: its later ones build on it."""
        self._said[peer] = self._saying

    def _damaged(self) -> bytes:
        datagram = bytearray(signed(_ENCODE(self._saying), self.node))
        at = self.script.byte() % 64
        patch = self.script.take(1 + self.script.byte() % 24)
        datagram[at:at + len(patch)] = patch
        return bytes(datagram)

    def _body(self) -> bytes:
        """A heartbeat as this peer said it last, but for time, number, echo and some fields."""
        changes: dict[str, Any] = {
            "sequence": self._saying.sequence + 1, "sent": self.now,
            "echo": Echo(*self.life, self.now - MILLISECOND, True)}
        for _ in range(self.script.byte() % 8):
            field = self.script.pick(FIELDS)
            changes[field] = self._value(field)
        self._saying = msgspec.structs.replace(self._saying, **changes)
        return _ENCODE(self._saying)

    def _value(self, field: str) -> Any:
        script = self.script
        match field:
            case "cluster" | "sender" | "config" | "version":
                return script.pick(NAMES)
            case "seat":
                return script.pick(SEATS)
            case "answer" | "lapsed" | "sound" | "misses" | "leaving":
                return bool(script.byte() & 1)
            case "echo":
                return None if script.byte() & 1 else Echo(
                    self._number(), self._number(), self._number(), bool(script.byte() & 1))
            case "groups":
                return script.list(self._word)
            case "accusations":
                return script.list(lambda: Accusation(
                    script.pick(NAMES), self._number(), self._number()))
            case "relays":
                return script.list(lambda: Relay(
                    script.pick(NAMES), self._number(), script.pick(NAMES), self._number()))
            case "fences":
                return script.list(lambda: FenceWord(
                    script.pick(NAMES), self._number(), self._number(), bool(script.byte() & 1)))
            case "epochs":
                return script.list(lambda: (script.pick(NAMES), self._number()))
            case "credits" | "scars":
                return script.list(lambda: script.pick(NAMES))
        return self._number()

    def _word(self) -> GroupWord:
        flags = self.script.byte()
        fit, armed, up, failed, waits, stuck = (bool(flags >> bit & 1) for bit in range(6))
        return GroupWord(self.script.pick(NAMES), self._number(), self._number(), fit, armed, up,
                         failed, self._number(), self.script.pick(NAMES), waits, stuck)

    def _number(self) -> int:
        kind = self.script.byte()
        if kind < 192:
            return NUMBERS[kind % len(NUMBERS)]
        if kind < 224:
            return self.now - (kind - 208) * 50 * MILLISECOND
        return int.from_bytes(self.script.take(1 + kind % 8))
