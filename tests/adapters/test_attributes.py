"""Attributes that all nodes share: what each knows, what outlives what, and what is refused."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hamgr.adapters.services.ocf import keeping
from hamgr.adapters.services.ocf.answers import Desk
from hamgr.adapters.services.ocf.attributes import CLUSTER, AttributeRefused, Lifetime
from hamgr.adapters.services.ocf.keeping import FILE, Keeping, Kept, boot_of
from hamgr.adapters.services.ocf.peers import alone
from hamgr.adapters.services.ocf.shared import CLUSTER_RECORD, Given, SharedAttributes
from hamgr.adapters.services.ocf.values import decoded

REBOOT, FOREVER = Lifetime.REBOOT, Lifetime.FOREVER
GIVEN: Given = {"n1": {"disk": "ssd"}, "n2": {}, "n3": {}}


class Disk:
    """In place of a node's file."""

    def __init__(self) -> None:
        self.collect: Callable[[], Kept] = Kept

    def load(self) -> Kept:
        return self.collect()

    def keep(self, collect: Callable[[], Kept]) -> None:
        self.collect = collect

    async def close(self) -> None:
        pass


class Node(SharedAttributes):
    """One node, that hears all; what its listeners are told."""

    def __init__(self, name: str, disk: Disk | None = None, boot: str = "monday",
                 given: Given = GIVEN) -> None:
        self.disk = disk or Disk()
        super().__init__(name, given, f"{name}.{boot}", self.disk)  # type: ignore[arg-type]
        self.heard = set(GIVEN)
        self.online = lambda: tuple(sorted(self.heard))
        self.asked: list[str] = []
        self.publish = self.asked.append
        name_ = name
        self.told: list[tuple[str, str | None]] = []
        self.heard_of_cluster: list[tuple[str, str | None]] = []
        self.listen(lambda node, name, value: (
            self.told if node == name_ else self.heard_of_cluster).append((name, value)))


