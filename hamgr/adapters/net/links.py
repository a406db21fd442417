"""Says of each group whether this node's interfaces can serve it (rule 12)."""

import asyncio
from collections.abc import Mapping

from hamgr.adapters.net.vip import Nic
from hamgr.core.events import ConditionChanged
from hamgr.core.types import GroupName
from hamgr.ports import Post

STEADY_S = 1.0
"""A link is called good again after so long without a fault: it often flaps as it comes up, and a
switch port may not forward at first; a group must not follow each of its moves. Its loss is told
at once."""


class LinkWatch:
    """Posts ConditionChanged for a group when its interfaces fail, and when they are well again.

    A group whose interfaces have never failed is not spoken of.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._needs: dict[GroupName, Mapping[int, str]] = {}
        self._nics: dict[int, Nic] = {}
        self._missing: dict[GroupName, str] = {}
        self._told: dict[GroupName, str] = {}
        self._recovering: dict[GroupName, asyncio.TimerHandle] = {}

    def need(self, group: GroupName, nics: Mapping[int, str], missing: str = "") -> None:
        """Say which interfaces (index: name) a group depends on, or why it has none."""
        self._needs[group], self._missing[group] = nics, missing

    def forget(self, group: GroupName) -> None:
        """Speak of this group no more; what was said of it does not hold any longer."""
        self._needs.pop(group, None)
        self._missing.pop(group, None)
        self._stop_recovery(group)
        if self._told.pop(group, None):
            self._post(ConditionChanged(group=group, ok=True, why="not configured any more"))

    def see_all(self, nics: Mapping[int, Nic]) -> None:
        """Take note of the state of every interface that there is."""
        self._nics = dict(nics)
        self.judge()

    def see(self, nic: Nic, there: bool) -> None:
        """Take note of one interface's state, or that it is gone."""
        self._nics.pop(nic.index, None)
        if there:
            self._nics[nic.index] = nic
        self.judge(nic.index)

    def judge(self, changed: int | None = None) -> None:
        """Tell what has changed, for the groups that depend on this interface, or for all."""
        for group, needs in self._needs.items():
            if changed is None or changed in needs:
                self._judge(group)

    def close(self) -> None:
        """Say no more."""
        for timer in self._recovering.values():
            timer.cancel()
        self._recovering.clear()

    def _judge(self, group: GroupName) -> None:
        fault = self._missing[group] or "; ".join(filter(None, (
            self._nics[index].fault if index in self._nics else f"{name} is gone"
            for index, name in self._needs[group].items())))
        if fault:
            self._stop_recovery(group)
            if fault != self._told.get(group):
                self._told[group] = fault
                self._post(ConditionChanged(group=group, ok=False, why=fault))
        elif group in self._told and group not in self._recovering:
            self._recovering[group] = asyncio.get_running_loop().call_later(
                STEADY_S, self._recovered, group)

    def _recovered(self, group: GroupName) -> None:
        self._stop_recovery(group)
        was = self._told.pop(group)
        self._post(ConditionChanged(group=group, ok=True,
                                    why=f"well for {STEADY_S:g} s; before that, {was}"))

    def _stop_recovery(self, group: GroupName) -> None:
        timer = self._recovering.pop(group, None)
        if timer is not None:
            timer.cancel()
