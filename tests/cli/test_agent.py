"""`hamgr agent` where no agent can be: what it says, and whether systemd should try again."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from hamgr.cli.main import main
from tests.config.files import GOOD

ELSEWHERE = GOOD.replace("10.0.0.", "192.0.2.").replace("10.1.0.", "198.51.100.").replace(
    "node.n", "node.elsewhere").replace('"n1", "n2"', '"elsewhere1", "elsewhere2"')
"""Nobody's names and addresses (RFC 5737), so not this machine's either."""
NEVER_RESTARTED = {
    line.partition("=")[2] for line in
    (Path(__file__).parents[2] / "systemd/hamgr.service").read_text().splitlines()
    if line.startswith("RestartPreventExitStatus=")}


@pytest.mark.parametrize(("words", "status", "told"), [
    ([], 1, "by now (nodes: elsewhere1, elsewhere2, elsewhere3); give --node NAME or set "
     "HAMGR_NODE, or wait for the address; hamgr.service tries again each second\n"),
    (["--cleanup"], 1, "wait for the address; an agent that starts here cleans up first\n"),
    (["--node", "elsewhere"], 78, 'no node is named "elsewhere"; did you mean'),
    (["--config", "/nonexistent"], 78, "/nonexistent: cannot be read"),
], ids=["no address yet", "cleanup", "no such node", "no file"])
def test_only_what_may_pass_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           words: list[str], status: int, told: str) -> None:
    """Early in a boot the address by which a node is known may not be there."""
    monkeypatch.delenv("HAMGR_NODE", raising=False)
    file = tmp_path / "hamgr.toml"
    file.write_text(ELSEWHERE)
    where = ["--config", str(file), "--run-dir", str(tmp_path), "--state-dir", str(tmp_path)]
    ended = CliRunner().invoke(main, ["agent", *where, *words])
    assert (ended.exit_code, told in ended.output) == (status, True), ended.output
    assert (str(status) in NEVER_RESTARTED) == (status == 78)
