"""What is said of units of systemd that are enabled, masked or missing."""

import pytest

from hamgr.doctor.facts import Units
from tests.doctor.test_checks import found, units


def test_a_service_whose_unit_is_enabled_is_disabled_and_goes_on() -> None:
    (one,) = found(units(state="enabled", wanted_by=("multi-user.target",)),
                   "started by hamgr alone")
    assert one.remedy.startswith("`systemctl disable app.service`")


def test_a_masked_unit_is_unmasked_first() -> None:
    (one,) = found({"units": Units(enabled={"hamgr.service": "masked"})}, "units enabled")
    assert one.remedy == "`systemctl unmask hamgr.service`, then `systemctl enable hamgr.service`"


@pytest.mark.parametrize("state", ["", "not-found"])
def test_a_unit_that_is_not_there_is_installed_first(state: str) -> None:
    (one,) = found({"units": Units(enabled={"hamgr.service": state})}, "units enabled")
    assert "not known to systemd" in one.what and "docs/systemd.md" in one.remedy
