"""Hooks as real processes: what they are given, how they are ended, and what is told of them."""

import asyncio
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hamgr.adapters.services.hook import Action, Hooks
from hamgr.core.effects import RunService
from hamgr.core.events import Event, ServiceAnswered
from hamgr.core.types import MILLISECOND, SECOND

LONG = 60 * SECOND


class Driver:
    """The adapter with one service, whose promote runs a shell script."""

    def __init__(self, script: str | tuple[str, ...]) -> None:
        argv = ("/bin/sh", "-c", script) if isinstance(script, str) else script
        self.told: asyncio.Queue[Event] = asyncio.Queue()
        self.hooks = Hooks("crm", "n1", {Action("g", "app", "promote"): argv},
                           self.told.put_nowait)
        self._runs = 0

    def start(self, action: str = "promote", timeout: int = LONG) -> int:
        self._runs += 1
        self.hooks.run(RunService(
            run=self._runs, group="g", service="app", action=action, epoch=42, timeout=timeout,
            origin="n2", target="n1", reason="switchover", planned=True))
        return self._runs

    async def answer(self) -> ServiceAnswered:
        event = await asyncio.wait_for(self.told.get(), 30)
        assert isinstance(event, ServiceAnswered)
        return event

    async def run(self, action: str = "promote", within: int = LONG) -> ServiceAnswered:
        self.start(action, within)
        return await self.answer()


@asynccontextmanager
async def driver(script: str | tuple[str, ...]) -> AsyncIterator[Driver]:
    with_hook = Driver(script)
    try:
        await with_hook.hooks.start()
        yield with_hook
    finally:
        await with_hook.hooks.close()


def hooked(script: str | tuple[str, ...], then: Callable[[Driver], Awaitable[None]]) -> None:
    async def story() -> None:
        async with driver(script) as with_hook:
            await then(with_hook)
    asyncio.run(story())


def once(script: str | tuple[str, ...], timeout: int = LONG) -> ServiceAnswered:
    """Run one promote and return what is told of it."""
    async def story() -> ServiceAnswered:
        async with driver(script) as with_hook:
            return await with_hook.run(within=timeout)
    return asyncio.run(story())


def content(path: Path) -> str:
    """Return what a file says, nothing while a line is not complete."""
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("\n") else ""


async def written(path: Path) -> str:
    """Wait until a hook has written a file."""
    async with asyncio.timeout(30):
        while True:
            if text := content(path):
                return text
            await asyncio.sleep(0.01)


