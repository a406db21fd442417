"""`hamgr config diff` by what an agent answers: what is applied, and whether it counts.

tests/lab/test_apply.py applies to real clusters; what would happen is in tests/config/test_change.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from hamgr.cli.apply import diff
from hamgr.config.document import cluster_spec, digest, parse
from hamgr.config.key import new_key, read_keys
from hamgr.config.schema import Document
from hamgr.config.seal import sealed
from hamgr.core.records import Config, Plan, Voters
from tests.cli import cluster
from tests.config.files import GOOD

Asked = Callable[..., Result]


def document(text: str) -> Document:
    found = parse(text).document
    assert found is not None
    return found


@pytest.fixture
def text(tmp_path: Path) -> str:
    """The file of every node, and of what is applied unless a test says otherwise."""
    new_key(tmp_path / "cluster.key")
    return GOOD.replace("/etc/hamgr/cluster.key", str(tmp_path / "cluster.key"))


@pytest.fixture
def asked(text: str, tmp_path: Path, agent: Callable[[bytes], Path]) -> Asked:
    """Hold the file against what an agent says is applied; it goes by the file."""
    file = tmp_path / "hamgr.toml"
    file.write_text(text)
    key = read_keys(tmp_path / "cluster.key")[0]
    known = document(text)
    spec, own = cluster_spec(known), Config(revision=7, document=text, digest=digest(known))
    plan = Plan(revision=9, by="n1", voters=Voters(number=1, names=spec.voters), times=spec.timing)
    peers = tuple(cluster.peer(name, config=own.digest) for name in ("n1", "n3"))
    status = cluster.status(cluster.snapshot(plan=plan, peers=peers))
    status = replace(status, process=replace(status.process, config_digest=own.digest))

    def ask(*words: str, key: bytes = key, seal: bool = True, refused: str = "",
            **changes: Any) -> Result:
        record = replace(own, **changes)
        answer = {"status": status, "own": own, "refused": refused,
                  "applied": sealed(record, key) if seal else record}
        run_dir = agent(msgspec.json.encode(answer) + b"\n")
        return CliRunner().invoke(diff, [str(file), "--run-dir", str(run_dir), *words])

    return ask


def test_what_every_node_goes_by_is_no_difference(asked: Asked) -> None:
    found = asked()
    assert found.exit_code == 0, found.output
    assert found.output.splitlines()[1:] == ["no difference"]


@pytest.mark.parametrize("how", [{"seal": False, "revision": 8}, {"key": bytes(32)}],
                         ids=["an intruder's", "of a key that was replaced"])
def test_what_is_not_sealed_with_our_key_is_to_be_applied_anew(
        asked: Asked, how: dict[str, Any]) -> None:
    """`hamgr status` and docs/configuration.md name that as the remedy, whatever the document."""
    found = asked(**how)
    assert found.exit_code == 1, found.output
    assert "it is not sealed with a key that this node has" in found.output
    assert found.output.endswith("no difference, but not every node goes by it yet\n")


def test_json_has_it_too(asked: Asked) -> None:
    told = json.loads(asked("--json", seal=False).output)
    assert told["verdict"] == "differs" and "not sealed" in told["refused"]


@pytest.mark.parametrize("document", ["", "rubbish", GOOD.replace("crm", "other")])
def test_what_an_intruder_wrote_keeps_nobody_from_applying_another(
        asked: Asked, document: str) -> None:
    found = asked(seal=False, revision=8, document=document)
    assert found.exit_code == 1, found.output
    assert "cannot be applied" not in found.output


def test_what_the_agent_refuses_is_no_state_to_be_content_with(asked: Asked) -> None:
    found = asked(refused="there is no interface ring1")
    assert found.exit_code == 1
    assert "there is no interface ring1" in found.output
