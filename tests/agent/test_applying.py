"""Which document an agent goes by. Engine, adapters and ZooKeeper are stand-ins that note what they
are told; tests/agent/test_reconfigured.py and tests/lab/test_apply.py have the real ones."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hamgr.agent import applying as module
from hamgr.agent.answers import Answers
from hamgr.agent.applying import Applying, Parts
from hamgr.agent.disk import Disk
from hamgr.core.effects import Write
from hamgr.core.events import ConfigurationApplied, RecordRead, WriteAnswered
from hamgr.core.records import CONFIG, Config
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import Outcome

SPEC = ClusterSpec(name="crm", nodes=())


class Stage:
    """One agent whose engine leads, or not."""

    def __init__(self, own: Config, leads: bool = False) -> None:
        self.done: list[str] = []
        self.outcome = Outcome.DONE
        self.why: dict[str, str] = {}
        self.knowledge = SimpleNamespace(unsound=lambda: "", plan=None,
                                         liveness=SimpleNamespace(peers={}))
        self.engine: Any = SimpleNamespace(
            knowledge=self.knowledge, leadership=SimpleNamespace(leads=leads),
            activity=SimpleNamespace(groups={}))
        self.written: list[Write] = []
        self.answers, self.disk = Answers(), Disk()
        self.disk.start()
        self.applying = Applying(own, Parts(
            engine=lambda: self.engine, consider=self.consider, seal=lambda config: config,
            narrow=self.narrow,
            keep=lambda config, alone: self.done.append(
                f"keep {config.revision}{' alone' if alone else ''}"),
            enter=lambda candidate: self.done.append(f"enter {candidate.digest}"),
            post=lambda event: self.done.append(
                f"tell {event.digest}" if isinstance(event, ConfigurationApplied) else "?")),
            former=False, disk=self.disk, coordinator=self, answers=self.answers)  # type: ignore[arg-type]

    def consider(self, config: Config, plan: object) -> Any:
        self.done.append(f"consider {config.document}")

        async def widen() -> None:
            self.done.append("widen")

        return SimpleNamespace(refusal=self.why.get(config.document, ""), digest=config.document,
                               spec=SPEC, widen=widen)

    async def narrow(self) -> None:
        self.done.append("narrow")

    def write(self, write: Write) -> None:
        self.written.append(write)
        event = WriteAnswered(write=write.write, outcome=self.outcome)
        asyncio.get_running_loop().call_soon(self.answers.take, event)

    def reads(self, record: Config | None, version: int = 0) -> None:
        self.applying.read(RecordRead(path=CONFIG, record=record, version=version))


def config(revision: int, document: str = "new") -> Config:
    return Config(revision=revision, document=document, digest=document, applied_by="root@n9")


OWN = Config(revision=4, document="old", digest="old")


def on_stage(story: Callable[[Stage], Awaitable[None]], own: Config = OWN,
             leads: bool = False) -> Stage:
    async def run() -> Stage:
        stage = Stage(own, leads)
        stage.applying.start()
        try:
            await story(stage)
        finally:
            stage.applying.close()
            await stage.disk.close(1)
        return stage

    return asyncio.run(run())


async def settles() -> None:
    await asyncio.sleep(0.2)


def test_adapters_then_disk_then_engine_and_at_last_the_former_one_is_forgotten(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.02)

    async def story(stage: Stage) -> None:
        stage.reads(config(5))
        await settles()

    stage = on_stage(story)
    assert stage.done == ["consider new", "widen", "keep 5", "enter new", "tell new", "narrow",
                          "keep 5 alone"]


def test_the_former_one_is_kept_while_something_of_it_runs(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    going = SimpleNamespace(declined=True, local=SimpleNamespace(is_active=True, services=[]))

    async def story(stage: Stage) -> None:
        stage.engine.activity.groups["web"] = going
        stage.reads(config(5))
        await settles()
        assert stage.done[-1] == "tell new"
        going.local.is_active = False
        await settles()

    assert on_stage(story).done[-2:] == ["narrow", "keep 5 alone"]


def test_what_goes_waits_until_the_heir_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take the group over for a moment."""
    heir = SimpleNamespace(heartbeat=SimpleNamespace(config="old"))
    group = SimpleNamespace(heir=SimpleNamespace(node="n2"))

    async def story(stage: Stage) -> None:
        stage.knowledge.plan = SimpleNamespace(groups={"web": group})
        stage.knowledge.liveness.peers["n2"] = heir
        stage.engine.activity.groups["web"] = SimpleNamespace(
            declined=False, local=SimpleNamespace(is_active=True, services=[]))
        stage.reads(config(5))
        await settles()
        assert stage.done == ["consider new", "widen"]
        heir.heartbeat.config = "new"
        await settles()

    assert "tell new" in on_stage(story).done


