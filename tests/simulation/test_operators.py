"""Operators, devices and versions in the simulated world: what they do reaches the engines."""

from hamgr.core.types import SECOND
from hamgr.simulation.scenario import Fault, Scenario
from hamgr.simulation.world import World


def played(until: int, *faults: Fault, groups: tuple[str, ...] = ("address",),
           nodes: int = 3) -> World:
    """Return a cluster in the middle of its faults, after so many seconds."""
    world = World(Scenario(seed=3, nodes=nodes, groups=groups, turmoil=60 * SECOND, faults=faults,
                           ensemble_inside=False), record=True)
    for host in world.hosts.values():
        host.start_agent()
    world.turmoil.schedule()
    world.scheduler.run_until(until * SECOND)
    return world


def told(world: World, words: str) -> list[str]:
    return [line.node for line in world.story or () if words in line.text]


def test_a_group_that_operators_add_runs_and_one_that_they_take_out_stops() -> None:
    world = played(12, Fault(at=5 * SECOND, kind="configure", amount=0),
                   Fault(at=8 * SECOND, kind="configure", amount=1))
    assert [group.name for group in world.spec.groups] == ["extra"]
    assert [host.name for host in world.hosts.values() if host.active("extra")] == ["n3"]
    assert not any(host.active("g1") for host in world.hosts.values())


def test_every_agent_goes_by_what_was_applied_and_keeps_it() -> None:
    world = played(7, Fault(at=5 * SECOND, kind="configure", amount=2))
    assert sorted(told(world, "GOES BY configuration #1")) == ["n1", "n2", "n3"]
    for host in world.hosts.values():
        assert host.disk.document is not None and host.disk.document.revision == 1


def test_a_node_whose_disk_is_full_goes_by_the_old_document_until_there_is_room() -> None:
    world = played(17, Fault(at=4 * SECOND, kind="disk_full", target="n3", duration=3 * SECOND),
                   Fault(at=5 * SECOND, kind="configure", amount=2))
    at = {line.node: line.at for line in world.story or () if "GOES BY" in line.text}
    assert at["n1"] < 6 * SECOND
    assert at["n3"] > 14 * SECOND


def test_operators_change_voters_and_times() -> None:
    world = played(12, Fault(at=5 * SECOND, kind="voters", target="n4"),
                   Fault(at=6 * SECOND, kind="times", amount=0), nodes=4)
    plan = world.turmoil.plan()
    assert plan is not None
    assert plan.voters.names == ("n1", "n2", "n3")
    assert plan.times.interval == 60_000_000


def test_versions_run_together_and_keep_what_they_do_not_know() -> None:
    world = played(14, Fault(at=5 * SECOND, kind="upgrade", target="n1"),
                   Fault(at=7 * SECOND, kind="switchover"),
                   Fault(at=8 * SECOND, kind="crash", target="n1", duration=2 * SECOND),
                   Fault(at=9 * SECOND, kind="switchover"))
    assert world.hosts["n1"].agent is not None
    assert world.hosts["n1"].agent.version == 2
    assert world.hosts["n2"].agent is not None
    assert world.hosts["n2"].agent.version == 1


def test_a_device_that_lies_cuts_its_machine_off_later() -> None:
    world = played(11, Fault(at=4 * SECOND, kind="fence_fails", target="n1", amount=1e-9),
                   Fault(at=4 * SECOND, kind="fence_lies", target="n1", amount=1.0),
                   Fault(at=5 * SECOND, kind="stall", target="n1", duration=5 * SECOND),
                   groups=("fenced",))
    assert told(world, "FENCED") == ["n1"]
