"""What the resource agents of services say of themselves, and what does not fit that."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from hamgr.adapters.services.ocf.agent import Agent
from hamgr.adapters.services.ocf.catalogue import AgentUnknownError, Catalogue
from hamgr.adapters.services.ocf.checks import Fault, check, clashes
from hamgr.adapters.services.ocf.metadata import Metadata
from hamgr.config.schema import Service
from hamgr.core.types import Duration
from hamgr.doctor.facts import Misfit, ResourceAgents, ServiceAgent
from hamgr.drivers import Key


def resource_agents(services: Mapping[Key, Service], agents: Mapping[Key, Agent],
                    catalogue: Catalogue | None = None) -> ResourceAgents:
    """Ask each agent what it takes, and compare; `services` and `agents` by the same keys."""
    catalogue, known = catalogue or Catalogue(), dict[Key, tuple[Agent, Metadata]]()
    misfits: dict[Key, list[Misfit]] = defaultdict(list)
    for key, agent in agents.items():
        try:
            metadata = catalogue.metadata(agent.name)
        except AgentUnknownError as error:
            misfits[key].append(Misfit(key="agent", text=str(error)))
            continue
        known[key] = agent, metadata
        checked = check(agent, metadata, _timeouts(services[key]))
        misfits[key] += _misfits(checked.faults)
        misfits[key] += _misfits(checked.warnings, severe=False)
    for key, misfit in _clashes(known):
        misfits[key].append(misfit)
    return ResourceAgents(services=tuple(
        ServiceAgent(group=group, service=service, agent=agent.name,
                     misfits=tuple(misfits[group, service]))
        for (group, service), agent in agents.items()))


def _misfits(faults: tuple[Fault, ...], *, severe: bool = True) -> list[Misfit]:
    return [Misfit(key=one.key, text=one.text, severe=severe) for one in faults]


def _clashes(known: Mapping[Key, tuple[Agent, Metadata]]) -> Iterator[tuple[Key, Misfit]]:
    """Yield the services that cannot run beside another."""
    named = {f"{group}/{service}": (group, service) for group, service in known}
    for fault in clashes({name: known[key] for name, key in named.items()}):
        name, _, parameter = fault.key.rpartition(".parameters.")
        yield named[name], Misfit(key=f"parameters.{parameter}", text=fault.text)


def _timeouts(service: Service) -> dict[str, Duration]:
    """Return how long each action may take that the service has."""
    times = {action: int(getattr(service, f"{action}_timeout")) for action in service.actions}
    if service.monitor is not None:
        times["monitor"] = int(service.monitor.timeout)
    return times
