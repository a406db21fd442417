"""Checks of what the cluster is by its files and its plan: configuration, keys, voters."""

from collections.abc import Iterator

from hamgr.agent.facts import AgentStatus
from hamgr.doctor.facts import ConfigFile, Here, KeyFile
from hamgr.doctor.finding import Finding, fault, note, ok, warning
from hamgr.doctor.heartbeats import heard

LATELY = "dropped_last_minute"
"""The agent's counters of what it dropped, by reason and node."""


def configuration(config: ConfigFile) -> Iterator[Finding]:
    """The file can be used."""
    for text in config.faults:
        yield fault(config.path, text, "the text says what to write; `hamgr config check` repeats "
                                       "it, and an agent does not start with this file")
    for text in config.warnings:
        yield warning(config.path, text, "the text says what to write")
    if not config.faults:
        yield ok(config.path, "can be used")


def configuration_in_use(here: Here, agent: AgentStatus) -> Iterator[Finding]:
    """The agent goes by what is in the file: everything else here is checked by the file."""
    if refused := agent.process.config_refused:
        yield fault(agent.node, "the agent cannot use the configuration that is applied, and goes "
                    f"on with the one before: {refused}", "mend what it names, here or in the "
                    "file, then `hamgr config apply`")
    if here.digest == agent.process.config_digest:
        yield ok(agent.node, "the agent goes by the file")
    else:
        yield warning(agent.node, "the agent goes by another configuration than the file, by which "
                      "the rest was checked", "`hamgr config diff` shows the difference; "
                      "`hamgr config apply` takes the file over, or put back the one in use")


def agent_answers(agent: AgentStatus) -> Iterator[Finding]:
    """There is an agent, it has got to the end of its start, and runs what the file says."""
    if agent.snapshot is None:
        why = agent.process.why or f"it is {agent.process.phase}"
        yield fault(agent.node, f"the agent has no engine yet: {why}",
                    "the reason says what it waits for; it tries again each second")
        return
    yield ok(agent.node, f"the agent runs (process {agent.process.pid})")
    for peer in agent.snapshot.peers:
        if peer.node in heard(agent) and peer.config not in ("", agent.process.config_digest):
            yield fault(peer.node, "runs with another configuration than this node",
                        "put the same file on every node")


def key_file(key: KeyFile) -> Iterator[Finding]:
    """The key file is private and can be read: else the next start fails."""
    if key.fault:
        yield fault(key.path, f"cannot be used: {key.fault}",
                    "mend it, then `systemctl reload hamgr`")
    elif len(key.keys) > 1:
        yield note(key.path, f"has two keys: {key.keys[0]} signs, {key.keys[1]} is accepted too",
                   "finish the replacement: `hamgr key use`, then `hamgr key drop`")
    else:
        yield ok(key.path, f"has key {key.keys[0]}, for its owner alone")


def key_in_use(key: KeyFile, agent: AgentStatus) -> Iterator[Finding]:
    """The agent uses what is on disk: else it will use something else after a restart."""
    used = agent.keys.get(agent.node, ())
    if key.fault or key.keys == used:
        return
    yield warning(key.path, f"has {_listed(key.keys)}, and the agent uses {_listed(used)}",
                  "`systemctl reload hamgr`; or put back the file that is in use")


def key_everywhere(agent: AgentStatus) -> Iterator[Finding]:
    """Every node can hear every other: each has the key with which the others sign."""
    drops = agent.counters.get(LATELY, {})
    for node in (spec.name for spec in agent.spec.nodes):
        if count := drops.get(f"key.{node}"):
            yield fault(node, f"{count} of its heartbeats in the last minute were signed with a "
                        "key that this node does not have",
                        "compare `hamgr key show` on both; copy the right key file, "
                        "`systemctl reload hamgr`")
    keys = {node: agent.keys[node] for node in (agent.node, *heard(agent))
            if agent.keys.get(node)}
    for node, those in keys.items():
        strangers = sorted({others[0] for others in keys.values()} - {*those})
        for key in strangers:
            signers = ", ".join(other for other, used in keys.items() if used[0] == key)
            yield fault(node, f"lacks key {key}, which signs on {signers}",
                        f"`hamgr key add` on {node}")
    if len({*keys.values()}) == 1:
        yield ok(", ".join(keys), f"use {_listed(keys[agent.node])}")
    elif keys:
        yield note("every node", "; ".join(f"{node} uses {_listed(those)}"
                                           for node, those in keys.items()),
                   "a replacement that is under way: finish it with `hamgr key use` and "
                   "`hamgr key drop`")


def voters(agent: AgentStatus) -> Iterator[Finding]:
    """A majority is left when a voter dies, so that the others need not ask ZooKeeper (rule 20)."""
    plan = agent.snapshot.plan if agent.snapshot else None
    names = plan.voters.names if plan else agent.spec.voters
    told = f"{len(names)} voters: {', '.join(names)}"
    if len(names) == 2:
        yield warning(
            "cluster", f"{told}: the survivor of a failure is no majority, and takes over through "
            "ZooKeeper alone, which takes longer (rule 20)",
            "add a third voter as a witness, for instance the machine of the third ZooKeeper "
            "server")
    elif len(names) % 2 == 0:
        yield note("cluster", f"{told}: they survive no more losses than {len(names) - 1} would",
                   "use an odd number")
    else:
        yield ok("cluster", told)


def _listed(keys: tuple[str, ...]) -> str:
    return f"key {' and '.join(keys)}" if len(keys) < 2 else f"keys {' and '.join(keys)}"
