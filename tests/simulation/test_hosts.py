"""What outlives what: an address its process, a switch its agent, a disk its machine."""

from msgspec.structs import replace

from hamgr.core.effects import BeginNewLife, KeepFacts, KeepMaintenance, WithdrawAddresses
from hamgr.core.events import (
    AddressesClaimed,
    AddressesWithdrawn,
    DeadlineSet,
    HeartbeatReceived,
    LoopWasLate,
    MaintenanceKept,
    ServiceAnswered,
    Tick,
    WriteAnswered,
)
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.types import MILLISECOND, SECOND, Role
from hamgr.simulation.kernel import REAPER_LATENESS, VALID_LFT
from hamgr.simulation.switch import LATENESS_MAX
from tests.simulation.stub import make_active, promote, tell, world_of_stubs

HEARTBEAT = Heartbeat(cluster="", sender="n2", incarnation=1, round=1, sequence=1, sent=1,
                      answer=False, seat="", lapsed=False, lease=1, revision=0, voters=0,
                      lateness=0, echo=None)


def test_an_address_outlives_its_agent_until_the_switch_acts_at_the_deadline() -> None:
    world = world_of_stubs()
    make_active(world, "n1", lease=SECOND)
    host = world.hosts["n1"]
    host.kill_agent()
    world.scheduler.run_until(world.now + 900 * MILLISECOND)
    assert host.kernel.has("g1")
    world.scheduler.run_until(world.now + 100 * MILLISECOND + LATENESS_MAX)
    assert not host.kernel.has("g1")


def test_without_agent_and_switch_the_kernel_lets_the_address_expire() -> None:
    world = world_of_stubs()
    make_active(world, "n1", lease=100 * SECOND)
    host = world.hosts["n1"]
    host.stall()
    world.scheduler.run_until(world.now + VALID_LFT - 500 * MILLISECOND)
    assert host.kernel.has("g1")
    world.scheduler.run_until(world.now + 500 * MILLISECOND + REAPER_LATENESS)
    assert not host.kernel.has("g1")


def test_an_address_that_is_renewed_stays() -> None:
    world = world_of_stubs()
    make_active(world, "n1", lease=100 * SECOND)
    world.scheduler.run_until(world.now + 20 * SECOND)
    assert world.hosts["n1"].kernel.has("g1")


def test_a_new_agent_ends_the_former_switch_and_cleans_up_before_its_engine_begins() -> None:
    world = world_of_stubs()
    make_active(world, "n1", lease=100 * SECOND)
    host = world.hosts["n1"]
    first = host.switch
    assert first is not None
    host.kill_agent()
    host.start_agent()
    assert not first.alive
    world.scheduler.run_until(world.now + SECOND)
    assert host.agent is not None
    assert not host.kernel.has("g1")
    assert host.agent.engine.incarnation == 2


def test_maintenance_is_kept_on_disk_and_survives_the_agent() -> None:
    world = world_of_stubs()
    make_active(world, "n1", lease=100 * SECOND)
    host = world.hosts["n1"]
    tell(world, "n1", KeepMaintenance(group="g1", epoch=1, on=True),
         KeepFacts(cluster_id="c", revision=7))
    world.scheduler.run_until(world.now + 10 * MILLISECOND)
    assert host.switch is not None
    host.switch.disarm("g1")
    host.kill_agent()
    host.start_agent()
    world.scheduler.run_until(world.now + SECOND)
    assert host.agent is not None
    kept = host.agent.engine.kept
    assert (kept["in_place"], kept["known_cluster"], kept["known_revision"]) == ({"g1": 1}, "c", 7)


