"""Each effect reaches the one port that it is for. The ports are stand-ins that note their calls;
what the real ones do is tested with each of them."""

import asyncio
from collections.abc import Callable
from typing import Any, get_args

import pytest

from hamgr.agent.disk import Disk
from hamgr.agent.dispatch import Dispatch, Ports
from hamgr.core.effects import (
    ArmSwitch,
    BeginNewLife,
    CancelService,
    ClaimAddresses,
    DisarmSwitch,
    Effect,
    Exit,
    KeepFacts,
    KeepMaintenance,
    LoosenAddresses,
    Read,
    Report,
    RunDevice,
    RunService,
    SendHeartbeat,
    SetDeadline,
    TellReplicas,
    TightenAddresses,
    WithdrawAddresses,
    Write,
)
from hamgr.core.events import (
    DeadlineSet,
    Event,
    MaintenanceKept,
    ServiceAnswered,
    WriteAnswered,
)
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.reasons import Reason
from hamgr.core.types import Outcome

BEAT = Heartbeat(cluster="", sender="n1", incarnation=1, round=1, sequence=1, sent=1, answer=False,
                 seat="member", lapsed=False, lease=1, revision=1, voters=1, lateness=0, echo=None)
WRITE = Write(write=4, ops=())
CUT_OFF = RunDevice(run=5, device="ipmi", node="n2", action="off", timeout=1)
RUN = RunService(run=5, group="crm", service="app", action="promote", epoch=2, timeout=1)


class Port:
    def __init__(self, calls: list[tuple[Any, ...]], name: str) -> None:
        self._calls, self._name = calls, name

    def __getattr__(self, method: str) -> Callable[..., None]:
        return lambda *arguments: self._calls.append((f"{self._name}.{method}", *arguments))


class Bench:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.posted: list[Event] = []
        self.ended: list[Effect] = []
        self.disk = Disk()
        ports: Any = {name: Port(self.calls, name) for name in Ports.__dataclass_fields__}
        self.dispatch = Dispatch(Ports(**ports), self.disk, self.posted.append,
                                 ended=self.ended.append)


TOLD = TellReplicas(group="crm", node="n2", action="promote", epoch=3)
TABLE: list[tuple[Effect, list[tuple[Any, ...]]]] = [
    (SendHeartbeat(to="n2", heartbeat=BEAT), [("transport.send", "n2", BEAT)]),
    (WRITE, [("coordinator.write", WRITE)]),
    (Read(paths=("plan",)), [("coordinator.read", ("plan",))]),
    (SetDeadline(deadline=9, serial=3, confirm=True),
     [("switch.set_deadline", 9, 3, True), ("watchdog.set_deadline", 9),
      ("addresses.hold_until", 9)]),
    (ArmSwitch(group="crm"), [("switch.arm", "crm"), ("watchdog.arm", "crm")]),
    (DisarmSwitch(group="crm"), [("switch.disarm", "crm"), ("watchdog.disarm", "crm")]),
    (ClaimAddresses(group="crm", epoch=2, probe="beside"),
     [("addresses.claim", "crm", 2, "beside")]),
    (WithdrawAddresses(group="crm", epoch=2), [("addresses.withdraw", "crm", 2)]),
    (LoosenAddresses(group="crm"), [("addresses.loosen", "crm")]),
    (TightenAddresses(group="crm", epoch=2), [("addresses.tighten", "crm", 2)]),
    (RUN, [("services.run", RUN)]),
    (CancelService(run=5), [("services.cancel", 5)]),
    (TOLD, [("services.tell", TOLD)]),
    (KeepFacts(cluster_id="5f3a", revision=7), [("store.keep_facts", "5f3a", 7)]),
    (KeepMaintenance(group="crm", epoch=2, on=True), [("store.keep_maintenance", "crm", 2, True)]),
    (Report(reason=Reason.CLAIMED, node="n1", facts={"round": 2}), []),
    (CUT_OFF, [("devices.run", CUT_OFF)]),
    (BeginNewLife(incarnation_above=3), []),
    (Exit(), []),
]


def performed(bench: Bench, *effects: Effect) -> None:
    async def story() -> None:
        bench.disk.start()
        for effect in effects:
            bench.dispatch.perform(effect)
        await bench.disk.call("wait for the rest", lambda: None)
        await bench.disk.close(1)

    asyncio.run(story())


@pytest.mark.parametrize(("effect", "calls"), TABLE,
                         ids=[type(effect).__name__ for effect, _ in TABLE])
def test_the_port(effect: Effect, calls: list[tuple[Any, ...]]) -> None:
    bench = Bench()
    performed(bench, effect)
    assert bench.calls == calls


def test_the_table_knows_every_effect() -> None:
    assert {type(effect) for effect, _ in TABLE} == set(get_args(Effect))


def test_maintenance_is_confirmed_when_it_is_on_disk() -> None:
    bench = Bench()
    performed(bench, KeepMaintenance(group="crm", epoch=2, on=True))
    assert bench.posted == [MaintenanceKept(group="crm", on=True)]


def test_the_end_of_a_life_is_passed_on() -> None:
    bench = Bench()
    performed(bench, BeginNewLife(incarnation_above=3), Exit())
    assert bench.ended == [BeginNewLife(incarnation_above=3), Exit()]


def test_a_life_is_over_when_all_that_it_asked_for_is_answered() -> None:
    bench = Bench()
    outstanding, emptied = bench.dispatch.outstanding, []
    outstanding.emptied = lambda: emptied.append(True)
    performed(bench, WRITE, RUN, CUT_OFF, SetDeadline(deadline=1, serial=6, confirm=True),
              SetDeadline(deadline=1, serial=7))
    answers = (
        WriteAnswered(write=WRITE.write, outcome=Outcome.UNKNOWN), DeadlineSet(serial=6),
        ServiceAnswered(run=RUN.run, group="crm", service="app", action="promote", ok=False))
    for answer in answers:
        assert outstanding and not emptied
        outstanding.answered(answer)
    assert not outstanding and emptied == [True]


def test_a_report_is_one_line_with_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        performed(Bench(), Report(reason=Reason.ACTIVE, group="crm", node="n1",
                                  facts={"epoch": 3}))
    (line,) = caplog.records
    assert line.getMessage() == "crm: n1: active under epoch 3"
    assert (line.reason, line.facts) == ("ACTIVE", {"epoch": 3})  # type: ignore[attr-defined]
