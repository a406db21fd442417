"""Heartbeats that an agent dropped in the last minute, in words: pure functions."""

from collections.abc import Iterator, Mapping

from hamgr.agent.facts import AgentStatus
from hamgr.cli.comparing import degraded
from hamgr.cli.survey import Problem
from hamgr.core.types import NodeName

LATELY = "dropped_last_minute"
_WRONG: Mapping[str, str] = {
    "key": "signed with a key that {here} does not have",
    "cluster": "meant for a cluster of another name",
    "format": "in a format that version {version} does not understand",
    "malformed": "authentic, but no heartbeats that version {version} understands",
}
"""What one of two nodes does wrong, and goes on doing."""
_STRANGE: Mapping[str, str] = {
    "foreign": "not in hamgr's format",
    "mac": "damaged, forged, or meant for another node",
    "repeated": "came again, or late, on the same ring: duplicated on the way, or replayed",
}
"""What happens, or what somebody else does."""


def drop_problems(status: AgentStatus) -> Iterator[Problem]:
    """Yield a problem for each node whose heartbeats are dropped for what a node does wrong."""
    for reason, peer, count in _lately(status):
        if reason in _WRONG:
            words = _WRONG[reason].format(here=status.node, version=status.process.version)
            yield degraded(f"{peer}: {_datagrams(count)} dropped by {status.node} in the last "
                           f"minute: {words}")


def drop_notes(status: AgentStatus) -> Iterator[str]:
    """Yield a line for everything else that was dropped."""
    for reason, peer, count in _lately(status):
        if not peer:
            yield (f"{_datagrams(count)} from addresses of no node dropped by {status.node} in the "
                   "last minute")
        elif reason not in _WRONG:
            yield (f"{peer}: {_datagrams(count)} dropped by {status.node} in the last minute: "
                   f"{_STRANGE.get(reason, reason)}")


def _lately(status: AgentStatus) -> Iterator[tuple[str, NodeName, int]]:
    for key, count in sorted(status.counters.get(LATELY, {}).items()):
        reason, _, peer = key.partition(".")
        yield reason, peer, count


def _datagrams(count: int) -> str:
    return f"{count} datagram{'' if count == 1 else 's'}"
