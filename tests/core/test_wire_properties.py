"""What is said arrives whole, however it was cut up; what is read from ZooKeeper is kept (1 to 3).

Any words, on as many nodes and groups as a cluster can have, with names as long as they may be:
each datagram fits, and the parts say together what was to be said, in any order.
"""

from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hamgr import coding
from hamgr.core.heartbeat import Accusation, Echo, GroupWord, Heartbeat, Relay
from hamgr.core.parts import BODY_MAX, ROOM_MIN, VOTERS_MAX, Hearing, Speech, frame_bytes
from hamgr.core.records import (
    CONFIG,
    HISTORY,
    LEADER,
    PLAN,
    REQUESTS,
    ROOT,
    SEATS,
    Config,
    GroupPlan,
    History,
    Leader,
    Plan,
    Record,
    Request,
    Right,
    Root,
    Seat,
    Voters,
)
from hamgr.core.timing import Timing
from hamgr.core.types import NEVER, Maintenance, SeatState
from hamgr.wire import DATAGRAM_MAX, Drop, Wire

WIRE = Wire("crm", [bytes(range(32))])
COUNT = 2**31
"""What no incarnation, round or revision reaches."""
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def _names(kind: str, count: int, length: int) -> tuple[str, ...]:
    return tuple(f"{kind}{number}".ljust(length, "x")[:32] for number in range(count))


def _body(dice: Random, nodes: tuple[str, ...], groups: tuple[str, ...]) -> Heartbeat:
    """What the first node may say at worst: the rest of the nodes are accused or credit it."""
    worst = dice.random() < 0.5

    def number() -> int:
        return NEVER - 1 if worst else dice.choice((0, 1, 127, 10**6, 2**40, NEVER - 1))

    def count() -> int:
        return COUNT if worst else dice.choice((0, 1, 255, COUNT))

    voting = tuple(dice.sample(nodes, min(len(nodes), VOTERS_MAX)))
    accused = [node for node in nodes if node not in voting]
    return Heartbeat(
        cluster="c" * 32, sender=nodes[0], incarnation=count() or 1, round=count(),
        sequence=0, sent=number(), answer=False, seat="settling", lapsed=dice.random() < 0.5,
        lease=number(), revision=count(), voters=count(), lateness=number(), echo=None,
        groups=tuple(GroupWord(name, number(), number(), *(dice.random() < 0.5 for _ in range(4)))
                     for name in groups),
        accusations=tuple(Accusation(node, count(), count()) for node in accused),
        relays=tuple(Relay(dice.choice(nodes), count(), name, number()) for name in groups
                     if dice.random() < 0.3),
        credits=voting, epochs=tuple((name, number()) for name in groups if dice.random() < 0.5),
        config="d" * 16, version="v" * 16, scars=voting)


clusters = st.tuples(st.integers(2, 16), st.integers(0, 60), st.integers(3, 32),
                     st.integers(0, 2**32))


def _spoken(shape: tuple[int, int, int, int]) -> tuple[Heartbeat, list[Heartbeat], Random]:
    count, groups, length, seed = shape
    dice, nodes = Random(seed), _names("node", count, length)
    body = _body(dice, nodes, _names("group", groups, length))
    parts = [replace(part, sequence=COUNT, misses=True,
                     echo=Echo(COUNT, COUNT, NEVER - 1, True))
             for part in Speech(nodes).split(body)]
    return body, parts, dice


@given(clusters)
def test_every_part_fits_a_datagram_and_arrives_as_it_was_said(
        shape: tuple[int, int, int, int]) -> None:
    body, parts, _ = _spoken(shape)
    for part in parts:
        datagram = WIRE.encode(part, "n2")
        assert len(datagram) <= DATAGRAM_MAX
        assert WIRE.decode(datagram, "n2") == part
        for field in ("accusations", "credits", "scars", "life", "lapsed", "lease"):
            assert getattr(part, field) == getattr(body, field), "none of these ever waits"
    for field in ("groups", "epochs", "relays"):
        assert [one for part in parts for one in getattr(part, field)] == [*getattr(body, field)]


@given(clusters)
def test_parts_in_any_order_some_of_them_twice_are_whole_when_none_is_missing(
        shape: tuple[int, int, int, int]) -> None:
    """Rule 2: nobody is credited of whom a part was not heard."""
    body, parts, dice = _spoken(shape)
    hearing, heard, whole = Hearing(), set[int](), body
    arriving = [*parts, *dice.sample(parts, dice.randint(0, len(parts)))]
    dice.shuffle(arriving)
    for part in arriving:
        assert hearing.lacks(part) == (part.parts > 1 and part.part not in heard)
        whole = hearing.put_together(part)
        heard.add(part.part)
        assert hearing.is_whole == (len(heard) == len(parts))
    assert {*whole.groups} == {*body.groups} and len(whole.groups) == len(body.groups)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2**16)), min_size=1, max_size=5),
       st.integers(0, 2**32))
def test_of_two_wordings_none_is_taken_for_the_other(
        wordings: list[tuple[int, int]], seed: int) -> None:
    """Whatever was lost of earlier ones: once it is whole, it says what was said last (rule 2)."""
    nodes, dice, hearing = _names("node", 3, 32), Random(seed), Hearing()
    speech = Speech(nodes)
    for groups, words in wordings:
        body = _body(Random(words), nodes, _names("group", groups, 32))
        body = replace(body, incarnation=1)
        arriving = speech.split(body)
        dice.shuffle(arriving)
        if dice.random() < 0.5:
            arriving.pop()
        for part in arriving:
            whole = hearing.put_together(part)
            assert not hearing.is_whole or {*whole.groups} == {*body.groups}


