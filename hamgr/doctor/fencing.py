"""Checks of the fence devices: whether they could cut a node off, and the right one."""

from collections.abc import Iterator

from hamgr.agent.facts import AgentStatus
from hamgr.doctor.facts import FenceDevices
from hamgr.doctor.finding import Finding, fault, ok, unknown, warning
from hamgr.doctor.heartbeats import heard


def fence_devices_fit(fence_devices: FenceDevices) -> Iterator[Finding]:
    """What asks each device is installed, and has all that it needs."""
    for one in fence_devices.devices:
        for misfit in one.misfits:
            tell = fault if misfit.severe else warning
            yield tell(one.name, f"{misfit.key}: {misfit.text}",
                       "install its package here (Debian: fence-agents), or name another agent"
                       if misfit.key == "agent" else
                       f"change {misfit.key} of [fence.{one.name}], and `hamgr config apply` that")
        for text in one.secrets:
            yield fault(one.name, text, "mend it, then `systemctl reload hamgr`")
        if not (one.misfits or one.secrets):
            yield ok(one.name, f"fits what {one.agent} says of itself" if one.agent else
                     "has what it needs")


def fence_devices_answer(fence_devices: FenceDevices) -> Iterator[Finding]:
    """Each device answers this node, and tells of each of its nodes whether it is on."""
    for one in fence_devices.devices:
        if not one.asked:
            yield unknown(one.name, "was not asked: this node could not ask it", "see above")
        elif one.refusal:
            yield fault(one.name, f"does not answer this node: {one.refusal}", _way(one.agent))
        else:
            for node, why in one.silences.items():
                yield fault(one.name, f"does not tell whether {node} is on: {why}",
                            f"see whether the device knows it by the name in nodes of [fence."
                            f"{one.name}]; {_way(one.agent)}")
            for node, power in one.powers.items():
                yield ok(one.name, f"answers: {node} is {power}")
            if not (one.powers or one.silences):
                yield ok(one.name, "answers; it cannot tell who is on (status = false)")


def fence_devices_are_wired(agent: AgentStatus, fence_devices: FenceDevices) -> Iterator[Finding]:
    """No device says that a node is off which certainly runs."""
    alive = {agent.node: "which is this node",
             **dict.fromkeys(heard(agent), "and its heartbeats are heard")}
    for one in fence_devices.devices:
        for node, power in one.powers.items():
            if power == "off" and node in alive:
                yield fault(one.name, f"says that {node} is off, {alive[node]}: it is wired to "
                            "another machine, and would cut that off",
                            f"find out whose board or outlet it is (look at its page, or at the "
                            f"cable), and correct [fence.{one.name}]; until then groups with "
                            'fencing = "required" are not safe')


def _way(agent: str) -> str:
    by_hand = f"`{agent} --help` says how to ask it by hand" if agent else "run the command by hand"
    return ("try its address from here (ping), its user and password at its own page, and whether "
            f"it allows remote access; {by_hand}")