def running(pid: int) -> bool:
    """A zombie that nobody has reaped yet is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def dies(pid: int) -> None:
    """Wait until a process is dead."""
    async with asyncio.timeout(30):
        while True:
            if not running(pid):
                return
            await asyncio.sleep(0.01)


# ---- what is told

def test_success_is_told_with_the_last_words() -> None:
    told = once("echo first; echo second")
    assert told == ServiceAnswered(run=1, group="g", service="app", action="promote", ok=True,
                                   why="first / second")


@pytest.mark.parametrize(("script", "why"), [
    ("exit 3", "exit status 3"),
    ("echo starting; echo no such table >&2; exit 3", "exit status 3: starting / no such table"),
    ("kill -SEGV $$", "killed by SIGSEGV"),
    (("/nonexistent/promote", "x"), "cannot run /nonexistent/promote: No such file or directory"),
    (("/etc",), "cannot run /etc: Permission denied"),
    (("/bin/sh\0", "x"), "cannot run '/bin/sh\\x00': embedded null byte"),
    ("printf '\\377\\376'; exit 1", "exit status 1: \ufffd\ufffd"),
])
def test_failure_is_told_in_words(script: str | tuple[str, ...], why: str) -> None:
    told = once(script)
    assert (told.ok, told.why) == (False, why)


def test_a_command_that_is_no_program_is_told(tmp_path: Path) -> None:
    script = tmp_path / "promote"
    script.write_bytes(b"\x00\x01")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    assert once((str(script),)).why == f"cannot run {script}: Exec format error"


def test_an_action_without_a_command_is_done_at_once() -> None:
    async def then(driver: Driver) -> None:
        for action in ("demote", "monitor"):
            told = await driver.run(action)
            assert (told.action, told.ok, told.why) == (action, True, "")
    hooked("exit 1", then)


def test_only_the_end_of_a_long_output_is_told() -> None:
    told = once("yes noise | head -100000; echo last words; exit 1")
    assert told.why.endswith("noise / last words") and len(told.why) < 400


def test_many_run_at_once_and_each_is_answered_once() -> None:
    async def then(driver: Driver) -> None:
        runs = [driver.start() for _ in range(40)]
        assert sorted([(await driver.answer()).run for _ in runs]) == runs
        assert driver.told.empty()
    hooked("sleep 0.1", then)


# ---- what a hook is given

def test_its_facts_are_in_the_environment() -> None:
    told = once("env | grep ^HAMGR_ | sort | tr '\\n' ' ' | cut -c 1-280")
    assert told.why.split() == [
        "HAMGR_ACTION=promote", "HAMGR_CLUSTER=crm", "HAMGR_DEADLINE=60", "HAMGR_EPOCH=42",
        "HAMGR_FROM=n2", "HAMGR_GROUP=g", "HAMGR_NODE=n1", "HAMGR_PLANNED=1",
        "HAMGR_REASON=switchover", "HAMGR_ROLE=active", "HAMGR_SERVICE=app", "HAMGR_TO=n1"]


def test_it_gets_nothing_that_is_the_agents_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "HAMGR_NODE",
                 "CREDENTIALS_DIRECTORY"):
        monkeypatch.setenv(name, "the agent's")
    monkeypatch.setenv("SITE", "kept")
    told = once("env | grep -c 'the agent'; echo $SITE")
    assert told.why == "0 / kept"


def test_it_inherits_no_descriptor() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    try:
        # 3 is the folder itself, open for reading it
        assert once("ls /proc/self/fd | tr '\\n' ' '; readlink /proc/$$/fd/0").why == \
            "0 1 2 3 /dev/null"
    finally:
        os.close(reading)
        os.close(writing)


def test_it_leads_a_session_of_its_own() -> None:
    told = once("ps -o pid=,pgid=,sid= -p $$")
    pid, group, session = told.why.split()
    assert pid == group == session != str(os.getsid(0))


# ---- how it is ended

STUBBORN = """
trap '' TERM
(trap '' TERM; echo "$(exec sh -c 'echo $PPID')" >{0}/grandchild; sleep 1000) &
echo $$ >{0}/child
wait
sleep 1000
"""


@pytest.mark.parametrize("by", ["timeout", "cancel"])
def test_whoever_ignores_sigterm_is_killed_with_all_its_children(tmp_path: Path, by: str) -> None:
    async def then(driver: Driver) -> None:
        run = driver.start(timeout=500 * MILLISECOND if by == "timeout" else LONG)
        pids = [int(await written(tmp_path / name)) for name in ("child", "grandchild")]
        assert all(map(running, pids))
        if by == "cancel":
            driver.hooks.cancel(run)
        told = await driver.answer()
        assert (told.ok, told.why) == (
            False, "no answer in 0.5 s" if by == "timeout" else "cancelled")
        for pid in pids:
            await dies(pid)
    hooked(STUBBORN.format(tmp_path), then)


def test_children_that_outlast_the_hooks_end_are_killed(tmp_path: Path) -> None:
    """The hook itself ends on SIGTERM; what it had started ignores that."""
    async def then(driver: Driver) -> None:
        driver.start(timeout=500 * MILLISECOND)
        pid = int(await written(tmp_path / "grandchild"))
        assert not (await driver.answer()).ok
        await dies(pid)
    hooked(STUBBORN.replace("trap '' TERM", "", 1).format(tmp_path), then)


def test_who_ends_on_sigterm_may_say_so(tmp_path: Path) -> None:
    told = once("trap 'echo gave up cleanly; exit 1' TERM; sleep 1000 & wait",
                timeout=200 * MILLISECOND)
    assert (told.ok, told.why) == (False, "no answer in 0.2 s: gave up cleanly")


def test_a_timeout_is_a_failure_even_if_the_hook_then_says_ok() -> None:
    assert not once("trap 'exit 0' TERM; sleep 1000 & wait", timeout=200 * MILLISECOND).ok


def test_what_it_leaves_running_goes_on(tmp_path: Path) -> None:
    """That is how a service is started. What it still writes is read, for as long as it can be."""
    async def then(driver: Driver) -> None:
        assert (await driver.run()).ok
        pid = int(await written(tmp_path / "service"))
        try:
            (tmp_path / "go").touch()
            await written(tmp_path / "wrote")
            assert running(pid)
        finally:
            os.kill(pid, signal.SIGKILL)
    hooked(f"""
        (while ! test -e {tmp_path}/go; do sleep 0.05; done; head -c 200000 /dev/zero &&
         echo yes >{tmp_path}/wrote; exec sleep 1000) &
        echo $! >{tmp_path}/service""", then)


def test_a_hook_that_never_stops_writing_is_ended_in_time() -> None:
    assert once("yes", timeout=300 * MILLISECOND).why.startswith("no answer in 0.3 s")


def test_cancelling_what_has_ended_does_nothing() -> None:
    async def then(driver: Driver) -> None:
        await driver.run()
        driver.hooks.cancel(1)
        driver.hooks.cancel(99)
        assert (await driver.run()).ok and driver.told.empty()
    hooked("exit 0", then)


def test_closing_kills_what_runs(tmp_path: Path) -> None:
    async def then(driver: Driver) -> None:
        driver.start()
        pids = [int(await written(tmp_path / name)) for name in ("child", "grandchild")]
        await driver.hooks.close()
        assert (await driver.answer()).why == "the agent ends"
        for pid in pids:
            await dies(pid)
    hooked(STUBBORN.format(tmp_path), then)


def test_an_agent_that_is_killed_takes_its_hooks_along(tmp_path: Path) -> None:
    agent = f"""
