"""Heartbeats on the wire: a versioned binary datagram, authenticated with the cluster's key.

    magic 4 | format 1 | cluster 4 | key 4 | other key 4 | MAC 16 | body: a msgpack array,
                                                                    at most 1,171 bytes

The MAC (BLAKE2b in its keyed mode, RFC 7693 section 2.9) covers everything else, and the name of
the receiver, which is not sent: the echo in a heartbeat is a credit to one node, and must be none
to another to whom somebody on the wire has readdressed it. Its key is derived from the key file's
and the cluster's name, so that two clusters with one key file do not mix. `key` and `cluster` are
short hashes that say *which* key and cluster were meant: they spare a MAC that cannot match, and
tell a wrong key file from a flood. `other key` is the one that the sender accepts as well, zeros if
there is none: while a key is replaced, everybody must have the new one before anybody signs with
it, and that has to be seen from outside.

What is not ours is told by its first bytes and its size, before anything is computed. The body is
decoded only after the MAC is right, and decoding checks every number for its range, so that an
authentic heartbeat of a broken node can be wrong, but not malformed. Replays are for the engine:
by (incarnation, sequence), never by time. A later version appends fields to Heartbeat; an older one
skips them. A tuple inside (Echo, GroupWord, …) cannot grow: that needs a new format number.
"""

import hmac
import struct
from collections.abc import Sequence
from enum import Enum
from hashlib import blake2b

import msgspec

from hamgr.core.heartbeat import Heartbeat
from hamgr.core.parts import BODY_MAX
from hamgr.core.seat import Standing
from hamgr.core.types import NodeName

MAGIC = b"hamg"
FORMAT = 1
DATAGRAM_MAX = 1204
"""Bytes. With the headers of UDP and IPv6 (48) it fits every path MTU that IPv6 allows (1,280, RFC
8200 section 5), so a heartbeat is never fragmented."""
PARTS_MAX = 100
KEY_MIN = 32
"""Bytes of a key, at least."""

_HEADER = struct.Struct("!4sB4s4s4s")
KEYS = slice(9, 17)
"""Where a datagram says which key signed it, and which other one its sender accepts."""
_NO_KEY = bytes(4)
_MAC_SIZE = 16
_BODY_AT = _HEADER.size + _MAC_SIZE
assert _BODY_AT + BODY_MAX == DATAGRAM_MAX
_SEATS = frozenset(("", *(standing.value for standing in Standing)))


class Drop(str, Enum):
    """Why a datagram was not taken for a heartbeat."""

    FOREIGN = "foreign"
    """Not one of hamgr's: magic or size."""
    FORMAT = "format"
    """Another format number: a version with which this one cannot talk."""
    CLUSTER = "cluster"
    """Meant for a cluster of another name."""
    KEY = "key"
    """Signed with a key that is not in this node's key file."""
    MAC = "mac"
    """Damaged, forged, or meant for another node."""
    MALFORMED = "malformed"
    """Authentic, but no heartbeat: its sender is broken, or not compatible."""


class Wire:
    """Turns heartbeats into datagrams and back, for one cluster and its keys."""

    def __init__(self, cluster: str, keys: Sequence[bytes]) -> None:
        """Sign with the first key, accept all of them; at most two.

        To change keys without losing a heartbeat, put the new one second on every node, then
        first on every node, then take the old one out. Raises ValueError if there is no key, or
        more than two, or one is shorter than 32 bytes.
        """
        if not 1 <= len(keys) <= 2:
            raise ValueError(f"heartbeats need one key, or two, not {len(keys)}")
        if any(len(key) < KEY_MIN for key in keys):
            raise ValueError(f"a key must have at least {KEY_MIN} bytes")
        self._cluster = _short_hash(cluster.encode(), b"hamgr-cluster")
        self._macs = {_key_id(key): _mac_state(cluster, key) for key in keys}
        ids = [*map(_key_id, keys), _NO_KEY]
        self._head = _HEADER.pack(MAGIC, FORMAT, self._cluster, ids[0], ids[1])
        self._signs = ids[0]
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Heartbeat)

    @property
    def keys(self) -> tuple[str, ...]:
        """The fingerprints of the keys, the one that signs first."""
        return fingerprints(self._head[KEYS])

    def encode(self, heartbeat: Heartbeat, to: NodeName) -> bytes:
        """Return the datagram, signed for its receiver.

        `parts` sees to it that it fits: never truncated here.
        """
        body = self._encoder.encode(heartbeat)
        assert len(body) <= BODY_MAX, f"a heartbeat of {len(body)} bytes"
        return self._head + self._mac(self._signs, self._head, to, body) + body

    def decode(self, datagram: bytes, to: NodeName) -> Heartbeat | Drop:
        """Return the heartbeat to this node, or why there is none.

        Never raises, whatever the bytes are.
        """
        if not (_BODY_AT < len(datagram) <= DATAGRAM_MAX and datagram.startswith(MAGIC)):
            return Drop.FOREIGN
        _, form, cluster, key, _ = _HEADER.unpack_from(datagram)
        if form != FORMAT:
            return Drop.FORMAT
        if cluster != self._cluster:
            return Drop.CLUSTER
        if key not in self._macs:
            return Drop.KEY
        head, body = datagram[:_HEADER.size], datagram[_BODY_AT:]
        if not hmac.compare_digest(self._mac(key, head, to, body),
                                   datagram[_HEADER.size:_BODY_AT]):
            return Drop.MAC
        try:
            heartbeat = self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Drop.MALFORMED
        return heartbeat if _is_sound(heartbeat) else Drop.MALFORMED

    def _mac(self, key: bytes, head: bytes, to: NodeName, body: bytes) -> bytes:
        mac = self._macs[key].copy()
        mac.update(head)
        mac.update(to.encode() + b"\0")  # no name has a zero byte: nothing can move between the two
        mac.update(body)
        return mac.digest()


def fingerprint(key: bytes) -> str:
    """Return what people are shown of a key: 8 hex digits, which every datagram carries anyway."""
    return _key_id(key).hex()


def fingerprints(ids: bytes) -> tuple[str, ...]:
    """Return what the KEYS of an authentic datagram say: the key that signs it comes first."""
    return tuple(one.hex() for one in (ids[:4], ids[4:]) if one != _NO_KEY)


def _key_id(key: bytes) -> bytes:
    return _short_hash(key, b"hamgr-key")


def _short_hash(data: bytes, use: bytes) -> bytes:
    return blake2b(data, digest_size=4, person=use).digest()


def _mac_state(cluster: str, key: bytes) -> blake2b:
    """Return a hash that is keyed already: copying it is cheaper than keying it each time."""
    root = blake2b(key, digest_size=32, person=b"hamgr-root").digest()
    derived = blake2b(cluster.encode(), key=root, digest_size=32, person=b"hamgr-heartbeat")
    return blake2b(key=derived.digest(), digest_size=_MAC_SIZE)


def _is_sound(heartbeat: Heartbeat) -> bool:
    """Look at what the types of its fields do not say."""
    return heartbeat.seat in _SEATS and heartbeat.part < heartbeat.parts <= PARTS_MAX
