"""Shows that the fence devices of a node work: by asking them, and by really cutting it off.

To ask switches nothing (monitor, status). A real cycle is an operator's request like any other,
which this node only follows: how long it was until a device had confirmed it, until what the node
held was active again, by the nodes' own words, and until the node was back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from hamgr.agent.answers import Answers
from hamgr.agent.facts import AskFenceTest, DeviceTested, FenceCycle, FenceTested, GroupBack
from hamgr.core.effects import RunDevice
from hamgr.core.events import DeviceAnswered
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.records import Request
from hamgr.core.spec import DeviceSpec
from hamgr.core.types import SECOND, GroupName, Instant, Maintenance, NodeName, Power, SeatState
from hamgr.engine import Engine
from hamgr.ports import FenceDevices, FenceTest

Say = Callable[[str], None]
Ask = Callable[[Request, Say, float], Awaitable[Request | None]]


class Proving:
    """What this node's control socket is asked for."""

    def __init__(self, engine: Callable[[], Engine | None], devices: FenceDevices,
                 answers: Answers, ask: Ask,
                 passed: Callable[[NodeName, FenceTest], Awaitable[bool]],
                 clock: Callable[[], Instant] = time.monotonic_ns) -> None:
        """engine: the one that is fed now, if any. ask: puts a request before the leader.
        passed: has every node know of a success, and tells whether they can. clock: by which
        `look` is told what time it is."""
        self._engine, self._devices, self._answers = engine, devices, answers
        self._ask, self._passed, self._clock = ask, passed, clock
        self._cycles: list[_Cycle] = []

    def look(self, now: Instant) -> None:
        """Look, after every event, at what there is to be seen of nodes that are cut off."""
        for cycle in self._cycles:
            if (engine := self._engine()) is not None:
                cycle.look(engine, now)

    async def test(self, asked: AskFenceTest, within_s: float, say: Say) -> FenceTested:
        """Test the fence devices of a node, and note it if they are well.

        A real cycle has as many seconds, besides.

        Raises ConnectionError with the reason if they cannot be tested from here, or the node is
        not to be cut off now.
        """
        node = asked.node
        devices = self._to_be_asked(node)
        if asked.cycle is not None:
            _refuse_cycle(self._fed(), node, self._clock())
        by = self._fed().node
        tested = tuple(await asyncio.gather(*(
            self._test(node, device, within_s, say) for device in devices)))
        state = next((state for state in ("failed", "unknown")
                      if any(one.state == state for one in tested)), "passed")
        why = "; ".join(f"{one.device}: {one.says}" for one in tested if one.state == state)
        result = FenceTested(node=node, by=by, state=state, devices=tested,
                             why="" if state == "passed" else why)
        if state == "passed" and asked.cycle is not None:
            result = await self._cut_off(result, asked.cycle, within_s, say)
        return await self._noted(result) if result.state == "passed" else result

    def _fed(self) -> Engine:
        engine = self._engine()
        if engine is None:
            raise ConnectionError("this node is just beginning a new life: ask again in a moment")
        return engine

    def _to_be_asked(self, node: NodeName) -> Sequence[DeviceSpec]:
        """Return the devices of a node. Raises ConnectionError if it cannot be tested here."""
        engine = self._fed()
        knowledge = engine.knowledge
        if knowledge.spec.node(node) is None:
            raise ConnectionError(f"there is no node {node!r}")
        if node == engine.node:
            others = [one.name for one in knowledge.spec.nodes if one.name != node]
            raise ConnectionError(f"{node} does not cut itself off: its devices are tested from "
                                  f"where they will be asked, so run this on {_either(others)}")
        found = [one for one in knowledge.spec.devices if node in one.nodes]
        if not found:
            raise ConnectionError(f"no fence device can cut {node} off")
        return sorted(found, key=lambda one: one.level)

    async def _test(self, node: NodeName, device: DeviceSpec, within_s: float,
                    say: Say) -> DeviceTested:
        began, heard = self._clock(), self._hears(node)
        state, power, says = "unknown", Power.UNKNOWN, f"no answer within {within_s:g} s"
        try:
            async with asyncio.timeout(within_s):
                answer = await self._run(node, device, "monitor", within_s)
                if answer.ok and device.tells:
                    answer = await self._run(node, device, "status", within_s)
                power = answer.power
                state, says = _judged(node, device, answer, heard and self._hears(node))
        except TimeoutError:
            pass  # it is busy with something else
        took = (self._clock() - began) / SECOND
        say(f"{device.name}: {_SPELT[state]}{says} ({took:.2f} s)")
        return DeviceTested(device=device.name, level=device.level, state=state, says=says,
                            power="" if power is Power.UNKNOWN else power.value,
                            took_s=round(took, 3))

    async def _run(self, node: NodeName, device: DeviceSpec, action: str,
                   within_s: float) -> DeviceAnswered:
        """Two actions fit into the time that there is, so a device that is deaf has failed."""
        number, answer = self._answers.expect()
        self._devices.run(RunDevice(run=number, device=device.name, node=node, action=action,
                                    timeout=min(device.timeout, int(within_s * SECOND * 0.45))))
        event = await answer
        assert isinstance(event, DeviceAnswered), "a device was answered for as something else"
        return event

    def _hears(self, node: NodeName) -> bool:
        engine = self._engine()
        return engine is not None and engine.knowledge.liveness.is_heard(node, self._clock())

    async def _cut_off(self, tested: FenceTested, request: Request, within_s: float,
                       say: Say) -> FenceTested:
        cycle = _Cycle(self._fed(), tested.node, self._clock(), say)
        self._cycles.append(cycle)
        asking = asyncio.ensure_future(self._ask(request, lambda _: None, within_s))
        asking.add_done_callback(lambda done: cycle.answered(
            None if done.cancelled() or done.exception() else done.result()))
        try:
            async with asyncio.timeout(within_s):
                await cycle.over.wait()
        except TimeoutError:
            pass  # then something is missing in what was seen
        finally:
            self._cycles.remove(cycle)
            asking.cancel()
        if not cycle.cut and asking.done() and not asking.cancelled() and (
                error := asking.exception()):
            raise error
        state, why = cycle.verdict(within_s)
        return replace(tested, state=state, why=why, cycle=cycle.seen())

    async def _noted(self, result: FenceTested) -> FenceTested:
        at, cycle = wall_clock(), result.cycle is not None
        recorded = await self._passed(result.node, FenceTest(
            at=at, by=result.by, devices=tuple(one.device for one in result.devices), cycle=cycle,
            cycle_at=at if cycle else ""))
        return replace(result, recorded=recorded)


