"""Whose the MACs are that answer for VIPs, as far as this node knows."""

from pathlib import Path

import pytest

from hamgr.cli import probing


def test_an_interface_that_goes_while_it_is_looked_at_costs_no_status(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where containers come and go, there is one at any time."""
    for name, mac in (("eth0", "02:00:00:00:00:01\n"), ("veth1", None)):
        (tmp_path / name).mkdir()
        if mac is None:
            (tmp_path / name / "address").mkdir()  # cannot be read
        else:
            (tmp_path / name / "address").write_text(mac)
    monkeypatch.setattr(probing, "INTERFACES", tmp_path)
    assert probing.owners_here("n1", {}) == {"02:00:00:00:00:01": "n1"}
