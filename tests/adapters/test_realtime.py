"""Priority, locked memory and the collector: each in a real process that takes them for itself."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hamgr import deadman
from hamgr.adapters import realtime
from hamgr.adapters.realtime import Garbage

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import json, os, re, resource, subprocess, sys, threading
from hamgr.adapters.realtime import become_realtime
got = become_realtime()
status = open("/proc/self/status").read()
def kib(field): return int(re.search(field + r":\\s+(\\d+)", status)[1])
child = subprocess.run(["chrt", "-p", "0"], capture_output=True, text=True, check=True).stdout
def stacks():
    threads = [threading.Thread(target=done.wait) for _ in range(8)]
    for thread in threads: thread.start()
    grown = int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) - kib("VmRSS")
    done.set()
    return grown
done = threading.Event()
print(json.dumps({
    "scheduling": got.scheduling, "memory": got.memory, "locked": got.memory_locked,
    "class": os.sched_getscheduler(0), "locked_kib": kib("VmLck"), "rss_kib": kib("VmRSS"),
    "rttime": resource.getrlimit(resource.RLIMIT_RTTIME)[0], "child": child,
    "stacks_kib": stacks()}))
"""


def run(*before: str) -> dict:
    done = subprocess.run([*before, sys.executable, "-c", PROGRAM], check=True, text=True,
                          capture_output=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]})
    return json.loads(done.stdout)


@pytest.mark.real
def test_what_is_said_is_what_the_kernel_has():
    got = run()
    if got["scheduling"].startswith("SCHED_RR"):
        assert got["class"] == os.SCHED_RR | os.SCHED_RESET_ON_FORK
    else:
        assert got["class"] == os.SCHED_OTHER
    assert got["locked"] == (got["memory"] == "locked")
    assert (got["locked_kib"] > 8 * 1024) == got["locked"]


@pytest.mark.real
def test_children_run_in_the_ordinary_class():
    assert "SCHED_OTHER" in run()["child"]


@pytest.mark.real
def test_an_inherited_limit_of_real_time_is_lifted():
    assert run("prlimit", "--rttime=200000:unlimited", "--")["rttime"] == -1


@pytest.mark.real
def test_a_limit_that_cannot_be_lifted_means_the_ordinary_class():
    got = run("setpriv", "--bounding-set=-sys_resource", "prlimit", "--rttime=200000:200000", "--")
    assert got["class"] == os.SCHED_OTHER
    assert "RLIMIT_RTTIME" in got["scheduling"]


@pytest.mark.real
def test_without_privilege_it_says_why_and_runs_all_the_same():
    got = run("setpriv", "--bounding-set=-sys_nice,-ipc_lock", "--")
    assert got["class"] == os.SCHED_OTHER
    assert "CAP_SYS_NICE" in got["scheduling"]
    assert "CAP_IPC_LOCK" in got["memory"]
    assert got["locked_kib"] == 0


@pytest.mark.real
def test_the_stacks_of_threads_do_not_fill_locked_memory():
    got = run()
    if not got["locked"]:
        pytest.skip(got["memory"])
    assert got["stacks_kib"] < 8 * 1024


def test_the_switch_goes_first():
    assert deadman.PRIORITY > realtime.PRIORITY


@pytest.fixture
def garbage():
    before, made = list(gc.callbacks), Garbage()
    made.settle()
    yield made
    gc.callbacks[:] = before
    gc.unfreeze()
    gc.enable()


def collections(garbage: Garbage, since: int, until: int) -> int:
    """How many collections overlapped this time."""
    return sum(began < until and ended > since for began, ended in garbage.collections)


def litter(count: int) -> None:
    for _ in range(count):
        cycle: list = []
        cycle.append(cycle)


def test_nothing_is_collected_but_when_asked(garbage):
    since = time.monotonic_ns()
    litter(100_000)
    assert not collections(garbage, since, time.monotonic_ns())
    garbage.collect()
    assert collections(garbage, since, time.monotonic_ns())


def test_a_collection_by_anybody_is_seen(garbage):
    before = time.monotonic_ns()
    since = time.monotonic_ns()
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()
    assert collections(garbage, since, time.monotonic_ns())
    assert not collections(garbage, before, since)


def test_cycles_are_freed_when_asked(garbage):
    litter(10_000)
    before = len(gc.get_objects())
    garbage.collect()
    assert len(gc.get_objects()) <= before - 10_000
