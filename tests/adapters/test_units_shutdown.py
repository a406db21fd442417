"""At shutdown units of hamgr are stopped by hamgr, in its order, and not by systemd under it."""

import pytest

from hamgr.core.types import Found
from tests.adapters.systemd_node import SystemdNode, skip_unless_it_runs
from tests.adapters.units import Driver, driven, install

pytestmark = pytest.mark.real

IN_PLACE_OF_THE_AGENT = """[Service]
Type=simple
WatchdogSec=0
ExecStart=
ExecStart=/bin/sleep 1000
ExecStop=/bin/sh -c 'touch /run/stopping; until test -e /run/end; do sleep 0.02; done'
ExecStopPost=
"""


@pytest.fixture
def node(tmp_path):
    skip_unless_it_runs()
    with SystemdNode(tmp_path) as made:
        made.install("unused", IN_PLACE_OF_THE_AGENT)
        install(made, {name: "ExecStart=/bin/sleep 1000" for name in ("mine", "other", "foreign")})
        made.boot()
        yield made


def test_systemd_leaves_units_to_the_agent_until_that_has_ended(node):
    async def then(one: Driver) -> None:
        await one.ctl("start", "hamgr.service", "foreign.service")
        for unit in ("mine", "other"):
            assert (await one.run("start", unit)).ok
        await one.ctl("--no-block", "poweroff")
        await one.appears("stopping")
        while await one.show("ActiveState", "foreign") != "inactive":
            pass
        assert (await one.run("monitor", "mine")).ok
        told = await one.run("stop", "mine")
        assert (told.ok, told.found) == (True, Found.STOPPED)
        assert (await one.run("monitor", "other")).ok
        assert (await one.run("stop", "other")).ok
        one.touch("end")
    driven(node, then, "mine", "other")
