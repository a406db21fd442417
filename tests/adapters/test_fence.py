"""Fence devices of one's own, and what the adapter does with those that lie, hang or talk."""

import asyncio
import os
from pathlib import Path

import pytest

from hamgr.adapters.fence.devices import GIVEN_UP
from hamgr.adapters.fence.words import MASK
from hamgr.core.events import DeviceAnswered
from hamgr.core.types import MILLISECOND, SECOND, Power
from tests.adapters.fencing import Asked, Told, dies, once, running, scripted, story, written

SECRET = "tr0ub4dor \\&3'"


# ---- what a device says

@pytest.mark.parametrize(("action", "code", "ok", "power"), [
    ("off", 0, True, Power.UNKNOWN), ("on", 0, True, Power.UNKNOWN),
    ("monitor", 0, True, Power.UNKNOWN), ("off", 1, False, Power.UNKNOWN),
    ("off", 2, False, Power.UNKNOWN), ("monitor", 2, False, Power.UNKNOWN),
    ("status", 0, True, Power.ON), ("status", 2, True, Power.OFF),
    ("status", 1, False, Power.UNKNOWN), ("status", 127, False, Power.UNKNOWN)])
def test_exit_statuses_mean_what_the_api_says(action: str, code: int, ok: bool,
                                              power: Power) -> None:
    answer = once(scripted(f"exit {code}"), action)
    assert (answer.ok, answer.power) == (ok, power)


@pytest.mark.parametrize(("script", "why"), [
    ("echo Status: OFF; exit 2", "Status: OFF"),
    ("echo '2026-11-28 00:04:05,496 ERROR: Connection timed out' >&2; echo; echo; exit 1",
     "exit status 1: Connection timed out"),
    ("echo bad plug; echo ---; exit 1", "exit status 1: bad plug"),
    ("printf 'a\\tb\\033[1m'; exit 1", "exit status 1: a b [1m"),
    ("kill -KILL $$", "killed by SIGKILL"),
    ("exit 1", "exit status 1")])
def test_the_last_line_that_says_something_is_told(script: str, why: str) -> None:
    assert once(scripted(script), "status").why == why


def test_what_is_not_there_says_what_to_do() -> None:
    device = scripted("", command=(), agent="fence_of_nobody")
    assert once(device).why == ("cannot run /usr/sbin/fence_of_nobody: No such file or directory; "
                                "install its package (Debian: fence-agents)")


def test_an_unknown_device_or_node_is_answered_for() -> None:
    async def then(devices: Asked) -> None:
        assert (await devices.ask(device="gone")).why == (
            "no such fence device is configured on this node")
        answer = await devices.ask(node="n9")
        assert not answer.ok and answer.why == "fence device d is not configured for n9"

    story(then, scripted("exit 0"))


# ---- what a device is told

def test_a_command_reads_its_options_and_finds_its_facts(tmp_path: Path) -> None:
    device = scripted(f"env > {tmp_path}/env; cat > {tmp_path}/told",
                      options={"ip": "10.0.0.9"}, secrets={"password": Told(SECRET)})
    assert once(device, "status").ok
    told = (tmp_path / "told").read_text().splitlines()
    assert told[0] == "action=status"
    assert sorted(told[1:]) == ["ip=10.0.0.9", "nodename=n1", f"password={SECRET}", "plug=3",
                                "port=3"]
    found = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines()
                 if line.startswith("HAMGR_"))
    assert found == {"HAMGR_FENCE_ACTION": "status", "HAMGR_FENCE_DEVICE": "d",
                     "HAMGR_FENCE_NODE": "n1", "HAMGR_FENCE_PLUG": "3", "HAMGR_FENCE_TIMEOUT": "60"}


def test_a_device_with_one_plug_is_told_none(tmp_path: Path) -> None:
    assert once(scripted(f"cat > {tmp_path}/told", plugs={"n1": ""})).ok
    assert (tmp_path / "told").read_text() == "action=off\nnodename=n1\n"


# ---- secrets

@pytest.mark.parametrize("form", [
    'echo "login failed for $PW"', 'printf "cmd -P %q" "$PW"',
    'echo "Basic $(printf %s "$PW" | base64)"',
    'python3 -c "import sys; print(None, sys.argv[1:])" "$PW"',
    'python3 -c "import sys, urllib.parse as u; print(u.urlencode({1: sys.argv[1]}))" "$PW"'])
