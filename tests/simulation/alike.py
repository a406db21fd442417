"""The same random story of clients, told to the model of ZooKeeper and to real servers.

After every step both are left alone until everything is told; then answers, versions, the states
of the connection as kazoo tells them, who has a session, and what every client was told of every
record must be the same. Where transactions are sent at once, their order is free: the model takes
one that explains what the real servers answered, and of what clients were told the end counts.

    python -m tests.simulation.alike --first 0 --sequences 1000
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kazoo.exceptions import KazooException

from hamgr.core.events import Event, RecordRead
from hamgr.core.records import HISTORY
from hamgr.core.types import Outcome
from hamgr.simulation.zookeeper import Ensemble
from tests.simulation.sequences import NAMES, Ask, Become, Look, Step, next_step
from tests.simulation.serial import Asked, content, orders
from tests.simulation.sides import Model, Real, changes
from tests.zookeeper import Server as RealServer
from tests.zookeeper import ensemble as real_ensemble

STEPS = 25
Told = dict[str, list[tuple[object, int]]]
"""By path, what a client was told of it, in order."""


class Different(AssertionError):
    """The model and the real servers did not do the same."""


class Result(NamedTuple):
    """What a sequence was made of."""

    steps: int
    answers: int
    unknown: int


class Story:
    """One sequence, on both sides."""

    def __init__(self, seed: int, servers: Sequence[RealServer], *,
                 make: Callable[..., Ensemble] = Ensemble, outages: bool = False) -> None:
        self.seed = seed
        self._outages = outages
        self._rng = random.Random(f"alike/{seed}")
        self._model = Model(f"alike/{seed}", make)
        self._real = Real(servers)
        self._steps: list[Step] = []
        self._answers: list[Outcome] = []

    async def run(self, steps: int = STEPS) -> Result:
        """Tell it. Raises Different, with the seed and the steps."""
        try:
            await self._real.start()
            self._compare_told({name: 0 for name in NAMES}, {name: 0 for name in NAMES}, True)
            away: list[str] = []
            for _ in range(steps):
                versions = {path: version for path, (_, version)
                            in content(self._model.ensemble.tree).items()}
                step = next_step(self._rng, versions, away, self._outages)
                self._steps.append(step)
                await self._do(step)
                if isinstance(step, Become) and step.what == "left":
                    away.append(step.who)
                elif isinstance(step, Become) and step.what == "come":
                    away.remove(step.who)
        except (AssertionError, TimeoutError, ConnectionError, KazooException) as error:
            told = "\n".join(f"  {number}. {step.words()}"
                             for number, step in enumerate(self._steps, 1))
            raise Different(f"seed {self.seed}: {str(error) or repr(error)}\n{told}") from error
        finally:
            await self._real.close()
        return Result(steps, len(self._answers), self._answers.count(Outcome.UNKNOWN))

    async def _do(self, step: Step) -> None:
        model = {name: len(one.told) for name, one in self._model.clients.items()}
        real = {name: len(one.told) for name, one in self._real.clients.items()}
        if isinstance(step, Become) and step.what == "come":
            model[step.who] = real[step.who] = 0
        exact = True
        if isinstance(step, Ask):
            await self._ask(step)
            exact = len(step.writes) == 1 and not step.cut
        elif isinstance(step, Look):
            await self._real.look(step)
            self._model.clients[step.who].session.read(step.paths)
            self._model.rest()
        else:
            await self._become(step)
            exact = step.what != "without server"  # others lose theirs as well, or their leader
        self._compare_told(model, real, exact)

    async def _become(self, step: Become) -> None:
        states = len(self._model.clients[step.who].session.states) if step.what != "come" else 0
        await self._real.become(step.who, step.what)
        self._model.become(step.who, step.what)
        if step.what in ("moved", "expired"):
            modelled = [state.name for state in
                        self._model.clients[step.who].session.states[states:]]
            _same("states", self._real.states, modelled)
        _same("sessions", await self._real.sessions(), self._model.sessions())

    async def _ask(self, step: Ask) -> None:
        answers = await self._real.ask(step)
        self._answers += [answer.outcome for answer in answers]
        asked = [Asked(who, ops, answer.outcome, answer.versions)
                 for (who, ops), answer in zip(step.writes, answers, strict=True)]
        tree = self._model.ensemble.tree
        if len(asked) > 1 or step.cut:
            found = orders(tree, asked, await self._content())
            assert found is not None, f"no order explains {asked} on {content(tree)}"
        else:
            found = asked
        for one in found:
            if one.outcome is Outcome.UNKNOWN:  # carried out, and nobody was told
                ensemble = self._model.ensemble
                ensemble.transact(ensemble.servers[0], one.who, one.ops)
                continue
            answer = self._model.write(one.who, one.ops)
            _same("answer", (one.outcome, one.versions), (answer.outcome, answer.versions))
        if step.cut:
            self._model.become(step.cut, "moved")

    async def _content(self) -> dict[str, tuple[Any, int]]:
        """Return what is there, as a client sees it whose server is up to date."""
        node = next(iter(self._real.clients.values()))
        paths = ["", "leader", "config"]
        for folder in ("seats", "requests", "history"):
            paths += [f"{folder}/{name}" for name in await node.zk.tree.names(folder)]
        reads = [await node.zk.tree.record(path) for path in paths]
        return {read.path: (read.record, read.version) for read in reads
                if read.record is not None}

    def _compare_told(self, model: dict[str, int], real: dict[str, int], exact: bool) -> None:
        for name, node in self._real.clients.items():
            modelled = self._model.clients[name].told
            ours, theirs = modelled[model.get(name, 0):], node.told[real.get(name, 0):]
            if exact:
                _same(f"{name} was told", _told(theirs), _told(ours))
                _same(f"{name}'s connection", changes(theirs), changes(ours))
            _same(f"{name} knows", _last(node.told), _last(modelled))


def _told(events: Sequence[Event]) -> Told:
    """Return what was told of the records that are followed."""
    told: Told = {}
    for event in events:
        if isinstance(event, RecordRead) and not event.path.startswith(HISTORY):
            told.setdefault(event.path, []).append((event.record, event.version))
    return told


def _last(events: Sequence[Event]) -> dict[str, tuple[object, int]]:
    return {path: reads[-1] for path, reads in _told(events).items() if reads[-1][1] >= 0}


def _same(what: str, real: object, modelled: object) -> None:
    if isinstance(real, dict) and isinstance(modelled, dict):
        keys = sorted({*real, *modelled})
        real = {key: real.get(key) for key in keys if real.get(key) != modelled.get(key)}
        modelled = {key: modelled.get(key) for key in real}
    assert real == modelled, f"{what}:\n  real      {real}\n  modelled  {modelled}"


async def run_all(seeds: Sequence[int], servers: Sequence[RealServer], *,
                  at_once: int = 3, make: Callable[..., Ensemble] = Ensemble,
                  outages: bool = False) -> tuple[list[Result], list[Different]]:
    """Tell many stories, some of them at once; return what came of them.

    outages: servers are killed, which all stories would feel, so there is one at a time.
    """
    waiting = list(reversed(seeds))
    results: list[Result] = []
    found: list[Different] = []

    async def work() -> None:
        while waiting:
            try:
                results.append(await Story(waiting.pop(), servers, make=make,
                                           outages=outages).run())
            except Different as error:
                found.append(error)
    await asyncio.gather(*(work() for _ in range(1 if outages else at_once)))
    return results, found


def main() -> int:
    """Tell as many stories as asked for; 1 if any came out differently."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.alike")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--sequences", type=int, default=100)
    parser.add_argument("--outages", action="store_true", help="servers are killed, too")
    parsed = parser.parse_args()
    started = time.monotonic()
    with real_ensemble(3) as servers:
        results, found = asyncio.run(run_all(
            range(parsed.first, parsed.first + parsed.sequences), servers,
            outages=parsed.outages))
    for error in found[:5]:
        sys.stdout.write(f"{error}\n\n")
    sys.stdout.write(
        f"{len(results)} sequences alike, {len(found)} different; "
        f"{sum(one.steps for one in results)} steps, {sum(one.answers for one in results)} answers "
        f"({sum(one.unknown for one in results)} unknown) in {time.monotonic() - started:.0f} s\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
