"""The driver "hook": a service whose actions are commands. Implements the port Services.

The commands are run by a small process beside the agent (see `runs` and `runner`).

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
import re
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from hamgr.adapters.services.runs import Ended, Runs
from hamgr.core.effects import RunService
from hamgr.core.events import ServiceAnswered, ServiceScored
from hamgr.core.types import SECOND, Found, GroupName, NodeName, ServiceName
from hamgr.ports import Post

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
        self._runs = Runs()
        self._numbers: dict[int, int] = {}
        """By run of a RunService: the number of its command."""

    def configure(self, commands: Mapping[Action, tuple[str, ...]]) -> None:
        """Use these commands from the next action on. Start anew if there were none before."""
        self._commands = dict(commands)

    async def start(self) -> None:
        """Start the runner, if there is any command. Raises OSError if it cannot."""
        if self._commands:
            self._runs.open()

    def run(self, effect: RunService) -> None:
        """Start the action; exactly one ServiceAnswered follows."""
        action = "monitor" if effect.action == "probe" else effect.action
        command = self._commands.get(Action(effect.group, effect.service, action))
        if command is None:
            asyncio.get_running_loop().call_soon(self._answer, effect, True, "", Found.UNKNOWN)
            return
        self._numbers[effect.run] = self._runs.start(
            command, facts(self._cluster, self._node, effect), effect.timeout / SECOND,
            partial(self._ended, effect))

    def cancel(self, run: int) -> None:
        """Kill a run that is going on, with all of its process group."""
        if run in self._numbers:
            self._runs.cancel(self._numbers[run])

    async def close(self) -> None:
        """Kill whatever still runs; it is answered for as failed."""
        await self._runs.close()

    def _ended(self, effect: RunService, ended: Ended) -> None:
        del self._numbers[effect.run]
        self._answer(effect, ended.ok, ended.why)

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


def facts(cluster: str, node: NodeName, effect: RunService) -> dict[str, str]:
    """Return what a command is told of its action, as environment."""
    found = {
        "CLUSTER": cluster, "NODE": node, "GROUP": effect.group,
        "SERVICE": effect.service, "ACTION": effect.action.replace("probe", "monitor"),
        "ROLE": _ROLES.get(effect.action, "active" if effect.active else "standby"),
        "EPOCH": str(effect.epoch),
        "FROM": effect.origin, "TO": effect.target, "REASON": effect.reason,
        "PLANNED": str(int(effect.planned)), "DEADLINE": f"{effect.timeout / SECOND:g}"}
    return {f"HAMGR_{name}": value.replace("\0", "") for name, value in found.items()}
