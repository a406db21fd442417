"""What `hamgr simulate` says of saved states, word for word, and how it takes and keeps them.

The answers are in foretold/. Run with HAMGR_REWRITE=1 to write down what is said now; the change is
reviewed as a diff.
"""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from hamgr.cli import present as taking
from hamgr.cli.main import main
from hamgr.core.heartbeat import GroupWord
from hamgr.core.records import GroupPlan, Plan, Right, Seat, Voters
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec, ServiceSpec
from hamgr.core.timing import Timing
from hamgr.core.types import Maintenance, SeatState
from hamgr.simulation.foresight import Happening, foresee
from hamgr.simulation.present import Present, Took, Unfit
from tests.cli import cluster

FORETOLD = Path(__file__).parent / "foretold"


def right(node: str, epoch: int) -> Right:
    return Right(node=node, incarnation=6, round=2, epoch=epoch)


def seats(names: tuple[str, ...], **states: SeatState) -> dict[str, Seat]:
    return {name: Seat(incarnation=6, round=2, by=name, state=states.get(name, SeatState.MEMBER))
            for name in names}


def state(nodes: int = 3, **changes: Any) -> Present:
    """Return a healthy cluster: a database on n1, an address on n2, ZooKeeper on the nodes."""
    names = tuple(f"n{number}" for number in range(1, nodes + 1))
    spec = ClusterSpec(name="crm", nodes=tuple(NodeSpec(name=name) for name in names), groups=(
        GroupSpec(name="crm", nodes=names, services=(ServiceSpec(name="db"),)),
        GroupSpec(name="web", nodes=names[::-1])))
    plan = Plan(revision=31, by="n1", voters=Voters(number=1, names=names), times=Timing(), groups={
        "crm": GroupPlan(holder=right("n1", 7), heir=right("n2", 8), top_epoch=8),
        "web": GroupPlan(holder=right("n2", 3), heir=right(names[-1] if nodes > 2 else "n1", 4),
                         top_epoch=4)})
    return replace(Present(
        schema=1, cluster="crm", asked="the agent on n2", at="2026-11-24T03:12:00+0100", spec=spec,
        plan=plan, leader="n2", up=names, seats=seats(names), zookeeper=True,
        active={"crm": ("n1",), "web": ("n2",)}, servers=(names if nodes > 2 else ("", "", "")),
        took=(Took(group="crm", service="db", action="promote", ms=2400),)), **changes)


def planned(present: Present, **group: Any) -> Present:
    """Return the same with another plan for crm."""
    changed = replace(present.plan.groups["crm"], **group)
    groups = {**present.plan.groups, "crm": changed}
    return replace(present, plan=replace(present.plan, groups=groups))


ONE_DOWN = planned(state(), heir=right("n3", 8))
ONE_DOWN = replace(ONE_DOWN, up=("n1", "n3"), leader="n1", active={"crm": ("n1",), "web": ("n3",)},
                   seats=seats(("n1", "n2", "n3"), n2=SeatState.DEAD), plan=replace(
                       ONE_DOWN.plan, groups={**ONE_DOWN.plan.groups, "web": GroupPlan(
                           holder=right("n3", 5), heir=right("n1", 6), top_epoch=6)}))
CASES: dict[str, tuple[Present, str, int]] = {
    "owner_crashes": (state(), "--crash n1", 1),
    "standby_crashes": (state(), "--crash n3", 0),
    "owner_is_isolated": (state(), "--isolate n1", 1),
    "zookeeper_down_then_crash": (state(), "--zookeeper-down --then --crash n1", 1),
    "two_crash_one_after_the_other": (state(), "--crash n1 --then --crash n2", 2),
    "two_crash_at_once": (state(), "--crash n1 --crash n2", 2),
    "owner_to_standby": (state(), "--standby n1", 1),
    "standby_without_zookeeper": (state(), "--zookeeper-down --standby n1", 0),
    "owner_is_stopped": (state(), "--stop n1", 1),
    "of_two_nodes_the_owner_crashes": (state(2), "--crash n1", 1),
    "of_two_nodes_and_zookeeper_down": (state(2), "--zookeeper-down --crash n1", 2),
    "in_maintenance": (planned(state(), maintenance=Maintenance.ON, heir=None), "--crash n1", 2),
    "heir_unfit": (replace(planned(state(), heir=right("n3", 8)), unfit=(
        Unfit(group="crm", node="n2", failed=True, why="a service failed here"),)),
        "--crash n1 --then --crash n3", 2),
    "one_is_down_already": (ONE_DOWN, "--crash n3", 2),
    "without_zookeeper_already": (replace(state(), zookeeper=False), "--crash n2", 1),
    "nothing_happens": (state(), "", 0),
    "cannot_be_reproduced": (replace(state(), active={"crm": ("n3",), "web": ("n2",)}), "", 3),
}


def simulate(*words: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *words])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "state.json"
    taking.save(state(), file)
    return file


@pytest.mark.parametrize("name", CASES)
def test_a_saved_state_has_one_answer(name: str, tmp_path: Path) -> None:
    present, words, status = CASES[name]
    file, expected = tmp_path / "state.json", FORETOLD / f"{name}.txt"
    taking.save(present, file)
    said = simulate("--from", str(file), *words.split())
    text = f"$ hamgr simulate {words}".rstrip() + f"\n{said.output}"
    if os.environ.get("HAMGR_REWRITE"):
        expected.parent.mkdir(exist_ok=True)
        expected.write_text(text)
    assert text == expected.read_text()
    assert said.exit_code == status


