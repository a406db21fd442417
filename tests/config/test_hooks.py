"""The example hooks in etc/hooks, each as the agent would run it.

systemctl is played by a script, since the tests must not start units of this machine.
"""

import subprocess
from pathlib import Path

import pytest

HOOKS = Path(__file__).parents[2] / "etc/hooks"

SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$LOG"
case $1 in
    is-active) echo "$STATE"; [ "$STATE" = active ] ;;
    *) exit "$STATUS" ;;
esac
"""


def run(hook: str, folder: Path, state: str, status: int = 0) -> tuple[int, str, list[str]]:
    """Run a hook; return its exit status, what it printed, and what it asked of systemctl."""
    systemctl, log = folder / "systemctl", folder / "log"
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    done = subprocess.run(
        [HOOKS / hook], capture_output=True, text=True, timeout=10, check=False,
        env={"PATH": f"{folder}:/usr/bin:/bin", "LOG": str(log), "STATE": state,
             "STATUS": str(status), "HAMGR_SERVICE": "app"})
    return done.returncode, done.stdout + done.stderr, log.read_text().splitlines()


@pytest.mark.parametrize(("hook", "state", "status", "succeeds", "first"), [
    ("promote", "active", 0, True, "start app.service"),
    ("promote", "failed", 1, False, "start app.service"),
    ("demote", "inactive", 0, True, "stop app.service"),
    ("demote", "failed", 0, True, "stop app.service"),
    ("demote", "deactivating", 0, False, "stop app.service"),
    ("demote", "active", 0, False, "stop app.service"),
    ("demote", "inactive", 1, False, "stop app.service"),
    ("monitor", "active", 0, True, "is-active app.service"),
    ("monitor", "failed", 0, False, "is-active app.service"),
])
def test_hook(tmp_path: Path, hook: str, state: str, status: int, succeeds: bool,
              first: str) -> None:
    code, _, asked = run(hook, tmp_path, state, status)
    assert (code == 0) is succeeds
    assert asked[0] == first


@pytest.mark.parametrize("hook", ["demote", "monitor"])
def test_a_hook_that_fails_says_why(tmp_path: Path, hook: str) -> None:
    _, printed, _ = run(hook, tmp_path, "deactivating")
    assert "app.service is" in printed
    assert "deactivating" in printed