class _Cycle:
    """One life of a node that is really ended, as it is seen from here."""

    def __init__(self, engine: Engine, node: NodeName, began: Instant, say: Say) -> None:
        knowledge = engine.knowledge
        self._node, self._began, self._say = node, began, say
        self._life = knowledge.liveness.peers[node].known
        plan = knowledge.plan
        self._groups: dict[GroupName, GroupBack] = {
            name: GroupBack(group=name)
            for name, group in (plan.groups if plan is not None else {}).items()
            if group.holder is not None and group.holder.node == node}
        self._off_s: float | None = None
        self._back_s: float | None = None
        self._refused = ""
        self.over = asyncio.Event()

    def look(self, engine: Engine, now: Instant) -> None:
        """Take in what can be seen now."""
        knowledge, after = engine.knowledge, (now - self._began) / SECOND
        if not self.cut and knowledge.is_fenced(self._node, self._life):
            self._off_s = round(after, 3)
            self._say(f"{self._node} is confirmed off after {after:.2f} s")
        own = engine.voice.own(now)
        for said in (own, *knowledge.liveness.heard(now)):
            if said.sender == self._node and said.incarnation <= self._life.incarnation:
                continue  # what it said before
            for name, back in self._groups.items():
                if back.after_s is None and _is_active(said, name):
                    self._groups[name] = GroupBack(group=name, node=said.sender,
                                                   after_s=round(after, 3))
                    self._say(f"{name} is active on {said.sender} after {after:.2f} s")
            if self._back_s is None and said.sender == self._node and not said.lapsed and (
                    said.seat == SeatState.MEMBER.value):
                self._back_s = round(after, 3)
                self._say(f"{self._node} is a member again after {after:.2f} s")
        if self.cut and self._back_s is not None and not self._dark():
            self.over.set()

    @property
    def cut(self) -> bool:
        """Tell whether a device has confirmed that the node is off."""
        return self._off_s is not None

    def answered(self, request: Request | None) -> None:
        """Take in what became of the request; None: nothing is known of that."""
        if not self.cut and (request is None or request.state != "done"):
            self._refused = request.why if request is not None else "the request was not answered"
            self.over.set()

    def seen(self) -> FenceCycle:
        """Return what was seen."""
        return FenceCycle(off_s=self._off_s, groups=tuple(self._groups.values()),
                          back_s=self._back_s)

    def verdict(self, within_s: float) -> tuple[str, str]:
        """Return the state of the test, and why it is not passed."""
        if not self.cut:
            why = self._refused or (f"no device has confirmed within {within_s:g} s that "
                                    f"{self._node} is off; see `hamgr status`")
            return "failed", why
        missing = [f"{name} is active nowhere" for name in self._dark()]
        if self._back_s is None:
            missing.append(f"{self._node} is not a member again")
        if missing:
            return "unknown", f"it was cut off, but {' and '.join(missing)} after {within_s:g} s"
        return "passed", ""

    def _dark(self) -> list[GroupName]:
        return [name for name, back in self._groups.items() if back.after_s is None]


_SPELT = {"passed": "", "failed": "FAILED: ", "unknown": "cannot tell: "}


def _judged(node: NodeName, device: DeviceSpec, answer: DeviceAnswered,
            heard: bool) -> tuple[str, str]:
    """Return what an answer is worth, and what it says, in words."""
    if not answer.ok:
        return "failed", answer.why or "it failed, and does not say why"
    if not device.tells:
        return "passed", "answers; it cannot tell who is on (status = false)"
    if answer.power is Power.OFF and heard:
        return "failed", (f"{node} is off, and its heartbeats are heard: it is wired to another "
                          "machine, and would cut that off")
    return "passed", f"{node} is {answer.power.value}"


def _refuse_cycle(engine: Engine, node: NodeName, now: Instant) -> None:
    """Raise ConnectionError with the reason, if to cut a node off would show nothing now."""
    knowledge = engine.knowledge
    said = knowledge.liveness.says(node, now)
    if said is None or said.lapsed or said.seat != SeatState.MEMBER.value:
        raise ConnectionError(f"{node} is no member now: a cycle begins with one that is, so that "
                              "it can be seen to go, and to come back")
    plan = knowledge.plan
    for name, group in (plan.groups if plan is not None else {}).items():
        if group.holder is not None and group.holder.node == node and (
                group.maintenance is not Maintenance.OFF):
            raise ConnectionError(f"{name} is in maintenance on {node}: nobody would take it over")


def _is_active(said: Heartbeat, group: GroupName) -> bool:
    word = said.word(group)
    return word is not None and bool(word.epoch) and word.up and not said.lapsed


def _either(names: Sequence[NodeName]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def wall_clock() -> str:
    """Return the time of day, to the second, UTC: for people, never for a decision."""
    return datetime.now(UTC).isoformat(timespec="seconds")
