"""`hamgr status` on real nodes when wire, kernel or keys are not as they should be."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hamgr.lab.document import KEY
from hamgr.lab.lab import Lab
from hamgr.lab.network import interface
from hamgr.lab.spec import CLIENT, GROUP, VIP, VIP6
from tests.lab.scene import raised
from tests.lab.test_lab import wait

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

RING = interface(1)
"""The network of the VIPs."""
WITHOUT_RINGS = """
import json, msgspec
from pathlib import Path
from hamgr.agent.facts import AgentStatus
from hamgr.cli.client import first
from hamgr.cli.probing import wire_truth
answer = first(Path({run_dir!r}), {{"do": "status"}})
status = msgspec.convert(answer["status"], type=AgentStatus)
beside = msgspec.structs.replace(status, rings={{}})  # the VIPs are on a network that is no ring
print(json.dumps({{address: wire.node for address, wire in wire_truth(beside).items()}}))
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with raised("stat") as whole:
        yield whole


@pytest.fixture
def owner(lab: Lab) -> str:
    """The node that serves in a settled cluster."""
    lab.wait_settled()
    return next(name for name in lab.nodes if has(lab, name, VIP))


def has(lab: Lab, host: str, address: str) -> bool:
    return f" {address}/" in lab.output(host, ["ip", "-oneline", "address", "show"])


def mac(lab: Lab, host: str) -> str:
    shown: list[dict[str, Any]] = json.loads(
        lab.output(host, ["ip", "-json", "link", "show", "dev", RING]))
    return str(shown[0]["address"])


def status(lab: Lab, node: str) -> tuple[int, dict[str, Any]]:
    done = lab.hamgr(node, "status", "--json")
    return done.returncode, json.loads(done.stdout)


def texts(survey: dict[str, Any]) -> list[str]:
    return [problem["text"] for problem in survey["problems"]]


@contextmanager
def stranger(lab: Lab, *addresses: str) -> Iterator[str]:
    """Let the client's machine answer for addresses; its MAC."""
    for address in addresses:
        family = ["-6"] if ":" in address else ["-4"]
        lab.output(CLIENT, ["ip", *family, "address", "add", address, "dev", RING,
                            *(["nodad"] if ":" in address else [])])
    try:
        yield mac(lab, CLIENT)
    finally:
        for address in addresses:
            lab.output(CLIENT, ["ip", "address", "del", address, "dev", RING])


def test_the_owner_is_known_by_its_mac_on_every_node(lab: Lab, owner: str) -> None:
    for node in lab.nodes:
        code, survey = status(lab, node)
        assert (code, survey["problems"]) == (0, [])
        wires = [vip["wire"] for vip in survey["groups"][0]["vips"]]
        wanted = [] if node == owner else [{"mac": mac(lab, owner), "node": owner}]
        assert [wire["answers"] for wire in wires] == [wanted, wanted]


def test_the_owner_is_known_on_a_network_that_is_no_ring_too(lab: Lab, owner: str) -> None:
    """By the word of its agent, which is told anew when the interface gets another MAC."""
    node = another_than(lab, owner)
    code = WITHOUT_RINGS.format(run_dir=str(lab.nodes[node].run_dir))

    def told() -> set[str]:
        return set(json.loads(lab.output(node, [sys.executable, "-c", code])).values())

    assert told() == {owner}
    before = mac(lab, owner)
    lab.output(owner, ["ip", "link", "set", RING, "address", "02:77:00:00:99:99"])
    try:
        wait(lambda: told() == {owner})
    finally:
        lab.output(owner, ["ip", "link", "set", RING, "address", before])


def test_two_who_answer_are_a_failure(lab: Lab, owner: str) -> None:
    with stranger(lab, f"{VIP}/32", f"{VIP6}/128") as unknown:
        code, survey = status(lab, another_than(lab, owner))
        assert (code, survey["verdict"]) == (2, "failed")
        for address in (f"{VIP}/24", f"{VIP6}/64"):
            assert any(f"{first} and {second} answer for {address}: only one may" in texts(survey)
                       for first, second in ((owner, unknown), (unknown, owner)))
        code, survey = status(lab, owner)
        assert code == 2
        assert f"{unknown} answers for {VIP}/24 too" in texts(survey)


def test_a_stranger_alone_on_the_wire_is_not_taken_for_the_owner(lab: Lab, owner: str) -> None:
    """No ARP leaves the owner: neither its kernel's answers nor its agent's announcements."""
    lab.output(owner, ["nft", "add table netdev dumb; add chain netdev dumb out { type filter hook "
                              f"egress device {RING} priority 0; }}; "
                              "add rule netdev dumb out ether type arp drop"])
    try:
        with stranger(lab, f"{VIP}/32") as unknown:
            code, survey = status(lab, another_than(lab, owner))
    finally:
        lab.output(owner, ["nft", "delete table netdev dumb"])
    assert (code, survey["verdict"]) == (1, "degraded")
    assert (f"{unknown} answers for {VIP}/24, and no node is known to have this MAC ({GROUP} is "
            f"active on {owner}): find that machine") in texts(survey)


def test_a_vip_on_a_node_without_an_agent_is_said_loudly(lab: Lab, owner: str) -> None:
    node = another_than(lab, owner)
    lab.kill_agent(node)
    try:
        code, survey = status(lab, node)
        rows = survey["groups"][0]["vips"]
        assert [(row["kernel"], row["wire"]["node"]) for row in rows] == [(False, owner)] * 2
        lab.output(node, ["ip", "address", "add", f"{VIP}/32", "dev", RING])
        code, survey = status(lab, node)
        assert (code, survey["source"]) == (2, "zookeeper")
        assert any(text.startswith(f"{VIP}/24 is on {node}, where no agent answers")
                   for text in texts(survey))
        assert f"{owner} answers for {VIP}/24 too" in texts(survey)
        lab.zookeeper_down()
        code, survey = status(lab, node)
        assert (code, survey["source"]) == (2, "nothing")
        assert any("where no agent answers" in text for text in texts(survey))
    finally:
        lab.zookeeper_up()
        lab.start_agent(node)
    lab.wait_settled()
    assert not has(lab, node, VIP)


def test_a_wrong_key_on_one_node_is_told_by_the_others(lab: Lab, owner: str) -> None:
    node = another_than(lab, owner)
    file = lab.directory / KEY
    right = file.read_text()
    lab.stop_agent(node)
    file.write_text("77" * 32 + "\n")
    try:
        lab.start_agent(node)
        words = f"signed with a key that {owner} does not have"
        wait(lambda: any(text.startswith(f"{node}: ") and words in text
                         for text in texts(status(lab, owner)[1])))
        _, survey = status(lab, owner)
        assert survey["counters"]["heartbeats"]["dropped.key"] > 0
    finally:
        lab.stop_agent(node)
        file.write_text(right)
        lab.start_agent(node)


def another_than(lab: Lab, owner: str) -> str:
    return next(name for name in lab.nodes if name != owner)
