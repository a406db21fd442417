"""What the lab makes of what it saw: gaps, tenures, obstacles, rules of the switch. No root."""

import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from hamgr.core.reasons import Reason
from hamgr.core.types import MILLISECOND, NEVER
from hamgr.lab import demo, probe, prober, settled, watch, watcher
from hamgr.lab.lab import Lab
from hamgr.lab.network import ruleset
from hamgr.lab.probe import Acknowledged, Gap, Record
from hamgr.lab.spec import GROUP, Faults, LabError, LabSpec, LabState, Owner, load, save
from hamgr.lab.sweep import abandoned
from hamgr.lab.timeline import lines, passage


def record(*replies: tuple[int, str]) -> Record:
    """Return a record of replies at these milliseconds."""
    writes = [Acknowledged(number, at * MILLISECOND, at * MILLISECOND, node)
              for number, (at, node) in enumerate(replies)]
    return Record(len(writes), writes)


def test_a_gap_is_a_long_silence_or_a_change_of_the_node() -> None:
    seen = record((1, "n1"), (2, "n1"), (302, "n2"), (303, "n2"), (320, "n2"), (321, "n1"))
    assert [(gap.before, gap.after, gap.ms) for gap in seen.gaps()] == [
        ("n1", "n2", 300), ("n2", "n2", 17), ("n2", "n1", 1)]
    assert seen.outage() == Gap(2 * MILLISECOND, 302 * MILLISECOND, "n1", "n2")
    assert seen.outage(since=303 * MILLISECOND).ms == 17
    assert seen.nodes == ["n1", "n2", "n1"]
    with pytest.raises(ValueError):
        record().outage()


def test_an_acknowledgement_that_comes_after_its_time_does_not_tell_who_serves(
        capsys: pytest.CaptureFixture[str]) -> None:
    client = prober.Prober("127.0.0.1")
    client.sock.close()
    for instants in (client.sent, client.answered, client.by):
        instants.extend([0] * 4)
    replies = [(0, "n1", 5), (2, "n2", 30), (1, "n1", 1000), (3, "n2", 1001)]
    for number, node, at in replies:
        client.note(number, node, at)
    told = [json.loads(line)["served"] for line in capsys.readouterr().out.splitlines()]
    assert told == ["n1", "n2"]
    seen = Record(4, [Acknowledged(number, 0, at, node) for number, node, at in replies])
    assert seen.nodes == ["n1", "n2"]
    assert seen.gaps(longer_than=100) == [Gap(5, 30, "n1", "n2"), Gap(30, 1001, "n2", "n2")]


def test_a_record_on_disk_is_read_as_it_was_written(tmp_path: Path) -> None:
    client = prober.Prober("127.0.0.1")
    client.sock.close()
    client.nodes += ["n1", "n2"]
    for sent, answered, by in ((10, 30, 1), (20, 0, 0), (25, 28, 0)):
        client.sent.append(sent)
        client.answered.append(answered)
        client.by.append(by)
    client.save(tmp_path / "record")
    assert probe.read(tmp_path / "record") == Record(
        3, [Acknowledged(2, 25, 28, "n1"), Acknowledged(0, 10, 30, "n2")])


def event(at: int, node: str, here: bool, after: int | None = None) -> dict[str, object]:
    return {"at": at, "after": at if after is None else after, "node": node,
            "address": "10.77.1.100", "here": here}


def test_tenures_and_the_time_on_two_nodes() -> None:
    found = watch.tenures([event(10, "n1", True), event(50, "n2", True), event(70, "n1", False),
                           event(90, "n2", False), event(95, "n3", True)])
    assert [(tenure.node, tenure.begin, tenure.end) for tenure in found] == [
        ("n1", 10, 70), ("n2", 50, 90), ("n3", 95, NEVER)]
    assert watch.owners_at_most(found) == 2
    assert watch.shared(found, now=1000) == 20
    one_after_the_other = watch.tenures([event(10, "n1", True), event(50, "n1", False),
                                         event(50, "n2", True)])
    assert watch.owners_at_most(one_after_the_other) == 1
    assert watch.shared(one_after_the_other, now=1000) == 0
    assert watch.owners_at_most([]) == 0


def test_the_time_on_two_nodes_is_the_longest_that_a_late_watcher_leaves_room_for() -> None:
    """Whether there was any, the order tells: lateness neither hides it nor makes it up."""
    met = watch.tenures([event(10, "n1", True), event(150, "n2", True, after=50),
                         event(151, "n1", False, after=50)])
    assert watch.owners_at_most(met) == 2
    assert watch.shared(met, now=1000) == 101
    in_turn = watch.tenures([event(10, "n1", True), event(150, "n1", False, after=50),
                             event(151, "n2", True, after=50)])
    assert watch.owners_at_most(in_turn) == 1
    assert watch.shared(in_turn, now=1000) == 0


