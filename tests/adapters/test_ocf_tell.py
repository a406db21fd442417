"""What a replica is told of another node's: never during an action of its own, and to the point."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hamgr.adapters.services.ocf import Agent, Peers, Replicas, telling
from hamgr.adapters.services.ocf.attributes import CLUSTER, Lifetime
from hamgr.core.effects import TellReplicas
from hamgr.core.types import SECOND
from tests.adapters import ocf_service
from tests.adapters.ocf_service import GROUP, INSTANCE, SERVICE, Service, write_agent
from tests.adapters.test_ocf_driver import PROMOTABLE, written
from tests.netns import eventually

pytestmark = pytest.mark.real

LINES = """
[ "$1" = notify ] && [ "$OCF_RESKEY_CRM_meta_notify_operation" = start ] && exit 0
echo "$1 $OCF_RESKEY_CRM_meta_notify_type-$OCF_RESKEY_CRM_meta_notify_operation" \
    "on$OCF_RESKEY_CRM_meta_notify_promote_uname/$OCF_RESKEY_CRM_meta_notify_demote_uname" \
    "was $OCF_RESKEY_CRM_meta_notify_master_uname/$OCF_RESKEY_CRM_meta_notify_slave_uname" \
    "$HAMGR_EPOCH" >>{0}/calls
"""


def told(node: str = "n2", action: str = "promote", epoch: int = 5,
         group: str = GROUP) -> TellReplicas:
    return TellReplicas(group=group, node=node, action=action, epoch=epoch)


def serve(folder: Path, agent: Agent, then: Callable[[Service], Awaitable[None]],
          root: Path) -> None:
    """Run a story about a service, on a node that hears from ZooKeeper at once."""
    async def story(thing: Service) -> None:
        promoted(thing, 99)
        await then(thing)
    ocf_service.serve(folder, agent, story, root)


def promoted(thing: Service, epoch: int) -> None:
    """Have ZooKeeper bring what the primary of this epoch left for its replicas."""
    thing.attributes.set(CLUSTER, f"{INSTANCE}-promoted", str(epoch), Lifetime.FOREVER)


def see(thing: Service) -> None:
    thing.driver.see(lambda: Peers(
        nodes=("n1", "n2", "n3"), online=("n1", "n2", "n3"),
        of=lambda *_: Replicas(promoted=("n2",), unpromoted=("n1", "n3"))))


async def knows(thing: Service, epoch: int) -> None:
    """Return when the replica has been told of the promotion of this epoch."""
    await asyncio.to_thread(eventually, lambda: thing.attributes.get(
        "n1", f"{INSTANCE}-told", Lifetime.REBOOT) == str(epoch))


async def lines(path: Path, count: int) -> list[str]:
    """Return what was written, once there are so many lines of it."""
    def written() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []
    await asyncio.to_thread(eventually, lambda: len(written()) >= count)
    return written()


def test_a_replica_learns_who_was_promoted_and_who_demoted(tmp_path: Path) -> None:
    """The lists of replicas are as they were before the change, though all have changed."""
    async def then(thing: Service) -> None:
        assert (await thing.run("start")).ok
        see(thing)
        thing.driver.tell(told(group="other"))
        thing.driver.tell(told("n3", "demote", 4))
        thing.driver.tell(told("n2", "promote", 5))
        assert (await lines(tmp_path / "calls", 4))[1:] == [
            "notify post-demote on /n3 was n2 n3/n1 4",
            "notify pre-promote onn2/  was  /n3 n1 n2 5",
            "notify post-promote onn2/  was  /n3 n1 n2 5"]
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, LINES.format(tmp_path)))


@pytest.mark.parametrize("before, agent", [
    ((), PROMOTABLE), (("start", "promote"), PROMOTABLE), (("start", "stop"), PROMOTABLE),
    (("start",), Agent(name="ocf:test:thing", promotable=True)),
    (("start",), Agent(name="ocf:test:thing", notify=True))])
def test_what_does_not_rest_here_or_asks_for_nothing_is_told_nothing(
        tmp_path: Path, before: tuple[str, ...], agent: Agent) -> None:
    async def then(thing: Service) -> None:
        for action in before:
            assert (await thing.run(action)).ok
        thing.driver.tell(told())
        assert (await thing.run("monitor")).found is not None
        assert "n2" not in (tmp_path / "calls").read_text()
    serve(tmp_path, agent, then, write_agent(tmp_path, LINES.format(tmp_path)))


TURNS = """
[ "$1" = notify ] && [ "$OCF_RESKEY_CRM_meta_notify_operation" = start ] && exit 0
[ "$OCF_RESKEY_CRM_meta_notify_type" = pre ] && exit 0
mkdir {0}/lock || echo two at once >>{0}/calls
trap 'echo "$1 ends early" >>{0}/calls; rmdir {0}/lock; exit 1' TERM
echo "$1 begins" >>{0}/calls
if [ -e {0}/hold-$1 ]; then
    for i in $(seq 1000); do [ -e {0}/hold-$1 ] || break; sleep 0.02; done
