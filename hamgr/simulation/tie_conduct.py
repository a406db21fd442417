"""How groups stand to each other while faults go on: who requires whom, and who must be apart.

Judged as each group starts, by what the world knows: a node goes by the words of others, which may
be as old as a heartbeat that is still believed.
"""

from typing import TYPE_CHECKING

from hamgr.core.effects import ClaimAddresses, RunService
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.spec import GroupSpec
from hamgr.core.types import SECOND, Duration, Epoch, GroupName, Instant, NodeName
from hamgr.simulation.services import UPWARD

if TYPE_CHECKING:
    from collections.abc import Callable

    from hamgr.simulation.host import Host
    from hamgr.simulation.world import World

BELIEVED_FOR: Duration = SECOND
"""So long, and more, nobody believes a word that is not said again."""


class TieConduct:
    """Watches the starts of groups that are tied to others."""

    def __init__(self, world: "World", violate: "Callable[[str, str], None]") -> None:
        self._world = world
        self._violate = violate
        self._required = tuple(dict.fromkeys(
            name for group in world.spec.groups for name in group.requires))
        self._said_up: dict[GroupName, Instant] = {}
        """When each group that others require was last said to be up, by anybody."""
        self._started: dict[tuple[NodeName, GroupName], Epoch] = {}

    def sent(self, heartbeat: Heartbeat) -> None:
        """An engine sent a heartbeat."""
        for name in self._required:
            word = heartbeat.word(name)
            if word is not None and word.up:
                self._said_up[name] = self._world.now

    def does(self, host: "Host", effect: ClaimAddresses | RunService) -> None:
        """An engine wants a group started, or goes on with it."""
        group = self._world.spec.group(effect.group)
        if not effect.epoch or group is None or self._world.reached["fault configure"] or (
                isinstance(effect, RunService) and effect.action not in UPWARD):
            return
        for foe in self._world.spec.foes.get(group.name, ()):
            if host.active(foe):
                self._violate("together", f"{host.name} starts {group.name} beside {foe}, from "
                                          "which it must be apart")
        if self._started.get((host.name, group.name)) != effect.epoch:
            self._started[host.name, group.name] = effect.epoch
            self._check_required(host, group)

    def _check_required(self, host: "Host", group: GroupSpec) -> None:
        assert host.agent is not None
        for name in group.requires:
            lately = self._world.now - self._said_up.get(name, -BELIEVED_FOR) < BELIEVED_FOR
            ours = host.agent.engine.activity.groups.get(name)
            if not lately and (ours is None or not ours.is_up()):
                self._violate("too soon", f"{host.name} starts {group.name}, and {name}, which it "
                                          "requires, is up nowhere")