@pytest.mark.parametrize("address", ["10.77.1.100", "fd77:1::100"])
def test_netlink_messages_are_read(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    raw = socket.inet_pton(family, address)
    flags = struct.pack("=HHI", 8, 8, 0x80)
    body = struct.pack("=BBBBI", family, 24, 0, 0, 2) + flags
    body += struct.pack("=HH", 4 + len(raw), 1 if ":" in address else 2) + raw
    message = struct.pack("=IHHII", 16 + len(body), 20, 0, 0, 0) + body
    link = struct.pack("=IHHII", 18, 16, 0, 0, 0) + b"xx\0\0"
    done = struct.pack("=IHHII", 20, 3, 0, 0, 0) + bytes(4)
    assert list(watcher.messages(link + message + done)) == [(20, address), (3, "")]


def snapshot(*, switch: bool = True, **changes: object) -> dict[str, object]:
    group = {"holder": {"node": "n1"}, "heir": {"node": "n2"}, "leaving": [], "handover": False}
    whole: dict[str, object] = {
        "zookeeper": True, "zookeeper_why": "", "lease": "member", "voters": ["n1"], "peers": [],
        "plan": {"revision": 3, "groups": {"app": group | dict(changes.pop("app", {}))}},
        "groups": [{"name": "app", "phase": "active"}]}
    return {"process": {"why": "", "switch_alive": switch}, "snapshot": whole | changes}


@pytest.mark.parametrize("statuses, obstacle", [
    ({"n1": snapshot(), "n2": snapshot()}, ""),
    ({"n1": None, "n2": snapshot()}, "n1: the agent does not answer"),
    ({"n1": snapshot(switch=False)}, "n1: has no dead-man's switch"),
    ({"n1": snapshot(lease="claimed")}, "n1: lives on no credits, but is claimed"),
    ({"n1": snapshot(zookeeper=False, zookeeper_why="refused")},
     "n1: not connected to ZooKeeper: refused"),
    ({"n1": snapshot(peers=[{"node": "n3", "credited": True, "accused_by": ["n2"]}])},
     "n1: n3 is accused by n2"),
    ({"n1": snapshot(peers=[{"node": "n3", "credited": False, "accused_by": []}])},
     "n1: does not credit n3"),
    ({"n1": snapshot(voters=["n3"], peers=[{"node": "n3", "credited": False,
                                            "accused_by": []}])}, ""),
    ({"n1": snapshot(app={"heir": None})}, "n1: app has no heir"),
    ({"n1": snapshot(app={"holder": None})}, "n1: app has no holder"),
    ({"n1": snapshot(app={"leaving": [{}]})}, "n1: app is on its way"),
    ({"n1": snapshot(plan=None)}, "n1: there is no plan for app"),
    ({"n1": snapshot(), "n2": snapshot(plan={"revision": 2, "groups": {}})},
     "the nodes have read different plans"),
    ({"n1": snapshot(groups=[{"name": "app", "phase": "starting"}])},
     "n1: holds app but is not active"),
])
def test_what_keeps_a_cluster_from_being_settled(statuses: dict[str, settled.Status | None],
                                                 obstacle: str) -> None:
    assert settled.obstacle(statuses, [GROUP]) == obstacle


def test_the_rules_of_the_switch_follow_from_the_faults() -> None:
    healthy = ruleset(Faults()).count("drop")
    assert healthy == 0
    broken = ruleset(Faults(deaf=["n1"], mute=["n2"], blocked=[("n1", "n3")], loss=20))
    assert 'oifname "n1-r*" drop' in broken
    assert 'iifname "n2-r*" drop' in broken
    assert 'iifname "n1-r*" oifname "n3-r*" drop' in broken
    assert "numgen random mod 100 < 20 drop" in broken
    of_heartbeats = ruleset(Faults(heartbeat_loss=7)).splitlines()
    losing = [line for line in of_heartbeats if "numgen random mod 100 < 7 drop" in line]
    assert len(losing) == 2 and all("7410" in line or "112" in line for line in losing)


@pytest.mark.parametrize("spec, word", [
    (LabSpec(name="Up"), "lower-case"), (LabSpec(name="a-b"), "lower-case"),
    (LabSpec(nodes=2), "nodes"), (LabSpec(rings=0), "rings"),
    (LabSpec(zookeeper=False), "ZooKeeper"), (LabSpec(groups=0), "groups"),
    (LabSpec(zookeeper=False, agents=False, secure=True), "only ZooKeeper can be secure"),
])
def test_a_lab_that_cannot_be_is_refused_in_words(spec: LabSpec, word: str) -> None:
    assert len(spec.faults()) == 1 and word in spec.faults()[0]
    assert LabSpec().faults() == []


def test_a_lab_is_abandoned_when_nobody_is_left_to_take_it_down(tmp_path: Path) -> None:
    living, dead = Owner.current(), Owner(Owner.current().pid, 1)
    spec = LabSpec()
    assert abandoned(None) and abandoned(LabState(spec=spec))
    assert abandoned(LabState(spec=spec, owner=dead, ready=True))
    assert not abandoned(LabState(spec=spec, owner=living))
    assert not abandoned(LabState(spec=spec, ready=True))
    state = LabState(spec=spec, owner=living, faults=Faults(cut=[("n1", 2)], off=["n3"]))
    save(tmp_path, state)
    assert load(tmp_path) == state
    assert load(tmp_path / "missing") is None


def test_a_demo_in_which_zookeeper_is_not_missed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(lab: Lab, reached: object, within_s: float, why: Callable[[], str]) -> None:
        raise LabError(why())

    monkeypatch.setattr(Lab, "_wait", never)
    monkeypatch.setattr(Lab, "wait_settled", lambda lab: None)
    monkeypatch.setattr(Lab, "zookeeper_down", lambda lab: None)
    with pytest.raises(LabError, match="^agents do not miss ZooKeeper$"):
        demo._crash_without_zookeeper(Lab(LabSpec()), mock.create_autospec(probe.Probe), print)


def told(at: int, reason: Reason, **facts: object) -> dict[str, object]:
    return {"at": at * MILLISECOND, "event": "Tick", "fields": {},
            "effects": [["SendHeartbeat", {}],
                        ["Report", {"reason": reason.value, "group": "", "facts": facts}]]}


def test_a_timeline_and_its_phases_add_up_to_the_outage() -> None:
    gap = Gap(1000 * MILLISECOND, 1300 * MILLISECOND, "n1", "n2")
    tenure = watch.Tenure("n2", "10.77.1.100", 1298 * MILLISECOND, NEVER)
    recorders = {
        "n2": [told(500, Reason.ACCUSED, peer="n1", silence_ms=350),
               told(1290, Reason.ACCUSED, peer="n1", incarnation=1, round=1, silence_ms=350),
               told(1294, Reason.ACCUSED_BY, peer="n3", accused="n1", incarnation=1, round=1),
               told(1296, Reason.STARTING, epoch=2, why="n1 is blocked")],
        "n3": [told(1285, Reason.ACCUSED, peer="n1", incarnation=1, round=1, silence_ms=350)]}
    passed = passage(gap, [tenure], recorders, (990 * MILLISECOND, "power cut"))
    assert passed.phases == {"detection": 285, "evidence": 9, "decision": 2, "address": 2,
                             "first reply": 2}
    assert sum(passed.phases.values()) == passed.outage_ms == 300
    assert [(moment.ms, moment.node) for moment in passed.timeline] == [
        (-10, ""), (0, "n1"), (285, "n3"), (290, "n2"), (294, "n2"), (296, "n2"), (298, "n2"),
        (300, "n2")]
    assert "n1 is blocked" in passed.timeline[5].what
    assert any("detection 285.0" in line for line in lines(passed))


def test_a_switchover_has_a_timeline_and_phases_of_its_own() -> None:
    gap = Gap(1000 * MILLISECOND, 1004 * MILLISECOND, "n1", "n2")
    tenure = watch.Tenure("n2", "10.77.1.100", 1003 * MILLISECOND, NEVER)
    leaves = [told(1001, Reason.STOPPING, epoch=1, why="handover")]
    asked = (995 * MILLISECOND, "asked for")
    passed = passage(gap, [], {"n1": leaves}, asked)
    assert passed.phases == {}
    assert [moment.ms for moment in passed.timeline] == [-5, 0, 1, 4]
    passed = passage(gap, [tenure], {
        "n1": [*leaves, told(1001, Reason.STOPPED, epoch=1)],
        "n2": [told(1002, Reason.STARTING, epoch=2, why="n1 said done")]}, asked)
    assert passed.phases == {"stop": 1, "word": 1, "address": 1, "first reply": 1}


@pytest.mark.parametrize("read, after, shown, late", [
    (1310, 1250, 4, 4), (1310, 1299, 4, 1), (1302, 1297.5, 4, 2.5), (1299, 1298, 3, 1)])
def test_a_late_watcher_costs_no_phase(read: float, after: float, shown: float,
                                       late: float) -> None:
    """The address was there when it was replied from, and not before the heir took it, at 1296."""
    gap = Gap(1000 * MILLISECOND, 1300 * MILLISECOND, "n1", "n2")
    at = int(read * MILLISECOND)
    tenure = watch.Tenure("n2", "10.77.1.100", at, NEVER, at - int(after * MILLISECOND))
    recorders = {"n2": [told(1290, Reason.ACCUSED, peer="n1", silence_ms=350),
                        told(1296, Reason.STARTING, epoch=2, why="n1 is blocked")]}
    passed = passage(gap, [tenure], recorders, (990 * MILLISECOND, "power cut"))
    assert passed.phases == {"detection": 290, "evidence": 0, "decision": 6, "address": shown,
                             "first reply": 4 - shown}
    assert [moment.what for moment in passed.timeline][-2:] == ["10.77.1.100 is on", "first reply"]
    assert passed.address_late_ms == late
    assert (lines(passed)[-1] == f"  the address came up to {late:.1f} ms earlier than that: "
            "the machine was too busy to see it at once") == (late > 2)
