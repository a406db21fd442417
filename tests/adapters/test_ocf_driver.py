"""The driver "ocf" with agents of the tests' own: what they are given, and what is told of them."""

import asyncio
from pathlib import Path

import pytest

from hamgr.adapters.services.ocf import Agent, Peers, Replicas
from hamgr.adapters.services.ocf.attributes import Lifetime
from hamgr.adapters.services.ocf.verdict import verdict
from hamgr.adapters.services.runs import Ended
from hamgr.core.types import MILLISECOND, SECOND, Found
from hamgr.drivers import agents
from tests.adapters.ocf_service import GROUP, NODE, SERVICE, Service, serve, write_agent
from tests.adapters.test_hook import dies, running, written
from tests.config.files import reading
from tests.config.test_services import HOOK

pytestmark = pytest.mark.real

THING = Agent(name="ocf:test:thing")
PROMOTABLE = Agent(name="ocf:test:thing", promotable=True, notify=True)
HANGS = "trap '' TERM; echo $$ >{0}/pid; while :; do sleep 1; done"


# ---- exit statuses

@pytest.mark.parametrize("code, ok, found, why", [
    (0, True, Found.STARTED, ""),
    (7, True, Found.STOPPED, ""),
    (8, True, Found.PROMOTED, ""),
    (190, True, Found.STARTED, "runs, but degraded (exit status 190): slow"),
    (191, True, Found.PROMOTED, "promoted, but degraded (exit status 191): slow"),
    (5, True, Found.STOPPED, "not installed here (exit status 5): slow"),
    (1, False, Found.FAILED, "failed (exit status 1): slow"),
    (2, True, Found.STOPPED, "cannot work with these parameters here (exit status 2): slow"),
    (4, False, Found.FAILED, "not permitted here (exit status 4): slow"),
    (6, False, Found.FAILED, "wrongly configured (exit status 6): slow"),
    (9, False, Found.FAILED, "failed while promoted (exit status 9): slow"),
    (55, False, Found.FAILED, "exit status 55: slow"),
    (-9, False, Found.UNKNOWN, "killed by SIGKILL: slow"),
])
def test_a_probe_finds(code: int, ok: bool, found: Found, why: str) -> None:
    told = verdict("probe", Ended(code, "", "slow\n"), promotable=True, active=False)
    assert (told.ok, told.found, told.why) == (ok, found, why)
    assert told.unable is (code in (2, 5))


@pytest.mark.parametrize("code, active, promotable, ok, found, why", [
    (0, True, False, True, Found.STARTED, ""),
    (8, True, False, True, Found.STARTED, ""),
    (8, True, True, True, Found.PROMOTED, ""),
    (0, False, True, True, Found.STARTED, ""),
    (191, True, True, True, Found.PROMOTED, "promoted, but degraded (exit status 191): x"),
    (0, True, True, False, Found.STARTED, "runs, but is not promoted: x"),
    (8, False, True, False, Found.PROMOTED, "is promoted, and should not be: x"),
    (7, True, True, False, Found.STOPPED, "not running (exit status 7): x"),
    (1, True, True, False, Found.FAILED, "failed (exit status 1): x"),
    (5, True, False, False, Found.FAILED, "not installed here (exit status 5): x"),
    (3, True, False, True, Found.UNKNOWN, "the agent does not know this action "
                                          "(exit status 3): x"),
])
def test_a_monitor_is_content(code: int, active: bool, promotable: bool, ok: bool, found: Found,
                              why: str) -> None:
    told = verdict("monitor", Ended(code, "", "x"), promotable, active)
    assert (told.ok, told.found, told.why) == (ok, found, why)


@pytest.mark.parametrize("action, done", [
    ("start", {0, 190}), ("stop", {0, 7}), ("promote", {0, 8, 190, 191}),
    ("demote", {0, 7, 190})])
def test_actions_are_done(action: str, done: set[int]) -> None:
    codes = (*range(10), 190, 191, 255)
    assert {code for code in codes if verdict(action, Ended(code), True, True).ok} == done


def test_the_agents_own_reason_is_told() -> None:
    output = "INFO: starting\nocf-exit-reason:no x\nERROR: no x\nERROR: no y\nINFO: bye\n"
    told = verdict("start", Ended(5, "", output), False, True)
    assert told.why == "not installed here (exit status 5): no x / no y"


# ---- what an agent is given

