"""One run: a system that is ready, a fault at a known moment, and all that was seen of it."""

import time

from hamgr.core.types import SECOND
from hamgr.lab.spec import VIP, VIP6, LabError
from tests.bench import frames
from tests.bench.account import Observed, Recorders, account
from tests.bench.busy import Busy
from tests.bench.contender import Contender
from tests.bench.figures import Course, Run
from tests.bench.frames import Counted
from tests.bench.pulse import Pulse
from tests.bench.scenarios import Cause, Scenario, Stage

_SERVED_WITHIN_S = 20.0
_HEARTBEAT_WITHIN_S = 5.0
_GOLDEN = 0.6180339887
"""Its multiples, without their whole part, fill an interval evenly, however many there are."""


def perform(contender: Contender, scenario: Scenario, number: int) -> Run:
    """Do one run and leave the system mended. Raises LabError when something does not come."""
    contender.wait_ready()
    scenario.prepare(contender)
    with contender.lab.watch() as eyes, contender.lab.probe() as client, (
            Pulse(contender.lab.directory)) as pulse:
        stage = Stage(contender, client, eyes, client.wait_served(_SERVED_WITHIN_S))
        pulse.wait_beating()
        _come_between_heartbeats(stage, number)
        observed = _observe(stage, scenario)
        return account(contender.setting, scenario.name, number,
                       observed._replace(still=pulse.finish()))


def _observe(stage: Stage, scenario: Scenario) -> Observed:
    contender = stage.contender
    busy, sent = Busy.now(), _sent(stage, scenario)
    cause = scenario.fault(stage)
    recorders = _last(stage, scenario, cause)
    mended, served = time.monotonic_ns(), bool(stage.client.served_by)
    rate = _rate(sent, _sent(stage, scenario), (mended - cause.at) / SECOND)
    contender.restore()
    time.sleep(scenario.after_s)
    return Observed(
        course=Course(cause.at, mended, time.monotonic_ns()), dead=cause.dead, served=served,
        seen=stage.client.finish(), tenures={vip: stage.eyes.tenures(vip) for vip in (VIP, VIP6)},
        recorders=recorders, heartbeats_per_s=rate, busy_percent=Busy.now().percent_since(busy))


def _come_between_heartbeats(stage: Stage, number: int) -> None:
    """Wait for a moment that lies elsewhere between two heartbeats of the owner in each run.

    Detection counts from the last heartbeat, so an outage depends on that moment by as much as one
    interval. The same even spread for every system spares many runs.
    """
    setting = stage.contender.setting
    at = frames.wait_heartbeat(stage.contender.lab, stage.owner, setting.advert_ring,
                               stage.contender.heartbeat, _HEARTBEAT_WITHIN_S)
    until = at + int((0.5 + number * _GOLDEN) % 1 * setting.interval)
    time.sleep(max(0, until - time.monotonic_ns()) / SECOND)


def _last(stage: Stage, scenario: Scenario, cause: Cause) -> Recorders:
    """Let the fault last; return what the nodes had recorded when the client was served anew."""
    recorders: Recorders = {}
    end = cause.at + int(scenario.hold(stage.contender.setting) * SECOND)
    patience_s = (end - time.monotonic_ns()) / SECOND
    try:
        stage.client.wait_served(
            max(patience_s, _SERVED_WITHIN_S) if scenario.until_served else patience_s,
            other_than=set(cause.dead) or {stage.owner})
        recorders = stage.contender.recorders()
    except LabError:
        if scenario.until_served:
            raise
    time.sleep(max(0, end - time.monotonic_ns()) / SECOND)
    return recorders


def _sent(stage: Stage, scenario: Scenario) -> dict[str, Counted]:
    return frames.counted(stage.contender.lab) if scenario.counted else {}


def _rate(before: dict[str, Counted], after: dict[str, Counted], passed_s: float) -> float | None:
    """Return the heartbeats that a node sent in a second, on average; None if not counted."""
    if not before:
        return None
    heartbeats = sum(after[node].heartbeats - before[node].heartbeats for node in before)
    return round(heartbeats / len(before) / passed_s, 2)
