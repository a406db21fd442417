"""The demonstration: a client writes through the VIP, and this is what it notices of failures."""

import os
import time
from collections.abc import Callable

from msgspec import Struct

from hamgr.core.types import SECOND, Instant
from hamgr.lab import responder, watch
from hamgr.lab.lab import Lab
from hamgr.lab.probe import Probe, Record
from hamgr.lab.spec import GROUP, VIP, VIP6, LabError, LabSpec
from hamgr.lab.timeline import Entries, Passage, lines, passage
from hamgr.lab.watch import Watch

_SERVED_WITHIN_S = 10.0
_AFTERWARDS_S = 0.3
Say = Callable[[str], None]


class Writes(Struct, frozen=True, kw_only=True):
    """What became of the client's writes."""

    sent: int
    acknowledged: int
    lost: int
    """Acknowledged, but in no ledger."""
    taken_twice: int
    """In the ledgers of two nodes."""


class Figures(Struct, frozen=True, kw_only=True):
    """Everything that the demonstration measured."""

    schema: int = 1
    ok: bool
    crash: Passage
    switchover: Passage
    without_zookeeper: Passage
    owners_max: int
    """The greatest number of nodes that had a VIP at one time."""
    writes: Writes


class _Act(Struct, frozen=True):
    """One thing that was done, with what is needed to tell how it went."""

    cause: tuple[Instant, str]
    origin: str
    target: str
    recorders: dict[str, Entries]


def run(say: Say) -> Figures:
    """Raise a lab, show it, and take it down again. Raises LabError if it does not go well."""
    spec = LabSpec(name=f"demo{os.getpid()}")
    with Lab.raised(spec, say=say) as lab, lab.watch() as eyes, lab.probe() as client:
        client.wait_served(_SERVED_WITHIN_S)
        _show_status(lab, client, say)
        acts = [_crash(lab, client, say), _switchover(lab, client, say),
                _crash_without_zookeeper(lab, client, say)]
        time.sleep(_AFTERWARDS_S)
        return _figures(lab, client.finish(), eyes, acts, say)


def last_line(figures: Figures | str) -> str:
    """Return the result in one line; without figures, why there are none."""
    if isinstance(figures, str):
        return f"demo: FAILED  {figures}"
    verdict = "ok" if figures.ok else "FAILED"
    return (f"demo: {verdict}  crash {figures.crash.outage_ms:.0f} ms"
            f"  switchover {figures.switchover.outage_ms:.0f} ms"
            f"  without ZooKeeper {figures.without_zookeeper.outage_ms:.0f} ms"
            f"  owners at most {figures.owners_max}")


def _show_status(lab: Lab, client: Probe, say: Say) -> None:
    say(f"\n$ hamgr status   (on the owner, {client.served_by})")
    say(lab.hamgr(client.served_by, "status").stdout.rstrip())


def _crash(lab: Lab, client: Probe, say: Say) -> _Act:
    say(f"\nThe power of {client.served_by} is cut.")
    act = _cut_power(lab, client, say)
    lab.heal()
    return act


def _switchover(lab: Lab, client: Probe, say: Say) -> _Act:
    origin = client.served_by
    say(f"\n$ hamgr switchover {GROUP} --yes   (on {origin})")
    at = time.monotonic_ns()
    done = lab.hamgr(origin, "switchover", GROUP, "--yes")
    say(done.stdout.rstrip())
    if done.returncode:
        raise LabError(f"the switchover failed: {done.stdout}{done.stderr}")
    return _served_elsewhere(lab, client, origin, (at, "switchover asked for"))


def _crash_without_zookeeper(lab: Lab, client: Probe, say: Say) -> _Act:
    lab.wait_settled()
    say("\nZooKeeper is killed on every node,")
    lab.zookeeper_down()
    lab.wait_status(lambda snapshot: not snapshot["zookeeper"], "do not miss ZooKeeper")
    say(f"and then the power of {client.served_by} is cut.")
    act = _cut_power(lab, client, say)
    say("\nEverything comes back.")
    lab.heal()
    return act


def _cut_power(lab: Lab, client: Probe, say: Say) -> _Act:
    origin = client.served_by
    at = lab.crash(origin)
    act = _served_elsewhere(lab, client, origin, (at, f"the power of {origin} is cut"))
    say(f"{act.target} serves.")
    return act


def _served_elsewhere(lab: Lab, client: Probe, origin: str, cause: tuple[Instant, str]) -> _Act:
    target = client.wait_served(_SERVED_WITHIN_S, other_than=[origin])
    return _Act(cause, origin, target, lab.recorders())


def _figures(lab: Lab, seen: Record, eyes: Watch, acts: list[_Act], say: Say) -> Figures:
    crash, switchover, without = (_passage(act, seen, eyes) for act in acts)
    for title, passed in (("Crash", crash), ("Switchover", switchover),
                          ("Crash without ZooKeeper", without)):
        say(f"\n{title}: the client was not served for {passed.outage_ms:.1f} ms")
        for line in lines(passed):
            say(line)
    owners = max(watch.owners_at_most(eyes.tenures(vip)) for vip in (VIP, VIP6))
    writes = _writes(lab, seen)
    say(f"\n{writes.sent} writes, {writes.acknowledged} acknowledged, {writes.lost} of them lost, "
        f"{writes.taken_twice} taken twice")
    return Figures(ok=owners == 1 and not writes.lost and not writes.taken_twice, crash=crash,
                   switchover=switchover, without_zookeeper=without, owners_max=owners,
                   writes=writes)


def _passage(act: _Act, seen: Record, eyes: Watch) -> Passage:
    # The cause is stamped once it has been brought about: on a slow machine the client may have
    # been served elsewhere by then.
    gaps = seen.gaps(since=act.cause[0] - SECOND)
    gap = next((gap for gap in gaps if (gap.before, gap.after) == (act.origin, act.target)), None)
    if gap is None:
        raise LabError(f"{act.target} was to serve after {act.origin}, but the client saw {gaps}")
    return passage(gap, eyes.tenures(VIP), act.recorders, act.cause)


def _writes(lab: Lab, seen: Record) -> Writes:
    ledgers = [{number for number, _ in responder.entries(node.directory / "ledger")}
               for node in lab.nodes.values()]
    kept = set().union(*ledgers)
    return Writes(sent=seen.sent, acknowledged=len(seen.writes),
                  lost=sum(write.number not in kept for write in seen.writes),
                  taken_twice=sum(map(len, ledgers)) - len(kept))
