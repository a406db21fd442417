"""Random stories of clients of ZooKeeper: what they ask, and what becomes of their sessions."""

import random
from collections.abc import Mapping
from typing import NamedTuple

from hamgr.core.effects import Op
from hamgr.core.records import (
    CONFIG,
    LEADER,
    ROOT,
    Config,
    History,
    Leader,
    Record,
    Request,
    Root,
    Seat,
)
from hamgr.core.types import SeatState

NAMES = ("n1", "n2", "n3")
PATHS = (ROOT, LEADER, LEADER, CONFIG, "seats/n1", "seats/n2", "seats/other", "requests/a",
         "requests/b", "history/1")
Versions = Mapping[str, int]
"""Of every record that is there."""


class Ask(NamedTuple):
    """Transactions of several clients, sent before any of them is answered."""

    writes: tuple[tuple[str, tuple[Op, ...]], ...]
    cut: str = ""
    """A client whose connection breaks just after it has sent them."""

    def words(self) -> str:
        """Return the step in words."""
        sent = "; ".join(f"{who} " + ", ".join(
            f"{op.kind} {op.path or 'root'}" + (f" at {op.version}" if op.version >= 0 else "")
            for op in ops) for who, ops in self.writes)
        return sent + (f"; {self.cut} is cut" if self.cut else "")


class Look(NamedTuple):
    """A client reads again, all for no path."""

    who: str
    paths: tuple[str, ...]

    def words(self) -> str:
        """Return the step in words."""
        return f"{self.who} reads {', '.join(path or 'root' for path in self.paths) or 'all'}"


class Become(NamedTuple):
    """Something happens to a client's session."""

    who: str
    what: str
    """moved: its connection breaks, another one goes on with the session; replaced: the client
    begins another session; expired: the servers end it; left: it ends, and the client comes again
    later (`come`); without server: that dies, and comes back when all go on with the others."""

    def words(self) -> str:
        """Return the step in words."""
        return f"{self.who}: {self.what}"


Step = Ask | Look | Become


def next_step(rng: random.Random, versions: Versions, away: list[str],
              outages: bool = False) -> Step:
    """Draw a step, for a tree of these versions while some clients are away."""
    here = [name for name in NAMES if name not in away]
    kind = rng.random()
    if away and kind < 0.3:
        return Become(away[0], "come")
    if kind < 0.45:
        return Ask(((rng.choice(here), _transaction(rng, versions)),))
    if kind < 0.75:
        senders = [rng.choice(here) for _ in range(rng.randint(2, 5))]
        return Ask(tuple((who, _transaction(rng, versions)) for who in senders))
    if kind < 0.83:
        paths = tuple(rng.sample(sorted(set(PATHS)), rng.randint(0, 3)))
        return Look(rng.choice(here), paths)
    if kind < 0.88:
        who = rng.choice(here)
        count = rng.randint(1, 4)
        return Ask(tuple((who, _transaction(rng, versions)) for _ in range(count)), cut=who)
    what = rng.choice(("moved", "moved", "replaced", "expired", "left",
                       *(("without server",) * 3 if outages else ())))
    if what == "left":
        return Become(here[-1], what if len(here) > 1 else "moved")  # somebody stays, and sees it
    return Become(rng.choice(here), what)


def _transaction(rng: random.Random, versions: Versions) -> tuple[Op, ...]:
    return tuple(_op(rng, versions) for _ in range(rng.choice((1, 1, 2, 3, 4))))


def _op(rng: random.Random, versions: Versions) -> Op:
    path = rng.choice(PATHS)
    there = versions.get(path, -1)
    likely = "create" if there < 0 else rng.choice(("set", "set", "check", "delete"))
    kind = likely if rng.random() < 0.85 else rng.choice(("create", "set", "check", "delete"))
    version = there if there >= 0 and rng.random() < 0.9 else rng.randint(0, 3)
    record = record_for(path, rng) if kind in ("create", "set") else None
    return Op(kind=kind, path=path, version=-1 if kind == "create" else version, record=record)


def record_for(path: str, rng: random.Random) -> Record:
    """Return some record of the kind that lies at a path; of few, so that two may be the same."""
    number = rng.randint(1, 4)
    if path == ROOT:
        return Root(cluster_id=f"c{number}")
    if path == LEADER:
        return Leader(term=number, node="n1")
    if path == CONFIG:
        return Config(revision=number, document=f"# {number}")
    folder, _, name = path.partition("/")
    if folder == "seats":
        return Seat(incarnation=1, round=number, state=SeatState.CLAIMED, by=name)
    if folder == "requests":
        return Request(id=name, kind="standby", node=f"n{number}")
    return History(revision=1, by="n1", lines=(f"{number}",))
