"""What lies in ZooKeeper, where anybody may have written: it is read, or refused as no record."""

import msgspec
import pytest

from hamgr.coding import DEPTH_MAX, NewerFormatError, decode, encode
from hamgr.core.records import (
    CONFIG,
    HISTORY,
    LEADER,
    PLAN,
    REQUESTS,
    ROOT,
    SEATS,
    GroupPlan,
    Leader,
    Plan,
    Voters,
)
from hamgr.core.timing import Timing
from hamgr.core.types import NEVER

PATHS = (ROOT, LEADER, PLAN, CONFIG, f"{SEATS}/n1", f"{REQUESTS}/1", f"{HISTORY}/1")


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", [
    "", "[]", "\0", '{"format": 1e400}', '{"format": "new"}', f'{{"mood": {nested(100_000)}}}',
    '{"mood": ' + '{"a": ' * 100_000 + "1" + "}" * 100_001, f'{{"mood": {nested(500)}}}',
    '{"revision": -1e99, "term": [], "incarnation": {}, "state": 7}',
], ids=["empty", "list", "zero byte", "huge format", "format in words", "lists", "tables",
        "some lists", "other types"])
def test_what_is_no_record_is_refused_as_such(path: str, text: str) -> None:
    """An agent takes any other exception for a bug of its own, and ends."""
    with pytest.raises(msgspec.MsgspecError):
        decode(path, text.encode())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("data", [b'{"node": "\xc2"}', b'{"\xff": 1}', b'{"node": "\\ud800"}'],
                         ids=["value", "key", "half a pair"])
def test_what_is_no_text_is_refused_as_no_record(path: str, data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(path, data)


@pytest.mark.parametrize("number", [-1, NEVER, 2**63, 2**64, 10**30])
def test_a_number_that_no_heartbeat_could_carry_is_refused(number: int) -> None:
    """Heartbeats name plan, epochs and incarnations: one of them would drop out at every peer."""
    for text in (f'{{"term": {number}, "node": "n1", "incarnation": 4}}',
                 f'{{"term": 3, "node": "n1", "incarnation": {number}}}'):
        with pytest.raises(msgspec.MsgspecError, match="is no number of hamgr's"):
            decode(LEADER, text.encode())
    decode(LEADER, f'{{"term": {NEVER - 1}, "node": "n1", "incarnation": 0}}'.encode())


def test_a_record_of_a_newer_version_is_refused_with_the_remedy() -> None:
    with pytest.raises(NewerFormatError, match="in format 2, .* upgrade hamgr on this node"):
        decode(LEADER, b'{"format": 2}')


def test_fields_of_other_versions_are_kept() -> None:
    mood = nested(DEPTH_MAX - 2)
    text = f'{{"term":3,"node":"n1","incarnation":4,"mood":{mood}}}'
    read = decode(LEADER, text.encode())
    assert isinstance(read, Leader) and read.term == 3
    again = encode(read)
    assert f'"mood":{mood}'.encode() in again and decode(LEADER, again) == read


@pytest.mark.parametrize("name", ["extra", "format", "groups"])
def test_a_group_may_be_called_what_a_field_is_called(name: str) -> None:
    plan = Plan(revision=1, by="n1", voters=Voters(number=1, names=("n1",)), times=Timing(),
                groups={name: GroupPlan(top_epoch=7, extra={"later": 1})}, extra={"newer": 2})
    assert decode(PLAN, encode(plan)) == plan


def test_at_other_paths_no_record_lives() -> None:
    with pytest.raises(LookupError):
        decode("sessions/n1", b"{}")
