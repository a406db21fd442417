"""The machines of the tests: nothing of them is left, however a test run ends."""

import os
import subprocess
import sys

import pytest

from hamgr.lab.netns import existing
from hamgr.lab.spec import Owner
from tests.netns import PATIENCE_S, Segment, eventually

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

RUN = """
from tests.netns import Segment
with Segment("a") as lan:
    sleeper = lan.start("a", "sleep", "1000")
    print(lan.namespace("a"), sleeper.pid, flush=True)
    input()
"""


def test_what_a_killed_test_run_left_goes_with_the_next_one_and_what_lives_stays() -> None:
    def run() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", RUN], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)

    with Segment("a") as alive, run() as killed, run() as later:
        assert killed.stdout is not None and later.stdout is not None
        name, pid = killed.stdout.readline().split()
        sleeper = Owner.of(int(pid))
        later.stdout.readline()
        killed.kill()
        killed.wait()
        later.communicate("\n", PATIENCE_S)
        prefix = name.removesuffix("a")
        assert existing(prefix) == [f"{prefix}a", f"{prefix}switch"] and sleeper.alive
        with run() as fresh:
            fresh.communicate("\n", PATIENCE_S)
        assert existing(prefix) == []
        eventually(lambda: not sleeper.alive)
        assert alive.has("a", alive.address("a"))
