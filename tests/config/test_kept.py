"""The file against what is in maintenance on a node: what it lacks, and what cleaning spares."""

import pytest

from hamgr.config.document import parse
from hamgr.config.kept import not_in_file, to_be_spared
from hamgr.config.schema import Document
from tests.config.files import GOOD, changed

VIP, OTHER = "10.0.0.100", "10.0.0.101"


def document(text: str = GOOD) -> Document:
    found = parse(text).document
    assert found is not None
    return found


@pytest.mark.parametrize(("kept", "there", "lacks"), [
    ({}, {VIP}, {}),
    ({"crm": (VIP,)}, {VIP}, {}),
    ({"crm": (VIP, OTHER)}, {VIP}, {}),
    ({"crm": (VIP, OTHER)}, {VIP, OTHER}, {"group.crm.vips": OTHER}),
    ({"web": (VIP, OTHER)}, {VIP}, {"group.web": f"with {VIP}, but"}),
    ({"web": (VIP, OTHER)}, {VIP, OTHER}, {"group.web": f"with {VIP} and {OTHER}, but"}),
    ({"web": (OTHER,)}, {VIP}, {}),
    ({"web": ()}, set(), {"group.web": "still on this node, but not in the file"}),
], ids=["nothing is kept", "all is in the file", "an address is gone from the node as well",
        "an address is not in the file", "a group is not in the file", "with two addresses",
        "a group is gone from the node as well", "a group without addresses may still run"])
def test_what_the_file_lacks(kept: dict[str, tuple[str, ...]], there: set[str],
                             lacks: dict[str, str]) -> None:
    faults = not_in_file(document(), kept, there)
    assert {fault.key for fault in faults} == lacks.keys()
    assert all(lacks[fault.key] in fault.text and "put it back" in fault.text for fault in faults)


def test_a_group_in_maintenance_is_spared_under_whatever_name() -> None:
    assert to_be_spared(document(), {}) == frozenset()
    assert to_be_spared(document(), {"crm": ()}) == {"crm"}
    assert to_be_spared(document(), {"crm": (VIP,)}) == {"crm"}
    renamed = document(changed(("[group.crm]", "[group.web]"),
                               ("[[group.crm.service]]", "[[group.web.service]]")))
    assert to_be_spared(renamed, {"crm": (VIP,)}) == {"web"}
    assert to_be_spared(renamed, {"crm": (OTHER,)}) == frozenset()
