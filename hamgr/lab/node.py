"""One node of a lab: what runs on it, and what can be done to that."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hamgr.lab import booted, control, document, hook, own, responder, zookeeper
from hamgr.lab.cgroup import Cgroup
from hamgr.lab.spec import LabError, LabSpec, directory, namespace

AGENT, ZOOKEEPER, RESPONDER, EXEC = "agent", "zookeeper", "responder", "exec"
SYSTEMD = "systemd"
"""The parts of a node: one control group and one log each."""
_STEP_S = 0.01
_STOP_WITHIN_S = 20.0
_ZOOKEEPER_WITHIN_S = 60.0
_AGENT_WITHIN_S = 30.0
_BOOTED_WITHIN_S = 60.0
_LOG_LINES = 25
_RECORDER_ENTRIES = 500
_AT_HOME = ('while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 70; shift 2; done; '
            'shift; exec "$@"')


class Node:
    """One node, by name."""

    def __init__(self, spec: LabSpec, name: str) -> None:
        self.spec = spec
        self.name = name
        self.directory = directory(spec.name) / name
        self.namespace = namespace(spec.name, name)
        self.cgroup = Cgroup.of_lab(spec.name).below(name)
        self._systemd = booted.Booted(spec, name) if spec.systemd else None
        self._boots = False

    @property
    def run_dir(self) -> Path:
        """The agent's run directory."""
        return self.directory / "run"

    @property
    def state_dir(self) -> Path:
        """The agent's state directory: what stays when the power goes."""
        return self.directory / "state"

    @property
    def own_dir(self) -> Path:
        """What groups of one's own find as {here}: what goes when the power goes."""
        return self.directory / hook.HERE

    @property
    def configuration(self) -> Path:
        """The configuration file, the same on all nodes."""
        return directory(self.spec.name) / document.FILE

    def log(self, part: str) -> Path:
        """Return the log of a part."""
        return self.directory / f"{part}.log"

    def prepare(self) -> None:
        """Make the node's disk."""
        for folder in (self.run_dir, self.state_dir, self.own_dir):
            folder.mkdir(mode=0o700, parents=True)
        if self.name in self.spec.servers:
            zookeeper.write_configuration(self.spec, self.name, self.directory / ZOOKEEPER)
        if self._systemd is not None:
            self._systemd.prepare()

    def start_machine(self) -> None:
        """Start what does not run of what needs nothing else, and what takes long to come up."""
        group = self.cgroup.below(SYSTEMD)
        self._boots = self._systemd is not None and not group.populated
        if self._systemd is not None and self._boots:
            group.remove()  # what it made there when it ran before
            self._start(SYSTEMD, self._systemd.command(self.own_dir))
        self.start_zookeeper()

    def start_rest(self) -> None:
        """Start what does not run of the rest. Raises LabError if a systemd does not boot."""
        if self._systemd is not None and self._boots:
            systemd = self._systemd
            self.wait(lambda: systemd.listens, _BOOTED_WITHIN_S, "does not boot", SYSTEMD)
            subprocess.run(self.joined(["systemctl", "is-system-running", "--wait"]),
                           stdout=subprocess.DEVNULL, check=False,
                           env={**os.environ, **booted.TALK})
        if self.spec.agents and self.name in self.spec.members:
            self.start_agent()
        self.start_responder()

    def start_responder(self) -> None:
        """Start the service behind the VIP."""
        self._start(RESPONDER, [sys.executable, "-m", responder.__name__, self.name,
                                str(self.directory / "ledger")])

    def start_zookeeper(self) -> None:
        """Start this node's ZooKeeper server, if it has one that does not run."""
        if self.name in self.spec.servers:
            self._start(ZOOKEEPER, zookeeper.command(self.spec, self.directory / ZOOKEEPER))

    def start_agent(self) -> None:
        """Start the agent, if it does not run."""
        self._start(AGENT, self._at_home(self.agent_command()))

    def joined(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs a command on this node, beside its parts."""
        return self.cgroup.below(EXEC).joined(self.namespace, self._at_home(argv))

    def _at_home(self, argv: Sequence[str]) -> list[str]:
        """Return what runs a program where paths, the same on all nodes, are the node's own.

        A mount namespace of its own does it, and goes with the last process inside.
        """
        if not self.spec.at_home:
            return [*argv]
        shown = {self.own_dir: own.home(directory(self.spec.name)),
                 **(self._systemd.shown if self._systemd is not None else {})}
        pairs = [str(path) for pair in shown.items() for path in pair]
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", _AT_HOME, "sh",
                *pairs, "--", *argv]

    def agent_command(self, *options: str) -> list[str]:
        """Return `hamgr agent` with the files and directories of this node."""
        return [sys.executable, "-m", "hamgr", "agent", "--node", self.name,
                "--config", str(self.configuration),
                "--run-dir", str(self.run_dir), "--state-dir", str(self.state_dir), *options]

    def environment(self) -> dict[str, str]:
        """Return what makes commands of operators talk to this node's agent, and its systemd."""
        return {"HAMGR_RUN_DIR": str(self.run_dir), "HAMGR_CONFIG": str(self.configuration),
                **(booted.TALK if self.spec.systemd else {})}

    def stop_agent(self) -> None:
        """Stop the agent in order, and return when it and its switch have ended."""
        self._signal_agent(signal.SIGTERM)
        self.wait(lambda: not self.cgroup.below(AGENT).populated, _STOP_WITHIN_S,
                  "does not stop", AGENT)

    def kill_agent(self) -> None:
        """SIGKILL the agent alone."""
        self._signal_agent(signal.SIGKILL)

    def freeze_agent(self) -> None:
        """SIGSTOP the agent alone; its switch goes on."""
        self._signal_agent(signal.SIGSTOP)

    def freeze_all(self) -> None:
        """Freeze the agent, its switch, and all that they started."""
        self.cgroup.below(AGENT).freeze(True)

    def thaw(self) -> None:
        """Let agent and switch go on, whichever way they were stopped."""
        self.cgroup.below(AGENT).freeze(False)
        if (pid := self.agent_pid()) is not None:
            self.cgroup.below(AGENT).signal(pid, signal.SIGCONT)

    def kill_switch(self) -> None:
        """SIGKILL the dead-man's switch alone."""
        self.cgroup.below(AGENT).signal(self._running("deadman"), signal.SIGKILL)

    def kill_zookeeper(self) -> None:
        """SIGKILL this node's ZooKeeper server. Raises LabError if it has none."""
        self._check_server()
        group = self.cgroup.below(ZOOKEEPER)
        group.kill()
        group.wait_empty()

    def recorder(self) -> list[dict[str, Any]]:
        """Return the newest entries of the agent's flight recorder; none if it does not answer."""
        answer = control.ask(self.run_dir, {"do": "recorder", "count": _RECORDER_ENTRIES})
        entries: list[dict[str, Any]] = answer.get("entries", [])
        return entries

    def wait_zookeeper(self) -> None:
        """Return once this node's ZooKeeper server serves. Raises LabError with its log."""
        self._check_server()
        self.wait(lambda: zookeeper.mode(self.spec, self.name) != "", _ZOOKEEPER_WITHIN_S,
                  "does not serve", ZOOKEEPER)

    def wait_agent(self) -> None:
        """Return once the agent answers. Raises LabError with its log."""
        self.wait(lambda: self.status() is not None, _AGENT_WITHIN_S, "does not answer", AGENT)

    def agent_pid(self) -> int | None:
        """Return the agent's process, or None when it does not run."""
        return self._find("hamgr\0agent\0")

    def switch_pid(self) -> int | None:
        """Return the dead-man's switch, or None when it does not run."""
        return self._find("deadman")

    @property
    def agent_state(self) -> str:
        """running, stopped (alone, by a signal), frozen (with its switch) or down."""
        return self._state_of(self.agent_pid())

    @property
    def switch_state(self) -> str:
        """The same of the dead-man's switch."""
        return self._state_of(self.switch_pid())

    def status(self) -> dict[str, Any] | None:
        """Return the agent's own answer to `status`; None when it does not answer."""
        return control.ask(self.run_dir, {"do": "status"}).get("status")

    def wait(self, reached: Callable[[], bool], within_s: float, what: str, part: str) -> None:
        """Return once it is so. Raises LabError with the end of the part's log if it is not."""
        end, group = time.monotonic() + within_s, self.cgroup.below(part)
        while not reached():
            if not group.populated and not reached():  # its end may be what was waited for
                raise LabError(f"{self.name}: {part} has ended\n{self.tail(part)}")
            if time.monotonic() > end:
                raise LabError(f"{self.name}: {part} {what} within {within_s:g} s\n"
                               f"{self.tail(part)}")
            time.sleep(_STEP_S)

    def tail(self, part: str) -> str:
        """Return the end of a part's log."""
        log = self.log(part)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join((f"{log}:", *lines[-_LOG_LINES:]))

    def forget_run_dir(self) -> None:
        """Empty the run directory, as a reboot does, and what is its own; nothing is frozen."""
        self.cgroup.below(AGENT).freeze(False)
        for folder in (self.run_dir, self.own_dir):
            shutil.rmtree(folder)
            folder.mkdir(mode=0o700)

    def _check_server(self) -> None:
        if self.name not in self.spec.servers:
            raise LabError(f"{self.name} has no ZooKeeper server; "
                           f"there are some on {', '.join(self.spec.servers)}")

    def _state_of(self, pid: int | None) -> str:
        if pid is None:
            return "down"
        if self.cgroup.below(AGENT).frozen:
            return "frozen"
        return "stopped" if _state(pid) == "T" else "running"

    def _start(self, part: str, argv: Sequence[str]) -> None:
        group = self.cgroup.below(part)
        if not group.populated:
            group.start(self.namespace, argv, self.log(part))

    def _signal_agent(self, number: signal.Signals) -> None:
        self.cgroup.below(AGENT).signal(self._running("hamgr\0agent\0"), number)

    def _running(self, words: str) -> int:
        pid = self._find(words)
        if pid is None:
            name = words.strip("\0").replace("\0", " ")
            raise LabError(f"{self.name}: {name} does not run\n{self.tail(AGENT)}")
        return pid

    def _find(self, words: str) -> int | None:
        """Return the oldest process of the agent's group with these words in its command line."""
        found = (pid for pid in sorted(self.cgroup.below(AGENT).pids())
                 if words in _command_line(pid) and _state(pid) not in "ZX")
        return next(found, None)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
