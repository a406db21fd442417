"""What a node makes of a document that ZooKeeper gives it, where anybody may have written."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hamgr import prospect
from hamgr.config.document import parse
from hamgr.config.seal import UNSEALED, sealed
from hamgr.core.records import Config
from hamgr.prospect import Prospect, Standpoint
from tests.config.files import GOOD

KEY = bytes(range(32))


def considered(config: Config) -> Prospect:
    document = parse(GOOD).document
    assert document is not None

    async def make_room(prospect: Prospect) -> None:
        raise AssertionError("nobody was to make room")

    return Standpoint(
        node="n1", document=document, wide=document, plan=None, maintained=(),
        lacking=lambda document: (), keys=(KEY,), make_room=make_room).consider(config)


def test_a_document_without_the_seal_is_refused_before_it_is_read(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write to ZooKeeper must not choose what the parser of a root's process gets."""
    def parse(*given: Any) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(prospect, "parse", parse)
    found = considered(Config(revision=2, document=GOOD, digest="d"))
    assert found.refusal == UNSEALED
    assert (found.document, found.wide) == (parse_good(), parse_good())


@pytest.mark.parametrize("document", [
    "x = " + "1" * 5000, "x = " + "[" * 20_000, "x = " + "[" * 20_000 + "]" * 20_000, "\0"],
    ids=["long number", "open", "deep", "zero byte"])
def test_no_document_whatever_breaks_an_agent(document: str) -> None:
    config = Config(revision=2, document=document, digest="d")
    assert considered(config).refusal == UNSEALED
    assert considered(sealed(config, KEY)).refusal.startswith("not valid TOML")


def test_the_seal_of_another_document_does_not_count() -> None:
    good = sealed(Config(revision=2, document=GOOD, digest="d"), KEY)
    assert considered(good).refusal == ""
    assert considered(replace(good, document=GOOD + "# ")).refusal == UNSEALED


def parse_good() -> Any:
    return parse(GOOD).document


def test_a_document_with_a_device_whose_secret_is_not_here_is_refused(tmp_path: Path) -> None:
    """This node could not cut anybody off with it."""
    secret = tmp_path / "password"
    device = (f'[fence.pdu]\ncommand = "/bin/true"\nnodes = ["n1"]\n'
              f'secrets = {{ password = "{secret}" }}\n')
    config = sealed(Config(revision=2, document=GOOD + device, digest="d"), KEY)
    assert f"fence.pdu.secrets.password: {secret}: cannot be read" in considered(config).refusal
    secret.write_text("secret")
    secret.chmod(0o600)
    assert considered(config).refusal == ""
