"""Leftovers of a former life are removed before a new one begins (rule 21)."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from hamgr.agent.answers import Answers
from hamgr.agent.facts import KernelAddress
from hamgr.agent.housekeeping import BIDE, PATIENT
from hamgr.core.effects import RunService
from hamgr.core.events import ServiceAnswered
from hamgr.core.spec import ClusterSpec, GroupSpec, ServiceSpec
from hamgr.core.types import SECOND, Duration, Epoch, Found, GroupName, Instant, NodeName
from hamgr.ports import Addresses, Services, Store

_DOWNWARD = ("probe", "demote", "stop")
FED_S = 0.2
REASON = "nothing may be left of a former life"


class Sweep:
    """Removes what this node has no right to: everything but what is in maintenance here."""

    def __init__(
        self,
        node: NodeName,
        spec: ClusterSpec,
        *,
        addresses: Addresses,
        services: Services,
        store: Store,
        answers: Answers,
        spared: frozenset[GroupName] = frozenset(),
    ) -> None:
        """spared: groups that are left alone as well."""
        self._groups = [group for group in spec.groups if node in group.nodes]
        self._addresses, self._services = addresses, services
        self._store, self._answers, self._spared = store, answers, spared

    async def run(self) -> None:
        """Remove addresses, stop services; raises OSError with what is left, in words.

        What cannot be told to be stopped is stopped: an action that finds nothing to stop has to
        succeed, as in every cluster manager.
        """
        keep = self._spared.union(self._store.maintenance())
        await self._addresses.clean(keep)
        groups = [group for group in self._groups if group.name not in keep]
        results = await asyncio.gather(*(self._stop(group) for group in groups))
        failures = [failure for result in results for failure in result]
        if failures:
            raise OSError("; ".join(failures))

    async def run_patiently(self, notify: Callable[[str], None], takes: Duration) -> None:
        """Run, and have systemd wait for the end, so long at most; raises as `run`.

        ExecStopPost= has the limit of TimeoutStopSec= for itself: it may be less than the services
        need, and what has used it up before was the stop that failed.
        """
        running = asyncio.ensure_future(self.run())
        for _ in range(0, takes, PATIENT // 2):
            notify(BIDE)
            if (await asyncio.wait((running,), timeout=PATIENT / 2 / SECOND))[0]:
                break
        await running

    async def _stop(self, group: GroupSpec) -> list[str]:
        """Take down what needs a right, in reverse order, all of it even if one fails; return what
        failed, in words. Replicas stay, and so does what runs everywhere."""
        failures = []
        for service in () if group.everywhere else reversed(group.services):
            if service.tells and await self._rests(group.name, service):
                continue
            for action in ("demote",) if service.promotable else ("demote", "stop"):
                if action not in service.actions:
                    continue
                answer = await self._run(group.name, service, action)
                if not answer.ok:
                    failures.append(f"{group.name}/{service.name} does not stop: {answer.why}")
        return failures

    async def _rests(self, group: GroupName, service: ServiceSpec) -> bool:
        """Tell whether it needs no right as it is: to demote a replica may mean to stop it."""
        answer = await self._run(group, service, "probe")
        at_rest = (Found.STOPPED, Found.STARTED) if service.promotable else (Found.STOPPED,)
        return answer.ok and answer.found in at_rest

    async def _run(self, group: GroupName, service: ServiceSpec, action: str) -> ServiceAnswered:
        number, answer = self._answers.expect()
        self._services.run(RunService(
            run=number, group=group, service=service.name, action=action, epoch=0,
            timeout=service.timeout(action), reason=REASON))
        event = await answer
        assert isinstance(event, ServiceAnswered), "a run was answered as a write"
        return event


def in_place(
    maintenance: Mapping[GroupName, Epoch], kernel: Iterable[KernelAddress], spec: ClusterSpec, *,
    rebooted: bool
) -> dict[GroupName, Epoch]:
    """Return the groups in maintenance that may be here, with their epochs (rule 22).

    Services go on also where somebody has removed the addresses, until the machine is booted.
    """
    found = {address.group for address in kernel if address.present}
    if not rebooted:
        found |= {group.name for group in spec.groups if group.services or not group.has_addresses}
    return {group: epoch for group, epoch in maintenance.items() if group in found}


class Fed(Protocol):
    """A watchdog, as far as cleaning feeds it."""

    def progress(self, now: Instant) -> None:
        """Feed it, as long as that may be."""


async def feeding(cleaning: Awaitable[None], watchdog: Fed) -> None:
    """Wait for the end of cleaning, and raise as it does; that it goes on feeds the watchdog."""
    running = asyncio.ensure_future(cleaning)
    try:
        while not (await asyncio.wait((running,), timeout=FED_S))[0]:
            watchdog.progress(time.monotonic_ns())
        running.result()
    finally:
        running.cancel()


def longest_chain(spec: ClusterSpec) -> Duration:
    """Return how long the services of one group may take: to go down one by one, or any run."""
    chains = (sum(service.timeout(action) for service in group.services
                  for action in (*service.actions, *(("probe",) if service.tells else ()))
                  if action in _DOWNWARD)
              for group in spec.groups)
    runs = (max(service.timeout(action) for action in (*service.actions, "monitor"))
            for group in spec.groups for service in group.services)
    return max((*chains, *runs), default=0)