def environment(tmp_path: Path, agent: Agent, action: str, peers: Peers | None = None
                ) -> dict[str, str]:
    """Run an action of an agent that prints its environment."""
    found: dict[str, str] = {}

    async def then(thing: Service) -> None:
        if peers is not None:
            thing.driver.see(lambda: peers)
        await thing.run(action, 20 * SECOND)
        lines = (tmp_path / "env").read_text().splitlines()
        found.update(line.split("=", 1) for line in lines if "=" in line)
    serve(tmp_path, agent, then, write_agent(tmp_path, f"env >{tmp_path}/env; echo $1; exit 0"))
    return found


def test_it_is_told_who_it_is_and_what_it_shall_do(tmp_path: Path) -> None:
    found = environment(tmp_path, Agent(name="ocf:test:thing", parameters={
        "configfile": "/etc/x y.conf", "port": "80"}), "start")
    assert {name: found[name] for name in found if name.startswith("OCF_")} == {
        "OCF_ROOT": str(tmp_path / "root"), "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1", "OCF_EXIT_REASON_PREFIX": "ocf-exit-reason:",
        "OCF_RESOURCE_INSTANCE": "crm-app", "OCF_RESOURCE_TYPE": "thing",
        "OCF_RESOURCE_PROVIDER": "test", "OCF_RESKEY_configfile": "/etc/x y.conf",
        "OCF_RESKEY_port": "80", "OCF_RESKEY_crm_feature_set": "3.16.1",
        "OCF_RESKEY_CRM_meta_name": "start", "OCF_RESKEY_CRM_meta_interval": "0",
        "OCF_RESKEY_CRM_meta_timeout": "20000", "OCF_RESKEY_CRM_meta_on_node": NODE,
        "OCF_RESKEY_CRM_meta_on_node_uuid": "1"}
    assert (found["HAMGR_EPOCH"], found["HAMGR_GROUP"], found["HAMGR_CLUSTER"]) == (
        "42", "crm", "test"), "as hooks are told"
    assert found["HA_SBIN_DIR"] == found["PATH"].split(":")[0] == str(tmp_path / "ocf" / "bin")
    assert "/usr/sbin" in found["PATH"].split(":")


@pytest.mark.parametrize("action, interval", [("probe", "0"), ("monitor", "7000")])
def test_a_probe_is_a_monitor_that_does_not_recur(tmp_path: Path, action: str,
                                                  interval: str) -> None:
    found = environment(tmp_path, Agent(name="ocf:test:thing", interval=7 * SECOND,
                                        check_level=10), action)
    assert found["OCF_RESKEY_CRM_meta_interval"] == interval
    assert found["OCF_RESKEY_CRM_meta_name"] == "monitor" and found["OCF_CHECK_LEVEL"] == "10"


def test_a_promotable_one_counts_the_nodes_of_its_group(tmp_path: Path) -> None:
    """SAPInstance wants two; mariadb waits for all before it elects the first primary."""
    peers = Peers(nodes=("n1", "n2", "n3", "n4"), online=("n1", "n2", "n3", "n4"),
                  of=lambda *_: Replicas(possible=2))
    found = environment(tmp_path, PROMOTABLE, "start", peers)
    assert found["OCF_RESKEY_CRM_meta_clone_max"] == "2"
    assert found["OCF_RESKEY_CRM_meta_notify_inactive_resource"] == "crm-app crm-app"


def test_an_action_looks_at_its_own_service_alone(tmp_path: Path) -> None:
    """A thousand groups fail over at once: none may cost the look at all others."""
    asked: list[tuple[str, str]] = []

    def of(*key: str) -> Replicas:
        asked.append((key[0], key[1]))
        return Replicas()

    async def then(thing: Service) -> None:
        thing.driver.configure({(GROUP, SERVICE): PROMOTABLE, (GROUP, "other"): PROMOTABLE})
        thing.driver.see(lambda: Peers(nodes=("n1",), online=("n1",), of=of))
        assert (await thing.run("start")).ok
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, "exit 0"))
    assert {*asked} == {(GROUP, SERVICE)}


def test_a_promotable_one_is_told_of_all_replicas(tmp_path: Path) -> None:
    peers = Peers(nodes=("n1", "n2", "n3"), online=("n1", "n2"),
                  of=lambda *_: Replicas(promoted=("n2",)))
    found = environment(tmp_path, PROMOTABLE, "start", peers)
    meta = {name.removeprefix("OCF_RESKEY_CRM_meta_"): value for name, value in found.items()}
    assert (meta["name"], meta["notify_type"], meta["notify_operation"]) == (
        "notify", "post", "start")
    assert meta["clone_max"] == "3" and meta["promoted_max"] == meta["master_max"] == "1"
    assert meta["promotable"] == meta["notify"] == "true"
    assert meta["notify_start_uname"] == "n1" and meta["notify_stop_uname"] == " "
    assert meta["notify_promoted_uname"] == meta["notify_master_uname"] == "n2"
    assert meta["notify_inactive_resource"] == "crm-app crm-app"
    assert meta["notify_slave_uname"] == " " and meta["notify_key_operation"] == "running"
    assert meta["notify_all_uname"] == "n1 n2 n3" and meta["notify_available_uname"] == "n1 n2"
    assert meta["notify_start_resource"] == "crm-app"