import asyncio
from tests.adapters.test_hook import STUBBORN, driver
async def main():
    async with driver(STUBBORN.format({str(tmp_path)!r})) as one:
        await one.run()
asyncio.run(main())
"""
    async def story() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", agent, cwd=Path(__file__).parents[2])
        pids = [int(await written(tmp_path / name)) for name in ("child", "grandchild")]
        process.kill()
        await process.wait()
        for pid in pids:
            await dies(pid)
    asyncio.run(story())


def test_a_runner_that_dies_fails_its_hooks_and_is_replaced() -> None:
    async def then(driver: Driver) -> None:
        driver.start()
        assert driver.hooks._runs.process is not None
        driver.hooks._runs.process.kill()
        told = await driver.answer()
        assert (told.ok, told.why) == (False, "the runner of commands died")
        assert (await driver.run(within=100 * MILLISECOND)).why == "no answer in 0.1 s"
    hooked("sleep 5", then)


def test_sigterm_to_everybody_leaves_hooks_possible() -> None:
    """systemd may signal a whole unit, and the agent still has to demote."""
    async def then(driver: Driver) -> None:
        assert driver.hooks._runs.process is not None
        assert (await driver.run()).ok
        driver.hooks._runs.process.send_signal(signal.SIGTERM)
        assert (await driver.run()).ok
        assert driver.hooks._runs.process.poll() is None
    hooked("exit 0", then)


def fork_ten_times() -> None:
    for _ in range(10):
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)


def test_starting_a_hook_costs_a_big_agent_less_than_a_fork() -> None:
    """The page tables of an agent with locked memory would be copied while its lease runs."""
    async def then(driver: Driver) -> None:
        ballast = bytearray(200 << 20)
        ballast[::4096] = b"x" * len(ballast[::4096])
        started = time.thread_time_ns()
        for _ in range(10):
            driver.start()
        asked = time.thread_time_ns() - started
        fork_ten_times()
        forked = time.thread_time_ns() - started - asked
        for _ in range(10):
            assert (await driver.answer()).ok
        assert asked < forked / 2, f"{asked / 1e7:.2f} ms, a fork {forked / 1e7:.2f} ms"
        assert ballast
    hooked("exit 0", then)
