"""`hamgr simulate` on a live cluster, and then the very thing: what it foretells comes true."""

import json
import os
from typing import Any

import pytest

from hamgr.lab.spec import GROUP
from tests.lab.scene import another, raised, settled

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

MODEL_MS = 600.0
"""By how much a client's outage may differ from what was foretold: the phase of the heartbeats, and
what a busy machine adds."""


def heir(snapshot: dict[str, Any]) -> str:
    planned = snapshot["plan"]["groups"][GROUP]["heir"]
    return str(planned["node"]) if planned is not None else ""


def test_who_is_foretold_to_take_over_takes_over() -> None:
    with raised("simu") as lab, settled(lab) as scene:
        owner = scene.client.served_by
        asked = another(scene, owner)
        done = lab.hamgr(asked, "simulate", "--crash", owner, "--json")
        told = json.loads(done.stdout)
        assert done.returncode == 1, done.stderr
        assert (told["differences"], told["broken"]) == ([], "")
        (fate,) = told["groups"]
        assert (fate["name"], fate["before"]) == (GROUP, owner)
        assert scene.plan["holder"]["node"] == owner, "nothing was touched"
        lab.crash(owner)
        assert scene.served_elsewhere(owner) == fate["after"]
        lab.wait_status(lambda seen: heir(seen) == fate["heir"], "do not name the heir foretold")
        assert abs(scene.finish().outage().ms - fate["dark_ms"]) < MODEL_MS
        again = lab.hamgr(fate["after"], "simulate", "--zookeeper-down", "--json")
        assert again.returncode == 0, again.stdout + again.stderr
