"""What keeps this node from a group, as an agent answers it, in words: pure functions.

A replica that only its own score keeps from being heir is no trouble by itself: PostgreSQL's agent
gives all but one replica such a score by design. It is one as soon as nobody else can take over.
"""

from collections.abc import Iterator

from hamgr.agent.facts import AgentStatus
from hamgr.cli.comparing import degraded
from hamgr.cli.survey import GroupRow, Problem
from hamgr.core.types import NodeName
from hamgr.snapshot import GroupView

_SCORES = "{} gives this node a score of "
"""How the engine begins to say that a service's score keeps this node from a group."""


def fit_problems(node: NodeName, group: GroupRow, view: GroupView) -> Iterator[Problem]:
    """Yield why this node cannot have a group, unless it is a replica and another one is heir."""
    if not view.fit and not _is_spared(node, group, view):
        yield degraded(f"{node} cannot run {group.name}: {view.unfit_why or 'unfit'}")


def fit_notes(status: AgentStatus, groups: tuple[GroupRow, ...]) -> Iterator[str]:
    """Yield a line for each group of which this node is no heir by its replica's score alone."""
    rows = {group.name: group for group in groups}
    for view in status.snapshot.groups if status.snapshot else ():
        if view.name in rows and not view.fit and _is_spared(status.node, rows[view.name], view):
            yield f"{status.node} is not fit to be heir of {view.name}: {view.unfit_why}"


def _is_spared(node: NodeName, group: GroupRow, view: GroupView) -> bool:
    """Tell whether a replica that works here is kept back by its score, and another one is heir."""
    return (view.phase == "inactive" and group.heir not in ("", node)
            and any(one.state == "started" and view.unfit_why.startswith(_SCORES.format(one.name))
                    for one in view.services)
            and all(one.state in ("started", "stopped") and not one.why for one in view.services))
