"""`hamgr doctor` as people and scripts see it; what is looked at is tested in tests/doctor."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from hamgr.cli import doctor
from hamgr.cli.main import main
from hamgr.doctor.facts import Clock, Disk, Facts, Missing
from hamgr.doctor.finding import Severity
from hamgr.doctor.registry import examine
from tests.config.files import GOOD
from tests.doctor.healthy import agent, facts, network

FAULTY = facts(clock=Clock(slew=0.0, synchronised=False), disk=Disk(path="/S", free=4096),
               network=network(sources={}))
TEXT = """\
doctor on n2, cluster crm, by the agent (process 812)

FAULT  state directory: /S: 4 KiB are free: the next start of the
    agent fails, and so does maintenance
    remedy: free its disk
NOTE  clock rate: clock: the wall clock is not synchronised: no
    lease rests on it, but times in logs of several nodes will not
    match
    remedy: run an NTP client (chrony, systemd-timesyncd)

fault: 1 fault, 1 note, """


def run(monkeypatch: pytest.MonkeyPatch, found: Facts, *words: str) -> Result:
    monkeypatch.setattr("hamgr.doctor.look.around.around", lambda config, agent: found)
    return CliRunner().invoke(main, ["doctor", *words])


def test_the_text_has_the_worst_first_each_with_its_remedy() -> None:
    found = facts(clock=Clock(slew=0.0, synchronised=False), disk=Disk(path="/S", free=4096))
    assert doctor.text(found, examine(found), everything=False, width=66).startswith(TEXT)
    all_of_it = doctor.text(found, examine(found), everything=True)
    assert "OK  key file: /etc/hamgr/cluster.key: has key 5f0c1a2b, for its owner" in all_of_it
    assert all_of_it.index("FAULT") < all_of_it.index("NOTE") < all_of_it.index("OK  ")


def test_checks_that_say_the_same_are_one_line() -> None:
    found = facts(agent=Missing("no agent runs here"))
    lines = doctor.text(found, examine(found), everything=False).splitlines()
    assert lines[0] == "doctor on n2, without an agent: no agent runs here"
    (line,) = [line for line in lines if line.startswith("UNKNOWN")]
    assert line == ("UNKNOWN  configuration in use, agent answers, key in use, key everywhere, "
                    "voters, rings, loss, connected, real time, switch, fence devices are wired: "
                    "here: not checked: no agent runs here")


@pytest.mark.parametrize(("changes", "status", "verdict"), [
    ({}, 0, "ok"), ({"clock": Clock(slew=0.0, synchronised=False)}, 0, "note"),
    ({"disk": Disk(path="S", free=9 << 20)}, 1, "warning"),
    ({"disk": Disk(path="S", free=0), "agent": Missing("none")}, 2, "fault"),
    ({"disk": Disk(path="S", free=9 << 20), "agent": Missing("none")}, 3, "unknown")])
def test_exit_status_and_json(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any],
                              status: int, verdict: str) -> None:
    found = facts(**changes)
    done = run(monkeypatch, found, "--json")
    told = json.loads(done.output)
    assert (done.exit_code, told["verdict"]) == (status, verdict)
    assert (told["schema"], told["node"], told["cluster"]) == (1, "n2", "crm")
    assert told["agent"] is ("agent" not in changes)
    assert told["findings"] == msgspec.to_builtins(examine(found))
    assert run(monkeypatch, found).output.splitlines()[-1].startswith(f"{verdict}: ")
    assert {*doctor.EXIT} == {*Severity}


def test_the_configuration_is_that_of_the_agent_if_there_is_one(
        tmp_path: Path, agent: Callable[[bytes], Path]) -> None:
    config, other = tmp_path / "hamgr.toml", tmp_path / "other.toml"
    text = GOOD.replace("/etc/hamgr/cluster.key", str(tmp_path / "key"))
    config.write_text(re.sub(r"10\.0\.0\.(\d+):2181", r"127.0.0.\1:1", text))
    other.write_text("[cluster]\n")
    answer = {"status": replace(AGENT, process=replace(AGENT.process, config=str(config),
                                                       state_dir=str(tmp_path)))}
    run_dir = agent(msgspec.json.encode(answer) + b"\n")
    done = CliRunner().invoke(main, ["doctor", "--json", "--run-dir", str(run_dir),
                                     "--config", str(other)])
    told = json.loads(done.output)
    places = {one["where"]: one["severity"] for one in told["findings"]}
    assert done.exit_code == 2, "there is no key file"
    assert places[str(config)] == "ok" and str(other) not in places
    assert places[str(tmp_path / "key")] == "fault" and places[str(tmp_path)] == "ok"


def test_without_agent_and_configuration_it_says_what_it_could_not_check(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["doctor", "--run-dir", str(tmp_path), "--config",
                                     str(tmp_path / "none.toml")])
    assert done.exit_code == 2
    assert f"FAULT  configuration: {tmp_path}/none.toml: cannot be read" in done.output
    assert f"not checked: {tmp_path}/none.toml cannot be used" in done.output
    assert "not checked: no agent runs here" in done.output


AGENT = agent()
