"""A cluster of three as the agent on n2 sees it, made by hand: n1 holds crm, n2 is its heir."""

from typing import Any

from msgspec.structs import replace

from hamgr.agent.facts import AgentStatus, KernelAddress, Process
from hamgr.core.heartbeat import GroupWord
from hamgr.core.records import GroupPlan, Leader, Plan, Right, Seat, Voters
from hamgr.core.spec import ClusterSpec, GroupSpec, NodeSpec
from hamgr.core.timing import Timing
from hamgr.core.types import MILLISECOND, SECOND, Maintenance, SeatState
from hamgr.snapshot import GroupView, PeerView, Snapshot

SPEC = ClusterSpec(
    name="crm",
    nodes=(NodeSpec(name="n1"), NodeSpec(name="n2"), NodeSpec(name="n3", witness=True)),
    groups=(GroupSpec(name="crm", nodes=("n1", "n2")),))
RINGS: dict[str, tuple[str, ...]] = {f"n{n}": (f"10.0.0.{n}", f"10.1.0.{n}") for n in (1, 2, 3)}
KEY = "5f0c1a2b"
VIPS = (
    KernelAddress(group="crm", address="10.0.0.100/24", interface="eth0", present=False),
    KernelAddress(group="crm", address="2001:db8::100/64", interface="eth0", present=False),
)
GROUP = GroupPlan(
    holder=Right(node="n1", incarnation=4, round=1, epoch=7),
    heir=Right(node="n2", incarnation=2, round=1, epoch=8), top_epoch=8,
    why="n2 is heir, epoch 8")


def seat(state: SeatState = SeatState.MEMBER) -> Seat:
    return Seat(incarnation=4, round=1, state=state, by="n1")


def plan(**group: Any) -> Plan:
    return Plan(revision=31, by="n1", voters=Voters(number=1, names=("n1", "n2", "n3")),
                times=Timing(), groups={"crm": replace(GROUP, **group)})


def peer(node: str, **changes: Any) -> PeerView:
    words = (GroupWord("crm", 7, 0, True, True),) if node == "n1" else ()
    view = PeerView(
        node=node, heard_ago=31 * MILLISECOND, rings_ago=(31 * MILLISECOND, 32 * MILLISECOND),
        incarnation=4, round=1, seat="member", credited=True, credits_us=True, revision=31,
        config="0123456789abcdef", version="0.1.0", credits=("n2", "n3"), words=words)
    return replace(view, **changes)


def group(**changes: Any) -> GroupView:
    return replace(GroupView(name="crm", role="heir", phase="inactive"), **changes)


def snapshot(**changes: Any) -> Snapshot:
    view = Snapshot(
        cluster="crm", cluster_id="5f3a", node="n2", incarnation=2, round=1, lease="member",
        lease_left=250 * MILLISECOND, zookeeper=True, zookeeper_why="",
        leader=Leader(term=3, node="n1", incarnation=4), leading=False, plan=plan(),
        seats={"n1": seat(), "n2": seat(), "n3": seat()}, voters=("n1", "n2", "n3"),
        lateness=0, peers=(peer("n1"), peer("n3")), groups=(group(),), requests=(),
        stopping=False)
    return replace(view, **changes)


def status(view: Snapshot | None = None, **changes: Any) -> AgentStatus:
    answer = AgentStatus(
        process=Process(pid=812, version="0.1.0", started_ago_s=86400.0, phase="running",
                        realtime="SCHED_RR 40", memory_locked=True, worst_lateness_ms=6.3,
                        switch_alive=True, config_digest="0123456789abcdef"),
        node="n2", spec=SPEC, rings=RINGS, snapshot=view or snapshot(), addresses=VIPS,
        keys={node.name: (KEY,) for node in SPEC.nodes})
    return replace(answer, **changes)


def on_the_owner(maintenance: Maintenance = Maintenance.OFF) -> AgentStatus:
    """The same with n2 active: a failover that the leader has recorded already."""
    holder = Right(node="n2", incarnation=2, round=1, epoch=8)
    view = snapshot(
        plan=plan(holder=holder, heir=None, why="n2 took over", maintenance=maintenance),
        leading=True, leader=Leader(term=4, node="n2", incarnation=2),
        seats={"n1": seat(SeatState.DEAD), "n2": seat(), "n3": seat()},
        peers=(peer("n1", heard_ago=42 * SECOND, accused=True, accused_by=("n2", "n3"),
                    blocked=True, rings_ago=(42 * SECOND, 42 * SECOND)), peer("n3")),
        groups=(group(role="holder", phase="active", epoch=8, armed=True,
                      active_for=41 * SECOND, why="n1 is out"),))
    return status(view, addresses=tuple(replace(vip, present=True, lifetime_s=2) for vip in VIPS),
                  layers={"crm": ("deadline", "switch", "lifetime")})
