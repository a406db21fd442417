"""The cluster key is replaced on real nodes while a client writes; nobody misses a heartbeat."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hamgr.config.key import new_key, read_keys
from hamgr.core.reasons import Reason
from hamgr.lab.document import KEY
from hamgr.lab.lab import Lab
from hamgr.lab.node import AGENT
from hamgr.wire import fingerprint
from tests.lab.apart import own_etc, raised_apart
from tests.lab.scene import noticed_nothing, settled
from tests.lab.test_lab import wait

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Each node has a key file of its own."""
    with raised_apart("keys", own_etc) as whole:
        yield whole


def key(lab: Lab, node: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `hamgr key` where the node's key file is."""
    return lab._captured(node, [*own_etc(lab.nodes[node]), sys.executable, "-m", "hamgr", "key",
                                *map(str, words)])


def step(lab: Lab, node: str, *words: str | Path) -> str:
    done = key(lab, node, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def key_file(lab: Lab, node: str) -> Path:
    return lab.nodes[node].directory / "etc" / KEY


def survey(lab: Lab, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.hamgr(node, "status", "--json").stdout)
    return found


def shown(lab: Lab, node: str) -> dict[str, list[str]]:
    """Return the keys of every node, as `hamgr status` on this one shows them."""
    return {row["name"]: row["keys"] for row in survey(lab, node)["nodes"]}


def dropped(lab: Lab) -> dict[str, int]:
    counted = [survey(lab, node)["counters"]["heartbeats"] for node in lab.nodes]
    return {name: count for each in counted for name, count in each.items()
            if name.startswith(("dropped", "lost", "repeated", "unsent"))}


def owner(lab: Lab) -> str:
    (group,) = survey(lab, "n1")["groups"]
    return str(group["active"][0])


def test_a_key_is_replaced_step_by_step_and_no_heartbeat_is_missed(
        lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "new.key"
    new_key(file)
    new = fingerprint(read_keys(file)[0])
    (old,) = map(fingerprint, read_keys(key_file(lab, "n1")))
    with settled(lab) as scene:
        before, serving = dropped(lab), owner(lab)
        stages = ((("add", file), [old, new]), (("use", new), [new, old]), (("drop", old), [new]))
        for words, keys in stages:
            for node in lab.nodes:
                if words[0] == "use" and node == "n2":
                    early = key(lab, "n1", "drop", old)
                    assert early.returncode == 1
                    assert "not yet every node (n2, n3) has stopped to sign" in early.stderr
                said = step(lab, node, *words)
            for node in lab.nodes:
                wait(lambda node=node, keys=keys: shown(lab, node) == {
                    name: keys for name in lab.nodes})
            assert words[0] == "drop" or said.endswith(" on each of them\n") and "now: " in said
            assert [survey(lab, node)["verdict"] for node in lab.nodes] == ["healthy"] * 3
        assert {tuple(map(fingerprint, read_keys(key_file(lab, node))))
                for node in lab.nodes} == {(new,)}
        assert dropped(lab) == before == {}
        assert scene.told(0, Reason.ACCUSED, Reason.LAPSED) == []
        noticed_nothing(scene, serving)


def test_a_node_that_has_the_old_key_only_is_named(lab: Lab, tmp_path: Path) -> None:
    """By hand, past the command that would refuse it: what `systemctl reload hamgr` reads."""
    serving = owner(lab)
    late = another_of(lab, serving)
    old = key_file(lab, late).read_text()
    new_key(tmp_path / "new.key")
    both = (tmp_path / "new.key").read_text() + old
    new, former = (fingerprint(bytes.fromhex(line)) for line in both.split())
    with settled(lab) as scene:
        for node in lab.nodes:
            if node != late:
                key_file(lab, node).write_text(both)
                reload(lab, node)
        wait(lambda: shown(lab, serving) == {
            node: [former] if node == late else [new, former] for node in lab.nodes})
        signers = " and ".join(sorted(node for node in lab.nodes if node != late))
        texts = [problem["text"] for problem in survey(lab, serving)["problems"]]
        assert (f"{late} lacks key {new}, with which {signers} sign, and drops what comes from "
                f"there: run `hamgr key add` on {late}") in texts
        texts = [problem["text"] for problem in survey(lab, late)["problems"]]
        assert any(f"signed with a key that {late} does not have" in text for text in texts)
        step(lab, late, "add", tmp_path / "new.key")
        lab.wait_settled()
        step(lab, late, "use", new)
        for node in lab.nodes:
            step(lab, node, "drop", former)
        noticed_nothing(scene, serving)


def test_a_bad_key_file_is_refused_in_words_and_the_old_keys_stay(lab: Lab) -> None:
    serving = owner(lab)
    node, file = another_of(lab, serving), key_file(lab, another_of(lab, serving))
    right, keys = file.read_text(), shown(lab, serving)
    with settled(lab) as scene:
        try:
            for text, mode, why in (("not a key\n", 0o600, "is not made of hex digits"),
                                    ("", 0o600, "0 keys"), (right, 0o644, "run chmod 600"),
                                    (right + right, 0o600, "both keys are the same")):
                file.write_text(text)
                file.chmod(mode)
                reload(lab, node)
                wait(lambda why=why: any(why in line and line.endswith("; the keys in use stay")
                                         for line in lab.nodes[node].tail(AGENT).splitlines()))
                assert shown(lab, serving) == shown(lab, node) == keys
        finally:
            file.write_text(right)
            file.chmod(0o600)
        noticed_nothing(scene, serving)


def reload(lab: Lab, node: str) -> None:
    pid = lab.nodes[node].agent_pid()
    assert pid is not None
    os.kill(pid, signal.SIGHUP)


def another_of(lab: Lab, *than: str) -> str:
    return next(name for name in lab.nodes if name not in than)
