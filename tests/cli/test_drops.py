"""Heartbeats that were dropped: what `hamgr status` makes of an agent's counters."""

import pytest

from hamgr.cli import from_agent, render
from hamgr.cli.survey import Answer, Wire
from hamgr.wire import Drop
from tests.cli import cluster

FROM_N1 = {vip.address: Wire(asked=True, answers=(Answer(mac="02:00:00:00:00:01", node="n1"),))
           for vip in cluster.VIPS}


def test_heartbeats_that_are_dropped_are_told_in_words_and_counted_in_json() -> None:
    counters = {"heartbeats": {"received": 9, "dropped.key": 700},
                "dropped_last_minute": {"key.n3": 120, "repeated.n1": 2, "mac.n1": 1, "source": 4}}
    survey = from_agent.survey(cluster.status(counters=counters), FROM_N1)
    assert [problem.text for problem in survey.problems] == [
        "n3: 120 datagrams dropped by n2 in the last minute: signed with a key that n2 does not "
        "have"]
    assert survey.verdict == "degraded"
    assert survey.notes == (
        "n1: 1 datagram dropped by n2 in the last minute: damaged, forged, or meant for another "
        "node",
        "n1: 2 datagrams dropped by n2 in the last minute: came again, or late, on the same ring: "
        "duplicated on the way, or replayed",
        "4 datagrams from addresses of no node dropped by n2 in the last minute")
    assert all(f"\n{note}" in render.text(survey) for note in survey.notes)
    assert survey.counters == counters


@pytest.mark.parametrize("drop", Drop)
def test_every_reason_to_drop_has_words(drop: Drop) -> None:
    lately = {"dropped_last_minute": {f"{drop.value}.n3": 7}}
    survey = from_agent.survey(cluster.status(counters=lately), FROM_N1)
    (line,) = [*[problem.text for problem in survey.problems], *survey.notes]
    assert line.startswith("n3: 7 datagrams dropped by n2 in the last minute: ")
    assert not line.endswith(f": {drop.value}")


def test_what_was_dropped_long_ago_is_not_told() -> None:
    old = {"heartbeats": {"dropped.key": 700}, "dropped_last_minute": {}}
    survey = from_agent.survey(cluster.status(counters=old), FROM_N1)
    assert (survey.verdict, survey.notes) == ("healthy", ())
