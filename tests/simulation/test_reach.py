"""What was reached is counted, and what was not is named."""

from collections import Counter
from contextlib import ExitStack

from hamgr.core import knowledge
from hamgr.core.types import SECOND
from hamgr.leader import planner
from hamgr.simulation.reach import RULES, count_rules, numbers, places, table
from hamgr.simulation.scenario import Fault, Scenario
from hamgr.simulation.world import World

CRASH = Scenario(seed=2, turmoil=5 * SECOND, faults=(
    Fault(at=5 * SECOND, kind="crash", target="holder"),))


def test_rules_are_read_as_people_quote_them() -> None:
    assert numbers("kept by rule 7; rules 10 to 12 and 19, Rules 1, 2 and 3") == {
        1, 2, 3, 7, 10, 11, 12, 19}
    assert numbers("overrules 5, a rule of 6") == set()


def test_every_rule_is_kept_by_some_function_of_the_core() -> None:
    # Rule 1 is what a heartbeat carries: fields, and nothing that could be called.
    assert [rule for rule, kept in places().items() if not kept] == [1]
    assert list(places()) == list(RULES)


def test_a_crash_reaches_detection_and_leaves_no_counting_behind() -> None:
    before = knowledge.Knowledge.blocked, planner.plan_group
    reached: Counter[str] = Counter()
    with ExitStack() as stack:
        count_rules(stack, reached)
        verdict = World(CRASH).run()
    assert (knowledge.Knowledge.blocked, planner.plan_group) == before
    assert reached["rule knowledge.blocked"] > 0
    assert reached["rule planner.plan_group"] > 0
    assert verdict.reached["fault crash"] == 1
    assert verdict.reached["reason ACCUSED"] == 2


def test_what_is_called_by_way_of_a_table_counts_too() -> None:
    reached: Counter[str] = Counter()
    asked = Scenario(seed=2, turmoil=5 * SECOND, faults=(
        Fault(at=5 * SECOND, kind="maintenance_on"),))
    with ExitStack() as stack:
        count_rules(stack, reached)
        World(asked).run()
    assert reached["rule requests._maintenance_on"] > 0


def test_the_table_names_what_was_never_reached() -> None:
    reached = Counter(World(CRASH).run().reached)
    lines = table(reached, 1)
    kinds = next(line for line in lines if line.startswith("kinds of faults: 1 of "))
    never = lines[lines.index(kinds) + 2]
    assert never.startswith("  never: ")
    assert "zk_down" in never
    assert "crash" not in never.replace("switch_crash", "").split(", ")
    assert not any(line.startswith("rules:") for line in lines), "rules were not counted"


def test_the_table_says_which_question_was_always_answered_alike() -> None:
    reached = Counter({"rule seat.is_member": 4, "rule seat.is_member yes": 4,
                       "rule rights.grant": 1})
    line = next(line for line in table(reached, 1) if line.startswith("  10 "))
    assert line == ("  10             5 calls of 3 functions; never called: activity.partners; "
                    "seat.is_member (always true)")
