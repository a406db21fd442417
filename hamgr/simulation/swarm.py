"""Scenarios from seeds: three generators, since none finds everything that another finds.

`swarm` draws which kinds of faults occur at all, then when and whom (swarm testing: a run with
few kinds goes deeper than one with all). `bursts` aims short faults at those who hold or inherit.
`incidents` plays compound faults from the library, with their times shaken.
"""

import random

from hamgr.core.types import MILLISECOND, SECOND, Duration
from hamgr.simulation.incidents import INCIDENTS, Incident, faults_of
from hamgr.simulation.scenario import Fault, Scenario

AIMED = ("holder", "heir", "leader", "voter", "random")
NEEDS_PEER = ("cut", "cut_both")
EVERYWHERE = ("zk_down", "zk_leaderless", "zk_slow", "ring_down")
KINDS_OF_GROUPS = (("address", 8), ("service", 6), ("fenced", 2), ("units", 3), ("replicas", 4),
                   ("everywhere", 2), ("blocking", 2))
SHARES = ("loss", "late", "reordered", "duplicated", "start_fails", "promote_fails", "demote_fails",
          "stop_fails", "monitor_fails", "services_hang", "demote_hangs", "services_slow",
          "services_lie")
NUMBERED = ("partition", "ring_down", "switchover", "maintenance_on", "maintenance_off", "times",
            "configure", "service_dies")
GRAVER = ("isolate", "deaf", "mute", "crash")

WIDE = 0.02
"""Chance of more than seven nodes, most of whom do not vote, and do not hear each other."""

QUICK = 0.04
"""Chance of the shortest interval that is tuned for: leases of 50 ms, five times the events."""

MENU: dict[str, float] = {
    **dict.fromkeys((
        "crash", "kill_agent", "stop_agent", "stall", "stall_agent", "stall_switch", "pause",
        "switch_crash", "cut", "cut_both", "isolate", "deaf", "mute", "partition", "ring_down",
        "loss", "late", "zk_cut", "zk_replies_lost", "zk_down", "zk_leaderless", "zk_isolate",
        "zk_slow", "slew", "switchover", "standby", "resume", "maintenance_on", "maintenance_off",
        "clear", "promote_fails", "monitor_fails", "services_hang", "service_dies",
        "carrier_lost", "address_removed"), 0.25),
    **dict.fromkeys((
        "restart_agent", "pause_jump", "reordered", "duplicated", "zk_requests_lost", "drain",
        "configure", "demote_fails", "demote_hangs", "services_slow", "start_fails", "stop_fails",
        "services_lie", "disk_full"), 0.15),
    **dict.fromkeys((
        "voters", "times", "remove_node", "upgrade", "fence", "vouch", "fence_fails",
        "fence_hangs", "fence_lies",
        "fence_denies"), 0.1)}
"""Kinds of faults, each with the chance that a run has it at all."""
BURSTS: tuple[str, ...] = (
    "crash", "kill_agent", "stall", "stall_agent", "cut", "cut_both", "isolate", "deaf", "mute",
    "zk_cut", "zk_replies_lost", "zk_isolate", "switchover")


def scenario_for(seed: int, *, nodes: int = 0, turmoil: Duration = 14 * SECOND,
                 incident: str = "") -> Scenario:
    """Return the scenario of a seed: generators take turns, sizes and weather are drawn.

    `incident` plays that one from the library; KeyError if there is none of this name.
    """
    rng = random.Random(f"{seed}/scenario")
    generator = "incidents" if incident else ("swarm", "bursts", "incidents")[seed % 3]
    if generator == "incidents":
        incident = incident or rng.choice(sorted(INCIDENTS))
    base = _cluster(seed, rng, nodes, turmoil)
    if generator == "incidents":
        return incident_scenario(INCIDENTS[incident], incident, base, rng)
    faults = _swarm(base, rng) if generator == "swarm" else _bursts(base, rng)
    return _with(base, name=generator, faults=tuple(sorted(faults, key=lambda fault: fault.at)))


