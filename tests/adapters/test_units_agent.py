"""Units of services beside that of the agent: its bounds and its stop, shutdown, other starters."""

import pytest

from hamgr.core.types import Found
from hamgr.doctor.look import machine
from tests.adapters.systemd_node import ROOT, SystemdNode, skip_unless_it_runs
from tests.adapters.units import Driver, driven, drop_in, install

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


def test_the_unit_of_the_agent_lets_it_do_all_that_it_must(tmp_path):
    skip_unless_it_runs()
    with SystemdNode(tmp_path) as node:
        node.install(ROOT / "tests/adapters/units_standin.py", "[Service]\nWatchdogSec=0\n")
        install(node, {"app": "ExecStart=/bin/sleep 1000\nRestart=always"})
        node.boot()
        node.do("systemctl", "start", "hamgr.service")
        assert node.do("systemctl", "is-active", "app.service") == "active"
        assert node.do("systemctl", "show", "--value", "-p", "Restart", "app.service") == "no"
        node.do("systemctl", "stop", "hamgr.service")
        assert node.do("systemctl", "is-active", "app.service", check=False) == "inactive"
        assert node.do("systemctl", "show", "--value", "-p", "Result", "hamgr.service") == "success"
        assert not drop_in(node, "app").exists()
        log = node.do("journalctl", "-q", "-o", "cat", "-u", "hamgr.service")
        for action in ("start", "stop"):
            assert f"action='{action}', ok=True, why=''" in log


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
