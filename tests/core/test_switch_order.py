"""In which order the engine arms, lowers and disarms the dead-man's switch (rules 4, 14)."""

from hamgr.core.effects import ArmSwitch, DisarmSwitch, Effect, SetDeadline
from hamgr.core.types import SECOND
from hamgr.engine import Engine
from tests.core.cluster import NODES, SPEC, Cluster, settled


class Watched(Cluster):
    """A cluster that notes when the switch of n1 would act: armed, with a deadline that is past."""

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.acts: list[int] = []
        self._guards = False

    def _carry_out(self, node: str, engine: Engine, effect: Effect) -> None:
        if node == "n1" and isinstance(effect, ArmSwitch | DisarmSwitch):
            self._guards = isinstance(effect, ArmSwitch)
        if node == "n1" and isinstance(effect, SetDeadline) and effect.deadline <= self.now:
            self.acts += [self.now] if self._guards else []
        super()._carry_out(node, engine, effect)


def test_an_orderly_stop_gives_the_switch_nothing_to_do() -> None:
    cluster = settled(Watched())
    cluster.stop("n1")
    cluster.advance(5 * SECOND)
    assert "n1" not in cluster.engines
    assert cluster.acts == []


def test_a_lapse_is_told_to_the_switch_before_anything_is_withdrawn() -> None:
    cluster = settled(Watched())
    cluster.cuts |= {(one, other) for one in NODES for other in NODES if "n1" in (one, other)}
    cluster.advance(SECOND)
    assert len(cluster.acts) == 1
