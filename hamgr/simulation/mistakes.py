"""Mistakes planted on purpose: a simulator that does not find them does not test their rule.

Each patches the core (or, where the mistake is the shell's, the modelled agent) from outside; the
engine itself has no switches. The letters are those of the protocol's list.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from hamgr.simulation import planted
from hamgr.simulation import planted_plans as plans
from hamgr.simulation import planted_services as services
from hamgr.simulation.invariants import Verdict
from hamgr.simulation.swarm import scenario_for
from hamgr.simulation.world import World

Say = Callable[[str], None]
Plant = Callable[[ExitStack], None]


class Mistake(NamedTuple):
    """One mistake: what is wrong, how it is planted, and where to look for it."""

    what: str
    plant: Plant
    incidents: tuple[str, ...] = ()
    """Incidents that are aimed at it; empty: schedules of all generators."""
    seeds: int = 60
    """So many schedules must be enough."""
    breaks: tuple[str, ...] = ("two active", "lease", "epoch twice", "epoch order", "fence", "done")
    """The kinds of violation that count as finding it: safety, or else what it costs."""

    def found_in(self, verdict: Verdict) -> bool:
        """Tell whether a run shows the mistake."""
        return any(violation.kind in self.breaks for violation in verdict.violations)


SAFETY: dict[str, Mistake] = {
    "a": Mistake("an heir acts on its own accusation alone", planted.acts_on_own_accusation),
    "b": Mistake("one accusation less than the blocking set", planted.one_accusation_less),
    "c": Mistake("the leader forgets an heir that may have acted", planted.forgets_the_heir),
    "d": Mistake("a node is declared dead while its claim is good", planted.good_claim_overruled),
    "e": Mistake("the next heir is named while the healthy one before it has not said done",
                 plans.next_heir_beside_a_leaving_one, ("heir-replaced-unawares",)),
    "f": Mistake("rights that are leaving are forgotten", plans.leaving_rights_forgotten,
                 ("heir-replaced-unawares",)),
    "g": Mistake("detection below the lease", planted.detection_below_lease),
    "h": Mistake("credits from a node whose own lease has lapsed", planted.credits_after_lapse,
                 ("dead-voter-credits",)),
    "i": Mistake("accusations withdrawn when the node is heard again",
                 planted.accusations_withdrawn, ("accuser-hears-again",), seeds=200),
    "j": Mistake("a restarted voter credits at once", planted.restarted_voter_credits,
                 ("voter-restarts",), seeds=400),
    "k": Mistake("accusations counted without freshness", planted.stale_accusations,
                 ("voter-restarts-later", "voter-restarts"), seeds=200),
    "l": Mistake("dead and left voters count at once", planted.dead_voters_at_once,
                 ("heir-cut-from-three", "heir-alone-with-the-dead"), seeds=400),
    "l-seats": Mistake("a node is declared dead without checking its accusers' seats",
                       plans.seats_unchecked, ("leader-misses-a-return",), seeds=200),
    "m": Mistake("the switch's deadline is never lowered", planted.switch_told_too_late,
                 ("stall-after-member", "stall-all-but-switch")),
    "n": Mistake("a lapsed round is revived by new credits", planted.lapse_is_not_final,
                 ("credits-come-late",)),
    "o": Mistake("a claim dated from its answer", planted.claim_dated_from_answer,
                 ("claims-answered-late", "late-answers-to-claims"), seeds=200),
    "p": Mistake("an heir named while the holder lives on a claim", planted.heir_beside_a_claim,
                 ("everybody-on-claims",), seeds=200),
    "q": Mistake("a claim renewed by reading", planted.claim_renewed_by_reading,
                 ("claim-behind-a-stale-server",), seeds=100),
    "r": Mistake("done said when stopping begins", planted.done_when_stopping_begins,
                 ("switchover-with-slow-stop",)),
    "s": Mistake("a round renewed for one group only", planted.renewed_for_one_group,
                 ("scarred-owner-of-two",)),
    "t": Mistake("an accusation does not cover earlier rounds", planted.accuses_one_round_only,
                 ("renewed-unawares",), seeds=200),
    "u": Mistake("a life begins before leftovers are gone", planted.leftovers_stay, ("leftovers",)),
    "v": Mistake("no room for clocks that drift by 8 %", plans.no_room_for_drift,
                 ("clocks-apart",)),
    "w": Mistake("a paused machine goes on when it wakes", plans.woken_goes_on,
                 ("owner-paused",)),
    "aa": Mistake("an heir that has claimed acts on its old round", planted.acts_on_its_old_round,
                  ("heir-claims-as-owner-dies",), seeds=200),
    "bb": Mistake("a restarted voter credits whom it has just met",
                  planted.credits_whom_it_just_met, ("owner-wakes-to-the-forgetful",)),
    "credit": Mistake("a lease dated from the credit's arrival",
                      planted.credits_from_their_arrival),
    "epoch": Mistake("an epoch given twice", planted.epochs_given_twice, seeds=5),
    "stop": Mistake("a stop that failed is taken for done", plans.failed_stop_taken_for_done,
                    ("stop-fails-in-a-handover",)),
    "within": Mistake("the next owner does not wait for stop_within",
                      plans.stop_within_not_awaited, ("owner-runs-on",)),
    "fence": Mistake("the next owner does not wait for the fence", plans.fence_not_awaited,
                     ("owner-runs-on-until-fenced",)),
    "race": Mistake("all who wait for a fence begin it", plans.fenced_by_all,
                    ("two-wait-for-one-fence",), seeds=100, breaks=("fence race",)),
    "shootout": Mistake("who has no lease fences the others", plans.fenced_without_a_lease,
                        ("device-hangs", "two-wait-for-one-fence"), breaks=("fence",)),
    "fences": Mistake("a node is fenced on one accusation", plans.fenced_on_own_accusation,
                      ("heir-loses-the-owner",)),
    "file": Mistake("a group is forgotten with its file while it runs",
                    plans.group_forgotten_with_its_file, ("group-goes-and-comes",),
                    breaks=("two active", "lease", "done", "left over")),
    "voters": Mistake("voters change without the former ones", plans.voters_change_at_once,
                      ("voters-change-as-owner-is-cut",), seeds=200),
    "times": Mistake("times change at once", plans.times_change_at_once,
                     ("times-change-unread",)),
    "down": Mistake("a replica is started on the way down", services.started_on_the_way_down,
                    ("replica-does-not-demote",)),
}
COSTS: dict[str, Mistake] = {
    "x": Mistake("a stalled node accuses everybody when it wakes", plans.lateness_not_forgiven,
                 ("sleeper-accuses",), breaks=("hasty",)),
    "y": Mistake("nobody accuses what it never heard", planted.never_heard_never_accused,
                 ("voter-never-heard-owner",), breaks=("dark",)),
    "z-lead": Mistake("the lead is taken on one accuser's view", plans.one_accuser_takes_the_lead,
                      ("leader-behind-one-cut-link",), breaks=("usurped",)),
    "z-deaf": Mistake("a leader that is deaf stays", plans.deaf_leader_stays,
                      ("leader-deaf-for-long",), breaks=("dark",)),
    "z-scars": Mistake("scars are never healed", planted.scars_stay,
                       ("scarred-owner-of-two", "swizzle"), breaks=("dark", "scarred")),
    "z-member": Mistake("a lost answer to `member` is not asked for again",
                        plans.lost_answer_to_member, ("lost-answer-to-member",),
                        breaks=("dark", "left over")),
    "standby": Mistake("a group is given to a node in standby", plans.standby_overlooked,
                       ("drained-and-drained-again",), breaks=("misplaced",)),
    "fields": Mistake("what a newer version wrote is dropped", plans.unknown_fields_dropped,
                      ("rolling-upgrade",), breaks=("plan",)),
    "paused": Mistake("a lapse stops what is in maintenance", plans.lapse_stops_what_is_maintained,
                      ("isolated-in-maintenance",), breaks=("maintenance",)),
    "kept": Mistake("maintenance counts before it is on disk", plans.maintenance_before_it_is_kept,
                    ("disk-full-in-maintenance",), breaks=("maintenance",)),
    "order": Mistake("services start in reverse", services.started_in_reverse,
                     ("services-end",), breaks=("order",)),
    "reverse": Mistake("services stop in the order of their start", services.stopped_in_order,
                       ("services-end",), breaks=("order",)),
    "replica": Mistake("a node whose replica is broken is heir", services.broken_replica_inherits,
                       ("replica-breaks",), breaks=("misplaced",)),
    "rests": Mistake("a lapse stops what runs everywhere", services.lapse_stops_what_rests,
                     ("rests-through-a-lapse",), breaks=("needless",)),
    "requires": Mistake("a group starts before what it requires", services.required_not_awaited,
                        ("required-fails-over",), breaks=("too soon",)),
    "apart": Mistake("an heir starts what must be apart from what it has",
                     services.apart_not_looked_at, ("one-heir-for-two-apart",),
                     breaks=("together",)),
    "probe": Mistake("a new agent starts what runs already", services.nothing_is_probed,
                     ("rests-through-a-lapse",), breaks=("needless",)),
}
"""Mistakes that break no safety: what they cost is found all the same."""
MISTAKES: dict[str, Mistake] = {**SAFETY, **COSTS}


def hunt(mistake: Mistake, first: int = 0) -> Iterator[Verdict]:
    """Run schedules with the mistake planted, until one breaks an invariant."""
    with ExitStack() as stack:
        mistake.plant(stack)
        for seed in range(first, first + mistake.seeds):
            names = mistake.incidents
            incident = names[seed % len(names)] if names else ""
            verdict = World(scenario_for(seed, incident=incident)).run()
            yield verdict
            if mistake.found_in(verdict):
                return


def report_mistakes(say: Say, only: str = "") -> int:
    """Plant each mistake and say after how many schedules it was found; 1 if one was not."""
    missed = 0
    for letter, mistake in MISTAKES.items():
        if only and letter not in only.split(","):
            continue
        verdicts = list(hunt(mistake))
        last = verdicts[-1]
        what = f"({letter}) {mistake.what}"
        if mistake.found_in(last):
            say(f"found after {len(verdicts):3}  {what}: {last.violations[0].kind} at seed "
                f"{last.seed} ({last.name})")
        else:
            missed += 1
            say(f"MISSED in {len(verdicts)}  {what}")
    return 1 if missed else 0
