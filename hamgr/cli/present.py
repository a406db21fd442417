"""Takes a cluster's present state for `hamgr simulate`: from the agent, ZooKeeper, or a file."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hamgr.agent.facts import AgentStatus
from hamgr.cli import client, from_agent, from_records
from hamgr.cli.client import AgentDown, AgentOutOfReach, AgentRefused, first, told
from hamgr.cli.survey import Survey
from hamgr.config.document import cluster_spec, load, parse
from hamgr.config.faults import ConfigError
from hamgr.config.schema import Document
from hamgr.core.records import Config, Plan, Seat
from hamgr.core.spec import ClusterSpec
from hamgr.core.timing import timing_faults
from hamgr.core.types import MILLISECOND, NodeName
from hamgr.simulation.present import SCHEMA, Present, Took, Unfit
from hamgr.snapshot import Snapshot

SERVERS = 3
"""Of ZooKeeper, where the configuration does not tell."""


class CannotTell(Exception):
    """There is no state to begin with; the message says why, and what to do."""


class _Own(msgspec.Struct):
    """The part of the agent's answer to `configuration` that is needed."""

    own: Config


def take(run_dir: Path, config: Path) -> Present:
    """Return the state of the live cluster. Raises CannotTell."""
    try:
        status = client.status(run_dir)
        own = told(first(run_dir, {"do": "configuration"}), _Own).own
    except (AgentOutOfReach, AgentRefused) as error:
        raise CannotTell(str(error)) from None
    except AgentDown as error:
        return _from_zookeeper(str(error), config)
    snapshot = status.snapshot
    if snapshot is None or snapshot.plan is None:
        why = status.process.why or "it has not read the plan yet"
        raise CannotTell(f"the agent on {status.node} cannot tell the cluster's state: {why}; ask "
                         "on another node")
    return _present(
        from_agent.survey(status, {}), status.spec, snapshot.plan, snapshot.seats,
        asked=f"the agent on {status.node}", zookeeper=snapshot.zookeeper,
        document=parse(own.document).document, unfit=tuple(_unfit(status, snapshot)),
        took=tuple(_took(status)), notes=tuple(_notes(status, snapshot)))


def _from_zookeeper(why: str, config: Path) -> Present:
    try:
        document = load(config)
    except ConfigError as error:
        raise CannotTell(f"{why}; ZooKeeper cannot be asked: {error}") from None
    from hamgr.cli import direct

    try:
        records = direct.records(document)
    except direct.ZooKeeperDown as error:
        raise CannotTell(f"{why}; {error}") from None
    if records.plan is None:
        raise CannotTell(f"{why}; ZooKeeper has no plan of the cluster"
                         + "".join(f"; {one}" for one in records.unreadable))
    applied = parse(records.config.document).document if records.config is not None else None
    document = applied or document
    spec = cluster_spec(document)
    survey = from_records.survey(
        spec, {}, root=records.root, leader=records.leader, plan=records.plan,
        seats=records.seats, requests=records.requests, sessions=tuple(records.sessions), why=why)
    return _present(survey, spec, records.plan, records.seats, zookeeper=True, document=document,
                    asked=f"ZooKeeper, since {why}",
                    notes=("failed services and lost links are not known without an agent",))


def _present(
    survey: Survey, spec: ClusterSpec, plan: Plan, seats: dict[NodeName, Seat], *, asked: str,
    zookeeper: bool, document: Document | None, unfit: tuple[Unfit, ...] = (),
    took: tuple[Took, ...] = (), notes: tuple[str, ...] = ()
) -> Present:
    """Return the state; where it says more than can be simulated, that is a note."""
    more = [f"asked for and not done yet, and not simulated: {one}" for one in survey.requests]
    if plan.voters.former or plan.voters.coming:
        more.append("a change of the voters is under way, and not simulated to its end")
    return Present(
        schema=SCHEMA, cluster=spec.name, asked=asked, spec=spec, plan=plan, leader=survey.leader,
        at=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        up=tuple(node.name for node in survey.nodes if node.alive), seats=dict(seats),
        active={group.name: group.active for group in survey.groups}, zookeeper=zookeeper,
        servers=_servers(document), unfit=unfit, took=took, notes=(*notes, *more))


def _servers(document: Document | None) -> tuple[NodeName, ...]:
    """Return the node on which each server of ZooKeeper runs, by its address or name."""
    if document is None:
        return ("",) * SERVERS
    owners = {str(address): name for name, node in document.node.items()
              for address in node.addresses} | {name: name for name in document.node}
    return tuple(owners.get(server.host, "") for server in document.cluster.zookeeper)


