"""Heartbeats on the wire: what is sent arrives, and nothing else ever gets in."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamgr.core.heartbeat import WHY_MAX, Accusation, Echo, GroupWord, Heartbeat, Relay
from hamgr.core.seat import Standing
from hamgr.core.types import NEVER
from hamgr.wire import DATAGRAM_MAX, KEYS, Drop, Wire, fingerprint, fingerprints

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
WIRE = Wire("crm", [KEY])

numbers = st.integers(0, NEVER - 1)
names = st.text(min_size=1, max_size=12)
few = 4
heartbeats = st.builds(
    Heartbeat, cluster=st.text(max_size=20), sender=names, incarnation=numbers, round=numbers,
    sequence=numbers, sent=numbers, answer=st.booleans(),
    seat=st.sampled_from(["", *(state.value for state in Standing)]), lapsed=st.booleans(),
    lease=numbers, revision=numbers, voters=numbers, lateness=numbers,
    echo=st.none() | st.builds(Echo, numbers, numbers, numbers, st.booleans()),
    groups=st.lists(st.builds(
        GroupWord, names, numbers, numbers, st.booleans(), st.booleans(), score=numbers,
        why=st.text(max_size=WHY_MAX // 4)), max_size=few).map(tuple),
    accusations=st.lists(st.builds(Accusation, names, numbers, numbers), max_size=few).map(tuple),
    relays=st.lists(st.builds(Relay, names, numbers, names, numbers), max_size=few).map(tuple),
    credits=st.lists(names, max_size=few).map(tuple),
    epochs=st.lists(st.tuples(names, numbers), max_size=few).map(tuple),
    config=st.text(max_size=16), version=st.text(max_size=8))


def heartbeat(**changes: object) -> Heartbeat:
    plain = Heartbeat(
        cluster="", sender="n1", incarnation=1, round=1, sequence=1, sent=1, answer=False,
        seat="member", lapsed=False, lease=1, revision=1, voters=1, lateness=0, echo=None)
    return msgspec.structs.replace(plain, **changes)


def signed(body: bytes) -> bytes:
    """Sign any body with the right key, as a broken peer might."""
    wire = Wire("crm", [KEY])
    wire._encoder = type("Raw", (), {"encode": staticmethod(lambda raw: raw)})()  # type: ignore
    return wire.encode(body, "n2")  # type: ignore


@given(heartbeats)
def test_what_is_sent_arrives(sent: Heartbeat) -> None:
    assert WIRE.decode(WIRE.encode(sent, "n2"), "n2") == sent


@given(heartbeats, st.data())
def test_a_datagram_with_any_byte_changed_is_dropped(sent: Heartbeat, data: st.DataObject) -> None:
    datagram = bytearray(WIRE.encode(sent, "n2"))
    at = data.draw(st.integers(0, len(datagram) - 1))
    datagram[at] ^= data.draw(st.integers(1, 255))
    assert isinstance(WIRE.decode(bytes(datagram), "n2"), Drop)


@given(heartbeats, st.integers(0, DATAGRAM_MAX), st.binary(max_size=40))
def test_a_datagram_cut_short_or_with_a_tail_is_dropped(
        sent: Heartbeat, kept: int, tail: bytes) -> None:
    datagram = WIRE.encode(sent, "n2")
    changed = datagram[:kept] + tail
    assert changed == datagram or isinstance(WIRE.decode(changed, "n2"), Drop)


@given(st.binary(max_size=1600))
def test_bytes_of_others_are_foreign(noise: bytes) -> None:
    assert WIRE.decode(noise, "n2") is Drop.FOREIGN


def test_what_is_not_ours_costs_the_same_whatever_its_length(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first bytes tell: neither hash nor decoder ever looks at the rest."""
    ours = WIRE.encode(heartbeat(), "n2")
    strange = {
        Drop.FOREIGN: (b"x" * 20, b"x" * DATAGRAM_MAX, b"hamg", ours + bytes(2 * DATAGRAM_MAX)),
        Drop.FORMAT: (ours[:4] + b"\x09" + ours[5:],),
        Drop.CLUSTER: (ours[:5] + b"none" + ours[9:],),
        Drop.KEY: (ours[:9] + b"none" + ours[13:],)}
    monkeypatch.setattr(Wire, "_mac", lambda *_: pytest.fail("hashed"))
    monkeypatch.setattr(WIRE, "_decoder", None)
    assert {drop: {WIRE.decode(one, "n2") for one in some} for drop, some in strange.items()} == {
        drop: {drop} for drop in strange}