def incident_scenario(incident: Incident, name: str, base: Scenario,
                      rng: random.Random) -> Scenario:
    """Return a scenario that plays one incident, again and again, until peace."""
    faults: list[Fault] = []
    at = base.settle
    while at < base.peace_at - 3 * SECOND:
        played = faults_of(incident, rng, at)
        faults += played
        last = max(fault.at for fault in played)
        at = last + int((2 + 4 * rng.random()) * SECOND)
    nodes = min(max(base.nodes, incident.nodes), incident.nodes_max)
    witnesses = base.witnesses if nodes > 2 else 0
    drift = max(base.drift_ppm, incident.drift_ppm)
    rings = incident.rings or base.rings
    inside = base.ensemble_inside if incident.inside is None else incident.inside
    tie = base.tie if incident.tie is None else incident.tie
    return _with(base, name=name, nodes=nodes, witnesses=witnesses, rings=rings,
                 groups=incident.groups or base.groups, drift_ppm=drift, ensemble_inside=inside,
                 tie=tie,
                 faults=tuple(sorted(faults, key=lambda fault: fault.at)))


def _cluster(seed: int, rng: random.Random, nodes: int, turmoil: Duration) -> Scenario:
    wide = random.Random(f"{seed}/wide").random() < WIDE and not nodes
    nodes = nodes or rng.choices((2, 3, 4, 5), (1, 6, 1, 2))[0]
    kinds = rng.choices(*zip(*KINDS_OF_GROUPS, strict=True), k=rng.choice((1, 1, 2, 3)))
    policies = random.Random(f"{seed}/policies")
    return Scenario(
        tie=policies.choice(("", "", "", "beside", "apart", "requires")),
        devices=random.Random(f"{seed}/devices").random() < 0.25,
        failback=policies.choice((0, 0, 0, 2)) * SECOND,
        seed=seed, nodes=8 + seed % 2 if wide else nodes, voters=3 + 2 * (seed % 3) if wide else 0,
        rings=rng.choice((1, 1, 2)), groups=tuple(kinds),
        witnesses=1 if nodes > 2 and rng.random() < 0.15 and not wide else 0,
        ensemble_inside=rng.random() < 0.6, drift_ppm=rng.choice((0, 100, 80_000)),
        turmoil=turmoil, stay_dead=rng.choice((0, 1, 1)),
        narrow=random.Random(f"{seed}/narrow").random() < 0.08,
        interval=(20 if random.Random(f"{seed}/quick").random() < QUICK else 100) * MILLISECOND)


def _swarm(base: Scenario, rng: random.Random) -> list[Fault]:
    kinds = [kind for kind, chance in MENU.items() if rng.random() < chance] or ["crash"]
    return [_fault(base, rng, rng.choice(kinds), _some_time(base, rng), _some_length(rng))
            for _ in range(rng.randint(3, 14))]


def _bursts(base: Scenario, rng: random.Random) -> list[Fault]:
    faults: list[Fault] = []
    for _ in range(rng.randint(2, 5)):
        start = _some_time(base, rng)
        for _ in range(rng.randint(2, 4)):
            at = start + int(rng.random() * 900) * MILLISECOND
            length = int(rng.choice((150, 320, 380, 600, 1500)) * (0.7 + 0.6 * rng.random()))
            faults.append(_fault(base, rng, rng.choice(BURSTS), at, length * MILLISECOND))
    return faults


def _fault(base: Scenario, rng: random.Random, kind: str, at: int, length: Duration) -> Fault:
    target = "" if kind in EVERYWHERE else rng.choice(AIMED)
    peer = rng.choice(AIMED) if kind in NEEDS_PEER else ""
    amount = 0.0
    if kind in SHARES:
        amount = round(rng.choice((0.05, 0.2, 0.5)) * (0.5 + rng.random()), 3)
    elif kind == "zk_slow":
        amount = round(rng.random() * 1.5, 2)
    elif kind == "slew":
        amount = round((2 * rng.random() - 1) * base.drift_ppm)
    elif kind in NUMBERED:
        amount = rng.randint(0, 5 if kind == "configure" else 2)
    elif kind in GRAVER:
        amount = 1.0 if rng.random() < 0.15 else 0.0
    return Fault(at=at, kind=kind, target=target, peer=peer, duration=length, amount=amount)


def _some_time(base: Scenario, rng: random.Random) -> int:
    return base.settle + int(rng.random() * (base.turmoil - SECOND))


def _some_length(rng: random.Random) -> Duration:
    low, high = rng.choice(((50, 450), (50, 450), (300, 3000), (3000, 10000)))
    return rng.randint(low, high) * MILLISECOND


def _with(base: Scenario, **changes: object) -> Scenario:
    fields = {name: getattr(base, name) for name in base.__struct_fields__}
    return Scenario(**{**fields, **changes})
