"""What plan, kernel, wire and configuration say against each other: pure functions."""

from collections.abc import Iterator

from hamgr.cli.survey import Answer, GroupRow, Problem, VipRow
from hamgr.core.records import Plan
from hamgr.core.spec import ClusterSpec
from hamgr.core.timing import Timing
from hamgr.core.types import MILLISECOND, NodeName


def degraded(text: str) -> Problem:
    """Return a problem with which the cluster still serves."""
    return Problem(severity="degraded", text=text)


def failed(text: str) -> Problem:
    """Return a problem for which somebody must get up."""
    return Problem(severity="failed", text=text)


def wire_problems(group: GroupRow, vip: VipRow, asker: NodeName) -> Iterator[Problem]:
    """Yield what is wrong with the answers on the wire, as asked from a node."""
    wire = vip.wire
    if not wire.asked:
        if vip.interface:
            yield degraded(f"nobody knows who answers for {vip.address}: {wire.why}")
        return
    others = [one for one in wire.answers if not asker or one.node != asker]
    names = list(dict.fromkeys(one.node or one.mac for one in others))
    if vip.kernel and names:
        yield failed(f"{' and '.join(names)} answer{'s' * (len(names) == 1)} for {vip.address} too")
    elif len(names) > 1:
        yield failed(f"{' and '.join(names)} answer for {vip.address}: only one may")
    elif not names and not vip.kernel and group.active:
        yield failed(f"nobody answers for {vip.address} on the wire")
    if len(names) == 1 and not vip.kernel:
        yield from _single(group, vip, others[0])


def _single(group: GroupRow, vip: VipRow, answer: Answer) -> Iterator[Problem]:
    where = f"active on {', '.join(group.active)}" if group.active else "active nowhere"
    if not answer.node:
        yield degraded(f"{answer.mac} answers for {vip.address}, and no node is known to have this "
                       f"MAC ({group.name} is {where}): find that machine")
    elif answer.node not in group.active:
        yield failed(f"{answer.node} answers for {vip.address}, but {group.name} is {where}")


_APPLY = "hamgr config apply changes it"


def differences(spec: ClusterSpec, plan: Plan | None) -> Iterator[Problem]:
    """Tell of what plan and configuration say otherwise: an apply that was not finished."""
    if plan is None or plan.voters.former or plan.voters.coming:
        return
    if {*spec.voters} != {*plan.voters.names}:
        yield degraded(f"by the configuration {', '.join(spec.voters)} vote, by the plan "
                       f"{', '.join(plan.voters.names)}, and the plan counts: {_APPLY}")
    if spec.timing != plan.times:
        yield degraded(f"by the configuration the times are {_times(spec.timing)}, by the plan "
                       f"{_times(plan.times)}, and the plan counts: {_APPLY}")


def _times(times: Timing) -> str:
    named = (("interval", times.interval), ("lease", times.lease),
             ("detection", times.detection), ("claim", times.claim))
    return ", ".join(f"{name} {value / MILLISECOND:g} ms" for name, value in named)
