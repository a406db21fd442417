"""Random faults of nodes and of what cuts them off, one after the other, with real agents.

    make fence-soak FAULTS=100 SEED=1

Each fault hits the node that has group app: it crashes, or freezes as a whole, or is isolated, or
cannot stop the group when that is to move; in some of them the agent that fences is killed amid it.
Meanwhile its board does well, or is deaf, refuses, hangs, is late, or is off the network, and the
power strip beyond it does well, or refuses too until fencing has failed. Then everything is healed.

The last line says how long an address was on two nodes, in all (the watcher of the kernels), how
often a node was cut off once more for the same fault, and how long the group took to another node.
Exit status 1 if there is anything of the former two, if a service ran beside itself, or if
somebody never took over.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hamgr.core.reasons import Reason
from hamgr.core.types import MILLISECOND, Instant
from hamgr.lab.hook import FAIL
from hamgr.lab.lab import Lab
from hamgr.lab.spec import LabError
from tests.lab.fenced import NODES, STRIP, Power, Room, beside, heal, powered, room, shared
from tests.lab.five import start_again, wait
from tests.lab.power import DEAF, HANGS, LATE, REFUSES, WELL

CRASH, FREEZE, ISOLATE, STUCK = "crashes", "freezes", "is isolated", "cannot stop"
AWAY = "away"
"""Of boards: off the network."""
_WITHIN_S = 60.0
_GROUP = "app"


class Fault(NamedTuple):
    """What befalls the owner, its board, the strip, and the agent that fences."""

    what: str
    board: str
    strip: str
    fencer_killed: bool

    def __str__(self) -> str:
        return (f"{self.what}, board {self.board or 'well'}, strip {self.strip or 'well'}"
                f"{', the agent that fences is killed' if self.fencer_killed else ''}")


class Came(NamedTuple):
    """What came of it."""

    takeover_ms: float
    loops: int
    faults: list[str]


def drawn(dice: random.Random) -> Fault:
    """Draw one."""
    what = dice.choice((CRASH, FREEZE, FREEZE, ISOLATE, ISOLATE, STUCK))
    board = dice.choice((WELL, WELL, WELL, WELL, DEAF, REFUSES, HANGS, LATE, AWAY))
    # A strip that does well would cut off and boot whom a late board then cuts off once more:
    # its own doing, which no timeout can know of.
    strip = REFUSES if board == LATE or dice.random() < 0.2 else WELL
    return Fault(what, board, strip, dice.random() < 0.15)


def strike(room: Room, owner: str, fault: Fault) -> Instant:
    """Let it happen; return when it did."""
    lab, power = room.lab, room.power
    power.conduct(WELL if fault.board == AWAY else fault.board, f"ipmi-{owner}")
    power.conduct(fault.strip, STRIP)
    if fault.board == AWAY:
        power.network(up=False)
    if fault.what == STUCK:
        lab.hook(owner, "stop", FAIL, f"{_GROUP}s")
        at = time.monotonic_ns()
        lab.hamgr(owner, "switchover", _GROUP, "--yes", "--timeout", "1")
        return at
    if fault.what == CRASH:
        return lab.crash(owner)
    return lab.freeze_all(owner) if fault.what == FREEZE else lab.isolate(owner)


def go_on(room: Room, fault: Fault, since: Instant, owner: str) -> None:
    """Kill who fences, if that is so, and mend the devices when they have failed.

    Whose agent was killed may be cut off as well: it may have had the other group.
    """
    def taken() -> bool:
        return any(node != owner for node in room.active(_GROUP))

    def told(reason: Reason) -> bool:
        return bool(room.told(since, reason))

    if fault.fencer_killed:
        wait(lambda: told(Reason.FENCES), lambda: "nobody fences", _WITHIN_S)
        fencer = room.told(since, Reason.FENCES)[0].node
        with suppress(LabError):  # it has just been cut off itself
            room.lab.kill_agent(fencer)
            start_again(room.lab, fencer)
    wait(lambda: taken() or told(Reason.FENCE_FAILED), lambda: "nobody took over", _WITHIN_S)
    room.power.mend()
    wait(taken, lambda: f"nobody took over: {room.active(_GROUP)}", _WITHIN_S)


def one(room: Room, fault: Fault) -> Came:
    """Have one fault, and heal it."""
    owner = room.holder(_GROUP)
    began = time.monotonic_ns()
    since = strike(room, owner, fault)
    faults: list[str] = []
    try:
        go_on(room, fault, since, owner)
    except AssertionError as error:
        faults.append(f"{error}")
    started = [run for run in room.lab.hook_runs() if run.begin > since and run.ok and (
        run.group, run.action) == (_GROUP, "start") and run.node != owner]
    takeover = (started[0].end - since) / MILLISECOND if started else float("nan")
    heal(room.lab, room.power)
    cuts = [did.node for did in room.power.cuts(began)]
    wrong = [] if fault.fencer_killed else [node for node in cuts if node != owner]
    faults += [f"{node} was cut off in place of {owner}" for node in wrong]
    crashed = (owner,) if fault.what == CRASH else ()
    faults += beside(room, began, *crashed)
    return Came(takeover, sum(max(0, cuts.count(node) - 1) for node in NODES), faults)


def soak(lab: Lab, hands: Power, faults: int, seed: int) -> bool:
    """Have so many faults; say what came of it, and return whether nothing was violated."""
    dice = random.Random(seed)
    takeovers, loops, wrong = list[float](), 0, list[str]()
    with room(lab, hands) as whole:
        for number in range(1, faults + 1):
            fault = drawn(dice)
            came = one(whole, fault)
            takeovers.append(came.takeover_ms)
            loops += came.loops
            found = [*came.faults, *([f"{came.loops} cuts too many"] if came.loops else [])]
            wrong += found
            say(f"{number:4}  {came.takeover_ms:8.0f} ms  {fault}"
                f"{''.join(f'; {one}' for one in found)}")
        two = shared(whole)
    say(f"faults {faults}  two owners {two / MILLISECOND:g} ms  fencing loops {loops}  "
        f"takeover median {statistics.median(takeovers):.0f} ms")
    return not (two or loops or wrong)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Soak; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, powered("fsoak", Path(folder)) as (lab, hands):
        return 0 if soak(lab, hands, asked.faults, asked.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
