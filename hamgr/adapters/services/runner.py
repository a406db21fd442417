"""Runs hooks in a small process of its own, beside the agent: standard library only.

Why a process: the agent is large, has its memory locked and runs with real-time priority. Forking
it costs time in its loop, and a command on a file system that hangs would hold the loop in
exec until the lease is lost. This process is small, ordinary and forks for itself; and when the
agent dies, it sees the end of their socket and kills what still runs.

Requests and answers are JSON objects, one a packet:

    {"run": 7, "argv": ["/bin/x"], "env": {"A": "b"}, "timeout": 5.0}      {"cancel": 7}
    {"run": 7, "code": 3, "ending": "", "tail": "no such table\n"}

A request may also have "input", which the command reads from its standard input (else that is
empty), and "whole": true, if nothing that the command started may outlive it.

"code" is the exit status, less than 0 the signal that ended it, null if nothing could; "ending" is
why it was ended from here, empty if it ended by itself; "tail" is the end of its output. What that
means is for others to say (`runs`).

Each hook leads a session and process group of its own. On timeout or cancellation the group gets
SIGTERM, and SIGKILL when the hook has ended or a grace period is over. A hook that ends by itself
may leave processes behind, unless the request says "whole": services are started that way.
"""

import contextlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from typing import Any

GRACE_S = 1.0
"""Between SIGTERM and SIGKILL, and again until a process that SIGKILL cannot end is given up."""
TAIL_MAX = 4096
"""Bytes of output kept of each hook, the last ones."""
PIPE_SIZE = 64 * 1024
"""Bytes that a pipe holds (pipe(7)): all that a hook can have left to read when it ends."""
PACKET_MAX = 256 * 1024
"""Bytes. More than a socket takes at once, so no packet is cut."""
NOT_STARTED = 127
"""Exit status of a child that could not become the hook, as of a shell."""
NO_START = "cannot run "
"""How the last words of such a child begin: a command may also exit with this status itself."""
_SOFT_LIMITS = {resource.RLIMIT_RTPRIO: 0, resource.RLIMIT_MEMLOCK: 8 << 20,
                resource.RLIMIT_NOFILE: 1024}
"""At most; what the agent has more of, it has for itself."""
_OWN_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Ignored here: the agent says when to end, also while it shuts down and still needs hooks."""


class Run:
    """One hook, from its start until it is answered for."""

    def __init__(self, number: int, timeout_s: float, pid: int, output: int,
                 whole: bool = False) -> None:
        """Watch a child that has been started already."""
        self.number = number
        self.whole = whole
        self.pid = pid
        self.process = os.pidfd_open(pid)
        self.output: int | None = output
        self.tail = b""
        self.ending = ""
        """Why it is being ended, if it is."""
        self.step_at = time.monotonic() + timeout_s
        """When the next step is due: SIGTERM, SIGKILL, giving up."""
        self.killed = False
        self._timeout_s = timeout_s

    def step(self) -> bool:
        """Take the next step; return whether the last one was taken and nothing helped."""
        self.step_at = time.monotonic() + GRACE_S
        if self.killed:
            return True
        if self.ending:
            self.kill()
        else:
            self.end(f"no answer in {self._timeout_s:g} s")
        return False

    def end(self, why: str) -> None:
        """Ask the whole group to end."""
        if not self.ending:
            self.ending = why
            self.step_at = time.monotonic() + GRACE_S
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group. Its leader is not reaped yet, so the number is still its own."""
        self.killed = True
        self._signal(signal.SIGKILL)

    def reap(self) -> int:
        """Return its exit status, or less than 0 the signal. The hook must have ended."""
        if self.ending or self.whole:
            self.kill()
        _, status = os.waitpid(self.pid, 0)
        os.close(self.process)
        self.drain()
        return os.waitstatus_to_exitcode(status)

    def drain(self) -> bool:
        """Read what there is of its output, a pipe full at most; return whether more can come."""
        if self.output is None:
            return False
        try:
            read = os.read(self.output, PIPE_SIZE)
        except BlockingIOError:
            return True
        self.tail = (self.tail + read)[-TAIL_MAX:]
        return bool(read)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


