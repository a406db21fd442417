"""A library of nasty compound faults: what random faults alone do not find.

Each is named for its story; the letters are those of the protocol's list of mistakes that the
incident is aimed at. Times are milliseconds from its beginning, shaken for every play.
"""

import random
from typing import NamedTuple

from hamgr.core.types import MILLISECOND, Instant
from hamgr.simulation.scenario import Fault


class Step(NamedTuple):
    """One fault of an incident."""

    at_ms: int
    kind: str
    target: str = ""
    peer: str = ""
    for_ms: int = 0
    amount: float = 0.0
    when: str = ""


class Incident(NamedTuple):
    """A story, and what cluster it needs."""

    steps: tuple[Step, ...]
    nodes: int = 3
    nodes_max: int = 5
    rings: int = 0
    """0: as drawn."""
    groups: tuple[str, ...] = ()
    """Empty: as drawn."""
    inside: bool | None = None
    """Whether ZooKeeper runs on the nodes; None: as drawn."""
    tie: str | None = None
    """As a scenario has it; None: as drawn."""
    drift_ppm: int = 0


CAST = Step(0, "cast")
OWNER, HEIR, VOTER = "@owner", "@heir", "@voter"

INCIDENTS: dict[str, Incident] = {
    # (j) The voter accuses, restarts, has forgotten, and would credit at once.
    "voter-restarts": Incident((
        CAST, Step(5, "cut", OWNER, VOTER, 440), Step(300, "cut", OWNER, HEIR, 2500),
        Step(400, "kill_agent", VOTER, "", 20), Step(400, "cut", VOTER, HEIR, 500)),
        inside=False),
    # (k) The same, with a gap in which the old accusation should have gone stale.
    "voter-restarts-later": Incident((
        CAST, Step(10, "cut", OWNER, VOTER, 480), Step(430, "kill_agent", VOTER),
        Step(430, "cut", VOTER, HEIR, 6000), Step(2600, "cut", OWNER, HEIR, 2500)),
        inside=False),
    # (l) Five nodes: who counts as an accuser when voters are dead or have left?
    "heir-alone-with-the-dead": Incident((
        CAST, Step(5, "stop_agent", "@voter", for_ms=9000), Step(900, "crash", "@voter2", "", 9000),
        Step(1000, "zk_cut", HEIR, "", 6000), Step(3500, "cut_both", HEIR, VOTER, 4000),
        Step(3500, "cut_both", HEIR, "@voter3", 4000), Step(3520, "cut_both", HEIR, OWNER, 4000),
        Step(3800, "cut_both", OWNER, "@voter3", 3000)), nodes=5, inside=False),
    "heir-cut-from-three": Incident((
        CAST, Step(5, "zk_cut", HEIR, "", 6000), Step(1500, "cut_both", HEIR, OWNER, 4000),
        Step(1510, "cut_both", HEIR, VOTER, 4000), Step(1520, "cut_both", HEIR, "@voter2", 4000),
        Step(1900, "cut_both", OWNER, "@voter3", 3000), Step(1910, "cut_both", OWNER, VOTER, 3000),
        Step(2600, "stop_agent", VOTER, "", 5000)), nodes=5, inside=False),
    # (i) The voter accuses, hears the owner again, and the heir does not learn of that in time.
    "accuser-hears-again": Incident((
        CAST, Step(5, "cut", OWNER, VOTER, 380), Step(150, "cut", OWNER, HEIR, 2500),
        Step(395, "cut", VOTER, HEIR, 350)), inside=False),
    # (e, f) The heir is replaced and cannot read that it is; then the owner dies.
    "heir-replaced-unawares": Incident((
        CAST, Step(5, "zk_cut", HEIR, "", 7000), Step(60, "standby", HEIR),
        Step(2500, "isolate", OWNER, "", 2500), Step(7500, "resume", HEIR)), inside=False),
    # (m) The agent stalls right after its seat said `member`; the switch must know by then.
    "stall-after-member": Incident((
        CAST, Step(5, "isolate", OWNER, "", 900), Step(700, "stall_agent", OWNER, "", 3000,
                                                       when="member"),
        Step(700, "mute", OWNER, "", 3000, when="member")), inside=False),
    "stall-all-but-switch": Incident((
        CAST, Step(5, "isolate", HEIR, "", 600), Step(20, "isolate", OWNER, "", 900),
        Step(500, "stall_agent", OWNER, "", 4000, when="member"),
        Step(900, "stall_agent", HEIR, "", 2000, when="member")), inside=False),
    # (n) Silence longer than the lease and shorter than detection.
    "lapse-without-accusation": Incident((
        CAST, Step(5, "isolate", OWNER, "", 330), Step(900, "deaf", OWNER, "", 310),
        Step(1800, "deaf", HEIR, "", 320), Step(2600, "mute", OWNER, "", 340))),
    # (o) Answers to a claim that come when the next claim is under way.
    "late-answers-to-claims": Incident((
        CAST, Step(0, "zk_slow", "", "", 6000, 1.6), Step(20, "isolate", OWNER, "", 500),
        Step(1400, "isolate", HEIR, "", 500), Step(2300, "zk_replies_lost", OWNER, "", 900),
        Step(2400, "isolate", OWNER, "", 600))),
    # (o) Two nodes on claims: the owner's renewals are answered late, and then not any more.
    "claims-answered-late": Incident((
        CAST, Step(5, "cut_both", OWNER, HEIR, 7000), Step(1800, "cast"),
        Step(1850, "zk_slow", OWNER, "", 1500, 0.9),
        Step(3200, "zk_requests_lost", OWNER, "", 3500)),
        nodes=2, nodes_max=2, inside=False),
    # (d, p) All live on claims, then part of them are heard again, then one is cut off.
    "everybody-on-claims": Incident((
        CAST, Step(5, "partition", OWNER, "", 3500, 1), Step(10, "cut_both", HEIR, VOTER, 1500),
        Step(2400, "zk_cut", OWNER, "", 1500), Step(3600, "isolate", OWNER, "", 1500, 1.0)),
        inside=False),
    # (q) A claim is renewed through a server that lost its majority and goes on reading.
    "claim-behind-a-stale-server": Incident((
        CAST, Step(5, "isolate", OWNER, "", 5000), Step(1600, "zk_isolate", OWNER, "", 5000),
        Step(1700, "zk_isolate", "", "", 3000, 1)), inside=False),
    # (r) Slow stops during a handover.
    "switchover-with-slow-stop": Incident((
        CAST, Step(5, "services_hang", OWNER, "", 2500, 0.5), Step(100, "switchover"),
        Step(400, "switchover")), groups=("service",)),
    "switchover-and-crash": Incident((
        CAST, Step(5, "switchover"), Step(20, "crash", OWNER, "", 3000),
        Step(4200, "cast"), Step(4300, "switchover"), Step(4310, "crash", HEIR, "", 2500)),
        groups=("service", "address")),
    # (s, i) An active node with a standing accusation, in several groups.
    "scarred-owner-of-two": Incident((
        CAST, Step(5, "switchover", OWNER, amount=1), Step(1200, "cast"),
        Step(1210, "cut", OWNER, VOTER, 420), Step(5700, "cut", OWNER, HEIR, 450),
        Step(6400, "cut", OWNER, VOTER, 1500)), groups=("address", "service")),
    # (t) A leader renews a round whose owner does not learn of it, and is accused in the new one.
    "renewed-unawares": Incident((
        CAST, Step(5, "cut", OWNER, VOTER, 430),
        Step(300, "zk_replies_lost", OWNER, "", 9000, when="claimed"),
        Step(1500, "cut", OWNER, VOTER, 430), Step(2300, "cut", OWNER, HEIR, 6000)),
        inside=False),
    # (t) Accusations of an earlier round while the node claims its next.
    "accused-while-claiming": Incident((
        CAST, Step(5, "isolate", HEIR, "", 400), Step(380, "zk_slow", "", "", 2500, 0.9),
        Step(420, "cut", HEIR, VOTER, 900), Step(900, "crash", OWNER, "", 2500))),
    # (u) Leftovers of a life in which both processes died.
    "leftovers": Incident((
        CAST, Step(5, "switch_crash", OWNER), Step(6, "kill_agent", OWNER, "", 1200),
        Step(2600, "kill_agent", "holder"), Step(2601, "stall_switch", "holder", "", 600))),
    # (v) Clocks at both ends of what slewing does.
    "clocks-apart": Incident((
        CAST, Step(0, "slew", OWNER, amount=-80_000), Step(0, "slew", HEIR, amount=80_000),
        Step(0, "slew", VOTER, amount=80_000), Step(50, "isolate", OWNER, "", 1500),
        Step(3000, "cast"), Step(3000, "slew", OWNER, amount=-80_000),
        Step(3000, "slew", HEIR, amount=80_000), Step(3010, "mute", OWNER, "", 1500)),
        drift_ppm=80_000),
    # (w) The hypervisor takes the owner away and gives it back.
    "owner-paused": Incident((
        CAST, Step(5, "pause", OWNER, "", 1800), Step(3500, "pause", HEIR, "", 700),
        Step(3600, "crash", OWNER, "", 2000))),
    # (aa) The heir has sent a claim, is not answered, and sees the owner die.
    "heir-claims-as-owner-dies": Incident((
        CAST, Step(5, "cut", HEIR, VOTER, 430), Step(100, "zk_slow", HEIR, "", 1500, 0.3),
        Step(850, "isolate", OWNER, "", 1800), Step(900, "zk_cut", HEIR, "", 1500)),
        inside=False),
    # (w, bb) The owner wakes as the voter is back, which has forgotten that it accused it.
    "owner-wakes-to-the-forgetful": Incident((
        CAST, Step(5, "standby", VOTER), Step(900, "pause", OWNER, "", 7000),
        Step(950, "cut_both", OWNER, HEIR, 8000), Step(950, "zk_cut", OWNER, "", 8000),
        Step(2100, "zk_cut", VOTER, "", 1500), Step(2200, "cut_both", VOTER, HEIR, 6000),
        Step(2205, "kill_agent", VOTER), Step(2300, "wake", OWNER, when="claimed @voter"),
        Step(9000, "resume", VOTER)), nodes_max=3, inside=False),
    # (x) A node that slept accuses everybody when it wakes.
    "sleeper-accuses": Incident((
        CAST, Step(5, "stall", VOTER, "", 900), Step(1500, "stall", HEIR, "", 900),
        Step(3000, "stall_agent", OWNER, "", 500))),
    # (y) The third voter restarts as the holder dies.
    "voter-never-heard-owner": Incident((
        CAST, Step(5, "crash", VOTER, "", 800), Step(300, "crash", OWNER))),
    # (z) Two nodes over one cut link; a leader that hears nobody.
    "deaf-leader": Incident((
        CAST, Step(5, "deaf", "@leader", "", 4000), Step(4500, "cut_both", "leader", HEIR, 3000))),
    "lost-answer-to-member": Incident((
        CAST, Step(5, "isolate", HEIR, "", 600),
        Step(500, "zk_replies_lost", HEIR, "", 1500, when="claimed"),
        Step(2500, "zk_replies_lost", "holder", "", 1500, when="member"))),
    # Power, ZooKeeper's own leader with it, and nobody to write.
    "owner-with-zookeeper-leader": Incident((
        CAST, Step(0, "zk_leaderless", "", "", 500), Step(0, "crash", OWNER, "", 4000)),
        inside=True),
    "zookeeper-down-then-crash": Incident((
        CAST, Step(0, "zk_down", "", "", 6000), Step(1500, "crash", OWNER, "", 7000))),
    "rolling-crashes": Incident((
        CAST, Step(5, "crash", OWNER, "", 1500), Step(600, "crash", HEIR, "", 1500),
        Step(1800, "crash", VOTER, "", 900))),
    "ring-by-ring": Incident((
        CAST, Step(0, "ring_down", "", "", 900, 0), Step(700, "ring_down", "", "", 900, 1),
        Step(2500, "isolate", OWNER, "", 700)), rings=2),
    "maintenance-and-restart": Incident((
        CAST, Step(5, "maintenance_on"), Step(1800, "kill_agent", OWNER),
        Step(4000, "maintenance_off"), Step(4400, "kill_agent", OWNER))),
    "standby-of-the-owner": Incident((
        CAST, Step(5, "standby", OWNER), Step(30, "stall_agent", OWNER, "", 250),
        Step(3000, "resume", OWNER), Step(3100, "standby", HEIR), Step(5000, "resume", HEIR))),
    "carrier-of-the-owner": Incident((
        CAST, Step(5, "carrier_lost", OWNER, "", 1500), Step(900, "crash", HEIR, "", 2000))),
    # (h) A voter that was declared dead, and cannot read so, hears the owner whom the heir lost.
    "dead-voter-credits": Incident((
        CAST, Step(5, "mute", VOTER, "", 900), Step(6, "zk_cut", VOTER, "", 6500),
        Step(1800, "zk_cut", OWNER, "", 3500), Step(1850, "cut_both", OWNER, HEIR, 3000)),
        nodes_max=3, inside=False),
    # (n) Credits that come late, behind the word that the lease has run out.
    "credits-come-late": Incident((
        CAST, Step(5, "reordered", OWNER, "", 3000, 0.8), Step(900, "late", OWNER, "", 2500, 0.7),
        Step(4500, "deaf", OWNER, "", 250), Step(4500, "late", OWNER, "", 1500, 0.9)),
        inside=False),
    # (l) The leader has read that a voter left, not that it is back, and loses the owner.
    "leader-misses-a-return": Incident((
        CAST, Step(5, "switchover"), Step(1500, "cast"), Step(1600, "stop_agent", VOTER, "", 1500),
        Step(3130, "zk_replies_lost", HEIR, "", 1500), Step(3700, "zk_cut", OWNER, "", 3000),
        Step(4060, "cut_both", OWNER, HEIR, 2500), Step(4060, "cut_both", OWNER, "@voter2", 2500)),
        nodes=5, inside=False),
    # (z) The leader, which holds nothing, goes deaf; the heir restarts, and the owner dies.
    "leader-deaf-for-long": Incident((
        CAST, Step(5, "standby", "leader"), Step(1500, "cast"),
        Step(1550, "deaf", "@leader", "", 14000), Step(1900, "kill_agent", HEIR, "", 300),
        Step(2600, "crash", OWNER, "", 14000), Step(9500, "cast")), nodes=5, inside=False),
    "leader-behind-one-cut-link": Incident((
        CAST, Step(5, "cut_both", "@leader", VOTER, 3500),
        Step(4000, "cut_both", "@leader", HEIR, 3500))),
    # Operators change the ground while it shakes.
    "reconfigured-as-owner-dies": Incident((
        CAST, Step(5, "configure", OWNER, amount=3), Step(30, "crash", OWNER, "", 2500),
        Step(2000, "configure", HEIR, "", 2500, 4), Step(2100, "zk_cut", HEIR, "", 1500))),
    "group-goes-and-comes": Incident((
        CAST, Step(5, "configure", amount=1, for_ms=900), Step(20, "stall_agent", OWNER, "", 1500),
        Step(3000, "configure", amount=1, for_ms=1500), Step(3050, "disk_full", OWNER, "", 800),
        Step(3600, "zk_cut", OWNER, "", 2500)), groups=("service", "address")),
    "voters-change-as-owner-is-cut": Incident((
        CAST, Step(5, "voters", "@voter2", "", 3000), Step(500, "cut_both", OWNER, HEIR, 2000),
        Step(900, "isolate", OWNER, "", 1500), Step(3100, "crash", OWNER, "", 1500)), nodes=4),
    "times-change-unread": Incident((
        CAST, Step(5, "times"), Step(2000, "zk_cut", HEIR, "", 3000),
        Step(2000, "zk_cut", VOTER, "", 3000), Step(2100, "times", amount=1),
        Step(2900, "isolate", OWNER, "", 900), Step(5500, "times", amount=2)), nodes_max=3,
        inside=False),
    "node-leaves-the-file": Incident((
        CAST, Step(5, "remove_node", VOTER, "", 6000), Step(3500, "crash", OWNER, "", 1500))),
    "rolling-upgrade": Incident((
        Step(0, "upgrade", "n3"), Step(1500, "upgrade", "n2"), Step(2000, "switchover"),
        Step(3000, "crash", "holder", "", 900), Step(5000, "upgrade", "n1"),
        Step(6000, "switchover"))),
    "disk-full-in-maintenance": Incident((
        CAST, Step(5, "disk_full", OWNER, "", 1500), Step(40, "maintenance_on"),
        Step(900, "restart_agent", OWNER), Step(2600, "maintenance_on"),
        Step(3500, "isolate", OWNER, "", 900), Step(5500, "maintenance_off"),
        Step(5510, "disk_full", OWNER, "", 600))),
    "isolated-in-maintenance": Incident((
        CAST, Step(5, "maintenance_on"), Step(1500, "isolate", OWNER, "", 900),
        Step(2900, "kill_agent", OWNER, "", 600), Step(4500, "maintenance_off"))),
    "drained-and-drained-again": Incident((
        CAST, Step(5, "drain", HEIR, "", 3000), Step(600, "crash", OWNER, "", 1500),
        Step(4000, "cast"), Step(4010, "drain", OWNER, "", 2500),
        Step(4300, "drain", HEIR, "", 900))),
    # Fencing: who runs on behind a lapse, and devices that do not do what they say.
    "owner-runs-on": Incident((
        CAST, Step(5, "stall_agent", OWNER, "", 2000), Step(4500, "cast"),
        Step(4510, "stall_agent", OWNER, "", 1500)), groups=("service",), inside=False),
    "owner-runs-on-until-fenced": Incident((
        CAST, Step(5, "stall_agent", OWNER, "", 2500), Step(6000, "cast"),
        Step(6010, "stall_agent", OWNER, "", 1500)), groups=("fenced",), inside=False),
    "heir-loses-the-owner": Incident((
        CAST, Step(5, "cut_both", OWNER, HEIR, 900), Step(3500, "restart_agent", OWNER),
        Step(3510, "fence_fails", OWNER, "", 900, 1.0)), groups=("fenced",), inside=False),
    "device-lies": Incident((
        CAST, Step(0, "fence_lies", OWNER, "", 6000, 1.0), Step(5, "isolate", OWNER, "", 1500),
        Step(5000, "fence_denies", HEIR, "", 5000, 1.0), Step(5100, "crash", "holder", "", 4000)),
        groups=("fenced", "service")),
    # One node inherits, the other comes back: two groups on one node, with an heir each.
    "two-wait-for-one-fence": Incident((
        Step(0, "crash", "n1", "", 2000), Step(8500, "crash", "n2", "", 3000)),
        nodes_max=3, groups=("fenced", "fenced"), tie="", inside=False),
    "device-hangs": Incident((
        CAST, Step(0, "fence_hangs", OWNER, "", 3000, 1.0), Step(5, "crash", OWNER, "", 2500)),
        groups=("fenced",)),
    "stop-fails-in-a-handover": Incident((
        CAST, Step(0, "demote_fails", OWNER, "", 2500, 0.9), Step(5, "switchover"),
        Step(3500, "demote_hangs", HEIR, "", 2500, 0.7), Step(3600, "drain", HEIR, "", 3000)),
        groups=("service",)),
    "replica-does-not-demote": Incident((
        CAST, Step(0, "demote_fails", OWNER, "", 2500, 1.0), Step(5, "isolate", OWNER, "", 2000)),
        groups=("replicas",)),
    "replica-breaks": Incident((
        CAST, Step(0, "start_fails", VOTER, "", 9000, 1.0), Step(5, "service_dies", VOTER),
        Step(5500, "restart_agent", HEIR)), nodes_max=3, groups=("replicas",)),
    "services-end": Incident((
        CAST, Step(5, "service_dies", OWNER, "", 0, 1.0), Step(3000, "switchover")),
        groups=("units",)),
    "rests-through-a-lapse": Incident((
        CAST, Step(5, "isolate", HEIR, "", 1500), Step(4000, "restart_agent", OWNER)),
        groups=("replicas", "everywhere")),
    # Who is heir of two groups that must be apart, and inherits both.
    "one-heir-for-two-apart": Incident((
        Step(0, "crash", "n1", "", 4000), Step(20, "crash", "n2", "", 4000)),
        nodes=5, groups=("units", "service"), tie="apart", inside=False),
    "required-fails-over": Incident((
        CAST, Step(5, "crash", OWNER, "", 2500), Step(3000, "drain", HEIR, "", 2500)),
        groups=("service", "units"), tie="requires"),
    # Swizzle: every link of one node goes, one after the other, and comes back in another order.
    "swizzle": Incident((
        CAST, Step(0, "cut_both", OWNER, VOTER, 2600), Step(700, "cut_both", OWNER, HEIR, 900),
        Step(1100, "cut_both", HEIR, VOTER, 2500), Step(2000, "zk_cut", OWNER, "", 900))),
}


def faults_of(incident: Incident, rng: random.Random, start: Instant) -> list[Fault]:
    """Return one play of an incident: all times stretched alike, each shaken by some 40 ms."""
    stretch = 0.85 + 0.4 * rng.random()
    faults: list[Fault] = []
    for step in incident.steps:
        shake = rng.uniform(-40, 40) if step.at_ms >= 40 else 0
        at = start + int((step.at_ms * stretch + shake) * MILLISECOND)
        length = int(step.for_ms * stretch * rng.uniform(0.95, 1.1) * MILLISECOND)
        faults.append(Fault(at=at, kind=step.kind, target=step.target, peer=step.peer,
                            duration=length, amount=step.amount, when=step.when))
    return faults
