"""Why a group is where it is, and why not elsewhere: by what one engine knows now."""

from collections.abc import Iterator

from msgspec import Struct

from hamgr.core.heartbeat import Heartbeat
from hamgr.core.records import UNPLANNED, GroupPlan
from hamgr.core.types import GroupName, Instant, Maintenance, NodeName
from hamgr.engine import Engine
from hamgr.leader.account import explain, why_not
from hamgr.leader.policy import Account
from hamgr.leader.situation import Places


class Explanation(Struct, frozen=True, kw_only=True):
    """What is said of one group, or of one node for it."""

    lines: tuple[str, ...]
    """For people."""
    account: Account | None = None
    """How its place was decided; None: there is no such group."""
    now: tuple[str, ...] = ()
    """What is so of it now, beside its place."""


def explained(engine: Engine, group: GroupName, node: NodeName, now: Instant) -> Explanation:
    """Explain a group's place; `node`: why it is not there. Another leader would say the same, but
    for failback: only the one that leads knows since when a node is fit."""
    knowledge, own = engine.knowledge, engine.voice.own(now)

    def says(name: NodeName) -> Heartbeat | None:
        return own if name == engine.node else knowledge.liveness.says(name, now)

    places = Places(knowledge, lambda: knowledge.plan, says, now)
    places.wanted = {name: one.heir.node for name, one in (
        knowledge.plan.groups.items() if knowledge.plan is not None else ())
        if one.handover and one.heir is not None}
    places.fit_since = engine.leadership.fit_since
    account = places.account(group)
    if account is None:
        return Explanation(lines=(f"there is no group {group!r}",))
    planned = knowledge.plan.groups.get(group, UNPLANNED) if knowledge.plan else UNPLANNED
    told = tuple(_now(planned))
    troubles = tuple(f"{one.name}: {word.why}" for one in knowledge.spec.nodes
                     if (said := says(one.name)) is not None
                     and (word := said.word(group)) is not None and word.fit and word.why)
    if node:
        because = _on_its_way(group, planned, node) or why_not(account, node)
        return Explanation(lines=(because, *troubles), account=account)
    lines = explain(account)
    if planned.handover and account.holder in account.spot.nodes:
        del lines[0]  # it is on its way because somebody asked for that, whatever its place says
    return Explanation(lines=(*told, *troubles, *lines), account=account, now=(*told, *troubles))


def _on_its_way(group: GroupName, planned: GroupPlan, node: NodeName) -> str:
    """Say why a group that is on its way to a node is not there yet, or nothing."""
    holder, heir = planned.holder, planned.heir
    if holder is None or heir is None or not planned.handover or heir.node != node:
        return ""
    return f"{group} is on its way to {node}: {holder.node} hands over, and has yet to stop"


def _now(planned: GroupPlan) -> Iterator[str]:
    holder, heir = planned.holder, planned.heir
    if planned.maintenance is not Maintenance.OFF:
        yield f"in maintenance ({planned.maintenance.value}): nothing is moved, started or stopped"
    if planned.unverified and holder is not None:
        nodes = ", ".join(dict.fromkeys(right.node for right in planned.unverified))
        yield f"{holder.node} makes sure first that {nodes} has stopped"
    if planned.leaving:
        yield f"{', '.join(right.node for right in planned.leaving)} has yet to stop"
    if holder is not None and planned.handover:
        yield f"{holder.node} hands over to {heir.node if heir is not None else 'nobody'}"
    if planned.why:
        yield f"last change: {planned.why}"