class Records:
    """In place of ZooKeeper, with what every node has written."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.writes: list[str] = []

    def carry(self, *nodes: Node) -> None:
        """Let each of them read and write until nobody wants to write any more."""
        written = True
        while written:
            written = False
            for node in nodes:
                for name in dict.fromkeys((*node.names(), *self.data)):
                    node.read(name, self.data.get(name))
                    if (data := node.merged(name, self.data.get(name))) is not None:
                        self.data[name], written = data, True
                        self.writes.append(name)
                        node.read(name, data)


def test_what_one_node_sets_of_another_all_of_them_read() -> None:
    zoo, n1, n2, n3 = Records(), Node("n1"), Node("n2"), Node("n3")
    n1.set("n2", "master-crm-db", "100", REBOOT)
    n1.set("n2", "crm-db-data-status", "STREAMING|ASYNC", FOREVER)
    n1.set(CLUSTER, "info", "n1", FOREVER)
    assert n1.get("n2", "master-crm-db", REBOOT) == "100", "at once, without ZooKeeper"
    zoo.carry(n1, n2, n3)
    for node in (n1, n2, n3):
        assert node.get("n2", "master-crm-db", REBOOT) == "100"
        assert node.get("n2", "crm-db-data-status", FOREVER) == "STREAMING|ASYNC"
        assert node.get(CLUSTER, "info", FOREVER) == "n1"
        assert node.holders("master-crm-db", REBOOT) == ("n2",)
    assert n2.told == [("crm-db-data-status", "STREAMING|ASYNC"), ("master-crm-db", "100")]
    assert n1.told == n3.told == [], "only the node itself is told of its own"
    assert n1.heard_of_cluster == n3.heard_of_cluster == [("info", "n1")]


def test_a_burst_is_one_write_and_what_changes_nothing_is_none() -> None:
    zoo, n1 = Records(), Node("n1")
    for value in range(20):
        n1.set("n1", "location", str(value), REBOOT)
        n1.set("n1", "other", str(value), REBOOT)
    zoo.carry(n1)
    assert zoo.writes == ["n1"] and n1.get("n1", "location", REBOOT) == "19"
    n1.asked.clear()
    n1.set("n1", "location", "19", REBOOT)
    assert n1.asked == []
    n1.set("n1", "location", "20", REBOOT)
    n1.set("n1", "location", "19", REBOOT)
    zoo.carry(n1)
    assert zoo.writes == ["n1"]


def test_what_two_nodes_set_meanwhile_is_merged_and_the_last_to_come_wins() -> None:
    zoo, n1, n2 = Records(), Node("n1"), Node("n2")
    n1.set("n3", "a", "by n1", FOREVER)
    n1.set("n3", "both", "by n1", FOREVER)
    n2.set("n3", "b", "by n2", FOREVER)
    n2.set("n3", "both", "by n2", FOREVER)
    zoo.carry(n1, n2)
    assert json.loads(zoo.data["n3"])["forever"] == {"a": "by n1", "b": "by n2", "both": "by n2"}
    assert n1.get("n3", "both", FOREVER) == "by n2"
    n1.set("n3", "both", None, FOREVER)
    zoo.carry(n1, n2)
    assert n2.get("n3", "both", FOREVER) is None


def test_after_a_reboot_of_its_machine_only_what_is_for_ever_is_left() -> None:
    zoo, n1, n2 = Records(), Node("n1"), Node("n2")
    for name, lifetime in (("old", REBOOT), ("kept", FOREVER)):
        n2.set("n2", name, "1", lifetime)
    zoo.carry(n1, n2)
    booted = Node("n2", n2.disk, boot="tuesday")
    assert booted.of("n2") == {"kept": "1"}, "before it has seen ZooKeeper"
    zoo.carry(n1, booted)
    assert (n1.get("n2", "old", REBOOT), n1.get("n2", "kept", FOREVER)) == (None, "1")
    assert zoo.writes == ["n2", "n2"]


def test_a_restart_of_the_agent_forgets_nothing_also_without_zookeeper() -> None:
    zoo, n1 = Records(), Node("n1")
    n1.set("n1", "carried", "1", REBOOT)
    zoo.carry(n1)
    n1.set("n1", "waiting", "2", REBOOT)
    n1.set("n2", "waiting", "3", FOREVER)
    n1.set("n1", "hidden", "4", REBOOT, private=True)
    rebooted = Node("n1", n1.disk, boot="tuesday")
    assert rebooted.of("n1") == {"disk": "ssd"}
    assert rebooted.get("n2", "waiting", FOREVER) == "3"
    again = Node("n1", n1.disk)
    assert again.of("n1") == {"disk": "ssd", "carried": "1", "waiting": "2", "hidden": "4"}
    n2 = Node("n2")
    zoo.carry(again, n2)
    assert n2.of("n2") == {"waiting": "3"} and n2.get("n1", "waiting", REBOOT) == "2"


def test_values_of_a_boot_are_hidden_while_their_node_is_not_heard() -> None:
    zoo, n1, n2 = Records(), Node("n1"), Node("n2")
    n2.set("n2", "location", "7", REBOOT)
    n2.set("n2", "status", "DISCONNECT", FOREVER)
    zoo.carry(n1, n2)
    n1.heard.discard("n2")
    assert n1.get("n2", "location", REBOOT) is None and n1.holders("location", REBOOT) == ()
    assert n1.of("n2") == {"status": "DISCONNECT"}
    n1.set("n2", "score", "-1", REBOOT)
    n1.heard.add("n2")
    assert n1.of("n2") == {"location": "7", "status": "DISCONNECT", "score": "-1"}


def test_what_others_set_before_a_node_has_a_record_it_takes_for_its_own() -> None:
    zoo, n1, n2 = Records(), Node("n1"), Node("n2")
    n1.set("n2", "score", "100", REBOOT)
    zoo.carry(n1)
    zoo.carry(n2, n1)
    assert n2.of("n2") == {"score": "100"}
    assert decoded(zoo.data["n2"]).boot == "n2.monday", "so that it goes with the next boot"


def test_marks_stay_here_and_go_with_the_boot_or_when_they_are_deleted() -> None:
    zoo, n1, n2 = Records(), Node("n1"), Node("n2")
    n1.set("n1", "told", "7", REBOOT, private=True)
    n1.set("n1", "told", "8", REBOOT)
    zoo.carry(n1, n2)
    assert zoo.data == {} and n1.listing("n1")[-1] == ("told", "8", "private")
    assert (n1.get("n1", "told", REBOOT), n2.get("n1", "told", REBOOT)) == ("8", None)
    n1.set("n1", "told", None, REBOOT)
    n1.set("n1", "told", "9", REBOOT)
    zoo.carry(n1, n2)
    assert n2.get("n1", "told", REBOOT) == "9", "an ordinary one of that name"
    assert n1.told == [("told", value) for value in ("7", "8", None, "9")]


def test_what_an_agent_calls_private_all_of_them_read_and_it_goes_with_the_boot() -> None:
    """ocf:heartbeat:mariadb chooses its primary by such values of all nodes."""
    zoo, n1, n2 = Records(), Node("n1"), Node("n2")
    desk = Desk("n1", n1, lambda: alone("n1"), dict)
    assert desk.answer("crm-db", "attrd_updater", ("-p", "-n", "gtid", "-U", "0-1-7")).code == 0
    zoo.carry(n1, n2)
    assert n2.get("n1", "gtid", REBOOT) == "0-1-7"
    assert n2.listing("n1")[-1] == ("gtid", "0-1-7", "reboot")
    zoo.carry(booted := Node("n1", n1.disk, boot="tuesday"), n2)
    assert booted.get("n1", "gtid", REBOOT) is n2.get("n1", "gtid", REBOOT) is None


def test_the_document_gives_values_until_one_is_set_and_again_afterwards() -> None:
    n1 = Node("n1")
    assert n1.get("n1", "disk", FOREVER) == "ssd"
    n1.set("n1", "disk", "failing", FOREVER)
    n1.set("n1", "disk", None, FOREVER)
    n1.configure({**GIVEN, "n1": {"disk": "nvme", "room": "3"}})
    n1.configure({**GIVEN, "n1": {"disk": "nvme"}})
    assert n1.told == [("disk", "failing"), ("disk", "ssd"), ("disk", "nvme"), ("room", "3"),
                       ("room", None)]


def test_records_that_are_lost_are_given_back_by_whose_they_are() -> None:
    zoo, n1, n2 = Records(), Node("n1"), Node("n2")
    n1.set("n1", "mine", "1", FOREVER)
    n1.set("n2", "yours", "2", REBOOT)
    n1.set(CLUSTER, "all", "3", FOREVER)
    zoo.carry(n1, n2)
    before = dict(zoo.data)
    zoo.data.clear()
    zoo.carry(n1)
    assert set(zoo.data) == {"n1", CLUSTER_RECORD}
    zoo.carry(n1, n2)
    assert zoo.data == before


def test_a_record_of_a_newer_version_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    n1 = Node("n1")
    newer = b'{"format": 2, "values": []}'
    n1.read("n1", newer)
    n1.set("n1", "a", "1", FOREVER)
    assert n1.merged("n1", newer) is None and n1.get("n1", "a", FOREVER) == "1"
    assert "the attributes of n1 cannot be read: another version of hamgr wrote it" in caplog.text


def test_fields_of_other_versions_are_kept() -> None:
    n1 = Node("n1")
    n1.set("n2", "a", "1", FOREVER)
    merged = n1.merged("n2", b'{"format": 1, "forever": {"b": "2"}, "colour": "red"}')
    assert merged is not None
    assert json.loads(merged) == {"format": 1, "boot": "", "forever": {"a": "1", "b": "2"},
                                  "reboot": {}, "colour": "red"}


@pytest.mark.parametrize("node, name, value, why", [
    ("n9", "a", "1", "no node is named 'n9'"),
    ("n1", "", "1", "the name of an attribute has 1 to 255 bytes"),
    ("n1", "ä" * 128, "1", "the name of an attribute has 1 to 255 bytes"),
    ("n1", "a", "x" * 4097, "the value of an attribute has at most 4096 bytes"),
])
def test_what_is_too_much_is_refused(node: str, name: str, value: str, why: str) -> None:
    n1 = Node("n1")
    with pytest.raises(AttributeRefused, match=why):
        n1.set(node, name, value, REBOOT)
    assert n1.names() == ("n1", CLUSTER_RECORD) and n1.of("n1") == {"disk": "ssd"}


@pytest.mark.parametrize("count, size, why", [
    (1000, 1, "a node has at most 1000 attributes"),
    (63, 4096, "the attributes of a node take at most 256 KiB in all")])
def test_so_is_too_much_in_all(count: int, size: int, why: str) -> None:
    n1 = Node("n1")
    for number in range(count):
        n1.set("n1", f"a{number}", "x" * size, REBOOT)
    with pytest.raises(AttributeRefused, match=why):
        n1.set("n1", "more", "x" * size, REBOOT)
    n1.set("n1", "a0", "y", REBOOT)
    n1.set("n2", "more", "x" * size, REBOOT)


def test_the_file_is_written_once_for_all_and_read_again(tmp_path: Path) -> None:
    async def story() -> None:
        n1 = SharedAttributes("n1", GIVEN, "monday", Keeping(tmp_path))
        for number in range(100):
            n1.set("n2", "waits", str(number), FOREVER)
            n1.set("n1", "hidden", str(number), REBOOT, private=True)
        assert not (tmp_path / FILE).exists()
        await n1.close()
    asyncio.run(story())
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    again = SharedAttributes("n1", GIVEN, "monday", Keeping(tmp_path))
    assert again.get("n2", "waits", FOREVER) == again.get("n1", "hidden", REBOOT) == "99"


@pytest.mark.parametrize("text", ["", "{", '{"records": 1}', '{"records": {"n1": {"reboot": 1}}}'])
def test_a_file_that_cannot_be_read_is_left_aside(
        tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text(text)
    assert SharedAttributes("n1", GIVEN, "monday", Keeping(tmp_path)).of("n1") == {"disk": "ssd"}
    assert caplog.text


def test_a_disk_that_is_full_is_told_of_once(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        n1 = SharedAttributes("n1", GIVEN, "monday", Keeping(tmp_path / "missing"))
        for value in "123":
            n1.set("n1", "a", value, FOREVER)
            await asyncio.sleep(keeping.WAIT_S * 1.5)
        await n1.close()
    asyncio.run(story())
    assert caplog.text.count("attributes are not kept on disk") == 1


def test_a_boot_has_one_name_and_the_next_another(tmp_path: Path) -> None:
    name = boot_of(tmp_path, "kernel")
    assert name == boot_of(tmp_path, "kernel") and name.startswith("kernel.")
    (tmp_path / keeping.BOOT).unlink()
    assert name not in (boot_of(tmp_path, "kernel"), boot_of(tmp_path, "another"))