PACEMAKERS = """
clone clone_max clone_node_max globally_unique master_max master_node_max notify
notify_active_resource notify_active_uname notify_all_uname notify_available_uname
notify_demote_resource notify_demote_uname notify_inactive_resource notify_key_operation
notify_key_type notify_master_resource notify_master_uname notify_operation
notify_promote_resource notify_promote_uname notify_promoted_resource notify_promoted_uname
notify_slave_resource notify_slave_uname notify_start_resource notify_start_uname
notify_stop_resource notify_stop_uname notify_type notify_unpromoted_resource
notify_unpromoted_uname on_node on_node_uuid promoted_max promoted_node_max timeout"""
"""Names of the variables in a graph of crm_simulate 2.1.5, for notifications of a promotable."""


def test_it_is_told_everything_that_pacemaker_tells(tmp_path: Path) -> None:
    found = environment(tmp_path, PROMOTABLE, "promote")
    assert {f"OCF_RESKEY_CRM_meta_{name}" for name in PACEMAKERS.split()} <= set(found)


# ---- in order, and in time

NOTES = """
echo "$1 $OCF_RESKEY_CRM_meta_notify_type $OCF_RESKEY_CRM_meta_notify_operation" >>{0}/order
case $1 in notify) exit 1;; esac
exit 0"""


def order(tmp_path: Path, agent: Agent, *actions: str) -> list[str]:
    """Return what is called, line by line."""
    async def then(thing: Service) -> None:
        for action in actions:
            assert (await thing.run(action)).ok
    serve(tmp_path, agent, then, write_agent(tmp_path, NOTES.format(tmp_path)))
    return [line.strip() for line in (tmp_path / "order").read_text().splitlines()]


def test_it_is_told_before_and_after_its_own_changes(tmp_path: Path) -> None:
    """Not before a start nor after a stop: it does not run then. That it fails stops nothing."""
    assert order(tmp_path, PROMOTABLE, "start", "promote", "demote", "stop", "probe") == [
        "start", "notify post start", "notify pre promote", "promote", "notify post promote",
        "notify pre demote", "demote", "notify post demote", "notify pre stop", "stop", "monitor"]


def test_without_notify_it_is_told_nothing(tmp_path: Path) -> None:
    quiet = Agent(name="ocf:test:thing", promotable=True)
    assert order(tmp_path, quiet, "start", "promote") == ["start", "promote"]


def test_a_notify_that_hangs_leaves_half_of_the_time_to_the_action(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        told = await thing.run("promote", 2 * SECOND)
        assert (told.ok, told.why) == (True, "promoted")
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, """
        case $1$OCF_RESKEY_CRM_meta_notify_type in notifypre) exec sleep 1000;; esac
        [ $1 = promote ] && echo promoted; exit 0"""))


def test_one_that_is_cancelled_while_it_is_told_is_never_started(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        run = thing.start("promote")
        await written(tmp_path / "told")
        thing.driver.cancel(run)
        told = await thing.answer()
        assert (told.ok, told.why) == (False, "cancelled") and not (tmp_path / "done").exists()
        assert (await thing.run("probe")).ok
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, f"""
        case $1 in notify) echo yes >{tmp_path}/told; exec sleep 1000;;
                   promote) touch {tmp_path}/done;; esac; exit 0"""))


