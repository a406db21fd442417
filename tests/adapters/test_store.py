"""What a node keeps on disk: real files, real processes killed while they write."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hamgr.adapters.store import DirectoryStore, StoreError, this_boot

ROOT = Path(__file__).resolve().parents[2]


def test_an_incarnation_is_never_given_twice(tmp_path):
    first = DirectoryStore(tmp_path)
    assert first.next_incarnation(0) == 1
    assert first.next_incarnation(0) == 2
    assert DirectoryStore(tmp_path).next_incarnation(0) == 3


def test_an_incarnation_is_above_what_the_seat_says(tmp_path):
    store = DirectoryStore(tmp_path)
    assert store.next_incarnation(41) == 42
    assert store.next_incarnation(7) == 43


def test_an_incarnation_is_on_disk_before_it_is_used(tmp_path):
    given = DirectoryStore(tmp_path).next_incarnation(0)
    assert json.loads((tmp_path / "incarnation.json").read_text()) == {"incarnation": given}


def test_facts_and_maintenance_outlive_the_agent(tmp_path):
    store = DirectoryStore(tmp_path)
    assert (store.facts(), store.maintenance()) == (("", 0), {})
    store.keep_facts("c0ffee", 17)
    store.keep_maintenance("crm", 4, True)
    store.keep_maintenance("web", 9, True)
    store.keep_maintenance("crm", 4, False)
    again = DirectoryStore(tmp_path)
    assert again.facts() == ("c0ffee", 17)
    assert again.maintenance() == {"web": 9}


def test_with_a_maintenance_the_addresses_are_kept_that_the_group_had(tmp_path):
    DirectoryStore(tmp_path, {"crm": ("10.0.0.100",)}).keep_maintenance("crm", 4, True)
    store = DirectoryStore(tmp_path, {"crm": ("10.0.0.101",), "web": ("10.0.0.102",)})
    assert store.kept_vips() == {"crm": ("10.0.0.100",)}
    store.keep_maintenance("web", 5, True)
    store.keep_maintenance("crm", 4, False)
    assert DirectoryStore(tmp_path).kept_vips() == {"web": ("10.0.0.102",)}


def test_a_maintenance_that_was_kept_without_addresses_is_read(tmp_path):
    (tmp_path / "maintenance.json").write_text('{"groups": {"crm": 4}}')
    store = DirectoryStore(tmp_path)
    assert store.maintenance() == {"crm": 4} and store.kept_vips() == {"crm": ()}


@pytest.mark.parametrize("name", ["incarnation.json", "facts.json", "maintenance.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}", b'{"incarnation": "x"}', b"[1"])
def test_garbage_is_refused_with_its_path_and_a_remedy(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match="remove it") as refused:
        DirectoryStore(tmp_path)
    assert str(tmp_path / name) in str(refused.value)


def test_a_directory_that_cannot_be_made_is_named_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--state-dir") as refused:
        DirectoryStore(tmp_path / "file" / "state")
    assert str(tmp_path / "file" / "state") in str(refused.value)


def test_a_full_disk_is_told_and_leaves_what_was_kept(tmp_path):
    """A process with RLIMIT_FSIZE 0 cannot write a byte, as on a full disk."""
    DirectoryStore(tmp_path).keep_facts("c0ffee", 17)
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from hamgr.adapters.store import DirectoryStore, StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "store = DirectoryStore(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "for write, *what in ((store.keep_facts, 'c0ffee', 18), (store.next_incarnation, 0)):\n"
        "    try: write(*what)\n"
        "    except StoreError as error: print(error)\n"
        "print(store.facts())\n")
    said = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, text=True,
                          capture_output=True, env={"PYTHONPATH": str(ROOT)}).stdout
    assert f"cannot write {tmp_path}/facts.json" in said
    assert f"cannot write {tmp_path}/incarnation.json" in said
    assert "('c0ffee', 17)" in said
    assert DirectoryStore(tmp_path).facts() == ("c0ffee", 17)


def test_a_writer_that_is_killed_leaves_the_old_or_the_new_never_half(tmp_path):
    program = ("import sys; from pathlib import Path\n"
               "from hamgr.adapters.store import DirectoryStore\n"
               "store = DirectoryStore(Path(sys.argv[1]))\n"
               "while True: print(store.next_incarnation(0), flush=True)\n")
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], text=True,
                                  stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)})
        assert writer.stdout
        for _ in range(20):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        said = writer.communicate()[0].split("\n")
        given = max((int(line) for line in said[:-1]), default=0)
        assert DirectoryStore(tmp_path).next_incarnation(0) > given


def test_nobody_else_may_look_into_the_directory(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    DirectoryStore(state)
    assert os.stat(state).st_mode & 0o777 == 0o700


def test_a_boot_in_between_is_noticed(tmp_path):
    DirectoryStore(tmp_path, boot="one").keep_maintenance("crm", 4, True)
    assert not DirectoryStore(tmp_path, boot="one").rebooted
    store = DirectoryStore(tmp_path, boot="two")
    assert store.rebooted and store.maintenance() == {"crm": 4}
    store.keep_maintenance("web", 5, True)
    assert not store.rebooted


def test_this_boot_is_named_alike_as_long_as_it_lasts():
    assert this_boot() == this_boot() != ""
