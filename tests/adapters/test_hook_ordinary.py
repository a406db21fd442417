"""A hook is run as an ordinary service is, whatever the agent has taken for itself."""

import subprocess
import sys
from pathlib import Path

import pytest

AGENT = """
import contextlib, os, resource, signal, sys
from hamgr.adapters.realtime import become_realtime
from tests.adapters.test_hook import once
with contextlib.suppress(PermissionError):
    os.setpriority(os.PRIO_PROCESS, 0, -5)
os.umask(0o077)
for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_MEMLOCK, resource.RLIMIT_NOFILE):
    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (hard, hard))
    if limit != resource.RLIMIT_NOFILE:
        with contextlib.suppress(ValueError):
            resource.setrlimit(limit, (41, 41) if limit == resource.RLIMIT_RTPRIO else (-1, -1))
for ignored in (signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(ignored, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGALRM, signal.SIGTERM})
open("/proc/self/oom_score_adj", "w").write("300")
become_realtime()
with contextlib.suppress(PermissionError):  # as by somebody who knows no SCHED_RESET_ON_FORK
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
told = once(f"exec >{sys.argv[1]}; chrt -p $$; ps -o ni= -p $$; cat /proc/$$/oom_score_adj; umask;"
            "cat /proc/self/status /proc/self/limits")
assert told.ok, told.why
"""
"""An agent that has taken for itself whatever it may have here, started by somebody untidy. Its
OOM score is raised instead of lowered, for which it would need CAP_SYS_RESOURCE."""
LIBC = 1 << 31 | 1 << 32
"""Signals 32 and 33 are the C library's own (signal(7)); what make(1) starts has them ignored."""
USUAL = {"Max realtime priority": 0, "Max locked memory": 8 << 20, "Max open files": 1024}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a hook of that agent sees of itself."""
    file = tmp_path_factory.mktemp("hook") / "seen"
    done = subprocess.run([sys.executable, "-c", AGENT, str(file)], check=False,
                          cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return file.read_text().splitlines()


@pytest.mark.real
def test_its_class_priority_niceness_and_oom_score(seen: list[str]) -> None:
    assert seen[0].endswith("SCHED_OTHER") and seen[1].endswith(": 0")
    assert [line.strip() for line in seen[2:5]] == ["0", "0", "0022"]


@pytest.mark.real
def test_its_signals_and_memory(seen: list[str]) -> None:
    fields = dict(line.split(":", 1) for line in seen[5:] if ":" in line)
    assert {name: int(fields[name], 16) & ~LIBC for name in ("SigBlk", "SigIgn")} == {
        "SigBlk": 0, "SigIgn": 0}
    assert fields["VmLck"].split() == ["0", "kB"]


@pytest.mark.real
def test_its_soft_limits_are_the_usual_ones_and_the_hard_ones_the_agents(seen: list[str]) -> None:
    limits = {line[:26].strip(): line[26:].split() for line in seen if line.startswith("Max ")}
    assert limits["Max realtime timeout"][:2] == ["unlimited", "unlimited"]
    assert int(limits["Max open files"][1]) > 1024, "or this shows nothing"
    for name, usual in USUAL.items():
        soft, hard = limits[name][:2]
        assert int(soft) == (usual if hard == "unlimited" else min(usual, int(hard)))
