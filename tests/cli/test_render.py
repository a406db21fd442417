"""How `hamgr status` puts a survey into words."""

import pytest

from hamgr.cli import from_agent, render
from hamgr.core.types import Maintenance
from tests.cli import cluster
from tests.cli.cluster import plan, snapshot


@pytest.mark.parametrize(("maintenance", "why", "line"), [
    (Maintenance.ON, "is in maintenance", "crm: is in maintenance"),
    (Maintenance.ENTERING, "enters maintenance", "crm: enters maintenance"),
    (Maintenance.ON, "n1 goes on in round 2", "crm: in maintenance; n1 goes on in round 2")])
def test_maintenance_is_said_once(maintenance: Maintenance, why: str, line: str) -> None:
    view = snapshot(plan=plan(maintenance=maintenance, why=why))
    assert line in render.text(from_agent.survey(cluster.status(view), {}), 200).splitlines()
