"""A cluster that is ready for the next fault, a client of it, and the eye on its kernels."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from hamgr.core.reasons import Reason
from hamgr.core.types import NEVER, Instant
from hamgr.lab import watch
from hamgr.lab.lab import Lab
from hamgr.lab.probe import Probe, Record
from hamgr.lab.spec import GROUP, LabSpec
from hamgr.lab.timeline import Told, reports
from hamgr.lab.watch import Tenure, Watch
from tests.lab.traces import traces

SOON_S = 15.0
UNNOTICED_MS = 150.0
"""What a busy machine makes a client wait at times. Nothing that waits for a lease, which takes 280
ms, to run out is as short."""
FAILOVER_MS = 2000.0
"""A failover takes 350 ms to notice and no more than some to act. One that waits for a claim or the
lifetime of an address in the kernel, 2 s each, or for a session of ZooKeeper, takes longer."""
HANDED_OVER = "{} released"
CUT_OFF = "{} is blocked, accused by "
"""Why another one takes over, in the words of its recorder: the owner's own, or despite it."""


@contextmanager
def raised(purpose: str, **how: Any) -> Iterator[Lab]:
    """Raise a lab under a name of its own; whatever the test did, it leaves nothing behind."""
    spec = LabSpec(name=f"t{purpose}{os.getpid()}", **how)
    with Lab.raised(spec) as lab:
        yield lab
    assert traces(spec.name) == {}


class Scene(NamedTuple):
    """A settled cluster, a client that writes, and the eye on the kernels."""

    lab: Lab
    client: Probe
    eyes: Watch
    group: str = GROUP
    """The one whose VIP the client writes to."""

    @property
    def plan(self) -> dict[str, Any]:
        snapshots = (node.status() for node in self.lab.nodes.values())
        plans = [status["snapshot"]["plan"] for status in snapshots if status is not None]
        newest: dict[str, Any] = max(plans, key=lambda plan: plan["revision"])
        group: dict[str, Any] = newest["groups"][self.group]
        return group

    def served_elsewhere(self, than: str) -> str:
        """Wait until another node serves; return it, once it alone has both addresses."""
        target = self.client.wait_served(SOON_S, other_than=[than])
        for vip in self.lab.spec.vips_of(self.group):
            self.eyes.wait_owners(vip, [target], SOON_S)
        return target

    def told(self, since: Instant, *reasons: Reason) -> list[Told]:
        """Return what agents that answer have reported, for these reasons, in the last seconds."""
        return [one for one in reports(self.lab.recorders())
                if one.at > since and one.reason in reasons]

    def tenures(self, node: str = "") -> list[Tenure]:
        """Return who had which of the group's addresses, and when."""
        vips = self.lab.spec.vips_of(self.group)
        return [tenure for vip in vips for tenure in self.eyes.tenures(vip)
                if node in ("", tenure.node)]

    def shared(self) -> int:
        """Return for how many nanoseconds an address was on two nodes."""
        now = time.monotonic_ns()
        return max(watch.shared(self.eyes.tenures(vip), now) for vip in self.lab.spec.vips)

    def look_on(self, seconds: float) -> None:
        """Let the client write for a while: that nothing happens can only be waited for."""
        for _ in self.client.follow(seconds):
            pass

    def finish(self) -> Record:
        """End the client; what it had acknowledged stands in a ledger."""
        return self.client.finish()


@contextmanager
def settled(lab: Lab) -> Iterator[Scene]:
    """Have a scene on a settled cluster."""
    lab.wait_settled()
    with lab.watch() as eyes, lab.probe() as client:
        client.wait_served(SOON_S)
        yield Scene(lab, client, eyes)


@contextmanager
def healed(lab: Lab) -> Iterator[Scene]:
    """Have a scene on a settled cluster that is used again: everything is healed afterwards."""
    try:
        with settled(lab) as scene:
            yield scene
    finally:
        lab.heal()


def operate(scene: Scene, node: str, *words: str) -> dict[str, Any]:
    done = scene.lab.hamgr(node, *words, "--yes", "--json")
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0 and answer["state"] == "done", done.stdout + done.stderr
    return answer


def another(scene: Scene, *than: str) -> str:
    return next(name for name in scene.lab.nodes if name not in than)


def took_over(scene: Scene, target: str, owner: str, since: Instant, why: str) -> None:
    """Assert that a node started once, and on this evidence about the owner."""
    (start,) = [one for one in scene.told(since, Reason.STARTING)
                if (one.node, one.group) == (target, scene.group)]
    assert start.facts["why"].startswith(why.format(owner))
    if why == HANDED_OVER:
        accusers = [one.node for one in scene.told(since, Reason.ACCUSED)
                    if one.facts["peer"] == owner and one.at < start.at]
        assert accusers == [], "that took over when the owner was silent, not at its word"


def noticed_nothing(scene: Scene, owner: str, since: Instant = 0) -> None:
    """Assert that the owner has had its addresses all the time; ends the client."""
    assert [(one.node, one.end) for one in scene.tenures()] == [(owner, NEVER)] * 2
    seen = scene.finish()
    assert seen.nodes == [owner]
    assert seen.outage(since).ms < UNNOTICED_MS
