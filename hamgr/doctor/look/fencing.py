"""What the fence devices answer to this node: asked as the agent would ask them, but only for what
switches nothing (monitor, status)."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from hamgr.adapters.fence import AgentUnknownError, Catalogue, Device, Devices, check
from hamgr.config.schema import Document, Fence
from hamgr.core.effects import RunDevice
from hamgr.core.events import DeviceAnswered, Event
from hamgr.core.types import SECOND, Duration, NodeName, Power
from hamgr.devices import devices
from hamgr.doctor.facts import FenceDevice, FenceDevices, Misfit

PATIENCE: Duration = 20 * SECOND
"""An operator waits for it; a device whose own timeout is shorter has less."""
Answers = dict[tuple[str, NodeName], DeviceAnswered]
"""By action and node."""


def fence_devices(document: Document, catalogue: Catalogue | None = None) -> FenceDevices:
    """Look at each device, and ask all at once. Blocks until the last has answered."""
    catalogue = catalogue or Catalogue()
    found = [_seen(device, catalogue) for device in devices(document)]
    able = [device for device, one in zip(devices(document), found, strict=True) if one.asked]
    answers = asyncio.run(_answers(able, document.fence)) if able else {}
    return FenceDevices(devices=tuple(
        _answered(one, answers[one.name]) if one.name in answers else one for one in found))


def _seen(device: Device, catalogue: Catalogue) -> FenceDevice:
    misfits: tuple[Misfit, ...] = ()
    absent = False
    if device.agent:
        try:
            misfits = tuple(Misfit(key=one.key, text=one.text, severe=one.severe)
                            for one in check(device, catalogue.metadata(device.agent)))
        except AgentUnknownError as error:
            misfits, absent = (Misfit(key="agent", text=str(error)),), True
    faults = []
    for key, read in device.secrets.items():
        try:
            read()
        except OSError as error:
            faults.append(f"{key}: {error}")
    return FenceDevice(name=device.name, agent=device.agent, misfits=misfits,
                       secrets=tuple(faults), asked=not (absent or faults))


async def _answers(able: list[Device], fences: Mapping[str, Fence]) -> dict[str, Answers]:
    asked: dict[int, RunDevice] = {}
    for device in able:
        actions = ("monitor", "status") if fences[device.name].status else ("monitor",)
        timeout = min(int(fences[device.name].timeout), PATIENCE)
        for action in actions:
            for node in list(device.plugs)[:1] if action == "monitor" else device.plugs:
                asked[len(asked)] = RunDevice(run=len(asked), device=device.name, node=node,
                                              action=action, timeout=timeout)
    answers: dict[str, Answers] = defaultdict(dict)
    complete = asyncio.Event()

    def post(event: Event) -> None:
        assert isinstance(event, DeviceAnswered)
        effect = asked.pop(event.run)
        answers[effect.device][effect.action, effect.node] = event
        if not asked:
            complete.set()

    adapter = Devices(able, post)
    try:
        await adapter.start()
        for effect in tuple(asked.values()):
            adapter.run(effect)
        await complete.wait()
    finally:
        await adapter.close()
    return answers


def _answered(seen: FenceDevice, answers: Answers) -> FenceDevice:
    powers, silences, refusal = {}, {}, ""
    for (action, node), answer in answers.items():
        if action == "monitor":
            refusal = "" if answer.ok else answer.why
        elif answer.power is Power.UNKNOWN:
            silences[node] = answer.why
        else:
            powers[node] = answer.power.value
    return FenceDevice(name=seen.name, agent=seen.agent, misfits=seen.misfits,
                       refusal=refusal, powers=powers, silences=silences)
