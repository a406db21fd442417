"""The services of a document, each by its own driver. Implements the port Services."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hamgr.adapters.services.hook import Action, Hooks
from hamgr.adapters.services.ocf.agent import Agent
from hamgr.adapters.services.ocf.attributes import Lifetime
from hamgr.adapters.services.ocf.driver import OcfAgents
from hamgr.adapters.services.ocf.keeping import Keeping
from hamgr.adapters.services.ocf.peers import Peers, Replicas
from hamgr.adapters.services.ocf.shared import Given, SharedAttributes
from hamgr.adapters.services.systemd import Units
from hamgr.agent.facts import AskAttributes, Attribute
from hamgr.config.schema import COMMANDS, Document, Service
from hamgr.config.specs import OCF_MONITOR
from hamgr.core.effects import RunService, TellReplicas
from hamgr.core.events import Event, ServiceAnswered
from hamgr.core.types import Epoch, GroupName, Instant, NodeName, ServiceName
from hamgr.engine import Engine
from hamgr.ports import Post

Key = tuple[GroupName, ServiceName]


class Driver(Protocol):
    """What every driver does: see ports.Services."""

    async def start(self) -> None:
        """Prepare to run actions. Raises OSError."""

    def run(self, effect: RunService) -> None:
        """Start the action; exactly one ServiceAnswered follows."""

    def cancel(self, run: int) -> None:
        """Kill a run that is going on."""

    async def close(self) -> None:
        """Kill whatever still runs."""


class Drivers:
    """Hands each action to the driver of its service."""

    def __init__(self, node: NodeName, document: Document, post: Post, attributes: SharedAttributes,
                 state_dir: Path) -> None:
        """state_dir: where programs may run, for the commands that resource agents call."""
        self._post = post
        cluster = document.cluster.name
        self._hooks = Hooks(cluster, node, _commands(document), self._took)
        self._units = Units(units(document), self._took)
        self._attributes = attributes
        self._agents = OcfAgents(cluster, node, agents(document), self._took,
                                 directory=state_dir / "ocf", attributes=attributes)
        self._drivers: dict[str, Driver] = {
            "hook": self._hooks, "systemd": self._units, "ocf": self._agents}
        self._of = _drivers(document)
        self._running: dict[int, Driver] = {}

    def configure(self, document: Document) -> None:
        """Go by another document from the next action on. Start anew: it may need more."""
        self._hooks.configure(_commands(document))
        self._units.configure(units(document))
        self._agents.configure(agents(document))
        self._attributes.configure(given(document))
        self._of = _drivers(document)

    async def start(self) -> None:
        """Prepare all drivers. Raises OSError with what the first one says that cannot."""
        for driver in self._drivers.values():
            await driver.start()

    def run(self, effect: RunService) -> None:
        """Start the action; exactly one ServiceAnswered follows."""
        driver = self._drivers[self._of[effect.group, effect.service]]
        self._running[effect.run] = driver
        driver.run(effect)

    def cancel(self, run: int) -> None:
        """Kill a run that is going on."""
        if run in self._running:
            self._running[run].cancel(run)

    def tell(self, effect: TellReplicas) -> None:
        """Tell the replicas of a group here what has become of another node's."""
        self._agents.tell(effect)

    def retell(self) -> None:
        """Post again what a new engine does not know: scores and attributes."""
        self._agents.retell()

    def attributes(self, ask: AskAttributes) -> tuple[Attribute, ...]:
        """Change an attribute, if one is named, and return all of that node.

        Raises AttributeRefused.
        """
        if ask.name:
            lifetime = Lifetime.REBOOT if ask.reboot else Lifetime.FOREVER
            self._attributes.set(ask.node, ask.name, ask.value, lifetime)
        return tuple(Attribute(name=name, value=value, kept=kept)
                     for name, value, kept in self._attributes.listing(ask.node))

    def see(self, look: Callable[[], Peers]) -> None:
        """Have resource agents see the cluster as this tells it, whenever they ask."""
        self._agents.see(look)
        self._attributes.online = lambda: look().online

    def _took(self, event: Event) -> None:
        if isinstance(event, ServiceAnswered):
            self._running.pop(event.run, None)
        self._post(event)

    async def close(self) -> None:
        """Kill whatever still runs."""
        await asyncio.gather(*(driver.close() for driver in self._drivers.values()))
        await self._attributes.close()


