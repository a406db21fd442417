"""At shutdown units of hamgr are stopped by hamgr, in its order, and not by systemd under it."""

import pytest

from hamgr.core.types import Found
from hamgr.doctor.look import machine
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


def test_who_starts_a_unit_at_boot_is_found(node, monkeypatch):
    """What the doctor asks systemctl, answered by a real one."""
    monkeypatch.setattr(machine, "SYSTEMD", node.inside / "run/systemd/system")
    monkeypatch.setattr(machine, "_said", lambda *argv: node.do(*argv, check=False))
    units = node.root / "etc/systemd/system"
    with (units / "mine.service").open("a") as file:
        file.write("[Install]\nWantedBy=basic.target\n")
    (units / "other.socket").write_text(
        "[Socket]\nListenStream=/run/other\n[Install]\nWantedBy=sockets.target\n")
    (units / "foreign.service.d").mkdir()
    (units / "foreign.service.d/wants.conf").write_text("[Unit]\nUpholds=held.service\n")
    install(node, {"held": "ExecStart=/bin/sleep 1000", "free": "ExecStart=/bin/sleep 1000"})
    node.do("systemctl", "enable", "mine.service", "other.socket")
    node.do("systemctl", "start", "foreign.service")
    names = ("mine", "other", "held", "free", "missing")
    found = machine.service_units({("g", name): f"{name}.service" for name in names})
    assert [(one.load, one.state, one.wanted_by, one.triggered_by) for one in found.units] == [
        ("loaded", "enabled", ("basic.target",), ()),
        ("loaded", "static", (), ("other.socket",)),
        ("loaded", "static", ("foreign.service",), ()),
        ("loaded", "static", (), ()),
        ("not-found", "", (), ())]
