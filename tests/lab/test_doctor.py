"""`hamgr doctor` on real nodes: a healthy lab has no fault, and what is broken is found."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from hamgr.lab.lab import Lab
from tests.lab.scene import raised
from tests.lab.test_lab import wait

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

ASKED, CUT, SERVERLESS = "n1", "n3", "n2"
LOSS_PERCENT = 30
"""So much that each ring is found out, whatever chance does to 100 heartbeats."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with raised("doc") as whole:
        yield whole


def doctor(lab: Lab, node: str = ASKED) -> tuple[int, dict[str, Any]]:
    done = lab.hamgr(node, "doctor", "--json")
    assert done.returncode < 4, done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def found(told: dict[str, Any], severity: str) -> set[tuple[str, str]]:
    return {(one["check"], one["where"]) for one in told["findings"]
            if one["severity"] == severity}


def test_a_healthy_cluster_has_no_fault_and_one_that_is_broken_has_just_these(lab: Lab) -> None:
    lab.wait_settled()
    for node in lab.nodes:
        code, told = doctor(lab, node)
        assert (code, found(told, "fault"), found(told, "unknown")) == (1, set(), set())
        assert ("fsync", "10.77.1.11:2181") in found(told, "warning"), "the lab saves the disk"
        assert {("rings", other) for other in lab.nodes if other != node} < found(told, "ok")
    try:
        lab.lose(LOSS_PERCENT)
        lab.cut(CUT, ring=2)
        lab.zookeeper_down(SERVERLESS)
        expected = {("rings", f"{CUT}, ring 2"), ("servers", "10.77.1.12:2181"),
                    ("loss", "n2, ring 1"), ("loss", "n2, ring 2"), ("loss", "n3, ring 1")}
        wait(lambda: found(doctor(lab)[1], "fault") - _elections(lab) == expected)
        assert doctor(lab)[0] == 2
        shown = lab.hamgr(ASKED, "doctor").stdout
        assert f"FAULT  rings: {CUT}, ring 2: not heard for " in shown
        assert "remedy: look at the interfaces, cables and switch between 10.77.2.11 and" in shown
    finally:
        lab.heal()


def test_a_kernel_that_answers_no_arp_is_found(lab: Lab) -> None:
    (link,) = {where for check, where in found(doctor(lab)[1], "ok") if check == "arp"}
    setting = f"net.ipv4.conf.{link}.arp_ignore"
    lab.output(ASKED, ["sysctl", "-qw", f"{setting}=8"])
    try:
        assert ("arp", link) in found(doctor(lab)[1], "fault")
        assert f"`sysctl {setting}=1`" in " ".join(lab.hamgr(ASKED, "doctor").stdout.split())
    finally:
        lab.output(ASKED, ["sysctl", "-qw", f"{setting}=0"])


def test_without_an_agent_the_rest_is_checked(lab: Lab) -> None:
    lab.wait_settled()
    lab.stop_agent(CUT)
    try:
        code, told = doctor(lab, CUT)
        assert (code, told["node"], told["agent"]) == (3, CUT, False)
        assert found(told, "fault") == set()
        assert {check for check, _ in found(told, "unknown")} == {
            "configuration in use", "agent answers", "key in use", "key everywhere", "voters",
            "rings", "loss", "fence devices are wired",
            "connected", "real time", "switch"}
        assert ("servers", "10.77.1.11:2181") in found(told, "ok")
        code, told = doctor(lab)
        faults = {one for one in found(told, "fault") if one[0] != "loss"}  # of the last minute
        assert code == 2 and faults == {("rings", CUT)}
    finally:
        lab.start_agent(CUT)
        lab.wait_settled()


def test_a_server_that_is_left_alone_is_not_taken_for_a_good_one(lab: Lab) -> None:
    lab.wait_settled()
    try:
        for name in ("n2", "n3"):
            lab.zookeeper_down(name)
        wait(lambda: {("servers", "10.77.1.11:2181"), ("leader", "ensemble")}
             <= found(doctor(lab)[1], "fault"))
        shown = " ".join(lab.hamgr(ASKED, "doctor").stdout.split())
        assert "10.77.1.11:2181: takes connections and serves nobody: it is in no majority" in shown
    finally:
        lab.zookeeper_up()
    lab.wait_settled()


def _elections(lab: Lab) -> set[tuple[str, str]]:
    """Return what a server that is elected anew may cost for a moment: it is not asked for."""
    return {("connected", node) for node in lab.nodes} | {("leader", "ensemble")} | {
        ("servers", f"10.77.1.1{number}:2181") for number in (1, 3)}