@given(st.binary(min_size=1, max_size=1100))
def test_an_authentic_body_of_any_bytes_never_raises(body: bytes) -> None:
    assert WIRE.decode(signed(body), "n2") is Drop.MALFORMED


_shape = msgspec.to_builtins(heartbeat(
    echo=Echo(1, 1, 1, True), groups=(GroupWord("g", 1, 1, True, True),),
    accusations=(Accusation("n2", 1, 1),), relays=(Relay("n2", 1, "g", 1),), epochs=(("g", 1),)))
_odd = st.one_of(st.none(), st.booleans(), st.integers(-2**63, 2**64 - 1), st.floats(), st.text(),
                 st.binary(max_size=8), st.lists(st.integers(), max_size=3))


@given(st.integers(0, len(_shape) - 1), _odd)
def test_an_authentic_heartbeat_is_well_formed_or_dropped(at: int, odd: object) -> None:
    try:
        body = msgspec.msgpack.encode([*_shape[:at], odd, *_shape[at + 1:]])
    except OverflowError:
        return
    decoded = WIRE.decode(signed(body), "n2")
    if isinstance(decoded, Heartbeat):
        assert decoded.sender and decoded.seat in ("", *(state.value for state in Standing))
        assert 0 <= decoded.incarnation < NEVER and 0 <= decoded.sent < NEVER
    else:
        assert decoded is Drop.MALFORMED


@pytest.mark.parametrize("changes", [
    {"sender": ""}, {"seat": "king"}, {"incarnation": -1}, {"round": NEVER}, {"sequence": -1},
    {"sent": NEVER}, {"lease": -1}, {"revision": 2**63}, {"voters": -1}, {"lateness": NEVER},
    {"echo": Echo(1, 1, -1, True)}, {"groups": (GroupWord("g", NEVER, 0, True, True),)},
    {"groups": (GroupWord("g", 0, -1, True, True),)}, {"accusations": (Accusation("n", 1, -1),)},
    {"relays": (Relay("n", 1, "g", -1),)}, {"epochs": (("g", -1),)},
], ids=str)
def test_every_number_is_checked_for_its_range(changes: dict[str, object]) -> None:
    assert WIRE.decode(WIRE.encode(heartbeat(**changes), "n2"), "n2") is Drop.MALFORMED


def test_nesting_that_would_exhaust_the_stack_is_dropped() -> None:
    flat = msgspec.msgpack.encode(msgspec.to_builtins(heartbeat()))
    deep = b"\xdc\x00" + bytes([len(_shape) + 1]) + flat[3:] + b"\x91" * 1100 + b"\x00"
    assert WIRE.decode(signed(deep), "n2") is Drop.MALFORMED


def test_a_name_that_is_not_utf8_is_dropped() -> None:
    body = msgspec.msgpack.encode(heartbeat(sender="zz")).replace(b"zz", b"\xff\xfe")
    assert WIRE.decode(signed(body), "n2") is Drop.MALFORMED


def test_fields_of_a_later_version_are_skipped() -> None:
    later = msgspec.msgpack.encode([*_shape, "new field", {"and": ["another"]}])
    decoded = WIRE.decode(signed(later), "n2")
    assert isinstance(decoded, Heartbeat) and decoded.epochs == (("g", 1),)


def test_fields_that_an_earlier_version_lacks_take_their_default() -> None:
    decoded = WIRE.decode(signed(msgspec.msgpack.encode(_shape[:14])), "n2")
    assert isinstance(decoded, Heartbeat) and decoded.groups == () and decoded.version == ""