fi
rmdir {0}/lock
echo "$1 ends" >>{0}/calls
"""


def test_it_waits_for_an_action_that_runs(tmp_path: Path) -> None:
    hold = tmp_path / "hold-monitor"

    async def then(thing: Service) -> None:
        assert (await thing.run("start")).ok
        hold.touch()
        thing.start("monitor", active=False)
        await lines(tmp_path / "calls", 3)
        thing.driver.tell(told())
        await asyncio.sleep(0)
        hold.unlink()
        assert (await thing.answer()).ok
        assert (await lines(tmp_path / "calls", 6))[2:] == [
            "monitor begins", "monitor ends", "notify begins", "notify ends"]
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, TURNS.format(tmp_path)))


def test_an_action_that_looks_waits_for_it(tmp_path: Path) -> None:
    hold = tmp_path / "hold-notify"

    async def then(thing: Service) -> None:
        assert (await thing.run("start")).ok
        hold.touch()
        thing.driver.tell(told())
        await lines(tmp_path / "calls", 3)
        thing.start("monitor", active=False)
        await asyncio.sleep(0)
        hold.unlink()
        assert (await thing.answer()).ok
        assert (await lines(tmp_path / "calls", 6))[2:] == [
            "notify begins", "notify ends", "monitor begins", "monitor ends"]
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, TURNS.format(tmp_path)))


@pytest.mark.parametrize("action", ["promote", "stop"])
def test_an_action_that_would_wait_too_long_ends_it(
        tmp_path: Path, action: str, caplog: pytest.LogCaptureFixture) -> None:
    async def then(thing: Service) -> None:
        await held_up(thing, tmp_path)
        thing.driver.configure({(GROUP, SERVICE): Agent(name="ocf:test:thing", promotable=True)})
        assert (await thing.run(action, 4 * SECOND, active=False)).ok
        assert (await lines(tmp_path / "calls", 6))[2:] == [
            "notify begins", "notify ends early", f"{action} begins", f"{action} ends"]
        assert f"{SERVICE} of group {GROUP} was not told of the promote on n2: cancelled" in (
            caplog.text)
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, TURNS.format(tmp_path)))


def test_after_one_that_only_looks_it_is_begun_anew(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        await held_up(thing, tmp_path)
        assert (await thing.run("monitor", SECOND, active=False)).ok
        await lines(tmp_path / "calls", 7)
        (tmp_path / "hold-notify").unlink()
        assert (await lines(tmp_path / "calls", 8))[2:] == [
            "notify begins", "notify ends early", "monitor begins", "monitor ends",
            "notify begins", "notify ends"]
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, TURNS.format(tmp_path)))


HEARS = """
[ "$1" = notify ] && [ "$OCF_RESKEY_CRM_meta_notify_operation" = promote ] || exit 0
echo "$OCF_RESKEY_CRM_meta_notify_type" >>{0}/calls
[ "$OCF_RESKEY_CRM_meta_notify_type" = pre ] || exit 0
echo "cannot say" >&2
[ -e {0}/hold ] || exit 1
exec sleep 60
"""


def test_that_it_fails_to_hear_of_what_was_before_keeps_nothing_from_it(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def then(thing: Service) -> None:
        assert (await thing.run("start")).ok
        thing.driver.tell(told())
        assert await lines(tmp_path / "calls", 2) == ["pre", "post"]
        assert "was not told of the promote on n2: exit status 1: cannot say" in caplog.text
        await knows(thing, 5)
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, HEARS.format(tmp_path)))


def test_what_makes_way_in_between_does_not_go_on(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        (tmp_path / "hold").touch()
        assert (await thing.run("start")).ok
        thing.driver.tell(told())
        await lines(tmp_path / "calls", 1)
        assert (await thing.run("stop", SECOND, active=False)).ok
        assert (tmp_path / "calls").read_text() == "pre\n"
        assert thing.attributes.get("n1", f"{INSTANCE}-told", Lifetime.REBOOT) is None
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, HEARS.format(tmp_path)))


async def held_up(thing: Service, folder: Path) -> None:
    """Start it, and have a notification that does not end by itself."""
    assert (await thing.run("start")).ok
    (folder / "hold-notify").touch()
    thing.driver.tell(told())
    await lines(folder / "calls", 3)


def test_a_promotion_is_told_of_when_the_primary_s_own_words_have_come(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        promoted(thing, 4)
        assert (await thing.run("start")).ok
        thing.driver.tell(told())
        assert (await thing.run("monitor", active=False)).ok
        promoted(thing, 5)
        assert (await lines(tmp_path / "calls", 6))[2:] == [
            "monitor begins", "monitor ends", "notify begins", "notify ends"]
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, TURNS.format(tmp_path)))


def test_without_them_it_is_told_of_in_a_while_and_again_when_they_come(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "READY_S", 0.1)

    async def then(thing: Service) -> None:
        promoted(thing, 4)
        assert (await thing.run("start")).ok
        thing.driver.tell(told())
        await lines(tmp_path / "calls", 4)
        promoted(thing, 5)
        await lines(tmp_path / "calls", 6)
        promoted(thing, 6)
        thing.driver.tell(told())
        assert (await thing.run("monitor", active=False)).ok
        assert (tmp_path / "calls").read_text().count("notify begins") == 2
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, TURNS.format(tmp_path)))


def test_it_is_not_told_twice_nor_of_a_primary_that_its_start_knew(tmp_path: Path) -> None:
    """mysql's agent, told of the same primary again, stops its replication."""
    async def then(thing: Service) -> None:
        see(thing)
        assert (await thing.run("start")).ok
        thing.driver.tell(told("n2", epoch=5))
        thing.driver.tell(told("n3", epoch=6))
        await knows(thing, 6)
        thing.driver.tell(told("n3", epoch=6))
        thing.driver.tell(told("n2", epoch=5))
        assert (await thing.run("monitor", active=False)).ok
        thing.driver.tell(told("n2", epoch=7))
        calls = await lines(tmp_path / "calls", 6)
        assert [(call.split()[0], call.split()[-1]) for call in calls] == [
            ("start", "42"), *[("notify", "6")] * 2, ("monitor", "42"), *[("notify", "7")] * 2]
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, LINES.format(tmp_path)))