def test_a_secret_in_an_error_is_hidden(form: str) -> None:
    script = f"PW=$(sed -n 's/^password=//p'); {form}; exit 1"
    device = scripted("", command=("/bin/bash", "-c", script), secrets={"password": Told(SECRET)})
    answer = once(device)
    assert not answer.ok
    assert MASK in answer.why and "tr0ub4" not in answer.why and "dHIwdWI0" not in answer.why


def test_a_secret_that_the_kept_output_cuts_in_two_is_hidden() -> None:
    script = "PW=$(sed -n 's/^password=//p'); printf '%s' \"$PW\"; head -c 4090 /dev/zero | " \
             "tr '\\0' a; exit 1"
    answer = once(scripted(script, secrets={"password": Told(SECRET)}))
    assert answer.why == "exit status 1: " + "a" * 300


def test_no_secret_stands_on_a_command_line_or_in_an_environment(tmp_path: Path) -> None:
    script = f"cat /proc/$$/cmdline /proc/$$/environ > {tmp_path}/seen; cat > {tmp_path}/told"
    assert once(scripted(script, secrets={"password": Told(SECRET)})).ok
    assert SECRET in (tmp_path / "told").read_text()
    assert SECRET not in (tmp_path / "seen").read_text()


def test_a_secret_is_known_before_it_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first")
    device = scripted(f"cat >> {tmp_path}/told", secrets={"password": file.read_text})

    async def then(devices: Asked) -> None:
        file.unlink()
        assert (await devices.ask()).ok
        assert devices.devices.read_secrets() != ()
        assert (await devices.ask()).ok, "what was read before stays"
        file.write_text("second")
        assert devices.devices.read_secrets() == ()
        assert (await devices.ask()).ok
        told = (tmp_path / "told").read_text().splitlines()
        assert [line for line in told if line.startswith("password")] == [
            "password=first", "password=first", "password=second"]

    story(then, device)


def test_a_secret_that_could_not_be_read_is_tried_again_when_it_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "password"
    device = scripted("exit 0", secrets={"password": file.read_text})

    async def then(devices: Asked) -> None:
        answer = await devices.ask()
        assert not answer.ok
        assert answer.why.startswith("fence device d: password: ") and str(file) in answer.why
        file.write_text("there")
        assert (await devices.ask()).ok

    story(then, device)


# ---- time

def test_one_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    device = scripted(f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/child; wait; wait")

    async def then(devices: Asked) -> None:
        answer = await devices.ask(within=SECOND)
        assert (answer.ok, answer.power) == (False, Power.UNKNOWN)
        assert answer.why == "no answer in 1 s"
        await dies(int((tmp_path / "child").read_text()))

    story(then, device)


def test_success_that_comes_too_late_is_none() -> None:
    """It says so after it was told to end: whether it was heard in time nobody knows."""
    for action in ("off", "status"):
        answer = once(scripted("trap 'exit 0' TERM; sleep 1000 & wait"), action, SECOND // 2)
        assert (answer.ok, answer.power) == (False, Power.UNKNOWN)
        assert answer.why.startswith("no answer in 0.5 s")


def test_what_it_leaves_behind_switches_nothing_later(tmp_path: Path) -> None:
    device = scripted(f"sleep 1000 & echo $! > {tmp_path}/child")

    async def then(devices: Asked) -> None:
        assert (await devices.ask()).ok
        await dies(int((tmp_path / "child").read_text()))

    story(then, device)


def test_the_delay_is_not_part_of_the_timeout(tmp_path: Path) -> None:
    device = scripted(f"date +%s%N >> {tmp_path}/at")

    async def then(devices: Asked) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        run = devices.start(delay=300 * MILLISECOND, delay_max=100 * MILLISECOND,
                            timeout=30 * SECOND)
        assert not (tmp_path / "at").exists()
        assert (await devices.answer(run)).ok
        assert loop.time() - begun >= 0.3

    story(then, device)


def test_a_delay_is_chosen_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, int]] = []

    def draw(low: int, high: int) -> int:
        drawn.append((low, high))
        return 0

    monkeypatch.setattr("hamgr.adapters.fence.devices.random.randint", draw)

    async def then(devices: Asked) -> None:
        for _ in range(2):
            assert (await devices.answer(devices.start(delay_max=SECOND))).ok

    story(then, scripted("exit 0"))
    assert drawn == [(0, SECOND), (0, SECOND)]