def test_another_format_is_told_apart() -> None:
    datagram = bytearray(WIRE.encode(heartbeat(), "n2"))
    datagram[4] += 1
    assert WIRE.decode(bytes(datagram), "n2") is Drop.FORMAT


def test_two_clusters_with_one_key_do_not_mix() -> None:
    assert Wire("crm2", [KEY]).decode(WIRE.encode(heartbeat(), "n2"), "n2") is Drop.CLUSTER


def test_the_cluster_name_is_bound_into_the_mac() -> None:
    """The short hash of the name may collide, the key may not."""
    theirs = Wire("crm2", [KEY])
    theirs._head = WIRE._head
    assert WIRE.decode(theirs.encode(heartbeat(), "n2"), "n2") is Drop.MAC


@given(heartbeats, names)
def test_a_heartbeat_to_one_node_is_none_to_another(sent: Heartbeat, other: str) -> None:
    """Rule 2: its echo is a credit to that one alone, whoever on the wire readdresses it."""
    datagram = WIRE.encode(sent, "n2")
    assert other == "n2" or WIRE.decode(datagram, other) is Drop.MAC


def test_another_key_is_told_apart() -> None:
    assert Wire("crm", [OTHER_KEY]).decode(WIRE.encode(heartbeat(), "n2"), "n2") is Drop.KEY


def test_keys_change_without_a_heartbeat_lost() -> None:
    stages = [[KEY], [KEY, OTHER_KEY], [OTHER_KEY, KEY], [OTHER_KEY]]
    for before, after in zip(stages, stages[1:], strict=False):
        old, new = Wire("crm", before), Wire("crm", after)
        assert old.decode(new.encode(heartbeat(), "n2"), "n2") == heartbeat()
        assert new.decode(old.encode(heartbeat(), "n2"), "n2") == heartbeat()


def test_a_datagram_tells_which_keys_its_sender_has() -> None:
    one, other = fingerprint(KEY), fingerprint(OTHER_KEY)
    assert one != other and len(one) == len(other) == 8
    for keys, told in (([KEY], (one,)), ([KEY, OTHER_KEY], (one, other)),
                       ([OTHER_KEY, KEY], (other, one))):
        wire = Wire("crm", keys)
        assert fingerprints(wire.encode(heartbeat(), "n2")[KEYS]) == wire.keys == told


def test_what_a_datagram_tells_of_keys_cannot_be_forged() -> None:
    datagram = bytearray(Wire("crm", [KEY, OTHER_KEY]).encode(heartbeat(), "n2"))
    datagram[KEYS.stop - 1] ^= 1
    assert WIRE.decode(bytes(datagram), "n2") is Drop.MAC


@pytest.mark.parametrize("keys", [[], [b"short"], [KEY, bytes(31)], [KEY, OTHER_KEY, bytes(32)]],
                         ids=["none", "short", "one", "three"])
def test_a_weak_key_is_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="key"):
        Wire("crm", keys)


def test_sixteen_nodes_with_ten_groups_fit() -> None:
    big = 10**15
    nodes = [f"node-{n:02}" for n in range(16)]
    full = heartbeat(
        cluster="0" * 32, sent=NEVER - 1, sequence=10**9, echo=Echo(big, 1000, NEVER - 1, True),
        groups=tuple(GroupWord(f"group-{n}", big, big, True, True) for n in range(10)),
        accusations=tuple(Accusation(name, 10**4, 10**4) for name in nodes[1:8]),
        credits=tuple(nodes[:8]), config="0" * 32, version="0.1.0",
        epochs=tuple((f"group-{n}", big) for n in range(10)))
    datagram = WIRE.encode(full, "n2")
    assert len(datagram) <= DATAGRAM_MAX
    assert WIRE.decode(datagram, "n2") == full


def test_a_heartbeat_that_does_not_fit_is_never_cut() -> None:
    with pytest.raises(AssertionError):
        WIRE.encode(heartbeat(credits=("n" * 100,) * 20), "n2")