def test_a_frozen_agent_wakes_late_says_so_and_ticks_before_it_reads_its_mail() -> None:
    world = world_of_stubs()
    host = world.hosts["n1"]
    agent = host.agent
    assert agent is not None
    agent.engine.wanted = host.clock.now() + 10 * MILLISECOND
    agent.post(Tick())
    agent.engine.events.clear()
    agent.engine.wanted = 2**62
    host.stall(switch=False)
    world.scheduler.after(20 * MILLISECOND, host.receive, world.wire.encode(HEARTBEAT, "n1"), 0)
    world.scheduler.run_until(world.now + 500 * MILLISECOND)
    assert agent.engine.events == []
    host.thaw()
    kinds = [type(event) for _, event in agent.engine.events]
    assert kinds == [LoopWasLate, Tick, HeartbeatReceived]
    late = agent.engine.of(LoopWasLate)[0]
    assert late.lateness == 490 * MILLISECOND


def test_a_paused_machine_does_not_know_that_it_slept() -> None:
    world = world_of_stubs()
    host = world.hosts["n1"]
    make_active(world, "n1", lease=SECOND)
    before = host.clock.now()
    host.pause()
    world.scheduler.run_until(world.now + 60 * SECOND)
    assert host.clock.now() == before
    assert host.kernel.has("g1"), "its kernel slept as well"
    host.wake()
    assert host.agent is not None
    assert host.agent.engine.of(LoopWasLate) == []
    world.scheduler.run_until(world.now + 900 * MILLISECOND)
    assert host.kernel.has("g1")
    host.kill_agent()
    world.scheduler.run_until(world.now + 100 * MILLISECOND + LATENESS_MAX)
    assert not host.kernel.has("g1"), "the switch goes by the clock that stood still"


def test_the_power_takes_everything_but_the_disk() -> None:
    world = world_of_stubs(groups=("service",))
    tell(world, "n1", promote())
    host = world.hosts["n1"]
    assert host.active("g1")
    host.crash()
    assert not host.active("g1")
    assert not host.kernel.groups()
    host.boot()
    world.scheduler.run_until(world.now + SECOND)
    assert host.agent is not None
    assert host.agent.engine.incarnation == 2
    assert host.clock.now() < 5 * SECOND, "CLOCK_MONOTONIC begins anew"


def test_a_replaced_machine_has_forgotten_its_incarnation() -> None:
    from hamgr.simulation.disk import Disk
    world = world_of_stubs()
    host = world.hosts["n1"]
    host.crash()
    host.disk = Disk()
    host.boot()
    world.scheduler.run_until(world.now + SECOND)
    assert host.agent is not None
    assert host.agent.engine.incarnation == 1
    tell(world, "n1", BeginNewLife(incarnation_above=9, why="the seat is further"))
    world.scheduler.run_until(world.now + SECOND)
    assert host.agent.engine.incarnation == 10


def test_a_service_goes_on_without_its_agent_until_the_switch_kills_it() -> None:
    world = world_of_stubs(groups=("service",))
    make_active(world, "n1", lease=SECOND)
    tell(world, "n1", promote())
    host = world.hosts["n1"]
    world.scheduler.run_until(world.now + 500 * MILLISECOND)
    assert host.serving("g1")
    host.kill_agent()
    world.scheduler.run_until(world.now + 400 * MILLISECOND)
    assert host.services.is_in("g1", "db", Role.PROMOTED)
    world.scheduler.run_until(world.now + 100 * MILLISECOND + 150 * MILLISECOND + LATENESS_MAX)
    assert not host.active("g1")


def test_a_withdrawal_ends_a_claim_that_is_under_way_and_both_are_answered() -> None:
    world = world_of_stubs()
    make_active(world, "n1")
    host = world.hosts["n1"]
    from hamgr.core.effects import ClaimAddresses
    tell(world, "n1", WithdrawAddresses(group="g1", epoch=1))
    world.scheduler.run_until(world.now + 10 * MILLISECOND)
    tell(world, "n1", ClaimAddresses(group="g1", epoch=2, probe="before"),
         WithdrawAddresses(group="g1", epoch=2))
    assert not host.active("g1")
    world.scheduler.run_until(world.now + 100 * MILLISECOND)
    assert host.agent is not None
    engine = host.agent.engine
    assert [(one.epoch, one.ok) for one in engine.of(AddressesClaimed)] == [(1, True), (2, False)]
    assert [(one.epoch, one.ok) for one in engine.of(AddressesWithdrawn)] == [(1, True), (2, True)]


