"""What the file says of the watchdog: its times against lease and stop_within, in words."""

import pytest

from hamgr.config.document import digest
from tests.config.files import faults, reading

PLACE = "[node.n1]\n"
DEVICE = '[watchdog]\ndevice = "/dev/watchdog"\n'
STOP_WITHIN = 'stop_within = "0s"'


def with_watchdog(text: str) -> tuple[str, str]:
    return PLACE, text + PLACE


@pytest.mark.parametrize(("text", "key", "words"), [
    ('[watchdog]\ntimeout = "5s"\n', "watchdog.timeout", 'write device = "/dev/watchdog" beside'),
    ('[watchdog]\ndevice = "watchdog"\n', "watchdog.device", "not a full path"),
    (DEVICE + 'timeout = "1500ms"\n', "watchdog.timeout", "must be a whole number of seconds"),
    (DEVICE + 'timeout = "0s"\n', "watchdog.timeout", "must be a whole number of seconds"),
    (DEVICE + "timeout = 5\n", "watchdog.timeout", "has no unit"),
    (DEVICE + 'timout = "5s"\n', "watchdog.timout", 'did you mean "timeout"?'),
])
def test_one_mistake_is_one_fault(text: str, key: str, words: str) -> None:
    (_, at, said), = faults(with_watchdog(text))
    assert at == key and words in said


def test_a_pause_that_costs_the_lease_must_not_cost_the_machine() -> None:
    slow = ('interval = "100ms"', 'interval = "1s"')  # detection is 3.5 s
    (_, key, said), = faults(with_watchdog(DEVICE + 'timeout = "6s"\n'), slow)
    assert key == "watchdog.timeout" and "must be at least twice detection (7s)" in said
    assert faults(with_watchdog(DEVICE + 'timeout = "7s"\n'), slow) == []


@pytest.mark.parametrize(("promise", "right"), [
    ("0s", True), ("1s", False), ("22999ms", False), ("23s", True)])
def test_a_machine_is_reset_before_another_node_starts(promise: str, right: bool) -> None:
    found = faults(with_watchdog(DEVICE), (STOP_WITHIN, f'stop_within = "{promise}"'))
    if right:
        assert found == []
        return
    (_, key, said), = found
    assert key == "group.crm.stop_within"
    assert "2.2 x timeout of [watchdog] + 1s (23s), because another node starts" in said


def test_what_runs_everywhere_promises_nothing() -> None:
    assert faults(with_watchdog(DEVICE), (STOP_WITHIN, 'mode = "everywhere"\nstop_within = "1s"'),
                  ('vips = ["10.0.0.100/24"]\n', "")) == []


def test_a_document_without_one_keeps_its_digest() -> None:
    """As agents of a version without the table have it."""
    document, other = reading().document, reading(with_watchdog("[watchdog]\n")).document
    assert document is not None and other is not None
    assert document.watchdog.device is None and digest(document) == digest(other)
