"""Groups, services and fence devices as decisions need them: in the core's own units."""

from hamgr.config.schema import Fence, Group, Monitor, Service
from hamgr.config.values import Span
from hamgr.core.spec import DeviceSpec, GroupSpec, ServiceSpec, Tie
from hamgr.core.types import SECOND, DeviceName, GroupName, OnFailure

OCF_MONITOR = Monitor(interval=Span(10 * SECOND), timeout=Span(20 * SECOND))
"""What most agents advise, and Pacemaker's tools write: nothing else notices that one has ended."""


def group_spec(name: GroupName, group: Group) -> GroupSpec:
    """Return what decisions about a group depend on."""
    return GroupSpec(
        name=name,
        nodes=group.nodes,
        services=tuple(_service_spec(service) for service in group.service),
        everywhere=group.mode == "everywhere",
        has_addresses=bool(group.vips),
        stop_within=int(group.stop_within),
        fencing_required=group.fencing == "required",
        needs=dict(group.needs),
        prefer=dict(group.prefer),
        stickiness=group.stickiness,
        failback=None if group.failback_after is None else int(group.failback_after),
        priority=group.priority,
        beside=tuple(Tie(near.group, near.score) for near in group.beside),
        apart=tuple(Tie(near.group, near.score) for near in group.apart),
        requires=group.requires,
    )


def device_spec(name: DeviceName, fence: Fence) -> DeviceSpec:
    """Return what decisions about a fence device depend on."""
    return DeviceSpec(
        name=name,
        nodes=tuple(fence.nodes),
        level=fence.level,
        timeout=int(fence.timeout),
        retries=fence.retries,
        delay=int(fence.delay),
        delay_max=int(fence.delay_max),
        tells=fence.status,
        reboot=fence.action == "reboot",
    )


def _service_spec(service: Service) -> ServiceSpec:
    monitor = service.monitor or (OCF_MONITOR if service.driver == "ocf" else None)
    return ServiceSpec(
        name=service.name,
        actions=service.actions,
        promotable=service.promotable,
        tells=service.driver != "hook",
        start_timeout=int(service.start_timeout),
        stop_timeout=int(service.stop_timeout),
        promote_timeout=int(service.promote_timeout),
        demote_timeout=int(service.demote_timeout),
        monitor_interval=int(monitor.interval) if monitor is not None else 0,
        monitor_timeout=int((monitor or Monitor()).timeout),
        restarts=service.restarts,
        window=int(service.window),
        on_failure=OnFailure(service.on_failure),
    )