def picture(engine: Engine, now: Instant) -> Peers:
    """Return what resource agents may know of the cluster, by what this node's engine knows."""
    knowledge, nodes = engine.knowledge, engine.knowledge.spec.nodes
    return Peers(
        nodes=tuple(node.name for node in nodes), quorate=engine.seat.holds(now),
        online=tuple(node.name for node in nodes if knowledge.liveness.is_heard(node.name, now)),
        of=lambda group, service: _replicas(engine, group, service, now))


def _replicas(engine: Engine, name: GroupName, service: ServiceName, now: Instant) -> Replicas:
    """Return where a service runs, by the word of each node that is heard."""
    knowledge = engine.knowledge
    group, plan = knowledge.spec.group(name), knowledge.plan
    spec = next((one for one in group.services if one.name == service), None) if (
        group is not None) else None
    if group is None or spec is None:
        return Replicas()
    planned = plan.groups.get(name) if plan is not None else None
    holder = planned.holder.node if planned is not None and planned.holder is not None else ""
    says = {node: _says(engine, node, name, now) for node in group.nodes
            if knowledge.liveness.is_heard(node, now)}
    active = tuple(node for node, (epoch, _) in says.items() if epoch and node == holder)
    resting = tuple(node for node, (_, fit) in says.items() if fit and node not in active)
    return Replicas(
        possible=len(group.nodes), promoted=active if spec.promotable else (),
        unpromoted=resting if spec.promotable or group.everywhere else active)


def _says(engine: Engine, node: NodeName, group: GroupName, now: Instant) -> tuple[Epoch, bool]:
    """Return under which epoch a node has a group active (0: it has not), and whether it is fit."""
    if node == engine.node:
        rights = engine.activity.groups.get(group)
        return (rights.local.epoch, rights.is_fit(now)) if rights is not None else (0, True)
    said = engine.knowledge.liveness.says(node, now)
    word = said.word(group) if said is not None else None
    return (word.epoch, word.fit) if word is not None else (0, True)


def shared_attributes(node: NodeName, document: Document, boot: str,
                      state_dir: Path) -> SharedAttributes:
    """Return the attributes of all nodes, as far as this one knows."""
    return SharedAttributes(node, given(document), boot, Keeping(state_dir))


def given(document: Document) -> Given:
    """Return the nodes, each with the attributes that the document gives it."""
    return {name: node.attributes for name, node in document.node.items()}


def services(document: Document) -> dict[Key, Service]:
    """Return every service of a document."""
    return {(name, service.name): service for name, group in document.group.items()
            for service in group.service}


def units(document: Document) -> dict[Key, str]:
    """Return the unit of each service that systemd runs."""
    return {key: service.unit for key, service in services(document).items()
            if service.driver == "systemd"}


def agents(document: Document) -> dict[Key, Agent]:
    """Return the resource agent of each service that has one."""
    return {key: Agent(name=service.agent, parameters=service.parameters,
                       promotable=service.promotable, check_level=service.check_level,
                       notify=service.promotable and service.notify is not False,
                       interval=int((service.monitor or OCF_MONITOR).interval))
            for key, service in services(document).items() if service.driver == "ocf"}


def _drivers(document: Document) -> dict[Key, str]:
    return {key: service.driver for key, service in services(document).items()}


def _commands(document: Document) -> dict[Action, tuple[str, ...]]:
    commands: dict[Action, tuple[str, ...]] = {}
    for key, service in services(document).items():
        for action in COMMANDS:
            if command := getattr(service, action):
                commands[Action(*key, action)] = command
        if service.monitor is not None and service.monitor.command:
            commands[Action(*key, "monitor")] = service.monitor.command
    return commands
