"""`hamgr status` on tests of fence devices: when they were, and whether they are due."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from hamgr.cli import from_agent, from_records, render
from hamgr.cli.survey import Survey
from hamgr.core.spec import DeviceSpec
from hamgr.ports import FenceTest
from tests.cli import cluster

DAY_S = 86400
MONTH_S = 30.0 * DAY_S
NOW = "2026-11-30T12:00:00+00:00"
TEST = FenceTest(at="2026-11-27T12:00:00+00:00", by="n2", devices=("ipmi",))
OLD = replace(TEST, at="2026-10-01T12:00:00+00:00", cycle=True)
DEVICES = (DeviceSpec(name="pdu", nodes=("n1",), level=2),
           DeviceSpec(name="ipmi", nodes=("n1", "n2")))
NEVER = "can be fenced was never tested"
REMEDY = "`hamgr fence NODE --test`, on another node, does that"


def spec(required: bool = True) -> Any:
    return replace(cluster.SPEC, devices=DEVICES, groups=tuple(
        replace(group, fencing_required=required) for group in cluster.SPEC.groups))


def by_agent(tests: dict[str, FenceTest | None], *, required: bool = True,
             every_s: float = MONTH_S) -> Survey:
    return from_agent.survey(cluster.status(
        spec=spec(required), fence_tests=tests, fence_test_every_s=every_s, wall_clock=NOW), {})


def by_zookeeper(tests: dict[str, FenceTest | None], *, required: bool = True,
                 every_s: float = MONTH_S) -> Survey:
    told = from_records.Tests(last=tests, every_s=every_s, now=NOW)
    return from_records.survey(spec(required), {}, root=None, leader=None, plan=cluster.plan(),
                               seats={}, requests=(), sessions=(), why="no agent", tests=told)


SOURCES = pytest.mark.parametrize("source", [by_agent, by_zookeeper])


def said(survey: Survey) -> list[str]:
    return [one.text for one in survey.problems if "can be fenced" in one.text]


def notes(survey: Survey) -> list[str]:
    return [note for note in survey.notes if "can be fenced" in note]


@SOURCES
def test_each_node_shows_its_last_success(source: Any) -> None:
    survey = source({"n1": TEST, "n2": None})
    n1, n2, n3 = msgspec.to_builtins(survey.nodes)
    assert (n1["fence_devices"], n1["fence_tested"], n1["fence_test_age_s"]) == (
        ("ipmi", "pdu"), True, 3.0 * DAY_S)
    assert n1["fence_test"] == {"at": TEST.at, "by": "n2", "devices": ("ipmi",), "cycle": False,
                                "cycle_at": ""}
    assert (n2["fence_devices"], n2["fence_tested"], n2["fence_test"]) == (("ipmi",), False, None)
    assert (n3["fence_devices"], n3["fence_tested"]) == ((), None)


@SOURCES
@pytest.mark.parametrize(("test", "word"), [
    ({"n1": TEST}, "3d00h ago "), ({"n1": replace(TEST, cycle=True)}, "3d00h ago, cycle "),
    ({"n1": None}, "never "), ({}, "? "), ({"n1": replace(TEST, at="monday")}, "monday "),
    ({"n1": replace(TEST, at="2026-12-01T00:00:00+00:00")}, "0 ms ago ")])
def test_the_table_has_a_column_for_it(
        source: Any, test: dict[str, FenceTest | None], word: str) -> None:
    head, n1, _, n3 = render.text(source(test)).split("\n\n")[1].splitlines()
    column = head.index("FENCE TEST")
    assert n1[column:].startswith(word.rstrip()) and n1[column:][len(word.rstrip()):][:1] in "  "
    assert n3[column:].startswith("- ")


def test_without_devices_there_is_no_such_column() -> None:
    assert "FENCE TEST" not in render.text(from_agent.survey(cluster.status(), {}))


@SOURCES
def test_what_a_group_rests_on_is_a_problem(source: Any) -> None:
    survey = source({"n1": None, "n2": None})
    assert said(survey) == [f"whether n1, n2 {NEVER}, and crm would wait for it: {REMEDY}"]
    assert (survey.verdict != "healthy", notes(survey)) == (True, [])


@SOURCES
def test_what_nothing_rests_on_is_a_note(source: Any) -> None:
    survey = source({"n1": None, "n2": OLD}, required=False)
    assert said(survey) == []
    assert notes(survey) == [
        f"whether n1 {NEVER}: {REMEDY}",
        f"whether n2 can be fenced was tested 60d00h ago, longer than test_every (30d00h): "
        f"{REMEDY}"]


def test_a_node_that_runs_no_such_group_is_a_note_only() -> None:
    """n3, a witness, may be cut off too."""
    three = tuple(replace(one, nodes=("n1", "n2", "n3")) for one in DEVICES)
    status = cluster.status(spec=replace(spec(), devices=three), wall_clock=NOW,
                            fence_tests={"n1": TEST, "n2": TEST, "n3": None},
                            fence_test_every_s=MONTH_S)
    survey = from_agent.survey(status, {})
    assert (said(survey), notes(survey)) == ([], [f"whether n3 {NEVER}: {REMEDY}"])


@SOURCES
@pytest.mark.parametrize(("tests", "every_s"), [
    ({"n1": TEST, "n2": TEST}, MONTH_S), ({}, MONTH_S), ({"n1": None, "n2": OLD}, 0.0)],
    ids=["new enough", "not known", "not to be reminded"])
def test_otherwise_nothing_is_said(
        source: Any, tests: dict[str, FenceTest | None], every_s: float) -> None:
    survey = source(tests, every_s=every_s)
    assert (said(survey), notes(survey)) == ([], [])


def test_the_age_is_judged_to_the_day() -> None:
    limit = {"n1": TEST, "n2": TEST}
    assert said(by_agent(limit, every_s=3.0 * DAY_S)) == []
    assert len(said(by_agent(limit, every_s=3.0 * DAY_S - 1))) == 2
