"""Whole clusters: the same scenario runs the same way, and nothing breaks that must hold."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from hamgr.core.types import SECOND
from hamgr.simulation.incidents import INCIDENTS
from hamgr.simulation.scenario import Fault, Scenario
from hamgr.simulation.swarm import scenario_for
from hamgr.simulation.trace import story
from hamgr.simulation.world import World

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.json"))
"""Scenarios that broke an invariant once, made small; the file name says what was wrong."""
SEEDS = 15
SHORT = 8 * SECOND
CHILD = """
import sys
from tests.simulation.test_world import fingerprint
sys.stdout.write(fingerprint(3) + fingerprint(7))
"""


def fingerprint(seed: int) -> str:
    """Return a digest of all that happened in the run of a seed."""
    world = World(scenario_for(seed, turmoil=SHORT), record=True)
    verdict = world.run()
    told = repr([(line.at, line.node, line.text) for line in world.story or ()])
    return hashlib.sha256((told + repr(verdict)).encode()).hexdigest()


def test_a_run_does_not_depend_on_the_hash_seed() -> None:
    found = set()
    for hash_seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed,
                       "PYTHONPATH": str(Path(__file__).parents[2])}
        found.add(subprocess.run([sys.executable, "-c", CHILD], env=environment, check=True,
                                 capture_output=True, text=True).stdout)
    assert len(found) == 1
    assert len(found.pop()) == 128


def test_recording_the_story_changes_nothing() -> None:
    scenario = scenario_for(5, turmoil=SHORT)
    recorded, plain = World(scenario, record=True), World(scenario)
    assert recorded.run() == plain.run()


def test_another_seed_is_another_story() -> None:
    assert fingerprint(3) != fingerprint(4)


def test_a_calm_cluster_is_served_and_writes_nothing() -> None:
    world = World(Scenario(seed=1, turmoil=5 * SECOND), record=True)
    verdict = world.run()
    assert verdict.violations == ()
    assert (verdict.activations, verdict.dark) == (1, 0)
    late = [line for line in world.story or () if line.at > 5 * SECOND and "WROTE" in line.text]
    assert late == []


@pytest.mark.parametrize("inside", [True, False])
def test_the_heir_takes_over_from_a_dead_owner_within_detection_and_a_little(
        inside: bool) -> None:
    scenario = Scenario(seed=2, turmoil=5 * SECOND, ensemble_inside=inside, faults=(
        Fault(at=5 * SECOND, kind="crash", target="holder"),))
    world = World(scenario, record=True)
    assert world.run().violations == ()
    lines = [line for line in world.story or () if line.at >= 5 * SECOND]
    died = next(line.at for line in lines if "FAULT crash" in line.text)
    active = next(line.at for line in lines if line.text == "ACTIVE g1")
    timing = world.spec.timing
    assert active - died < timing.detection + timing.interval


def test_the_heir_takes_over_while_zookeeper_is_down() -> None:
    scenario = Scenario(seed=2, turmoil=9 * SECOND, ensemble_inside=False, faults=(
        Fault(at=5 * SECOND, kind="zk_down"),
        Fault(at=9 * SECOND, kind="crash", target="holder")))
    world = World(scenario, record=True)
    verdict = world.run()
    assert verdict.violations == ()
    down = [line for line in world.story or () if 5 * SECOND <= line.at < 13 * SECOND]
    assert not any("WROTE" in line.text for line in down)
    assert any(line.text == "ACTIVE g1" for line in down)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_seed_breaks_an_invariant(seed: int) -> None:
    world = World(scenario_for(seed, turmoil=SHORT), record=True)
    assert world.run().violations == (), "\n".join(story(world))


@pytest.mark.parametrize("name", sorted(INCIDENTS))
def test_no_incident_breaks_an_invariant(name: str) -> None:
    world = World(scenario_for(1, turmoil=SHORT, incident=name), record=True)
    assert world.run().violations == (), "\n".join(story(world))


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_broke_once_stays_mended(path: Path) -> None:
    world = World(msgspec.json.decode(path.read_bytes(), type=Scenario), record=True)
    assert world.run().violations == (), "\n".join(story(world))


def test_a_scenario_survives_json() -> None:
    scenario = scenario_for(8)
    text = msgspec.json.encode(scenario)
    assert json.loads(text)["seed"] == 8
    assert msgspec.json.decode(text, type=Scenario) == scenario
