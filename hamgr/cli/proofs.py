"""When the fence devices of each node were last tested well, and what is to be said of that.

Pure functions. Wall clocks date tests: an age is a reminder, and nothing rests on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from hamgr.cli.comparing import degraded
from hamgr.cli.layout import span
from hamgr.cli.survey import NodeRow, Problem
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import NodeName
from hamgr.ports import FenceTest

_REMEDY = "`hamgr fence NODE --test`, on another node, does that"


def with_tests(nodes: Sequence[NodeRow], spec: ClusterSpec,
               tests: Mapping[NodeName, FenceTest | None], now: str) -> tuple[NodeRow, ...]:
    """Return the nodes with what is known of tests; in those, None is never, missing not known.

    `now`: the time of day, as tests are dated.
    """
    return tuple(_with_test(node, spec, tests, now) for node in nodes)


def due_problems(nodes: Sequence[NodeRow], spec: ClusterSpec, every_s: float) -> Iterator[Problem]:
    """Yield what is to be tested where a group rests on it; every_s of 0: nothing is."""
    for text in _due(nodes, spec, every_s, relied_on=True):
        yield degraded(text)


def due_notes(nodes: Sequence[NodeRow], spec: ClusterSpec, every_s: float) -> Iterator[str]:
    """Yield what is to be tested elsewhere."""
    return _due(nodes, spec, every_s, relied_on=False)


def _with_test(node: NodeRow, spec: ClusterSpec, tests: Mapping[NodeName, FenceTest | None],
               now: str) -> NodeRow:
    devices = tuple(one.name for one in sorted(spec.devices, key=lambda one: one.level)
                    if node.name in one.nodes)
    if not devices or node.name not in tests:
        return replace(node, fence_devices=devices)
    test = tests[node.name]
    return replace(node, fence_devices=devices, fence_tested=test is not None, fence_test=test,
                   fence_test_age_s=None if test is None else _age(test.at, now))


def _age(at: str, now: str) -> float | None:
    """Return seconds between two times of day, 0 if it is the other way round; None: no times."""
    try:
        return max(0.0, (datetime.fromisoformat(now) - datetime.fromisoformat(at)).total_seconds())
    except (ValueError, TypeError):
        return None


def _due(nodes: Sequence[NodeRow], spec: ClusterSpec, every_s: float, *,
         relied_on: bool) -> Iterator[str]:
    if not every_s:
        return
    concerned = [node for node in nodes if node.fence_devices
                 and relied_on == bool(_relying(node.name, spec))]
    never = [node.name for node in concerned if node.fence_tested is False]
    if never:
        relying = dict.fromkeys(group for name in never for group in _relying(name, spec))
        for_whom = f", and {', '.join(relying)} would wait for it" if relying else ""
        yield (f"whether {', '.join(never)} can be fenced was never tested{for_whom}: {_REMEDY}")
    for node in concerned:
        if node.fence_test_age_s is not None and node.fence_test_age_s > every_s:
            yield (f"whether {node.name} can be fenced was tested {span(node.fence_test_age_s)} "
                   f"ago, longer than test_every ({span(every_s)}): {_REMEDY}")


def _relying(node: NodeName, spec: ClusterSpec) -> list[str]:
    return [group.name for group in spec.groups
            if group.fencing_required and node in group.nodes]
