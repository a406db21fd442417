"""Groups of one's own in a lab: what is read of them, what is refused, what the hook keeps."""

from pathlib import Path

import pytest

from hamgr.lab import hook, own
from hamgr.lab.spec import LabSpec

TEXT = """
[group.web]
nodes = ["n1", "n2"]
vips = ["10.77.1.100/24", { address = "fd77:1::100/64", interface = "ring1" }]

[group.lb]
nodes = ["n1"]
mode = "everywhere"

[[group.lb.service]]
name = "proxy"
start = "{hook}"
stop = ["/bin/rm", "{here}/proxy"]
"""


def test_a_spec_knows_groups_of_ones_own_and_their_addresses() -> None:
    spec = LabSpec(own=TEXT)
    assert spec.faults() == []
    assert (spec.group_names, spec.everywhere) == (("web",), ("lb",))
    assert spec.vips == spec.vips_of("web") == ("10.77.1.100", "fd77:1::100")


@pytest.mark.parametrize("text, more, why", [
    ("[group", {}, "groups: "), ("[node.n1]\n", {}, "tables [group.NAME], and no others"),
    (f"{TEXT}[cluster]\n", {}, "no others"), (TEXT, {"groups": 2}, "in place of others"),
    (TEXT, {"hooks": True}, "hooks of their own")])
def test_what_is_no_file_of_groups_is_refused(
        text: str, more: dict[str, int], why: str) -> None:
    [fault] = LabSpec(own=text, **more).faults()  # type: ignore[arg-type]
    assert why in fault


def test_groups_of_ones_own_come_with_fence_devices() -> None:
    fences = '[fencing]\nmax_per_hour = 9\n[fence.pdu]\ncommand = "{here}/pdu"\nnodes = ["n1"]\n'
    assert LabSpec(own=TEXT + fences).faults() == []
    [fault] = LabSpec(own=fences).faults()
    assert "it must have tables [group.NAME]" in fault


def test_words_stand_for_the_hook_and_for_the_nodes_own_directory() -> None:
    filled = own.filled(TEXT, Path("/run/lab"))
    assert f'{hook.__file__} /run/lab"' in filled and '"/run/lab/here/proxy"' in filled
    assert "{" not in filled.replace("{ address", "")


def test_the_last_nodes_have_zookeeper_if_enough_are_no_part_of_the_cluster() -> None:
    assert LabSpec(nodes=6, bystanders=3).servers == ("n4", "n5", "n6")
    assert LabSpec(nodes=3, bystanders=1).servers == ("n1", "n2", "n3")


@pytest.mark.parametrize("actions, runs", [
    ("", False), ("start", True), ("start promote", True), ("start promote demote", True),
    ("start promote demote stop", False), ("start stop", False), ("promote", True),
    ("promote demote", False), ("stop", False)])
def test_the_hook_keeps_in_mind_what_it_started(tmp_path: Path, actions: str, runs: bool) -> None:
    for action in actions.split():
        assert hook.keep(tmp_path, {"group": "g", "service": "s", "action": action}) == ""
    why = hook.keep(tmp_path, {"group": "g", "service": "s", "action": "monitor"})
    assert why == ("" if runs else "it does not run")
