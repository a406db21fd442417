"""What a look at the records finds, with a stand-in for the session."""

import asyncio

from tests.records import tree

DEEP = b"[" * 100_000 + b"]" * 100_000


def test_a_session_that_says_nothing_readable_is_a_session_all_the_same() -> None:
    found = tree(sessions__n1=b'{"macs": ["02:00:00:00:00:01"]}', sessions__n2=b"",
                 sessions__n3=b"[]", sessions__n4=b'{"macs": ' + DEEP + b"}")
    assert asyncio.run(found.sessions()) == {
        "n1": {"macs": ["02:00:00:00:00:01"]}, "n2": {}, "n3": {}, "n4": {}}


def test_what_is_no_number_is_no_entry_of_the_history() -> None:
    found = tree(history__7=b'{"revision": 7, "by": "n1", "lines": ["it moved"]}',
                 **{f"history__{'1' * 5000}": b"{}", "history__x": b"{}"})
    assert [entry.record.revision for entry in asyncio.run(found.history(10))] == [7]
