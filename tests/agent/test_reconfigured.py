"""Another configuration for a real agent while it runs, and what it begins with after a crash."""

import pytest

from tests.agent.machine import Machine
from tests.netns import eventually

pytestmark = pytest.mark.real


def test_what_is_in_maintenance_stays_as_it_is(machine: Machine) -> None:
    machine.start()
    machine.until_active()
    machine.until_applied(1)
    machine.enter_maintenance()
    text, before = machine.config.read_text(), machine.hooks()
    for changed in (text.replace("group.crm", "group.web"), text.replace("100/24", "101/24")):
        machine.config.write_text(changed)
        done = machine.apply()
        assert done.returncode == 2
        assert "group.crm: is in maintenance, so its nodes, VIPs and services must" in done.stdout
    machine.config.write_text(text.replace(f'["{machine.folder}/demote"]', '["/bin/true"]'))
    assert machine.apply().returncode == 0, "a command that is used later may change"
    machine.until_applied(2)
    assert machine.has_vip() and machine.hooks() == before


def test_what_was_applied_counts_and_not_what_the_file_says_meanwhile(machine: Machine) -> None:
    machine.start()
    machine.until_active()
    machine.until_applied(1)
    machine.kill_all()
    text = machine.config.read_text()
    machine.config.write_text(text.replace("100/24", "101/24"))
    machine.start()
    machine.until_active()
    assert not machine.lan.has("n1", "10.0.0.101")
    done = machine.apply()
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.lan.has("n1", "10.0.0.101") and not machine.has_vip()
    machine.kill_all()
    machine.config.unlink()
    machine.start()
    eventually(lambda: machine.phase() == "active")
    assert machine.lan.has("n1", "10.0.0.101") and not machine.has_vip()
    assert "cannot be read: No such file" in machine.log()


def test_a_crash_while_a_service_is_taken_out_leaves_nothing_behind(machine: Machine) -> None:
    """Only the document before knows how to stop it, so that is kept until it is stopped."""
    machine.start()
    machine.until_active()
    machine.until_applied(1)
    machine.demote_does("sleep 60")
    text = machine.config.read_text()
    machine.config.write_text(text[:text.index("[[group.crm.service]]")])
    done = machine.apply()
    assert done.returncode == 0, done.stdout + done.stderr
    eventually(lambda: machine.hooks()[-1:] == ["demote"])
    machine.kill_all()
    machine.demote_does(f"echo stopped >> {machine.folder}/hooks")
    machine.start()
    machine.until_active()
    assert machine.hooks()[-1] == "stopped"
    eventually(lambda: "former\":[]" in (machine.state_dir / "configuration.json").read_text())
    machine.kill_all()
    before = machine.hooks()
    machine.start()
    machine.until_active()
    assert machine.hooks() == before, "it is nobody's any more"


def test_a_service_that_comes_or_goes_leaves_the_rest_alone(machine: Machine) -> None:
    machine.start()
    machine.until_active()
    machine.until_applied(1)
    text, epoch = machine.config.read_text(), machine.hooks()[-1]
    assert epoch.startswith("promote")
    serving = machine.serve_a_client()
    machine.config.write_text(text + f"""
[[group.crm.service]]
name = "late"
promote = ["/bin/sh", "-c", "echo late >> {machine.folder}/hooks"]
demote = ["/bin/sh", "-c", "echo gone >> {machine.folder}/hooks"]
""")
    assert machine.apply().returncode == 0
    eventually(lambda: machine.hooks()[-1] == "late")
    machine.config.write_text(text)
    assert machine.apply().returncode == 0
    eventually(lambda: machine.hooks()[-1] == "gone")
    assert machine.hooks()[-3:] == [epoch, "late", "gone"]
    assert machine.connections() == 1 and machine.phase() == "active"
    assert serving is not None