@given(st.lists(st.text(LETTERS, min_size=1, max_size=32), min_size=1, max_size=16, unique=True))
def test_no_cluster_of_sixteen_leaves_too_little_room_for_words_or_is_told_so(
        names: list[str]) -> None:
    """With the longest names there may be too little; the check of files says so then."""
    room = BODY_MAX - frame_bytes(names)
    assert room >= ROOM_MIN or sum(map(len, names)) > 200
    assert frame_bytes(names) == frame_bytes(reversed(names))


numbers = st.integers(0, NEVER - 1)
small = st.integers(0, 5)
text = st.text(max_size=8)
extras = st.dictionaries(st.sampled_from(("mood", "colour")), st.none() | text | small, max_size=2)
rights = st.builds(Right, node=text, incarnation=numbers, round=small, epoch=numbers)
some_rights = st.lists(rights, max_size=2).map(tuple)
some = st.lists(text, max_size=3).map(tuple)
times = st.builds(Timing, interval=numbers, lease=numbers, detection=numbers, claim=numbers)
records = st.one_of(
    st.tuples(st.just(ROOT), st.builds(Root, cluster_id=text, follows=some, extra=extras)),
    st.tuples(st.just(LEADER), st.builds(Leader, term=numbers, node=text, extra=extras)),
    st.tuples(st.just(f"{SEATS}/n1"), st.builds(
        Seat, incarnation=numbers, round=numbers, by=text, why=text, extra=extras,
        state=st.sampled_from(SeatState))),
    st.tuples(st.just(CONFIG), st.builds(Config, revision=numbers, document=text, extra=extras)),
    st.tuples(st.just(f"{REQUESTS}/1"), st.builds(
        Request, id=text, kind=text, group=text, voters=some, times=st.none() | times,
        confirmed=st.booleans(), extra=extras)),
    st.tuples(st.just(f"{HISTORY}/1"), st.builds(History, revision=numbers, by=text, lines=some)),
    st.tuples(st.just(PLAN), st.builds(
        Plan, revision=numbers, by=text, times=times, standby=some, renew=text, extra=extras,
        voters=st.builds(Voters, number=numbers, names=some, former=some, coming=some),
        groups=st.dictionaries(text, st.builds(
            GroupPlan, holder=st.none() | rights, heir=st.none() | rights, leaving=some_rights,
            handover=st.booleans(), maintenance=st.sampled_from(Maintenance), top_epoch=numbers,
            unverified=some_rights, extra=extras), max_size=2))))


@given(records)
def test_a_record_is_read_as_it_was_written(written: tuple[str, Record]) -> None:
    """With what other versions put into it, in the plan's groups too (rolling upgrades)."""
    path, record = written
    assert coding.decode(path, coding.encode(record)) == record


@given(records, st.integers(0, 2**32))
def test_a_damaged_record_is_a_record_or_refused_as_none(
        written: tuple[str, Record], seed: int) -> None:
    """Nothing else is ever raised, and what could be read can be written again."""
    path, record = written
    dice, data = Random(seed), bytearray(coding.encode(record))
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data))
        data[at:at + dice.randint(0, 2)] = dice.choice((
            b"", b'"', b"{}", b"[", b"null", b"-1", b"9" * 30, b"1e400", b"\xff", b"\\u0000"))
    try:
        read = coding.decode(path, bytes(data))
    except msgspec.MsgspecError:
        return
    assert coding.decode(path, coding.encode(read)) == read


@settings(max_examples=300)
@given(st.sampled_from((ROOT, LEADER, PLAN, CONFIG, f"{SEATS}/n1", f"{REQUESTS}/1")),
       st.binary(max_size=60) | st.recursive(
           st.none() | st.booleans() | st.floats() | st.integers(-2**70, 2**70) | text,
           lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
               st.sampled_from((*Plan.__struct_fields__, *Seat.__struct_fields__)), inner,
               max_size=5)).map(lambda value: msgspec.json.encode(_sized(value))))
def test_any_bytes_are_a_record_or_refused_as_none(path: str, data: bytes) -> None:
    try:
        coding.encode(coding.decode(path, data))
    except msgspec.MsgspecError:
        return


def _sized(value: object) -> object:
    """JSON numbers beyond 64 bits, as text that a reader takes for a number."""
    match value:
        case dict():
            return {key: _sized(one) for key, one in value.items()}
        case list():
            return [_sized(one) for one in value]
        case int() if not -2**63 <= value < 2**64:
            return msgspec.Raw(str(value).encode())
    return value


@given(st.binary(min_size=1, max_size=BODY_MAX), st.binary(max_size=1300))
def test_whatever_comes_is_a_heartbeat_or_a_reason_to_drop_it(body: bytes, noise: bytes) -> None:
    """With the key or without."""
    signed = WIRE._head + WIRE._mac(WIRE._signs, WIRE._head, "n2", body) + body
    assert isinstance(WIRE.decode(signed, "n2"), Heartbeat | Drop)
    assert isinstance(WIRE.decode(noise, "n2"), Drop)