def test_a_switch_that_crashed_is_replaced_and_takes_the_deadline_over() -> None:
    world = world_of_stubs()
    make_active(world, "n1", lease=SECOND)
    host = world.hosts["n1"]
    first = host.switch
    host.end_switch(act=False)
    assert host.agent is not None
    host.agent.switch_died()
    assert host.switch is not first
    host.kill_agent()
    world.scheduler.run_until(world.now + 1100 * MILLISECOND)
    assert not host.kernel.has("g1")


def test_the_switch_confirms_what_it_holds() -> None:
    world = world_of_stubs()
    make_active(world, "n1")
    agent = world.hosts["n1"].agent
    assert agent is not None
    assert agent.engine.of(DeadlineSet) == [DeadlineSet(serial=1)]


def test_no_deadline_overtakes_another_on_its_way_to_the_switch() -> None:
    """Else a switch may go by the lease that was, and cut its owner off (seed 3338)."""
    world = world_of_stubs()
    host = world.hosts["n1"]
    assert host.switch is not None
    deadlines = [host.clock.now() + number * SECOND for number in range(1, 50)]
    for deadline in deadlines:
        host.switch.set_deadline(deadline, lambda: None)
    world.scheduler.run_until(world.now + MILLISECOND)
    assert host.switch.deadline == deadlines[-1]


def test_a_monitor_finds_that_a_service_was_killed() -> None:
    world = world_of_stubs(groups=("service",))
    host = world.hosts["n1"]
    assert host.agent is not None
    for run, (action, ok) in enumerate((("promote", True), ("monitor", True), ("monitor", False))):
        if not ok:
            host.services.kill("g1")
        tell(world, "n1", replace(promote(run), action=action))
        world.scheduler.run_until(world.now + SECOND)
        assert host.agent.engine.of(ServiceAnswered)[-1].ok == ok


def test_answers_for_a_former_life_are_not_given_to_the_next() -> None:
    world = world_of_stubs(groups=("service",))
    tell(world, "n1", promote(run=1))
    tell(world, "n1", BeginNewLife(incarnation_above=1, why="test"))
    world.scheduler.run_until(world.now + 5 * SECOND)
    agent = world.hosts["n1"].agent
    assert agent is not None
    assert agent.engine.incarnation == 2
    assert agent.engine.of(ServiceAnswered) == []
    assert agent.engine.of(WriteAnswered) == []


def test_a_full_disk_keeps_nothing_and_is_tried_again() -> None:
    world = world_of_stubs()
    make_active(world, "n1", lease=100 * SECOND)
    host = world.hosts["n1"]
    host.disk.full = True
    tell(world, "n1", KeepMaintenance(group="g1", epoch=1, on=True))
    world.scheduler.run_until(world.now + SECOND)
    assert host.agent is not None
    assert host.disk.maintenance == {}
    assert not host.agent.engine.of(MaintenanceKept)
    host.disk.full = False
    world.scheduler.run_until(world.now + 2 * SECOND)
    assert host.disk.maintenance == {"g1": 1}
    assert len(host.agent.engine.of(MaintenanceKept)) == 1


def test_no_life_begins_on_a_full_disk() -> None:
    world = world_of_stubs()
    host = world.hosts["n1"]
    host.disk.full = True
    host.kill_agent()
    host.start_agent()
    world.scheduler.run_until(world.now + 3 * SECOND)
    assert host.agent is not None and host.agent.engine is None
    host.disk.full = False
    world.scheduler.run_until(world.now + 2 * SECOND)
    assert host.agent.engine.incarnation == 2


def test_a_paused_clock_stands_still_or_leaps() -> None:
    for jump, shows in ((False, 0), (True, SECOND)):
        world = world_of_stubs()
        host = world.hosts["n1"]
        before = host.clock.now()
        host.pause()
        world.scheduler.run_until(world.now + SECOND)
        host.wake(jump)
        assert host.clock.now() - before == shows
