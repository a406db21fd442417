"""The driver "hook": a service whose actions are commands. Implements the port Services.

The commands are run by a small process beside the agent (see `runner`), so that neither forking
nor a command that hangs in exec costs the loop anything. It is started before it is needed, and
again if it has died; then what it ran counts as failed.

A command gets its facts as HAMGR_CLUSTER, NODE, GROUP, SERVICE, ACTION, ROLE (active or standby:
what the service is, or becomes), EPOCH (the fencing token), FROM and TO (nodes, if known),
REASON, PLANNED (0 or 1) and DEADLINE (seconds that it has). Its exit status 0 means done. Its
last words on stdout and stderr are reported. What it leaves running should not keep writing
there: it would be ended by SIGPIPE when the agent ends.

A probe runs the monitor: if that is content, the service is started. Whether it is promoted, and
what a discontented monitor has found, nobody can tell. A monitor may print `score=NUMBER` as a line
of its own: how well this node would do as the active one.
"""

import asyncio
import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

from hamgr.adapters.services import runner
from hamgr.core.effects import RunService
from hamgr.core.events import ServiceAnswered, ServiceScored
from hamgr.core.types import SECOND, Found, GroupName, NodeName, ServiceName
from hamgr.ports import Post

log = logging.getLogger(__name__)

PATIENCE_S = 2 * runner.GRACE_S + 2.0
"""How long after a hook's timeout its answer may take, before the runner counts as hung."""
_ROLES = {"promote": "active", "demote": "standby", "stop": "standby"}
_SCORE = re.compile(r"(?:^|/ )score=(-?\d{1,9})(?: /|$)")


class Action(NamedTuple):
    """One action of one service of one group."""

    group: GroupName
    service: ServiceName
    action: str
    """start, stop, promote, demote or monitor."""


class Hooks:
    """Runs the commands of every service whose driver is "hook"."""

    def __init__(self, cluster: str, node: NodeName, commands: Mapping[Action, tuple[str, ...]],
                 post: Post) -> None:
        """An action that has no command succeeds at once."""
        self._cluster = cluster
        self._node = node
        self._commands = dict(commands)
        self._post = post
        self._running: dict[int, tuple[RunService, asyncio.TimerHandle]] = {}
        self._runner: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def configure(self, commands: Mapping[Action, tuple[str, ...]]) -> None:
        """Use these commands from the next action on. Start anew if there were none before."""
        self._commands = dict(commands)

    async def start(self) -> None:
        """Start the runner, if there is any command. Raises OSError if it cannot."""
        if self._commands and self._socket is None:
            self._open()

    def run(self, effect: RunService) -> None:
        """Start the action; exactly one ServiceAnswered follows."""
        loop = asyncio.get_running_loop()
        action = "monitor" if effect.action == "probe" else effect.action
        command = self._commands.get(Action(effect.group, effect.service, action))
        if command is None:
            loop.call_soon(self._answer, effect, True, "", Found.UNKNOWN)
            return
        timeout_s = effect.timeout / SECOND
        try:
            self._ask({"run": effect.run, "argv": command, "timeout": timeout_s,
                       "env": self._environment(effect)})
        except OSError as error:
            loop.call_soon(self._answer, effect, False, f"cannot run {command[0]}: {error}")
            return
        timer = loop.call_later(timeout_s + PATIENCE_S, self._lost, "the hook runner hangs")
        self._running[effect.run] = (effect, timer)

    def cancel(self, run: int) -> None:
        """Kill a run that is going on, with all of its process group."""
        if run in self._running:
            try:
                self._ask({"cancel": run})
            except OSError as error:
                self._lost(f"the hook runner does not listen: {error}")

    async def close(self) -> None:
        """Kill whatever still runs; it is answered for as failed."""
        process = self._runner
        self._lost("the agent ends")
        if process is not None:
            await asyncio.to_thread(_gone, process)

    def _environment(self, effect: RunService) -> dict[str, str]:
        facts = {
            "CLUSTER": self._cluster, "NODE": self._node, "GROUP": effect.group,
            "SERVICE": effect.service, "ACTION": effect.action.replace("probe", "monitor"),
            "ROLE": _ROLES.get(effect.action, "active" if effect.active else "standby"),
            "EPOCH": str(effect.epoch),
            "FROM": effect.origin, "TO": effect.target, "REASON": effect.reason,
            "PLANNED": str(int(effect.planned)), "DEADLINE": f"{effect.timeout / SECOND:g}"}
        return {f"HAMGR_{name}": value.replace("\0", "") for name, value in facts.items()}

    def _ask(self, request: Mapping[str, object]) -> None:
        if self._socket is None:
            self._open()
        assert self._socket is not None
        self._socket.send(json.dumps(request).encode())

    def _open(self) -> None:
        if self._runner is not None:
            self._runner.poll()  # the one that died, to be reaped
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                ours.setblocking(False)
                self._runner = subprocess.Popen(
                    [sys.executable, "-I", "-S", runner.__file__, str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError:
            ours.close()
            raise
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read_answer)

    def _read_answer(self) -> None:
        assert self._socket is not None
        try:
            packet = self._socket.recv(runner.PACKET_MAX)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._lost("the hook runner died")
            return
        answer = json.loads(packet)
        effect, timer = self._running.pop(answer["run"])
        timer.cancel()
        self._answer(effect, answer["ok"], answer["why"])

    def _lost(self, why: str) -> None:
        """Give the runner up, which makes it kill what it runs; the next run starts another."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        lost, self._running = self._running, {}
        for effect, timer in lost.values():
            timer.cancel()
            self._answer(effect, False, why)
        if lost:
            log.warning("%d hooks are given up: %s", len(lost), why)

    def _answer(self, effect: RunService, ok: bool, why: str, found: Found | None = None) -> None:
        looks = effect.action in ("probe", "monitor")
        if found is None:
            found = Found.STARTED if ok and looks else Found.UNKNOWN
        self._post(ServiceAnswered(
            run=effect.run, group=effect.group, service=effect.service, action=effect.action,
            ok=ok or effect.action == "probe", why=why, found=found))
        score = _SCORE.search(why) if ok and looks else None
        if score is not None:
            self._post(ServiceScored(group=effect.group, service=effect.service,
                                     score=int(score.group(1))))


def _gone(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(runner.GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
