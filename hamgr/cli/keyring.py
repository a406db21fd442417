"""Which keys every node has, by what its heartbeats say, and what that allows: pure functions.

A key is named by its fingerprint. Of a node's keys the first signs, the others are accepted too.
"""

from collections.abc import Iterator
from typing import NamedTuple

from hamgr.agent.facts import AgentStatus
from hamgr.cli.comparing import degraded
from hamgr.cli.survey import Problem
from hamgr.core.types import NodeName


class Others(NamedTuple):
    """The other nodes, by whether they are as a step needs them."""

    ready: tuple[NodeName, ...]
    behind: tuple[NodeName, ...]
    """Heard, and not so far yet."""
    unheard: tuple[NodeName, ...]
    """Not heard now: nobody can tell."""


def accepting(status: AgentStatus, key: str) -> Others:
    """Return which other nodes have a key."""
    return _others(status, {node for node, keys in _heard(status).items() if key in keys})


def done_with(status: AgentStatus, key: str) -> Others:
    """Return which other nodes do not sign with a key any more."""
    return _others(status, {node for node, keys in _heard(status).items() if keys[0] != key})


def key_problems(status: AgentStatus) -> Iterator[Problem]:
    """Yield a problem for each key with which nodes sign, and which another node does not have."""
    heard = {status.node: status.keys.get(status.node, ()), **_heard(status)}
    signed: dict[str, list[NodeName]] = {}
    for node, keys in heard.items():
        if keys:
            signed.setdefault(keys[0], []).append(node)
    for key, signers in signed.items():
        without = sorted(node for node, keys in heard.items() if keys and key not in keys)
        if without:
            lacks, drops = ("lacks", "drops") if len(without) == 1 else ("lack", "drop")
            yield degraded(f"{_and(without)} {lacks} key {key}, with which {_and(sorted(signers))} "
                           f"sign{'s' * (len(signers) == 1)}, and {drops} what comes from there: "
                           f"run `hamgr key add` on {_and(without)}")


def _heard(status: AgentStatus) -> dict[NodeName, tuple[str, ...]]:
    """Return the keys of each other node that is heard now."""
    if status.snapshot is None:
        return {}
    detection = status.spec.timing.detection
    return {peer.node: status.keys[peer.node] for peer in status.snapshot.peers
            if peer.heard_ago is not None and peer.heard_ago <= detection
            and status.keys.get(peer.node)}


def _others(status: AgentStatus, ready: set[NodeName]) -> Others:
    heard = _heard(status)
    others = [node.name for node in status.spec.nodes if node.name != status.node]
    return Others(
        ready=tuple(node for node in others if node in ready),
        behind=tuple(node for node in others if node in heard and node not in ready),
        unheard=tuple(node for node in others if node not in heard))


def _and(nodes: list[NodeName]) -> str:
    return " and ".join(nodes)