def _unfit(status: AgentStatus, snapshot: Snapshot) -> Iterator[Unfit]:
    for group in snapshot.groups:
        spec = status.spec.group(group.name)
        if spec is not None and status.node in spec.nodes and not group.fit:
            yield Unfit(group=group.name, node=status.node, why=group.unfit_why,
                        failed=group.failed_lately)
    for peer in snapshot.peers:
        for word in peer.words:
            spec = status.spec.group(word.group)
            if spec is not None and peer.node in spec.nodes and not word.fit:
                yield Unfit(group=word.group, node=peer.node, failed=word.failed,
                            why=word.why or "by its own word")


def _took(status: AgentStatus) -> Iterator[Took]:
    """Yield what the actions of services took, by this node's flight recorder."""
    from hamgr.agent.recorder import read

    begun: dict[int, int] = {}
    found: dict[tuple[str, str, str], Took] = {}
    names = {(group.name, service.name) for group in status.spec.groups
             for service in group.services}
    try:
        for entry in read(Path(status.process.state_dir), about=b"mote") if names else ():
            said = entry.fields
            if entry.event == "ServiceAnswered" and said.get("ok") and said["run"] in begun:
                key = said["group"], said["service"], said["action"]
                if key[:2] in names and key[2] in ("promote", "demote"):
                    took = (entry.at - begun[said["run"]]) // MILLISECOND
                    found[key] = Took(group=key[0], service=key[1], action=key[2], ms=took)
            begun |= {effect["run"]: entry.at for name, effect in entry.effects
                      if name == "RunService"}
    except (OSError, LookupError):
        return  # it is a help, not more: what is not measured is assumed, and that is said
    yield from found.values()


def _notes(status: AgentStatus, snapshot: Snapshot) -> Iterator[str]:
    for group in snapshot.groups:
        for service in group.services:
            if service.failures:
                yield (f"{service.name} of {group.name} has failed {service.failures} times lately "
                       f"on {status.node}, which counts only when it fails again")


def save(present: Present, file: Path) -> None:
    """Keep it in a file. Raises CannotTell."""
    try:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(present), indent=2) + b"\n")
    except OSError as error:
        raise CannotTell(f"{file} cannot be written: {error.strerror}") from None


def load_saved(file: Path) -> Present:
    """Return what was kept. Raises CannotTell with the file, the key and the remedy."""
    try:
        text = file.read_bytes()
        schema = msgspec.json.decode(text, type=_Head).schema
        if schema != SCHEMA:
            raise CannotTell(f"{file}: schema is {schema}, and this hamgr reads {SCHEMA}: use the "
                             "version that saved it, or save it anew")
        present = msgspec.json.decode(text, type=Present)
        wrong = next(_wrong(present), "")
    except OSError as error:
        raise CannotTell(f"{file} cannot be read: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise CannotTell(_unusable(file, str(error))) from None
    if wrong:
        raise CannotTell(_unusable(file, wrong))
    return present


class _Head(msgspec.Struct):
    """What is read first: fields of another schema may mean anything."""

    schema: int


def _unusable(file: Path, why: str) -> str:
    return (f"{file} is not a saved state: {why.replace('`$.', '`').replace('`$`', 'the top')}; "
            "mend it, or make another with hamgr simulate --save FILE")


def _wrong(present: Present) -> Iterator[str]:
    """Yield what does not fit together, by its key."""
    nodes = [node.name for node in present.spec.nodes]
    named = [("up", present.up), ("plan.voters.names", present.plan.voters.names),
             *((f"active.{name}", those) for name, those in present.active.items()),
             *((f"spec.groups, nodes of {group.name}", group.nodes)
               for group in present.spec.groups),
             *((f"plan.groups.{name}", tuple(right.node for right in group.rights))
               for name, group in present.plan.groups.items()),
             ("servers", tuple(host for host in present.servers if host))]
    yield from (f"`{key}` names {node}, which is not among `spec.nodes`"
                for key, those in named for node in those if node not in nodes)
    yield from (f"`plan.times.{name}`: {what}" for name, what in timing_faults(present.plan.times))
    for key, those in (("spec.nodes", nodes), ("plan.voters.names", present.plan.voters.names),
                       ("servers", present.servers)):
        if not those:
            yield f"`{key}` is empty"
    yield from (f"`took`: {one.action} of {one.service} takes less than nothing"
                for one in present.took if one.ms < 0)
