"""What `hamgr status` says of the watchdog device."""

import pytest

from hamgr.cli.from_agent import survey
from hamgr.ports import WatchdogFacts
from tests.cli import cluster

DEVICE = "/dev/watchdog"


@pytest.mark.parametrize(("watchdog", "words"), [
    (WatchdogFacts(), "memory locked, at worst"),
    (WatchdogFacts(device=DEVICE, identity="iTCO_wdt", timeout_s=10, held=True),
     "memory locked, watchdog iTCO_wdt 10 s, at worst"),
    (WatchdogFacts(device=DEVICE, identity="iTCO_wdt", timeout_s=10),
     "watchdog iTCO_wdt 10 s closed, at worst"),
    (WatchdogFacts(device=DEVICE, timeout_s=10), f"watchdog {DEVICE} not in use, at worst"),
    (WatchdogFacts(device=DEVICE, trouble="cannot be opened: busy"),
     f"watchdog {DEVICE} refused, at worst"),
])
def test_the_line_of_the_agent_names_it(watchdog: WatchdogFacts, words: str) -> None:
    assert words in survey(cluster.status(watchdog=watchdog), {}).asked


@pytest.mark.parametrize(("phase", "told"), [("active", True), ("inactive", False)])
def test_one_that_cannot_be_had_is_told_of_where_it_is_needed(phase: str, told: bool) -> None:
    groups = (cluster.group(phase=phase),)
    trouble = WatchdogFacts(device=DEVICE, trouble="cannot be opened: busy")
    seen = survey(cluster.status(cluster.snapshot(groups=groups), watchdog=trouble), {})
    problem = f"crm is not guarded by the watchdog: {DEVICE} cannot be opened: busy"
    assert (problem in [one.text for one in seen.problems]) is told