def test_one_that_is_cancelled_at_once_is_never_started(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        thing.driver.cancel(thing.start("start"))
        assert (await thing.answer()).why == "cancelled"
        assert not (tmp_path / "done").exists()
    serve(tmp_path, THING, then, write_agent(tmp_path, f"touch {tmp_path}/done"))


@pytest.mark.parametrize("action", ["probe", "start", "monitor", "stop"])
def test_one_that_hangs_is_killed_at_its_timeout(tmp_path: Path, action: str) -> None:
    async def then(thing: Service) -> None:
        thing.start(action, 300 * MILLISECOND)
        pid = int(await written(tmp_path / "pid"))
        told = await thing.answer()
        assert (told.ok, told.found, told.why) == (False, Found.UNKNOWN, "no answer in 0.3 s")
        await dies(pid)
    serve(tmp_path, THING, then, write_agent(tmp_path, HANGS.format(tmp_path)))


def test_closing_kills_what_runs_and_starts_nothing_more(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        thing.start("promote")
        pid = int(await written(tmp_path / "pid"))
        await thing.driver.close()
        told = await thing.answer()
        assert (told.ok, told.why) == (False, "the agent ends")
        await dies(pid)
        assert thing.answers.empty() and not (tmp_path / "done").exists()
    serve(tmp_path, PROMOTABLE, then, write_agent(tmp_path, f"""
        [ $1 = promote ] && touch {tmp_path}/done
        {HANGS.format(tmp_path)}"""))


def test_what_it_leaves_running_goes_on(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        assert (await thing.run("start")).ok
        pid = int(await written(tmp_path / "daemon"))
        await asyncio.sleep(0)
        assert running(pid) and (await thing.run("monitor")).ok
        assert (await thing.run("stop")).ok
        await dies(pid)
    serve(tmp_path, THING, then, write_agent(tmp_path, f"""
        case $1 in start) sleep 1000 & echo $! >{tmp_path}/daemon;;
                   stop) kill $(cat {tmp_path}/daemon);; esac; exit 0"""))


# ---- what cannot run here

def test_an_agent_that_is_not_there_is_stopped_and_cannot_run(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        told = await thing.run("probe")
        path = tmp_path / "root" / "resource.d" / "test" / "thing"
        assert (told.ok, told.found) == (True, Found.STOPPED)
        assert told.why == ("not installed here (exit status 5): "
                            f"cannot run {path}: No such file or directory")
        assert await thing.found() == (True, Found.STOPPED)
        assert [(one.score, one.why) for one in thing.scores] == [(-1000000, told.why)], "once"
        assert not (await thing.run("start")).ok
        write_agent(tmp_path, "exit 7")
        assert await thing.found() == (True, Found.STOPPED)
        assert [one.score for one in thing.scores] == [-1000000, 0]
    serve(tmp_path, THING, then, tmp_path / "root")


def test_what_has_no_agent_is_answered_for(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        thing.driver.configure({})
        told = await thing.run("start")
        assert (told.ok, told.why) == (False, "no resource agent is configured")
    serve(tmp_path, THING, then, write_agent(tmp_path, ""))


def test_a_mistake_of_the_drivers_own_is_answered_for(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        told = await thing.run("start")
        assert not told.ok and told.why.startswith("the driver has failed: AttributeError(")
    wrong: dict[str, str] = {"port": 80}  # type: ignore[dict-item]
    serve(tmp_path, Agent(name="ocf:test:thing", parameters=wrong), then,
          write_agent(tmp_path, "exit 0"))


def test_only_the_end_of_a_long_output_is_told(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        told = await thing.run("start")
        assert not told.ok and told.why.startswith("failed (exit status 1): ")
        assert told.why.endswith("noise / last words") and len(told.why) < 400
    serve(tmp_path, THING, then, write_agent(
        tmp_path, "yes noise | head -300000; echo last words; exit 1"))


def test_what_could_not_run_and_was_started_all_the_same_can_run(tmp_path: Path) -> None:
    """A service before it, such as a disk, may have brought what its probe did not find."""
    async def then(thing: Service) -> None:
        thing.attributes.set("n1", "master-crm-app", "7", Lifetime.REBOOT)
        assert (await thing.run("probe")).found is Found.STOPPED
        assert thing.scores[-1].score == -1000000
        (tmp_path / "disk").touch()
        assert (await thing.run("start")).ok
        assert thing.scores[-1].score == 7
    serve(tmp_path, PROMOTABLE, then, write_agent(
        tmp_path, f"[ -e {tmp_path}/disk ] || exit 5; exit 0"))


@pytest.mark.parametrize("keys, notify, level", [
    ("promotable = true", True, 0), ("promotable = true\nnotify = false", False, 0),
    ("promotable = true\nnotify = true\ncheck_level = 20", True, 20), ("", False, 0)])
def test_the_document_says_whether_it_is_told_and_how_thorough_it_is(
        keys: str, notify: bool, level: int) -> None:
    read = reading((HOOK, f'driver = "ocf"\nagent = "ocf:heartbeat:pgsql"\n{keys}'))
    assert read.document is not None, read.faults
    [agent] = agents(read.document).values()
    assert (agent.notify, agent.check_level) == (notify, level)
