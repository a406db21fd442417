"""Whether there is an order in which transactions, sent at once, give the answers that came."""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hamgr.core.effects import Op
from hamgr.core.records import Record
from hamgr.core.types import Outcome
from hamgr.simulation.clock import Scheduler
from hamgr.simulation.zookeeper import Ensemble, Stored

Tree = Mapping[str, Stored]
Seen = Mapping[str, tuple[Record | None, int]]


class Asked(NamedTuple):
    """A transaction that a client sent, and what it was told of it."""

    who: str
    ops: tuple[Op, ...]
    outcome: Outcome
    versions: tuple[int, ...]


def orders(tree: Tree, asked: Sequence[Asked], after: Seen) -> list[Asked] | None:
    """Return those that were carried out, in an order that explains all answers and what is there.

    None if there is none. Each client's come in its own order; an unknown one may not have been
    carried out, and then none that the same connection sent later.
    """
    queues = {who: [one for one in asked if one.who == who]
              for who in dict.fromkeys(one.who for one in asked)}
    return _search(dict(tree), queues, after)


def content(tree: Tree) -> dict[str, tuple[Record | None, int]]:
    """Return the records of a tree with their versions."""
    return {path: (stored.record, stored.version) for path, stored in tree.items()
            if stored.record is not None}


def _search(tree: dict[str, Stored], queues: dict[str, list[Asked]],
            after: Seen) -> list[Asked] | None:
    if not any(queues.values()):
        return [] if content(tree) == after else None
    for who, queue in queues.items():
        if not queue:
            continue
        one, rest = queue[0], {**queues, who: queue[1:]}
        if one.outcome is Outcome.REFUSED:
            return _search(tree, rest, after)
        changed, outcome, versions = _carried_out(tree, one.ops)
        answers = ((outcome, versions) == (one.outcome, one.versions)
                   or one.outcome is Outcome.UNKNOWN)
        found = _search(changed, rest, after) if answers else None
        if found is not None:
            return [one, *found]
        if one.outcome is Outcome.UNKNOWN and all(
                later.outcome in (Outcome.UNKNOWN, Outcome.REFUSED) for later in queue):
            found = _search(tree, {**queues, who: []}, after)
            if found is not None:
                return found
    return None


def _carried_out(tree: dict[str, Stored], ops: tuple[Op, ...],
                 ) -> tuple[dict[str, Stored], Outcome, tuple[int, ...]]:
    ensemble = Ensemble(Scheduler(), random.Random(0), ("",), lambda one, other: True)
    ensemble.tree = dict(tree)
    outcome, versions = ensemble.transact(ensemble.servers[0], "", ops)
    return ensemble.tree, outcome, versions