def test_who_is_promoted_says_so_to_the_others_drivers(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        promoted(thing, 7)
        for action in ("start", "promote"):
            assert (await thing.run(action)).ok
        assert thing.attributes.get(CLUSTER, f"{INSTANCE}-promoted", Lifetime.FOREVER) == "42"
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, LINES.format(tmp_path)))


def test_what_a_later_right_has_overtaken_is_left_out(tmp_path: Path) -> None:
    hold = tmp_path / "hold-start"
    hold.touch()

    async def then(thing: Service) -> None:
        thing.start("start")
        await written(tmp_path / "calls")
        for epoch, node in enumerate(("n2", "n3", "n2", "n3"), 5):
            thing.driver.tell(told(node, "promote", epoch))
        hold.unlink()
        assert (await thing.answer()).ok
        await lines(tmp_path / "calls", 4)
        for _ in range(2):  # the second one would wait for what is told after the first
            assert (await thing.run("monitor", active=False)).ok
        assert (tmp_path / "calls").read_text().count("notify begins") == 1
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, TURNS.format(tmp_path)))


def test_closing_ends_it(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        assert (await thing.run("start")).ok
        (tmp_path / "hold-notify").touch()
        thing.driver.tell(told())
        thing.driver.tell(told(action="demote"))
        await lines(tmp_path / "calls", 3)
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, TURNS.format(tmp_path)))
    assert (tmp_path / "calls").read_text().count("notify begins") == 1
