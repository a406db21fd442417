"""Labs of other sizes: with a witness, and with more nodes than may vote."""

import json
import os
from pathlib import Path

import pytest

from hamgr.config.document import parse
from hamgr.lab.document import text
from hamgr.lab.spec import LabSpec
from tests.lab.scene import CUT_OFF, FAILOVER_MS, raised, settled, took_over

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.parametrize("nodes", range(3, 17))
def test_the_file_of_every_size_can_be_used(nodes: int) -> None:
    for witnesses in range(10):
        spec = LabSpec(nodes=nodes, witnesses=witnesses, groups=3)
        if witnesses > min(nodes - 2, 7):
            assert "witnesses" in "; ".join(spec.faults())
            continue
        reading = parse(text(spec, Path("/run/hamgr-lab/lab")))
        assert (spec.faults(), reading.faults) == ([], ())
        assert reading.document is not None
        found = reading.document.node
        assert sum(node.voter for node in found.values()) == min(nodes, 7)
        assert [node for node in found if found[node].witness] == [
            *spec.node_names[nodes - witnesses:]]
        assert all(found[node].voter for node in found if found[node].witness)


def test_a_bystander_is_no_part_of_the_cluster() -> None:
    spec = LabSpec(bystanders=1)
    reading = parse(text(spec, Path("/run/hamgr-lab/lab")))
    assert (spec.faults(), reading.faults) == ([], ())
    assert reading.document is not None
    assert [*reading.document.node] == ["n1", "n2"]
    assert len(reading.document.cluster.zookeeper) == 3
    assert "bystanders" in "; ".join(LabSpec(bystanders=2).faults())
    assert "witnesses" in "; ".join(LabSpec(bystanders=1, witnesses=1).faults())


@pytest.mark.lab
@needs_root
def test_two_nodes_alone_fail_over_through_zookeeper() -> None:
    with raised("two", bystanders=1) as lab, settled(lab) as scene:
        owner = scene.client.served_by
        lab.crash(owner)
        assert {owner, scene.served_elsewhere(owner)} == {"n1", "n2"}
        assert scene.tenures("n3") == [] and scene.shared() == 0
        lab.heal()


@pytest.mark.lab
@needs_root
def test_with_two_nodes_and_a_witness_the_other_takes_over_as_fast() -> None:
    with raised("witness", witnesses=1) as lab, settled(lab) as scene:
        owner = scene.client.served_by
        at = lab.crash(owner)
        target = scene.served_elsewhere(owner)
        assert {owner, target} == {"n1", "n2"}
        took_over(scene, target, owner, at, CUT_OFF)
        assert scene.finish().outage(at).ms < FAILOVER_MS
        assert scene.tenures("n3") == [] and scene.shared() == 0


@pytest.mark.lab
@pytest.mark.slow
@needs_root
def test_eight_nodes_settle_of_which_the_last_does_not_vote() -> None:
    with raised("eight", nodes=8) as lab:
        shown = json.loads(lab.hamgr("n8", "status", "--json").stdout)
    assert (shown["verdict"], shown["voters"], shown["voters_heard"]) == ("healthy", 7, 7)
    assert [node["name"] for node in shown["nodes"] if not node["voter"]] == ["n8"]