def test_no_answer_is_left_over() -> None:
    assert {path.stem for path in FORETOLD.iterdir()} == {*CASES}


def test_the_json_has_all_that_the_text_says(saved: Path) -> None:
    said = simulate("--from", str(saved), "--crash", "n1", "--json")
    told = json.loads(said.output)
    assert said.exit_code == 1
    assert (told["schema"], told["verdict"], told["differences"]) == (1, "moves", [])
    assert told["rounds"][0]["happenings"] == [{"kind": "crash", "node": "n1"}]
    crm, web = told["groups"]
    assert (crm["before"], crm["after"], crm["heir"]) == ("n1", "n2", "n3")
    assert 2400 < crm["dark_ms"] < 3000
    assert web["dark_ms"] == 0
    steps = [(step["kind"], step["nodes"]) for step in told["rounds"][0]["steps"]]
    assert ("accused", ["n2", "n3"]) in steps


@pytest.mark.parametrize(("old", "new", "why"), [
    ('"revision": 31', '"revision": "x"', "Expected `int`, got `str` - at `plan.revision`"),
    ('"zookeeper": true,', "", "missing required field `zookeeper`"),
    ('"leader"', '"leeder"', "unknown field `leeder`"),
    ('"node": "n1"', '"node": "n9"', "`plan.groups.crm` names n9, which is not among `spec.nodes`"),
    ('"lease": 280000000', '"lease": 380000000', "`plan.times.detection`: detection (350ms) must"),
    ('"schema": 1', '"schema": 7', "schema is 7, and this hamgr reads 1"),
    ('{', '[', "Expected `object`, got `array`"),
])
def test_a_file_that_cannot_be_used_is_told_by_its_key(
    saved: Path, old: str, new: str, why: str
) -> None:
    saved.write_text(saved.read_text().replace(old, new))
    said = simulate("--from", str(saved), "--crash", "n1")
    assert said.exit_code == 3
    assert why in said.stderr
    assert str(saved) in said.stderr
    assert "save" in said.stderr


@pytest.mark.parametrize("words", [
    "--crash n9", "--then --crash n1", "--crash n1 --then", "--crash n1 --then --then --crash n2"])
def test_a_command_line_that_means_nothing_is_refused(saved: Path, words: str) -> None:
    assert simulate("--from", str(saved), *words.split()).exit_code == 64


def test_nobody_to_ask(tmp_path: Path) -> None:
    said = simulate("--run-dir", str(tmp_path), "--config", str(tmp_path / "none.toml"))
    assert said.exit_code == 3
    assert "no agent runs here" in said.stderr
    assert "ZooKeeper cannot be asked" in said.stderr


def test_what_the_agent_says_becomes_the_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    peer = cluster.peer("n1", words=(GroupWord("crm", 7, 0, False, True),))
    status = cluster.status(cluster.snapshot(peers=(peer, cluster.peer("n3", heard_ago=None))))
    text = """
        [cluster]
        name = "crm"
        zookeeper = ["10.0.0.1:2181", "10.0.0.2:2181", "zk.example:2181"]
        key_file = "/etc/hamgr/cluster.key"
        [node.n1]
        addresses = ["10.0.0.1"]
        [node.n2]
        addresses = ["10.0.0.2"]
        [group.crm]
        nodes = ["n1", "n2"]
        vips = ["10.0.0.100/24"]
    """
    monkeypatch.setattr(taking.client, "status", lambda run_dir: status)
    monkeypatch.setattr(taking, "first", lambda run_dir, request: {
        "own": {"revision": 1, "document": text}})
    present = taking.take(tmp_path, tmp_path)
    assert present.up == ("n1", "n2")
    assert present.active == {"crm": ("n1",)}
    assert present.leader == "n1"
    assert present.servers == ("n1", "n2", "")
    assert [(one.node, one.failed) for one in present.unfit] == [("n1", False)]
    file = tmp_path / "state.json"
    taking.save(present, file)
    assert taking.load_saved(file) == present


def test_the_answer_is_the_same_each_time() -> None:
    rounds = [[Happening(kind="isolate", node="n2")], [Happening(kind="crash", node="n1")]]
    assert msgspec.json.encode(foresee(state(), rounds)) == msgspec.json.encode(
        foresee(state(), rounds))


@pytest.mark.parametrize("nodes", [2, 3, 5, 7, 9])
def test_clusters_of_all_sizes_come_to_their_state(nodes: int) -> None:
    present = state(nodes)
    voters = tuple(node.name for node in present.spec.nodes)[:7]
    spec = replace(present.spec, nodes=tuple(
        replace(node, voter=node.name in voters) for node in present.spec.nodes))
    present = replace(present, spec=spec, plan=replace(
        present.plan, voters=Voters(number=1, names=voters)))
    seen = foresee(present, [[Happening(kind="crash", node="n1")]])
    assert (seen.differences, seen.broken) == ((), "")
    assert seen.fates[0].after == "n2"