# ---- one after the other

def test_one_device_is_asked_one_thing_at_a_time(tmp_path: Path) -> None:
    """The first waits until it is told to go on, the others for it; each in its turn."""
    device = scripted(f'echo "+$HAMGR_FENCE_NODE" >> {tmp_path}/log; '
                      f"while [ $HAMGR_FENCE_ACTION = off -a ! -e {tmp_path}/go ]; do sleep 0.02; "
                      f'done; echo "-$HAMGR_FENCE_NODE" >> {tmp_path}/log')
    other = scripted(f"touch {tmp_path}/other", name="other")

    async def then(devices: Asked) -> None:
        runs = [devices.start("off", "n1"), devices.start("status", "n2"),
                devices.start("status", "n1")]
        assert (await devices.ask(device="other")).ok, "another device does not wait"
        assert await written(tmp_path / "log") == "+n1\n"
        assert devices.answers[0].run == 4
        (tmp_path / "go").touch()
        for run in runs:
            await devices.answer(run)
        assert [answer.run for answer in devices.answers[1:]] == runs
        assert (tmp_path / "log").read_text().split() == ["+n1", "-n1", "+n2", "-n2", "+n1", "-n1"]

    story(then, device, other)


def test_a_delay_keeps_no_other_node_waiting() -> None:
    async def then(devices: Asked) -> None:
        delayed = devices.start("off", "n1", delay=1000 * SECOND)
        assert (await devices.ask("off", "n2")).ok
        ((_, timer),) = devices.devices._delayed.values()
        devices.devices.give_up()
        assert timer.cancelled()
        assert (await devices.answer(delayed)).why == GIVEN_UP

    story(then, scripted("exit 0"))


def test_what_is_given_up_is_answered_for_once(tmp_path: Path) -> None:
    device = scripted(f"[ $HAMGR_FENCE_ACTION = status ] || {{ echo $$ >> {tmp_path}/pid; "
                      "sleep 1000; }")

    async def then(devices: Asked) -> None:
        runs = [devices.start("off", "n1"), devices.start("off", "n2"),
                devices.start("off", "n1", delay=1000 * SECOND)]
        pid = int(await written(tmp_path / "pid"))
        devices.devices.give_up()
        answers = [await devices.answer(run) for run in runs]
        assert [answer.ok for answer in answers] == [False, False, False]
        await dies(pid)
        assert (await devices.ask("status")).ok, "it can be asked again"
        assert len(devices.answers) == 4
        assert (tmp_path / "pid").read_text() == f"{pid}\n", "the others were never begun"

    story(then, device)


def test_the_end_of_the_adapter_ends_what_runs(tmp_path: Path) -> None:
    async def told() -> tuple[list[DeviceAnswered], int]:
        devices = Asked(scripted(f"echo $$ > {tmp_path}/pid; sleep 1000"))
        await devices.devices.start()
        devices.start("off", "n1")
        devices.start("off", "n2")
        pid = int(await written(tmp_path / "pid"))
        await devices.devices.close()
        return devices.answers, pid

    answers, pid = asyncio.run(told())
    assert sorted(answer.run for answer in answers) == [1, 2]
    assert not any(answer.ok for answer in answers)
    assert not running(pid)


def test_another_configuration_counts_from_the_next_action_on(tmp_path: Path) -> None:
    async def then(devices: Asked) -> None:
        assert (await devices.ask()).ok
        devices.devices.configure([scripted("exit 1"), scripted("exit 0", name="new")])
        await devices.devices.start()
        assert not (await devices.ask()).ok
        assert (await devices.ask(device="new")).ok
        devices.devices.configure([])
        assert not (await devices.ask(device="new")).ok

    story(then, scripted("exit 0"))


def test_a_node_without_devices_has_no_process_for_them() -> None:
    async def then(devices: Asked) -> None:
        assert devices.devices._runs.process is None

    story(then)


def test_a_runner_that_dies_is_started_again() -> None:
    async def then(devices: Asked) -> None:
        run = devices.start()
        process = devices.devices._runs.process
        assert process is not None
        os.kill(process.pid, 9)
        answer = await devices.answer(run)
        assert not answer.ok and answer.why == "the runner of commands died"
        devices.devices.configure([scripted("exit 0")])
        assert (await devices.ask()).ok

    story(then, scripted("sleep 1000"))
