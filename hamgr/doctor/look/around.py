"""Gathers all facts: each on its own, so that one that cannot be had costs no other."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from hamgr import drivers
from hamgr.agent.facts import AgentStatus
from hamgr.config.check_access import FILES
from hamgr.config.document import Reading, digest, read
from hamgr.config.identity import IdentityError, addresses_here, find_self, host_names
from hamgr.config.key import read_keys
from hamgr.config.private import CREDENTIAL, KeyFileError
from hamgr.config.secret import NAMED
from hamgr.doctor.facts import (
    ConfigFile,
    Facts,
    Here,
    KeyFile,
    Missing,
    ResourceAgents,
    WallClocks,
)
from hamgr.doctor.look import (
    agents,
    clocks,
    fencing,
    machine,
    network,
    watchdog,
    zookeeper,
)
from hamgr.wire import fingerprint

STATE_DIR = "/var/lib/hamgr"
CREDENTIALS = Path("/run/credentials/hamgr.service")
"""Where the agent's credentials are while it runs (systemd.exec(5), LoadCredential=)."""
T = TypeVar("T")


def around(config: Path, agent: AgentStatus | Missing) -> Facts:
    """Return everything that can be known here, with the agent's answer or why there is none."""
    if CREDENTIALS.is_dir():
        os.environ.setdefault("CREDENTIALS_DIRECTORY", str(CREDENTIALS))
    reading = read(config, files="CREDENTIALS_DIRECTORY" in os.environ or not _credentials(config))
    here = _here(config, reading, agent)
    file = ConfigFile(path=str(config),
                      faults=tuple(fault.located("").lstrip(": ") for fault in reading.faults),
                      warnings=tuple(one.located("").lstrip(": ") for one in reading.warnings))
    state_dir = STATE_DIR if isinstance(agent, Missing) else agent.process.state_dir
    return Facts(
        config=file, here=here, agent=agent,
        key=_with(here, lambda there: _key(there.document.cluster.key_file)),
        network=_with(here, network.network),
        ensemble=_with(here, lambda there: zookeeper.ensemble(there.document)),
        clock=_had(machine.clock), wall_clocks=_with(here, _wall_clocks, matters=False),
        managers=_had(machine.managers), units=_had(machine.units, matters=False),
        service_units=_with(here, lambda there: machine.service_units(
            _ours(there, drivers.units(there.document)))),
        resource_agents=_with(here, _resource_agents),
        fence_devices=_with(here, lambda there: fencing.fence_devices(there.document)),
        home=agent if isinstance(agent, Missing) else
        _had(lambda: machine.home(agent.process.pid), matters=False),
        disk=_had(lambda: machine.disk(state_dir), matters=not isinstance(agent, Missing)),
        watchdog=_with(here, lambda there: watchdog.watchdog(there.document.watchdog, agent)))


def _credentials(config: Path) -> bool:
    """Tell whether the file names credentials, which without the agent's unit are nowhere."""
    document = read(config).document
    if document is None:
        return False
    paths = [getattr(document.zookeeper, name) for name in FILES]
    paths += [path for fence in document.fence.values() for path in fence.secrets.values()]
    return any(path is not None and path.startswith((CREDENTIAL, NAMED)) for path in paths)


def _here(config: Path, reading: Reading, agent: AgentStatus | Missing) -> Here | Missing:
    document = reading.document
    if document is None:
        return Missing(f"{config} cannot be used")
    if not isinstance(agent, Missing):
        if agent.node not in document.node:
            return Missing(f"{config} has no node {agent.node}, which the agent here is")
        return Here(node=agent.node, document=document, digest=digest(document))
    try:
        return Here(document=document, digest=digest(document),
                    node=find_self(document, os.environ.get("HAMGR_NODE"), host_names(),
                                   addresses_here(document)))
    except IdentityError as error:
        return Missing(str(error))


def _key(path: str) -> KeyFile:
    try:
        return KeyFile(path=path, keys=tuple(map(fingerprint, read_keys(path))))
    except KeyFileError as error:
        return KeyFile(path=path, fault=str(error).removeprefix(f"{path}: "))


def _resource_agents(here: Here) -> ResourceAgents:
    document = here.document
    return agents.resource_agents(drivers.services(document),
                                  _ours(here, drivers.agents(document)))


def _ours(here: Here, found: Mapping[drivers.Key, T]) -> dict[drivers.Key, T]:
    """Return what is of groups that may run on this node: the others need nothing here."""
    groups = here.document.group
    return {key: one for key, one in found.items() if here.node in groups[key[0]].nodes}


def _wall_clocks(here: Here) -> WallClocks:
    return WallClocks(ahead=clocks.ahead({
        name: str(node.addresses[0]) for name, node in here.document.node.items()
        if name != here.node}))


def _with(here: Here | Missing, look: Callable[[Here], T], *, matters: bool = True) -> T | Missing:
    """Look with the document, if there is one."""
    if isinstance(here, Missing):
        return here
    return _had(lambda: look(here), matters=matters)


def _had(look: Callable[[], T], *, matters: bool = True) -> T | Missing:
    try:
        return look()
    except OSError as error:
        return Missing(error.strerror or str(error), matters=matters)
