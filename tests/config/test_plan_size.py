"""How many groups one plan record can hold, and what is said to more."""

from hamgr.config.document import parse
from tests.config.files import changed


def groups(count: int) -> str:
    """The text of so many groups more, each of one service."""
    return "".join(f'[group.application-{number:04}]\nnodes = ["n1", "n2"]\nstop_within = "0s"\n'
                   f'[[group.application-{number:04}.service]]\nname = "app"\n'
                   'promote = "/usr/local/lib/crm/promote"\n'
                   'demote = "/usr/local/lib/crm/demote"\n' for number in range(count))


def test_a_thousand_groups_fit_into_one_plan() -> None:
    assert parse(changed() + groups(999)).faults == ()


def test_a_plan_that_zookeeper_would_not_take_is_refused_with_what_fits() -> None:
    found = parse(changed() + groups(2999)).faults
    assert [fault.key for fault in found] == ["group"]
    assert found[0].text.startswith("3000 groups: their plan may come to ")
    fit = int(found[0].text.partition("; use ")[2].split()[0])
    assert 1000 < fit < 3000
    assert parse(changed() + groups(fit - 1)).faults == ()