class Runner:
    """Serves one agent, until it hangs up."""

    def __init__(self, agent: socket.socket) -> None:
        """The socket is of type SOCK_SEQPACKET."""
        self._agent = agent
        self._selector = selectors.DefaultSelector()
        self._selector.register(agent, selectors.EVENT_READ, self._read_request)
        self._runs: dict[int, Run] = {}
        self._serving = True

    def serve(self) -> None:
        """Serve until the agent hangs up; then kill whatever still runs."""
        while self._serving:
            soonest = min((run.step_at for run in self._runs.values()), default=None)
            wait = None if soonest is None else max(0.0, soonest - time.monotonic())
            for key, _ in self._selector.select(wait):
                key.data()
            now = time.monotonic()
            for run in [run for run in self._runs.values() if run.step_at <= now]:
                if run.step():
                    run.ending += "; still there after SIGKILL"
                    self._answer(run, None)
        for run in self._runs.values():
            run.kill()

    def _read_request(self) -> None:
        packet = self._agent.recv(PACKET_MAX)
        if not packet:
            self._serving = False
            return
        request = json.loads(packet)
        if "cancel" in request:
            if run := self._runs.get(request["cancel"]):
                run.end("cancelled")
        else:
            self._start(request)

    def _start(self, request: dict[str, Any]) -> None:
        output, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(theirs, True)
        to_read = _readable(request.get("input", ""))
        pid = os.fork()
        if pid == 0:
            _become(request["argv"], {**_inherited(), **request["env"]}, to_read, theirs)
        os.close(theirs)
        os.close(to_read)
        run = Run(request["run"], request["timeout"], pid, output, request.get("whole", False))
        self._runs[run.number] = run
        self._selector.register(run.process, selectors.EVENT_READ, lambda: self._ended(run))
        self._selector.register(output, selectors.EVENT_READ, lambda: self._drain(run))

    def _ended(self, run: Run) -> None:
        self._selector.unregister(run.process)
        self._answer(run, run.reap())

    def _drain(self, run: Run) -> None:
        """Go on reading after the hook has ended: what it left behind may still be writing."""
        if run.output is not None and not run.drain():
            self._selector.unregister(run.output)
            os.close(run.output)
            run.output = None

    def _answer(self, run: Run, code: int | None) -> None:
        if self._runs.pop(run.number, None) is not None:
            answer = {"run": run.number, "code": code, "ending": run.ending,
                      "tail": run.tail.decode(errors="replace")}
            with contextlib.suppress(ConnectionError):  # the agent is gone: serve() will see it
                self._agent.send(json.dumps(answer).encode())


def _inherited() -> dict[str, str]:
    """Return the environment without what systemd gave to the agent alone."""
    private = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "FDSTORE", "JOURNAL_STREAM", "MAINPID",
               "INVOCATION_ID", "SYSTEMD_EXEC_PID", "CREDENTIALS_DIRECTORY", "HAMGR_")
    return {name: value for name, value in os.environ.items() if not name.startswith(private)}


def _readable(text: str) -> int:
    """Return what a command reads this from: memory without a name, so nobody else does, and no
    command that reads slowly holds up the others."""
    if not text:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    file = os.memfd_create("input", os.MFD_CLOEXEC)
    os.write(file, text.encode())
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _become(argv: list[str], env: dict[str, str], to_read: int, output: int) -> None:
    """Turn this forked child into the hook. Never returns."""
    try:
        os.setsid()
        os.dup2(to_read, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as adjust:
            adjust.write("0")  # the agent and this runner may be spared, a hook is not
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(2, f"{NO_START}{argv[0]}: {error.strerror}".encode())
    except ValueError as error:
        os.write(2, f"{NO_START}{argv[0]!r}: {error}".encode())
    finally:
        os._exit(NOT_STARTED)


def _settle_down() -> None:
    """Give up what was inherited from the agent or its unit, so that a hook is run as an ordinary
    service is (systemd.exec(5), systemd-system.conf(5)).

    Locked memory is not inherited (mlockall(2)). Hard limits stay: a command that needs more than
    is usual may ask for it.
    """
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    for limit, most in _SOFT_LIMITS.items():
        soft, hard = resource.getrlimit(limit)
        if soft == resource.RLIM_INFINITY or soft > most:
            resource.setrlimit(limit, (most, hard))
    for number in _OWN_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    os.chdir("/")


if __name__ == "__main__":
    _settle_down()
    Runner(socket.socket(fileno=int(sys.argv[1]))).serve()