def test_a_leader_writes_its_own_where_there_is_none_or_an_older_one() -> None:
    async def story(stage: Stage) -> None:
        stage.reads(None, -1)
        await settles()
        stage.reads(config(3), 7)
        await settles()

    first, second = on_stage(story, leads=True).written
    assert [(op.kind, op.record) for op in first.ops] == [("create", Config(
        revision=4, document="old", digest="old", applied_by="the first leader"))]
    assert [(op.kind, op.version) for op in second.ops] == [("set", 7)]
    assert on_stage(story).written == [], "who does not lead writes nothing"


@pytest.mark.parametrize("why", ("not connected", "another cluster's data"))
def test_data_that_cannot_be_built_on_is_neither_followed_nor_written(why: str) -> None:
    async def story(stage: Stage) -> None:
        stage.knowledge.unsound = lambda: why
        stage.reads(config(5))
        await settles()
        stage.reads(None, -1)
        await settles()

    stage = on_stage(story, leads=True)
    assert (stage.done, stage.written) == ([], [])


def test_what_is_refused_is_looked_at_again_and_taken_once_it_can_be(
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    monkeypatch.setattr(module, "AGAIN_S", 0.1)

    async def story(stage: Stage) -> None:
        stage.why["new"] = "eth9 is missing"
        stage.reads(config(5))
        await settles()
        refusal = stage.applying.refusal
        assert refusal is not None and refusal.why == "eth9 is missing"
        assert {*stage.done} == {"consider new"} and stage.applying.own == OWN
        stage.why.clear()
        await settles()
        assert stage.applying.refusal is None

    assert "tell new" in on_stage(story).done
    assert caplog.text.count("eth9 is missing") == 1, "it is said once"


@pytest.mark.parametrize(("revision", "refusal", "outcome", "why"), (
    (5, "", Outcome.DONE, ""),
    (4, "", Outcome.DONE, "meanwhile root@n9 applied another document, which is revision 4 now"),
    (5, "eth9 is missing", Outcome.DONE, "this node cannot use it: eth9 is missing"),
    (5, "", Outcome.CONFLICT, "another document is being applied at the same time"),
    (5, "", Outcome.UNKNOWN, "ZooKeeper did not answer; it may be applied yet"),
))
def test_applying_takes_the_place_of_the_one_before_or_says_why_not(
        revision: int, refusal: str, outcome: Outcome, why: str) -> None:
    said: list[str] = []

    async def story(stage: Stage) -> None:
        stage.reads(config(4, "old"), 7)
        stage.why["newer"], stage.outcome = refusal, outcome
        try:
            await stage.applying.apply(config(revision, "newer"), said.append)
        except ConnectionError as error:
            said.append(str(error))

    stage = on_stage(story)
    if why:
        assert len(said) == 1 and said[0].startswith(why)
    else:
        assert said == ["revision 5 is applied, and every node takes it over"]
        assert [(op.kind, op.version) for op in stage.written[0].ops] == [("set", 7)]
